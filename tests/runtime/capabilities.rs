//! `process.capabilities` and `noNewPrivileges` (runtime-spec config.md, "Linux Process").

use std::fs;

use serde_json::json;
use tests::{Kind, differs, test};

const NO_SETS: &str = "0000000000000000";

#[test]
fn sets_are_exactly_as_configured() {
    test(|t| {
        // CAP_CHOWN is 0, CAP_KILL 5, CAP_NET_BIND_SERVICE 10.
        let sets = json!({
            "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_BIND_SERVICE"],
            "permitted": ["CAP_CHOWN", "CAP_KILL"],
            "effective": ["CAP_CHOWN"],
            "inheritable": ["CAP_KILL"],
            "ambient": ["CAP_KILL"],
        });
        let facts = t.facts(
            t.bundle().set("/process/capabilities", sets).set("/process/user", json!({"uid": 1000, "gid": 1000})),
        );
        let status = &facts["status"];
        assert_eq!(status["CapBnd"], "0000000000000421");
        assert_eq!(status["CapInh"], "0000000000000020");
        assert_eq!(status["CapAmb"], "0000000000000020");
        // Of a user other than root only the ambient ones survive execve.
        assert_eq!(status["CapPrm"], "0000000000000020");
        assert_eq!(status["CapEff"], "0000000000000020");
    });
}

#[test]
fn root_has_the_bounding_set() {
    test(|t| {
        let bundle = t.bundle().capabilities(&["bounding", "permitted", "effective"], &["CAP_CHOWN", "CAP_SYS_ADMIN"]);
        let facts = t.facts(bundle);
        for set in ["CapBnd", "CapPrm", "CapEff"] {
            assert_eq!(facts["status"][set], "0000000000200001", "{set}");
        }
        // CVE-2022-29162: a filled inheritable set is a way to keep what a file capability should have dropped.
        assert_eq!(facts["status"]["CapInh"], NO_SETS);
        assert_eq!(facts["status"]["CapAmb"], NO_SETS);
    });
}

#[test]
fn empty_sets_are_empty() {
    test(|t| {
        let facts = t.facts(t.bundle().set("/process/capabilities", json!({})));
        for set in ["CapBnd", "CapPrm", "CapEff", "CapInh", "CapAmb"] {
            assert_eq!(facts["status"][set], NO_SETS, "{set}");
        }
    });
}

#[test]
fn absent_sets_grant_nothing() {
    test(|t| {
        differs!(t, Kind::Runc, "1.1 leaves the sets of its caller");
        let facts = t.facts(t.bundle().unset("/process/capabilities"));
        for set in ["CapBnd", "CapPrm", "CapEff", "CapInh", "CapAmb"] {
            assert_eq!(facts["status"][set], NO_SETS, "{set}");
        }
    });
}

#[test]
fn unknown_name_is_refused() {
    test(|t| {
        differs!(t, Kind::Runc, "1.1 warns and goes on");
        differs!(t, Kind::Crun, "1.8 ignores it");
        let bundle = t.bundle().capabilities(&["bounding", "permitted", "effective"], &["CAP_FLY"]);
        t.run(&bundle).fails(&["CAP_FLY", "process.capabilities"]);
    });
}

#[test]
fn no_new_privileges() {
    test(|t| {
        assert_eq!(t.facts(t.bundle().set("/process/noNewPrivileges", json!(true)))["status"]["NoNewPrivs"], "1");
        assert_eq!(t.facts(t.bundle().set("/process/noNewPrivileges", json!(false)))["status"]["NoNewPrivs"], "0");
    });
}

#[test]
fn set_user_id_program_is_bound_by_no_new_privileges() {
    test(|t| {
        for (flag, uid) in [(true, "1000"), (false, "0")] {
            let bundle = t
                .bundle()
                .set("/process/noNewPrivileges", json!(flag))
                .set("/process/user", json!({"uid": 1000, "gid": 1000}));
            fs::create_dir(bundle.rootfs().join("suid")).unwrap();
            // Not the shared copy: its mode changes.
            let program = bundle.rootfs().join("suid/cat");
            fs::copy("/bin/busybox", &program).unwrap();
            std::os::unix::fs::chown(&program, Some(0), Some(0)).unwrap();
            fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o4755)).unwrap();
            let bundle = bundle.args(&["/suid/cat", "/proc/self/status"]);
            let output = t.run(&bundle).ok();
            let line = output.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap();
            assert_eq!(line.split_whitespace().nth(1), Some(uid), "no new privileges {flag}: {line}");
        }
    });
}
