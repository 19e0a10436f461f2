//! Debian's plugins, on a host of the test's own.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod cni_lab;

use std::net::{TcpListener, TcpStream};

use std::os::fd::AsFd;

use cni_lab::{BRIDGE, Lab, Netns, add, id, ready, sh, soon};
use cri::network::cni::{PortMapping, Protocol, bandwidth_of_pod, bring_loopback_up};

#[test]
fn bridge_and_host_local() {
    if !ready(&["bridge", "host-local"]) {
        return;
    }
    let lab = Lab::new();
    lab.config("10-lab.conflist", BRIDGE);
    let client = lab.client();
    let netns = Netns::new();
    let added = client.add(&add("c1", &netns), soon()).unwrap();
    let ips: Vec<String> = added.attachment.container_ips().map(|ip| ip.to_string()).collect();
    assert_eq!(ips, ["10.88.0.2"]);
    assert!(netns.run("ip -o addr show eth0").contains("10.88.0.2/24"));
    assert_eq!(netns.run("ip route show default"), "default via 10.88.0.1 dev eth0");
    assert_eq!(lab.leases("lab"), ["10.88.0.2"]);
    assert_eq!(lab.records(), ["c1@lab@eth0.json", "c1@lab@eth0.result"]);
    let listener = netns.inside(|| TcpListener::bind("10.88.0.2:80").unwrap());
    TcpStream::connect("10.88.0.2:80").unwrap();
    drop(listener);
    let check = || client.check(&id("c1"), &"lab".parse().unwrap(), &"eth0".parse().unwrap(), soon());
    check().unwrap();
    netns.run("ip addr del 10.88.0.2/24 dev eth0");
    let error = check().unwrap_err().to_string();
    assert!(error.starts_with("network lab, container c1, eth0: plugin bridge: CHECK: "), "{error}");

    client.delete(&id("c1"), soon()).unwrap();
    assert_eq!(netns.run("ip -o link show type veth"), "");
    assert_eq!(lab.leases("lab"), [""; 0]);
    assert_eq!(lab.records(), [""; 0]);
    client.delete(&id("c1"), soon()).unwrap();
    assert!(matches!(check().unwrap_err(), cri::network::cni::Error::NotAttached { .. }));
}

/// What most clusters without a network product use, with all that a pod can ask for.
const FULL: &str = r#"{
  "cniVersion": "VERSION", "name": "lab",
  "plugins": [
    {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true, "capabilities": {"ips": true, "mac": true},
     "ipam": {"type": "host-local", "dataDir": "IPAM", "ranges": [[{"subnet": "10.88.0.0/24"}], [{"subnet": "fd00:88::/64"}]],
              "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]}},
    {"type": "tuning", "sysctl": {"net.core.somaxconn": "500"}},
    {"type": "bandwidth", "capabilities": {"bandwidth": true}},
    {"type": "portmap", "snat": true, "capabilities": {"portMappings": true}}
  ]
}"#;

#[test]
fn a_standard_chain_in_every_version() {
    if !ready(&["bridge", "host-local", "tuning", "bandwidth", "portmap"]) {
        return;
    }
    let lab = Lab::new();
    for (number, version) in ["0.3.1", "0.4.0", "1.0.0"].into_iter().enumerate() {
        lab.config("10-lab.conflist", &FULL.replace("VERSION", version));
        let (client, netns) = (lab.client(), Netns::new());
        let host_port = 8080 + u16::try_from(number).unwrap();
        let mut request = add("full", &netns);
        request.capabilities.port_mappings =
            vec![PortMapping { host_port, container_port: 80, protocol: Protocol::Tcp, host_ip: None }];
        let annotations = [("kubernetes.io/ingress-bandwidth".to_owned(), "10M".to_owned())];
        request.capabilities.bandwidth = bandwidth_of_pod(&annotations.into()).unwrap();
        request.capabilities.mac = Some("c2:11:22:33:44:55".to_owned());
        let added = client.add(&request, soon()).unwrap_or_else(|error| panic!("{version}: {error}"));
        assert_eq!(added.steps.len(), 4, "{version}");
        let ips: Vec<String> = added.attachment.container_ips().map(|ip| ip.to_string()).collect();
        let (ip, ip6) = (&ips[0], &ips[1]);
        assert!(ip.starts_with("10.88.0.") && ip6.starts_with("fd00:88::"), "{version}: {ips:?}");
        assert!(netns.run("ip -o link show eth0").contains("c2:11:22:33:44:55"), "{version}");
        assert_eq!(netns.run("cat /proc/sys/net/core/somaxconn"), "500");
        assert!(sh("tc qdisc show").contains("rate 10Mbit"), "{version}: {}", sh("tc qdisc show"));
        // The published port leads into the container, also from the host itself.
        let listener = netns.inside(|| TcpListener::bind("0.0.0.0:80").unwrap());
        TcpStream::connect(("10.88.0.1", host_port)).unwrap();
        drop(listener);
        client.delete(&id("full"), soon()).unwrap();
        assert_eq!((lab.leases("lab"), lab.records()), (vec![], vec![]), "{version}");
        assert_eq!(sh("ip -o link show type veth; ip -o link show type ifb"), "", "{version}");
        assert!(!sh("iptables -t nat -S").contains("full"), "{version}: {}", sh("iptables -t nat -S"));
        assert!(!sh("iptables -t nat -S").contains(&host_port.to_string()), "{version}");
    }
}

#[test]
fn a_namespace_that_went_first_leaves_nothing() {
    if !ready(&["ptp", "host-local", "portmap"]) {
        return;
    }
    let lab = Lab::new();
    let config = r#"{"cniVersion": "1.0.0", "name": "lab", "plugins": [
        {"type": "ptp", "ipMasq": true, "ipam": {"type": "host-local", "dataDir": "IPAM", "subnet": "10.89.0.0/24"}},
        {"type": "portmap", "capabilities": {"portMappings": true}}]}"#;
    lab.config("10-lab.conflist", config);
    let client = lab.client();
    let netns = Netns::new();
    let mut request = add("gone", &netns);
    request.capabilities.port_mappings =
        vec![PortMapping { host_port: 8081, container_port: 80, protocol: Protocol::Udp, host_ip: None }];
    client.add(&request, soon()).unwrap();
    assert_eq!(lab.leases("lab").len(), 1);
    assert!(sh("iptables -t nat -S").contains("8081"));
    drop(netns);
    client.delete(&id("gone"), soon()).unwrap();
    assert_eq!((lab.leases("lab"), lab.records()), (vec![], vec![]));
    assert!(!sh("iptables -t nat -S").contains("8081"), "{}", sh("iptables -t nat -S"));
}

#[test]
fn many_at_once_get_addresses_of_their_own() {
    if !ready(&["bridge", "host-local"]) {
        return;
    }
    let lab = Lab::new();
    lab.config("10-lab.conflist", BRIDGE);
    let client = lab.client();
    // A thread that was started here is in the namespaces of this one.
    let mut ips: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..16)
            .map(|number| {
                let client = &client;
                scope.spawn(move || {
                    let netns = Netns::new();
                    let name = format!("many{number}");
                    let added = client.add(&add(&name, &netns), soon()).unwrap();
                    let ip = added.attachment.container_ips().next().unwrap().to_string();
                    if number % 2 == 0 {
                        client.delete(&id(&name), soon()).unwrap();
                    }
                    (ip, netns)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap().0).collect()
    });
    ips.sort();
    ips.dedup();
    assert_eq!(lab.leases("lab").len(), 8);
    assert!(ips.len() >= 8, "{ips:?}");
    client.gc(&|_| false, soon()).unwrap();
    assert_eq!((lab.leases("lab"), lab.records()), (vec![], vec![]));
}

#[test]
fn no_addresses_left_is_the_plugins_word_and_leaves_nothing() {
    if !ready(&["bridge", "host-local"]) {
        return;
    }
    let lab = Lab::new();
    lab.config("10-lab.conflist", &BRIDGE.replace("10.88.0.0/24", "10.88.0.0/30"));
    let client = lab.client();
    let (first, second) = (Netns::new(), Netns::new());
    client.add(&add("full1", &first), soon()).unwrap();
    let error = client.add(&add("full2", &second), soon()).unwrap_err().to_string();
    let expected = "network lab, container full2, eth0: plugin bridge: ADD: failed to allocate for range 0: no IP addresses available";
    assert!(error.starts_with(expected), "{error}");
    assert_eq!((lab.records().len(), lab.leases("lab").len()), (2, 1));
    assert_eq!(second.run("ip -o link show type veth"), "");
    client.delete(&id("full1"), soon()).unwrap();
    assert_eq!(sh("ip -o link show type veth"), "");
}

#[test]
fn loopback_without_a_plugin() {
    if !ready(&[]) {
        return;
    }
    let netns = Netns::new();
    assert!(netns.run("ip -o link show lo").contains("state DOWN"));
    bring_loopback_up(netns.as_fd()).unwrap();
    let listener = netns.inside(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        listener
    });
    drop(listener);
    assert!(netns.run("ip -o addr show lo").contains("::1/128"));
    let error = bring_loopback_up(std::fs::File::open("/dev/null").unwrap().as_fd()).unwrap_err().to_string();
    assert!(error.starts_with("setns(<network namespace>, CLONE_NEWNET): EINVAL"), "{error}");
}
