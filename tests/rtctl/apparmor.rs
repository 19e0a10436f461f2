//! `--security-opt apparmor=`: confined by the kernel. `hack/uml-systemd` has one with AppArmor.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use tests::{needs, rtctl_test};

const PROFILE: &str = "profile rt-test flags=(attach_disconnected,mediate_deleted) {
  file,
  capability,
  deny /tmp/** w,
}
";

fn parser(verb: &str) {
    let mut parser = Command::new("apparmor_parser").args([verb, "-K"]).stdin(Stdio::piped()).spawn().unwrap();
    parser.stdin.take().unwrap().write_all(PROFILE.as_bytes()).unwrap();
    assert!(parser.wait().unwrap().success());
}

#[test]
fn a_profile_confines() {
    rtctl_test(|r| {
        let enabled = fs::read("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.first() == Some(&b'Y'));
        needs!(r.test, enabled, "the kernel has no AppArmor, or it is off");
        let found = Command::new("apparmor_parser").arg("--version").stdout(Stdio::null()).status();
        needs!(r.test, found.is_ok(), "no apparmor_parser");
        parser("-r");
        let confined = ["--security-opt", "apparmor=rt-test"];
        let script = "cat /proc/self/attr/current; echo no 2>/dev/null >/tmp/made; echo $?; echo yes >/made; cat /made";
        assert_eq!(r.sh(&confined, script).ok(), "rt-test (enforce)\n1\nyes");
        // Also process 1, if it is not the program.
        let script = "cat /proc/1/attr/current /proc/self/attr/current";
        assert_eq!(
            r.sh(&["--security-opt", "apparmor=rt-test", "--init"], script).ok(),
            "rt-test (enforce)\nrt-test (enforce)"
        );
        // A process that is executed in it as well.
        let id = r.detached(&[&confined[..], &["busybox", "sleep", "1000"]].concat());
        assert_eq!(r.ok(&["exec", &id, "cat", "/proc/self/attr/current"]), "rt-test (enforce)");
        r.ok(&["rm", "-f", &id]);
        assert_eq!(r.sh(&["--security-opt", "apparmor=unconfined"], "cat /proc/self/attr/current").ok(), "unconfined");
        // One that is not loaded: refused, and the profile is named.
        let refused = r.sh(&["--security-opt", "apparmor=rt-missing"], "true");
        assert_ne!(refused.code, 0);
        assert!(refused.stderr.contains("rt-missing"), "{refused}");
        parser("-R");
    });
}
