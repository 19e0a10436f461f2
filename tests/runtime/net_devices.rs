//! `linux.netDevices` (runtime-spec config-linux.md, "Network Devices").

use std::process::Command;

use serde_json::{Value, json};
use tests::{Kind, differs, has_networks, links, needs, test};

fn ip(args: &str) {
    let status = Command::new("ip").args(args.split(' ')).status().unwrap();
    assert!(status.success(), "ip {args}");
}

#[test]
fn they_move_with_their_addresses() {
    test(|t| {
        differs!(t, Kind::Runc, "1.1 does not know netDevices");
        differs!(t, Kind::Crun, "1.8 does not know netDevices");
        needs!(t, has_networks(), "the kernel has no veth");
        ip("link add host0 type veth peer name host1");
        ip("link add host2 type veth peer name host3");
        ip("address add 192.0.2.77/25 brd + dev host0");
        ip("address add 2001:db8::77/64 dev host0 nodad");
        ip("address add 127.7.7.7/32 scope host dev host0");
        let devices = json!({"host0": {"name": "eth7"}, "host2": {}});
        let sysctl = json!({"net.ipv4.conf.eth7.forwarding": "1"});
        let container = t.hold(t.bundle().set("/linux/netDevices", devices).set("/linux/sysctl", sysctl));
        let names: Vec<String> = links().into_iter().collect();
        assert!(!names.iter().any(|name| name == "host0" || name == "host2"), "{names:?}");
        let text = container.exec(&["ip", "address", "show", "dev", "eth7"]).ok();
        for wanted in ["192.0.2.77/25", "brd 192.0.2.127", "2001:db8::77/64", "UP"] {
            assert!(text.contains(wanted), "{wanted} in {text}");
        }
        assert!(!text.contains("127.7.7.7"), "global addresses only: {text}");
        assert_eq!(container.exec(&["cat", "/proc/sys/net/ipv4/conf/eth7/forwarding"]).ok(), "1");
        let text = container.exec(&["ip", "link", "show", "dev", "host2"]).ok();
        assert!(text.contains("UP"), "{text}");
        ip("link del host1");
        ip("link del host3");
        container.end();
    });
}

#[test]
fn into_a_joined_namespace_and_a_user_namespace() {
    test(|t| {
        differs!(t, Kind::Runc, "1.1 does not know netDevices");
        differs!(t, Kind::Crun, "1.8 does not know netDevices");
        needs!(t, has_networks(), "the kernel has no veth");
        let holder = t.hold(t.bundle());
        ip("link add host0 type veth peer name host1");
        let path = format!("/proc/{}/ns/net", holder.pid);
        let bundle =
            t.bundle().namespace("network", Some(&path)).set("/linux/netDevices", json!({"host0": {"name": "in"}}));
        t.run(&bundle.args(&["ip", "link", "show", "dev", "in"])).ok();
        // It has stayed in the namespace, which is not the container's own.
        holder.exec(&["ip", "link", "show", "dev", "in"]).ok();
        ip("link del host1");
        holder.end();
        ip("link add host0 type veth peer name host1");
        let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
        let bundle = t.bundle().namespace("user", None).set("/linux/uidMappings", map.clone());
        let bundle = bundle.set("/linux/gidMappings", map).set("/linux/netDevices", json!({"host0": {"name": "in"}}));
        let container = t.hold(bundle);
        container.exec(&["ip", "link", "show", "dev", "in"]).ok();
        ip("link del host1");
        container.end();
    });
}

#[test]
fn what_is_wrong_is_named_and_nothing_moves() {
    test(|t| {
        differs!(t, Kind::Runc, "1.1 does not know netDevices");
        differs!(t, Kind::Crun, "1.8 does not know netDevices");
        let with = |devices: Value| t.bundle().set("/linux/netDevices", devices);
        let before = links();
        for (bundle, path) in [
            (with(json!({"none0": {}})), "linux.netDevices[\"none0\"]"),
            (with(json!({"lo": {"name": "a/b"}})), "linux.netDevices[\"lo\"].name"),
            (with(json!({"lo": {"name": "sixteen-letters-"}})), "linux.netDevices[\"lo\"].name"),
            (with(json!({"a": {"name": "x"}, "b": {"name": "x"}})), "linux.netDevices[\"b\"].name"),
            (with(json!({"": {}})), "linux.netDevices[\"\"]"),
            (with(json!({"lo": 5})), "linux.netDevices[\"lo\"]"),
            (with(json!({"lo": {}})).share("network"), "linux.netDevices"),
            // The kernel keeps its loopback interface where it is.
            (with(json!({"lo": {"name": "lo2"}})), "linux.netDevices[\"lo\"]"),
        ] {
            t.run(&bundle).fails(&[path]);
        }
        assert_eq!(links(), before);
    });
}
