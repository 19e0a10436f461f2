//! `linux.sysctl` (runtime-spec config-linux.md, "Sysctl").

use std::fs;

use serde_json::json;
use tests::{Kind, differs, test};

#[test]
fn namespaced_values_are_set_inside_only() {
    test(|t| {
        let files =
            ["/proc/sys/net/ipv4/ip_unprivileged_port_start", "/proc/sys/kernel/shmmni", "/proc/sys/fs/mqueue/msg_max"];
        let read = || files.map(|file| fs::read_to_string(file).unwrap_or_default());
        let before = read();
        let values =
            json!({"net.ipv4.ip_unprivileged_port_start": "777", "kernel.shmmni": "2048", "fs.mqueue.msg_max": "33"});
        let bundle = t.bundle().set("/linux/sysctl", values);
        assert_eq!(t.run(&bundle.args(&["/bin/cat", files[0], files[1], files[2]])).ok(), "777\n2048\n33");
        assert_eq!(read(), before);
    });
}

#[test]
fn value_of_the_whole_kernel_is_refused() {
    test(|t| {
        let before = fs::read_to_string("/proc/sys/vm/swappiness").unwrap();
        t.run(&t.bundle().set("/linux/sysctl", json!({"vm.swappiness": "61"}))).fails(&["vm.swappiness"]);
        assert_eq!(fs::read_to_string("/proc/sys/vm/swappiness").unwrap(), before);
    });
}

#[test]
fn value_of_a_shared_namespace_is_refused() {
    test(|t| {
        let before = fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap();
        let value = if before.trim() == "0" { "1" } else { "0" };
        t.run(&t.bundle().share("network").set("/linux/sysctl", json!({"net.ipv4.ip_forward": value})))
            .fails(&["net.ipv4.ip_forward"]);
        t.run(&t.bundle().share("ipc").set("/linux/sysctl", json!({"kernel.shmmni": "77"}))).fails(&["kernel.shmmni"]);
        assert_eq!(fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap(), before);
    });
}

#[test]
fn name_cannot_leave_the_folder() {
    test(|t| {
        for name in ["net.ipv4./../../kernel/hostname", "net/../kernel/core_pattern", "net...kernel.core_pattern"] {
            let before = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
            t.run(&t.bundle().set("/linux/sysctl", json!({name: "|/bad"}))).fails(&[]);
            assert_eq!(fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap(), before);
        }
    });
}

#[test]
fn unknown_name_is_refused() {
    test(|t| {
        t.run(&t.bundle().set("/linux/sysctl", json!({"net.ipv4.no_such_value": "1"}))).fails(&["no_such_value"]);
    });
}

#[test]
fn hostname_by_sysctl_is_refused_beside_the_member() {
    test(|t| {
        differs!(t, Kind::Crun, "1.8 sets both");
        t.run(&t.bundle().set("/linux/sysctl", json!({"kernel.hostname": "other"}))).fails(&["kernel.hostname"]);
    });
}
