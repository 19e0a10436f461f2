//! Landlock by the annotation `io.rt.landlock` (docs/runtime.md).

use serde_json::{Value, json};
use tests::{Bundle, Kind, Test, differs, test};

/// Accesses of landlock(7): writing a file, making a file, reading a file; connecting to TCP.
const WRITE: u64 = 1 << 1;
const READ: u64 = 1 << 2;
const MAKE: u64 = 1 << 8;
const CONNECT: u64 = 1 << 1;

fn with(t: &Test, rules: Value) -> Bundle {
    t.bundle().set("/annotations", json!({"io.rt.landlock": rules.to_string()}))
}

/// Whether the kernel has it; where it has not, the error says so.
fn supported(t: &Test) -> bool {
    let output = t.run(&with(t, json!({"fs": WRITE})));
    let none = output.stderr.contains("this kernel has no Landlock");
    if none {
        output.fails(&["landlock", "io.rt.landlock"]);
        t.skip("the kernel has no Landlock");
    }
    !none
}

#[test]
fn files() {
    test(|t| {
        differs!(t, Kind::Runc, "it has no Landlock");
        differs!(t, Kind::Crun, "it has no Landlock");
        if !supported(t) {
            return;
        }
        let script = "echo x >/tmp/made && echo tmp; echo y >>/etc/passwd || echo etc refused; cat /etc/group >/tmp/made && echo read";
        let rules = json!({"fs": WRITE | MAKE, "paths": [{"access": WRITE | MAKE, "paths": ["/tmp", "/dev"]}]});
        for uid in [0, 1000] {
            let bundle = with(t, rules.clone()).sh(script).set("/process/user/uid", json!(uid));
            let folder = bundle.rootfs().join("tmp");
            std::fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
            for no_new_privileges in [false, true] {
                let bundle = Bundle { dir: bundle.dir.clone(), spec: bundle.spec.clone() }
                    .set("/process/noNewPrivileges", json!(no_new_privileges));
                let output = t.run(&bundle);
                assert_eq!(output.stdout, "tmp\netc refused\nread\n", "{output}");
            }
        }
        let container = t.hold(with(t, rules));
        let output = container.exec(&["sh", "-c", "echo x >/tmp/made && echo y >/etc/passwd"]);
        assert_ne!(output.code, 0, "{output}");
        container.exec(&["sh", "-c", "echo x >/tmp/made"]).ok();
        container.end();
        let bundle = with(t, json!({"fs": READ, "paths": [{"access": READ, "paths": ["/bin"]}]}));
        assert_ne!(t.run(&bundle.args(&["/bin/cat", "/etc/passwd"])).code, 0);
    });
}

#[test]
fn capabilities_are_those_of_the_document() {
    test(|t| {
        differs!(t, Kind::Runc, "it has no Landlock");
        differs!(t, Kind::Crun, "it has no Landlock");
        if !supported(t) {
            return;
        }
        // Rules are taken with CAP_SYS_ADMIN, which must not stay.
        let plain = t.facts(t.bundle());
        let ruled = t.facts(with(t, json!({"fs": MAKE})));
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs"] {
            assert_eq!(plain["status"][set], ruled["status"][set], "{set}");
        }
    });
}

#[test]
fn ports() {
    test(|t| {
        differs!(t, Kind::Runc, "it has no Landlock");
        differs!(t, Kind::Crun, "it has no Landlock");
        if !supported(t) {
            return;
        }
        let rules = json!({"net": CONNECT, "ports": [{"access": CONNECT, "port": 7001}]});
        let ask = |port: &str| t.run(&with(t, rules.clone()).args(&["/bin/payload", "ask", "tcp", "127.0.0.1", port]));
        let allowed = ask("7001");
        if allowed.stderr.contains("landlock_create_ruleset") {
            return t.skip("the kernel's Landlock has no ports");
        }
        // Nobody is there: both fail, one by the network and one by the rules.
        let errno = |port: &str| {
            let script = format!("printf x | busybox nc 127.0.0.1 {port} 2>&1");
            t.run(&with(t, rules.clone()).sh(&script)).stdout.to_lowercase()
        };
        assert!(errno("7001").contains("refused"), "{}", errno("7001"));
        assert!(errno("7002").contains("denied"), "{}", errno("7002"));
    });
}

#[test]
fn what_is_wrong_is_named() {
    test(|t| {
        differs!(t, Kind::Runc, "it has no Landlock");
        differs!(t, Kind::Crun, "it has no Landlock");
        let at = "annotations[\"io.rt.landlock\"]";
        t.run(&t.bundle().set("/annotations", json!({"io.rt.landlock": "{"}))).fails(&[at, "JSON"]);
        t.run(&with(t, json!({}))).fails(&[at]);
        t.run(&with(t, json!({"fs": "all"}))).fails(&["annotations[\"io.rt.landlock\"].fs"]);
        t.run(&with(t, json!({"fs": 2, "paths": [{"access": 2, "paths": ["tmp"]}]}))).fails(&["paths[0].paths[0]"]);
        t.run(&with(t, json!({"net": 2, "ports": [{"access": 2, "port": 70000}]}))).fails(&["ports[0].port"]);
        if !supported(t) {
            return;
        }
        t.run(&with(t, json!({"fs": 2, "paths": [{"access": 2, "paths": ["/missing"]}]})))
            .fails(&["landlock", "/missing"]);
        t.run(&with(t, json!({"fs": 1_u64 << 40}))).fails(&["landlock", "does not know"]);
    });
}
