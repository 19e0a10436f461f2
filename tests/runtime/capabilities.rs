//! `process.capabilities` and `noNewPrivileges` (runtime-spec config.md, "Linux Process").

use std::fs;

use serde_json::json;
use tests::{Kind, differs, kind, test};

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
fn ambient_without_inheritable_grants_nothing() {
    test(|t| {
        // As `runc spec` of 1.1 writes it.
        let sets = json!({"bounding": ["CAP_KILL"], "permitted": ["CAP_KILL"], "effective": ["CAP_KILL"], "ambient": ["CAP_KILL"]});
        let bundle = t.bundle().set("/process/capabilities", sets).set("/process/user/uid", json!(1000));
        let facts = t.facts(bundle);
        assert_eq!(facts["status"]["CapAmb"], NO_SETS);
        assert_eq!(facts["status"]["CapEff"], NO_SETS);
    });
}

#[test]
fn unknown_names_are_left_out_with_a_warning() {
    test(|t| {
        let bundle = t.bundle().capabilities(&["bounding", "permitted", "effective"], &["CAP_KILL", "CAP_FLY"]);
        let output = t.run(&bundle.args(&["/bin/payload", "facts"]));
        // crun 1.8 says nothing.
        assert!(output.stderr.contains("CAP_FLY") || kind() == Kind::Crun, "{output}");
        assert_eq!(output.json()["status"]["CapEff"], "0000000000000020");
        if kind() == Kind::Rt {
            let container = t.hold(t.bundle());
            let output = container.exec_with(&["--cap", "CAP_FLY"], &["/bin/echo", "here"]);
            assert!(output.stderr.contains("[\"CAP_FLY\"]"), "{output}");
            assert_eq!(output.ok(), "here");
            container.end();
        }
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
            let program = bundle.rootfs().join("suid/payload");
            fs::copy(tests::payload(), &program).unwrap();
            std::os::unix::fs::chown(&program, Some(0), Some(0)).unwrap();
            fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o4755)).unwrap();
            let facts = t.run(&bundle.args(&["/suid/payload", "facts"])).json();
            let ids = facts["status"]["Uid"].as_str().unwrap();
            assert_eq!(ids.split('\t').nth(1), Some(uid), "no new privileges {flag}: {ids}");
        }
    });
}
