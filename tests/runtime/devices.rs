//! `linux.devices`, the default devices and the device rules (runtime-spec config-linux.md, "Devices", "Default Devices", "Allowed Device list").

use serde_json::json;
use tests::{Kind, differs, kind, needs, test};

#[test]
fn default_devices_and_links() {
    test(|t| {
        let script = "cd /dev; stat -c '%n %F %t:%T %a %u:%g' null zero full random urandom tty; for l in fd stdin stdout stderr ptmx; do echo $l $(readlink $l); done";
        let expected = "null character special file 1:3 666 0:0
zero character special file 1:5 666 0:0
full character special file 1:7 666 0:0
random character special file 1:8 666 0:0
urandom character special file 1:9 666 0:0
tty character special file 5:0 666 0:0
fd /proc/self/fd
stdin /proc/self/fd/0
stdout /proc/self/fd/1
stderr /proc/self/fd/2
ptmx pts/ptmx";
        assert_eq!(t.run(&t.bundle().sh(script)).ok(), expected);
    });
}

#[test]
fn default_devices_work() {
    test(|t| {
        let script =
            "echo x >/dev/null; head -c 3 /dev/zero | wc -c; head -c 5 /dev/urandom | wc -c; echo x >/dev/full";
        let output = t.run(&t.bundle().sh(script));
        assert_eq!(output.stdout, "3\n5\n");
        assert!(output.stderr.contains("No space left"), "{output}");
    });
}

#[test]
fn additional_device_with_mode_and_owner() {
    test(|t| {
        let device = json!({"path": "/dev/sub/mine", "type": "c", "major": 1, "minor": 5, "fileMode": 0o640, "uid": 1000, "gid": 1001});
        let bundle = t.bundle().push("/linux/devices", device);
        assert_eq!(
            t.run(&bundle.sh("stat -c '%F %t:%T %a %u:%g' /dev/sub/mine")).ok(),
            "character special file 1:5 640 1000:1001"
        );
    });
}

#[test]
fn mode_is_free_of_the_umask() {
    test(|t| {
        let device = json!({"path": "/dev/mine", "type": "c", "major": 1, "minor": 5, "fileMode": 0o666});
        let bundle = t.bundle().push("/linux/devices", device).sh("stat -c %a /dev/mine /dev/null");
        bundle.write();
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", "umask 077; exec \"$0\" \"$@\""]);
        let inner = t.command(&["run", "--bundle", bundle.dir.to_str().unwrap(), &t.id()]);
        shell.arg(inner.get_program()).args(inner.get_args());
        let output: tests::Output = shell.output().unwrap().into();
        assert_eq!(output.ok(), "666\n666");
    });
}

#[test]
fn device_that_is_not_allowed_cannot_be_opened() {
    test(|t| {
        needs!(
            t,
            kind() != Kind::Crun || tests::has_capability(24),
            "crun 1.8 needs CAP_SYS_RESOURCE for device rules"
        );
        // /dev/kmsg: there, but not in the list.
        let bundle = t.bundle().sh("mknod /tmp/kmsg c 1 11 && head -c 1 /tmp/kmsg");
        let output = t.run(&bundle);
        assert_ne!(output.code, 0);
        assert!(output.stderr.contains("Operation not permitted"), "{output}");
    });
}

#[test]
fn allowed_device_can_be_opened() {
    test(|t| {
        needs!(
            t,
            kind() != Kind::Crun || tests::has_capability(24),
            "crun 1.8 needs CAP_SYS_RESOURCE for device rules"
        );
        let rules = json!([{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 1, "minor": 99, "access": "r"}]);
        // No driver has 1:99: what the rule does not allow is EPERM, what it allows ENXIO.
        let device = json!({"path": "/dev/none", "type": "c", "major": 1, "minor": 99});
        let bundle = t.bundle().set("/linux/resources/devices", rules).push("/linux/devices", device);
        let output = t.run(&bundle.sh("(: >>/dev/none) 2>&1; echo; (: </dev/none) 2>&1; true")).ok();
        let (writing, reading) = output.split_once("\n\n").unwrap();
        assert!(writing.contains("Operation not permitted"), "{output}");
        assert!(reading.contains("No such device or address"), "{output}");
    });
}

#[test]
fn wildcard_rule_allows_all() {
    test(|t| {
        needs!(
            t,
            kind() != Kind::Crun || tests::has_capability(24),
            "crun 1.8 needs CAP_SYS_RESOURCE for device rules"
        );
        let bundle = t.bundle().set("/linux/resources/devices", json!([{"allow": true, "access": "rwm"}]));
        let output = t.run(&bundle.sh("mknod /tmp/kmsg c 1 11 && : >/tmp/kmsg"));
        assert!(!output.stderr.contains("Operation not permitted"), "{output}");
    });
}

#[test]
fn unknown_device_type_is_refused() {
    test(|t| {
        differs!(t, Kind::Crun, "1.8 makes a file of it");
        let bundle = t.bundle().push("/linux/devices", json!({"path": "/dev/x", "type": "z", "major": 1, "minor": 5}));
        t.run(&bundle).fails(&[]);
    });
}

#[test]
fn fifo_device() {
    test(|t| {
        let bundle = t.bundle().push("/linux/devices", json!({"path": "/dev/pipe", "type": "p", "fileMode": 0o600}));
        assert_eq!(t.run(&bundle.sh("stat -c '%F %a' /dev/pipe")).ok(), "fifo 600");
    });
}
