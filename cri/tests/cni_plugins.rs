//! Debian's plugins, on a host of the test's own.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod cni_lab;

use std::net::{TcpListener, TcpStream};

use cni_lab::{BRIDGE, Lab, Netns, add, id, ready, soon};

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

    client.delete(&id("c1"), soon()).unwrap();
    assert_eq!(netns.run("ip -o link show type veth"), "");
    assert_eq!(lab.leases("lab"), [""; 0]);
    assert_eq!(lab.records(), [""; 0]);
    client.delete(&id("c1"), soon()).unwrap();
}
