//! Containers on networks: addresses, routes, names, and what is refused.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod network;

use std::io::ErrorKind;
use std::net::TcpStream;

use network::{Host, inside, netns, plain, run};

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
        let refused = TcpStream::connect("172.17.0.1:9").unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    });
    assert!(run("ip link show master rt0").contains(&record.veth));
    assert_eq!(host.networks.attachments().unwrap().len(), 1);

    assert_eq!(host.networks.detach("one", None).unwrap().len(), 1);
    assert!(host.networks.detach("one", None).unwrap().is_empty());
    assert_eq!(run("ip link show master rt0"), "");
    assert!(!inside(&container, || run("ip -o link show")).contains("eth0"));
    assert!(host.networks.attachments().unwrap().is_empty());
}
