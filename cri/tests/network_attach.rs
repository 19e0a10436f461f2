//! Containers on networks: addresses, routes, names, and what is refused.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod network;

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::process::{Command, Stdio};

use cri::network::{Attach, Error, NewNetwork};
use network::{Host, inside, neighbour, netns, plain, ports, run, tcp, tcp_server, udp, udp_server};

#[test]
fn root_default_network() {
    let Some(host) = Host::new() else { return };
    let container = netns();
    let attached = host.networks.attach(&plain("one", &container, "bridge")).unwrap();
    let record = attached.record;
    assert_eq!((record.network.as_str(), record.interface.as_str()), ("bridge", "eth0"));
    let ip = record.ip.unwrap();
    assert_eq!((ip.address.to_string().as_str(), ip.prefix), ("172.17.0.2", 16));
    assert_eq!(record.mac.to_string(), "02:42:ac:11:00:02");
    inside(&container, || {
        let address = run("ip -o address show dev eth0");
        assert!(address.contains("172.17.0.2/16 brd 172.17.255.255") && !address.contains("inet6"), "{address}");
        assert_eq!(run("ip route show default").trim_end(), "default via 172.17.0.1 dev eth0 proto static");
        assert!(run("ip link show dev lo").contains("LOOPBACK,UP"));
        // Refused by the host means that the host was reached.
        assert_eq!(tcp("172.17.0.1:9"), Err(ErrorKind::ConnectionRefused));
    });
    assert!(run("ip link show master rt0").contains(&record.veth));
    assert_eq!(host.networks.attachments().unwrap().len(), 1);

    assert_eq!(host.networks.detach("one", None).unwrap().len(), 1);
    assert!(host.networks.detach("one", None).unwrap().is_empty());
    assert!(host.networks.detach("one", Some("bridge")).unwrap().is_empty());
    assert!(host.networks.detach("one", Some("never")).unwrap().is_empty());
    assert_eq!(run("ip link show master rt0"), "");
    assert!(!inside(&container, || run("ip -o link show")).contains("eth0"));
    assert!(host.networks.attachments().unwrap().is_empty());
}

#[test]
fn root_addresses_that_are_asked_for() {
    let Some(host) = Host::new() else { return };
    let create = |name: &str, subnet: &str, range: Option<&str>| {
        let ip_ranges = range.iter().map(|text| text.parse().unwrap()).collect();
        let new = NewNetwork {
            name: name.into(),
            subnets: vec![subnet.parse().unwrap()],
            ip_ranges,
            ..NewNetwork::default()
        };
        host.networks.create(&new)
    };
    create("small", "10.9.0.0/29", Some("10.9.0.4/30")).unwrap();
    assert!(matches!(create("small", "10.10.0.0/24", None).unwrap_err(), Error::Exists { .. }));
    let text = create("again", "10.9.0.0/16", None).unwrap_err().to_string();
    assert!(text.contains("overlaps 10.9.0.0/29 of network small"), "{text}");
    run("ip route add blackhole 10.77.0.0/16");
    let text = create("again", "10.77.1.0/24", None).unwrap_err().to_string();
    assert!(text.contains("overlaps route 10.77.0.0/16 of this host"), "{text}");

    let one = netns();
    let at = |container, netns, ip: &str| {
        let ip = Some(ip.parse().unwrap());
        host.networks.attach(&Attach { ip, ..plain(container, netns, "small") })
    };
    for (ip, why) in [
        ("10.9.0.0", "is the network address"),
        ("10.9.0.7", "is the broadcast address"),
        ("10.9.0.1", "is the network's gateway"),
        ("10.9.1.1", "is not in the network's subnet 10.9.0.0/29"),
    ] {
        let text = at("one", &one, ip).unwrap_err().to_string();
        assert!(text.contains(why), "{text}");
    }
    let text = host.networks.attach(&Attach { ip6: Some("fd00::2".parse().unwrap()), ..plain("one", &one, "small") });
    assert!(text.unwrap_err().to_string().contains("has no IPv6 subnet"));
    at("one", &one, "10.9.0.2").unwrap();
    assert!(matches!(at("one", &one, "10.9.0.3").unwrap_err(), Error::Attached { .. }));
    let others: Vec<File> = (0..4).map(|_| netns()).collect();
    let text = at("two", &others[0], "10.9.0.2").unwrap_err().to_string();
    assert_eq!(text, "address 10.9.0.2 of network small is in use by container one");
    // Addresses rest: what was given back is not the next one.
    let next = |container, netns| {
        host.networks
            .attach(&plain(container, netns, "small"))
            .map(|attached| attached.record.ip.unwrap().address.octets()[3])
    };
    assert_eq!(next("two", &others[0]).unwrap(), 4);
    host.networks.detach("two", None).unwrap();
    assert_eq!(next("two", &others[0]).unwrap(), 5);
    assert_eq!(next("three", &others[1]).unwrap(), 6);
    assert_eq!(next("four", &others[2]).unwrap(), 4);
    let text = next("five", &others[3]).unwrap_err().to_string();
    assert_eq!(text, "network small has no free address in 10.9.0.4/30: 3 of 3 are in use");
    let error = host.networks.remove("small").unwrap_err().to_string();
    assert_eq!(error, "network small is in use by four, one, three, two; disconnect or remove them first");
    for container in ["one", "two", "three", "four"] {
        host.networks.detach(container, None).unwrap();
    }
    let network = host.networks.remove("small").unwrap();
    assert!(!run("ip -o link").contains(&network.bridge));
    assert!(!run("nft list ruleset").contains(&network.bridge));
    assert!(matches!(host.networks.get("small").unwrap_err(), Error::NoNetwork { .. }));
    assert!(matches!(host.networks.remove("bridge").unwrap_err(), Error::Predefined { .. }));
}

#[test]
fn root_several_networks() {
    let Some(host) = Host::new() else { return };
    for name in ["red", "blue"] {
        host.networks.create(&NewNetwork { name: name.into(), ..NewNetwork::default() }).unwrap();
    }
    let container = netns();
    let names = ["web".to_owned(), "www".to_owned()];
    let attach = |network, gw_priority| {
        let attach = Attach { gw_priority, names: &names, ..plain("web", &container, network) };
        host.networks.attach(&attach).unwrap().record.interface
    };
    let defaults = || {
        let text = inside(&container, || run("ip route show default"));
        text.lines().map(|line| line.split_whitespace().nth(4).unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(attach("red", 0), "eth0");
    assert_eq!(attach("blue", 0), "eth1");
    assert_eq!(defaults(), ["eth0", "eth1"]);
    assert_eq!(attach("bridge", 7), "eth2");
    assert_eq!(defaults(), ["eth2", "eth0", "eth1"]);
    host.networks.detach("web", Some("bridge")).unwrap();
    assert_eq!(defaults(), ["eth0", "eth1"]);
    host.networks.detach("web", Some("red")).unwrap();
    assert_eq!(attach("red", 0), "eth0");
    assert_eq!(defaults(), ["eth1", "eth0"]);

    let id = host.networks.get("blue").unwrap().id;
    let entries = host.networks.hosts_entries(&id[..12]).unwrap();
    assert_eq!(entries.len(), 1);
    assert_eq!((entries[0].container.as_str(), entries[0].names.as_slice()), ("web", names.as_slice()));
    let bad = ["a b".to_owned()];
    let error = host.networks.attach(&Attach { names: &bad, ..plain("x", &container, "red") }).unwrap_err();
    assert!(error.to_string().contains("network alias"), "{error}");
}

#[test]
fn root_interfaces_and_addresses_on_the_link() {
    let Some(host) = Host::new() else { return };
    let container = netns();
    inside(&container, || run("ip link add eth0 type veth peer name other"));
    let before = run("ip -o link");
    let error = host.networks.attach(&plain("one", &container, "bridge")).unwrap_err();
    assert!(matches!(error, Error::InterfaceInUse { .. }), "{error}");
    // Nothing but the bridge is left.
    let links = run("ip -o link");
    assert_eq!(links.lines().count(), before.lines().count() + 1, "{links}");
    assert!(host.networks.attachments().unwrap().is_empty());
    let mac = Some("02:00:00:00:00:07".parse().unwrap());
    let record = host
        .networks
        .attach(&Attach { interface: Some("net0"), mac, ..plain("one", &container, "bridge") })
        .unwrap()
        .record;
    assert!(inside(&container, || run("ip link show dev net0")).contains("02:00:00:00:00:07"));
    let other = netns();
    let error = host.networks.attach(&Attach { mac, ..plain("two", &other, "bridge") }).unwrap_err().to_string();
    assert!(error.contains("in use by container one"), "{error}");
    // Started again: a new namespace while the kernel still has the old one.
    let again = host
        .networks
        .attach(&Attach { ip: Some(record.ip.unwrap().address), ..plain("one", &other, "bridge") })
        .unwrap();
    assert_eq!(again.record.ip, record.ip);
    assert_eq!(host.networks.attachments().unwrap().len(), 1);
    run("ip link add rt-foreign type bridge");
    let options = [("com.docker.network.bridge.name".to_owned(), "rt-foreign".to_owned())].into();
    let error = host.networks.create(&NewNetwork { name: "n".into(), options, ..NewNetwork::default() }).unwrap_err();
    assert!(matches!(error, Error::ForeignInterface { .. }), "{error}");
}

#[test]
fn root_both_families() {
    let Some(host) = Host::new() else { return };
    let other_host = neighbour();
    let options = [("mtu".to_owned(), "1400".to_owned())].into();
    host.networks.create(&NewNetwork { name: "dual".into(), ipv6: true, options, ..NewNetwork::default() }).unwrap();
    host.networks
        .create(&NewNetwork { name: "six".into(), ipv6: true, without_ipv4: true, ..NewNetwork::default() })
        .unwrap();
    let [server, beside, six] = [netns(), netns(), netns()];
    let published = ports(&["8080:80", "[2001:db8::1]:8081:80", "5353:53/udp", "80"]);
    let attached = host.networks.attach(&Attach { ports: &published, ..plain("server", &server, "dual") }).unwrap();
    assert_eq!(attached.notes.len(), 2, "{:?}", attached.notes);
    assert_eq!(attached.record.ports.len(), 7);
    assert_eq!(attached.record.ports[5].host_port, attached.record.ports[6].host_port);
    host.networks.attach(&plain("beside", &beside, "dual")).unwrap();
    let record = host.networks.attach(&plain("six", &six, "six")).unwrap().record;
    assert_eq!(record.ip, None);
    // At once: no duplicate address detection.
    let own = attached.record.ip6.unwrap();
    tcp_server(&server, "[::]:80");
    udp_server(&server, "[::]:53");
    assert_eq!(
        inside(&beside, || tcp(&format!("[{}]:80", own.address))).unwrap(),
        "fd".to_owned() + &beside_address(&host)[2..]
    );
    let gateway = own.gateway.unwrap().to_string();
    assert_eq!(inside(&other_host, || tcp("[2001:db8::1]:8080")).unwrap(), "2001:db8::2");
    assert_eq!(inside(&other_host, || tcp("[2001:db8::1]:8081")).unwrap(), "2001:db8::2");
    assert_eq!(inside(&other_host, || udp("[2001:db8::1]:5353")).unwrap(), "2001:db8::2");
    assert_eq!(tcp("[2001:db8::1]:8080").unwrap(), "2001:db8::1");
    assert_eq!(tcp("127.0.0.1:8080").unwrap(), format!("::ffff:{}", attached.record.ip.unwrap().gateway.unwrap()));
    for container in [&server, &beside] {
        assert_eq!(inside(container, || tcp("[2001:db8::1]:8080")).unwrap(), gateway);
    }
    // Nothing leads on from ::1, which is said at once.
    assert_eq!(tcp("[::1]:8080"), Err(ErrorKind::ConnectionRefused));
    let error =
        host.networks.attach(&Attach { ports: &ports(&["[::1]:1:1"]), ..plain("x", &netns(), "dual") }).unwrap_err();
    assert!(error.to_string().contains("127.0.0.1"), "{error}");
    tcp_server(&other_host, "[2001:db8::2]:80");
    assert_eq!(inside(&server, || tcp("[2001:db8::2]:80")).unwrap(), "2001:db8::1");
    assert_eq!(inside(&six, || tcp("[2001:db8::2]:80")).unwrap(), "2001:db8::1");
    inside(&server, || {
        assert!(run("ip link show dev eth0").contains("mtu 1400"));
        assert!(!run("ip -6 address show dev eth0").contains("tentative"));
        assert_eq!(std::fs::read_to_string("/proc/sys/net/ipv6/conf/eth0/accept_ra").unwrap(), "0\n");
    });
}

fn beside_address(host: &Host) -> String {
    host.networks
        .hosts_entries("dual")
        .unwrap()
        .iter()
        .rfind(|entry| entry.address.is_ipv6())
        .unwrap()
        .address
        .to_string()
}

/// A container cannot speak with addresses of others: not in packets, not in ARP, not in frames.
#[test]
fn root_containers_keep_to_their_addresses() {
    let Some(host) = Host::new() else { return };
    let options = [("guard".to_owned(), "false".to_owned())].into();
    host.networks.create(&NewNetwork { name: "trusting".into(), options, ..NewNetwork::default() }).unwrap();
    for (network, guarded) in [("bridge", true), ("trusting", false)] {
        let [server, attacker] = [netns(), netns()];
        let at =
            |id: &str, netns| host.networks.attach(&plain(&format!("{network}{id}"), netns, network)).unwrap().record;
        let address = at("server", &server).ip.unwrap().address;
        at("attacker", &attacker);
        let [a, b, ..] = address.octets();
        udp_server(&server, "0.0.0.0:53");
        udp_server(&attacker, "0.0.0.0:53");
        assert!(inside(&attacker, || udp(&format!("{address}:53"))).is_ok());
        inside(&attacker, || run(&format!("ip address add {a}.{b}.0.99/16 dev eth0")));
        // ARP: nobody is found at an address that is not the attacker's.
        udp_server(&attacker, &format!("{a}.{b}.0.99:54"));
        assert_eq!(inside(&server, || udp(&format!("{a}.{b}.0.99:54"))).is_err(), guarded);
        // Packets from that address.
        let from = || {
            run(&format!("ip route add {address} dev eth0 src {a}.{b}.0.99"));
            udp(&format!("{address}:53"))
        };
        assert_eq!(inside(&attacker, from).is_err(), guarded);
        inside(&attacker, || run(&format!("ip route delete {address} dev eth0")));
        assert!(inside(&attacker, || udp(&format!("{address}:53"))).is_ok());
        // Frames from another station.
        inside(&attacker, || run("ip link set eth0 address 02:00:00:00:00:99"));
        inside(&server, || run("ip neigh flush dev eth0"));
        assert_eq!(inside(&attacker, || udp(&format!("{address}:53"))).is_err(), guarded);
    }
}

#[test]
fn root_namespace_of_a_user_namespace() {
    let Some(host) = Host::new() else { return };
    let mut child = Command::new("unshare")
        .args(["--user", "--net", "cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"ready\n").unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let netns = File::open(format!("/proc/{}/ns/net", child.id())).unwrap();
    host.networks.create(&NewNetwork { name: "dual".into(), ipv6: true, ..NewNetwork::default() }).unwrap();
    host.networks.attach(&plain("one", &netns, "dual")).unwrap();
    assert!(inside(&netns, || run("ip route show default")).starts_with("default via 172.17.0.1 dev eth0"));
    drop((input, netns));
    child.wait().unwrap();
    // The namespace goes with its last process, some time later, and the interface with it.
    while run("ip -o link").contains("rtv") {
        std::thread::yield_now();
    }
    assert_eq!(host.networks.reclaim().unwrap().len(), 1);
    assert!(host.networks.attachments().unwrap().is_empty());
}
