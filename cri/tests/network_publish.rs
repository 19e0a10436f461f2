//! Published ports, and the way out: two hosts, and containers on one of them.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod network;

use std::io::ErrorKind;
use std::net::{TcpListener, UdpSocket};

use cri::network::{Attach, Error, NewNetwork};
use network::{Host, inside, neighbour, netns, plain, ports, run, tcp, tcp_server, udp, udp_server};

const LOST: Result<String, ErrorKind> = Err(ErrorKind::TimedOut);
const LOST_UDP: Result<String, ErrorKind> = Err(ErrorKind::WouldBlock);
const REFUSED: Result<String, ErrorKind> = Err(ErrorKind::ConnectionRefused);

fn seen(address: &str) -> Result<String, ErrorKind> {
    Ok(address.to_owned())
}

#[test]
fn root_ports_are_reached_from_everywhere() {
    let Some(host) = Host::new() else { return };
    let other_host = neighbour();
    let [server, beside, elsewhere] = [netns(), netns(), netns()];
    let published = ports(&["8080:80", "5353:53/udp", "7000-7002:7000-7002", "9:9/sctp"]);
    let attached = host.networks.attach(&Attach { ports: &published, ..plain("server", &server, "bridge") }).unwrap();
    assert_eq!(attached.notes.len(), 1, "{:?}", attached.notes);
    host.networks.create(&NewNetwork { name: "other".into(), ..NewNetwork::default() }).unwrap();
    host.networks.attach(&plain("beside", &beside, "bridge")).unwrap();
    host.networks.attach(&plain("elsewhere", &elsewhere, "other")).unwrap();
    tcp_server(&server, "0.0.0.0:80");
    tcp_server(&server, "0.0.0.0:7002");
    udp_server(&server, "0.0.0.0:53");

    // The server sees another host as it is, and this host by its bridge.
    assert_eq!(inside(&other_host, || tcp("192.0.2.1:8080")), seen("192.0.2.2"));
    assert_eq!(inside(&other_host, || udp("192.0.2.1:5353")), seen("192.0.2.2"));
    assert_eq!(inside(&other_host, || tcp("192.0.2.1:7002")), seen("192.0.2.2"));
    assert_eq!(tcp("127.0.0.1:8080"), seen("172.17.0.1"));
    assert_eq!(tcp("127.1.2.3:8080"), seen("172.17.0.1"));
    assert_eq!(udp("127.0.0.1:5353"), seen("172.17.0.1"));
    assert_eq!(tcp("192.0.2.1:8080"), seen("192.0.2.1"));
    assert_eq!(tcp("172.17.0.2:80"), seen("172.17.0.1"));
    for container in [&server, &beside] {
        assert_eq!(inside(container, || tcp("192.0.2.1:8080")), seen("172.17.0.1"));
        assert_eq!(inside(container, || tcp("172.17.0.1:8080")), seen("172.17.0.1"));
        assert_eq!(inside(container, || udp("192.0.2.1:5353")), seen("172.17.0.1"));
    }
    assert_eq!(inside(&beside, || tcp("172.17.0.2:80")), seen("172.17.0.3"));
    assert_eq!(inside(&elsewhere, || tcp("192.0.2.1:8080")), seen("172.17.0.1"));
    assert_eq!(inside(&elsewhere, || udp("192.0.2.1:5353")), seen("172.17.0.1"));
    // Past the published port there is no way from another network, and none from another host.
    assert_eq!(inside(&elsewhere, || tcp("172.17.0.2:80")), LOST);
    inside(&other_host, || run("ip route add 172.17.0.0/16 via 192.0.2.1"));
    assert_eq!(inside(&other_host, || tcp("172.17.0.2:80")), LOST);
    assert_eq!(inside(&other_host, || udp("172.17.0.2:53")), LOST_UDP);
    // The kernel of a test machine may have no SCTP sockets; the rule is there.
    let ruleset = run("nft list ruleset");
    assert!(ruleset.contains("sctp . 9 : 172.17.0.2 . 9"), "{ruleset}");

    host.networks.detach("server", None).unwrap();
    assert!(!run("nft list ruleset").contains("172.17.0.2"));
    drop(attached.reserved);
    assert_eq!(tcp("127.0.0.1:8080"), REFUSED);
}

#[test]
fn root_the_way_out() {
    let Some(host) = Host::new() else { return };
    let other_host = neighbour();
    let container = netns();
    host.networks.attach(&plain("one", &container, "bridge")).unwrap();
    tcp_server(&other_host, "192.0.2.2:80");
    udp_server(&other_host, "192.0.2.2:53");
    assert_eq!(inside(&container, || tcp("192.0.2.2:80")), seen("192.0.2.1"));
    assert_eq!(inside(&container, || udp("192.0.2.2:53")), seen("192.0.2.1"));
}

#[test]
fn root_ports_of_one_address() {
    let Some(host) = Host::new() else { return };
    let other_host = neighbour();
    let [server, beside] = [netns(), netns()];
    let published = ports(&["127.0.0.1:8080:80", "192.0.2.1:8081:80", "127.0.0.1:53:53/udp"]);
    let _attached = host.networks.attach(&Attach { ports: &published, ..plain("server", &server, "bridge") }).unwrap();
    host.networks.attach(&plain("beside", &beside, "bridge")).unwrap();
    tcp_server(&server, "0.0.0.0:80");
    udp_server(&server, "0.0.0.0:53");
    assert_eq!(tcp("127.0.0.1:8080"), seen("172.17.0.1"));
    assert_eq!(tcp("127.0.0.2:8080"), REFUSED);
    assert_eq!(tcp("127.0.0.1:8081"), REFUSED);
    assert_eq!(inside(&other_host, || tcp("192.0.2.1:8081")), seen("192.0.2.2"));
    assert_eq!(inside(&other_host, || tcp("192.0.2.1:8080")), REFUSED);
    // Neither another host nor a container beside it gets to what is published for this host alone (CVE-2020-8558, and
    // docker's moby#45610), whatever it does about its own 127.0.0.1, and even when all interfaces take such packets.
    let own = UdpSocket::bind("127.0.0.1:7777").unwrap();
    own.set_nonblocking(true).unwrap();
    std::fs::write("/proc/sys/net/ipv4/conf/all/route_localnet", "1").unwrap();
    let attack = |gateway: &str, interface: &str| {
        run("ip address flush dev lo");
        std::fs::write(format!("/proc/sys/net/ipv4/conf/{interface}/route_localnet"), "1").unwrap();
        run(&format!("ip route add 127.0.0.0/8 via {gateway}"));
        let udp_own = UdpSocket::bind("0.0.0.0:0").unwrap();
        udp_own.send_to(b"spoofed", "127.0.0.1:7777").unwrap();
        (tcp("127.0.0.1:8080"), udp("127.0.0.1:53"))
    };
    assert_eq!(inside(&other_host, || attack("192.0.2.1", "up0")), (LOST, LOST_UDP));
    assert_eq!(inside(&beside, || attack("172.17.0.1", "eth0")), (LOST, LOST_UDP));
    assert_eq!(own.recv(&mut [0; 16]).unwrap_err().kind(), ErrorKind::WouldBlock);
    // It is the rules that keep them off: without, the packet arrives.
    let text = run("nft list ruleset");
    let table = text.split_whitespace().skip_while(|word| *word != "inet").nth(1).unwrap();
    run(&format!("nft flush chain inet {table} raw"));
    let send = || UdpSocket::bind("0.0.0.0:0").unwrap().send_to(b"spoofed", "127.0.0.1:7777").unwrap();
    inside(&beside, send);
    own.set_nonblocking(false).unwrap();
    assert_eq!(own.recv(&mut [0; 16]).unwrap(), 7);
}

#[test]
fn root_clashes_name_who_has_the_port() {
    let Some(host) = Host::new() else { return };
    let [one, two] = [netns(), netns()];
    let attach = |container, netns, texts: &[&str]| {
        let ports = ports(texts);
        host.networks.attach(&Attach { ports: &ports, ..plain(container, netns, "bridge") })
    };
    let listening = TcpListener::bind("127.0.0.1:8000").unwrap();
    let text = attach("one", &one, &["8000:80"]).unwrap_err().to_string();
    assert!(text.contains("0.0.0.0:8000/tcp is used by a program of this host"), "{text}");
    let first = attach("one", &one, &["8001:80", "8000:80/udp", "80", "8001:80"]).unwrap();
    assert_eq!(first.record.ports.len(), 3);
    assert_eq!(first.reserved.len(), 3);
    let chosen = first.record.ports[2].host_port;
    assert!((32768..=60999).contains(&chosen), "{chosen}");
    for spec in ["8001:1", "127.0.0.1:8001:1", &format!("{chosen}:1")] {
        let error = attach("two", &two, &[spec]).unwrap_err();
        assert!(matches!(&error, Error::PortPublished { by, .. } if by == "one"), "{spec}: {error}");
    }
    // Programs of the host do not get it either.
    assert_eq!(TcpListener::bind("0.0.0.0:8001").unwrap_err().kind(), ErrorKind::AddrInUse);
    assert_eq!(TcpListener::bind("127.0.0.1:8001").unwrap_err().kind(), ErrorKind::AddrInUse);
    assert_eq!(UdpSocket::bind("0.0.0.0:8000").unwrap_err().kind(), ErrorKind::AddrInUse);
    // One of a range is taken that is free; a range as a whole, or nothing.
    let second = attach("two", &two, &["8000-8003:80", "80"]).unwrap();
    assert_eq!(second.record.ports[0].host_port, 8002);
    assert_ne!(second.record.ports[1].host_port, chosen);
    let third = netns();
    attach("three", &third, &["8003-8005:1-3", "7999-8000:1-2"]).unwrap_err();
    TcpListener::bind("0.0.0.0:8003").unwrap();
    let text = attach("three", &third, &["8000-8002:80"]).unwrap_err().to_string();
    assert!(text.contains("no host port is free in 8000-8002 for tcp"), "{text}");
    for (spec, why) in [("192.0.2.77:80:80", "not an address of this host"), ("[::]:80:80", "no IPv6 subnet")] {
        let text = attach("three", &third, &[spec]).unwrap_err().to_string();
        assert!(text.contains(why), "{text}");
    }
    drop(listening);
    // A connection that has just ended does not keep a port.
    let server = TcpListener::bind("127.0.0.1:8000").unwrap();
    let client = std::net::TcpStream::connect("127.0.0.1:8000").unwrap();
    drop(server.accept().unwrap());
    drop((server, client));
    attach("three", &third, &["8000:80"]).unwrap();
    assert_eq!(host.networks.attachments().unwrap().len(), 3);
}

#[test]
fn root_networks_apart() {
    let Some(host) = Host::new() else { return };
    let other_host = neighbour();
    let create = |name: &str, internal, options: &[(&str, &str)]| {
        let options = options.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        host.networks.create(&NewNetwork { name: name.into(), internal, options, ..NewNetwork::default() }).unwrap()
    };
    create("inner", true, &[]);
    create("quiet", false, &[("icc", "false")]);
    create("open", false, &[("isolate", "false")]);
    create("open2", false, &[("isolate", "false")]);
    let attach = |container: &str, network: &str| {
        let netns = netns();
        let record = host.networks.attach(&plain(container, &netns, network)).unwrap().record;
        tcp_server(&netns, "0.0.0.0:80");
        (netns, format!("{}:80", record.ip.unwrap().address))
    };
    tcp_server(&other_host, "192.0.2.2:80");
    let (plain_one, at_plain) = attach("a", "bridge");
    let (inner, at_inner) = attach("b", "inner");
    let (inner2, _) = attach("c", "inner");
    let (quiet, at_quiet) = attach("d", "quiet");
    let (quiet2, at_quiet2) = attach("e", "quiet");
    let (open1, at_open) = attach("f", "open");
    let (open2, _) = attach("g", "open2");

    // An internal network: its own containers and the host; no default route, and none that root adds leads out.
    assert!(inside(&inner2, || tcp(&at_inner)).is_ok());
    assert!(tcp(&at_inner).is_ok());
    let gateway = host.networks.get("inner").unwrap().subnets[0].gateway;
    assert_eq!(inside(&inner, || run("ip route show default")), "");
    inside(&inner, || run(&format!("ip route add default via {gateway}")));
    assert_eq!(inside(&inner, || tcp("192.0.2.2:80")), LOST);
    assert_eq!(inside(&inner, || tcp(&at_plain)), LOST);
    assert_eq!(inside(&inner, || tcp("192.0.2.1:9")), LOST);
    assert_eq!(inside(&inner, || tcp(&format!("{gateway}:9"))), REFUSED);
    assert_eq!(inside(&plain_one, || tcp(&at_inner)), LOST);
    assert!(host.networks.attach(&Attach { ports: &ports(&["80"]), ..plain("x", &netns(), "inner") }).is_err());
    // icc=false: not each other, not even by way of the host; but out.
    inside(&quiet, || tcp(&at_quiet2)).unwrap_err();
    let gateway = host.networks.get("quiet").unwrap().subnets[0].gateway;
    inside(&quiet2, || run(&format!("ip route add {} via {gateway}", at_quiet.trim_end_matches(":80"))));
    inside(&quiet2, || tcp(&at_quiet)).unwrap_err();
    assert_eq!(inside(&quiet, || tcp("192.0.2.2:80")), seen("192.0.2.1"));
    // Two networks that are both open.
    assert!(inside(&open2, || tcp(&at_open)).is_ok());
    assert_eq!(inside(&plain_one, || tcp(&at_open)), LOST);
    assert_eq!(inside(&open1, || tcp(&at_plain)), LOST);
}
