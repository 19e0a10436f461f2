//! Exit codes of `run`: those of the program, 128 + signal, 126 and 127.

use serde_json::json;
use tests::{Kind, kind, test};

#[test]
fn programs_code_is_passed_on() {
    test(|t| {
        for code in [0, 1, 2, 42, 125, 126, 127, 128, 200, 255] {
            assert_eq!(t.run(&t.bundle().sh(&format!("exit {code}"))).code, code);
        }
    });
}

#[test]
fn signal_is_128_and_its_number() {
    test(|t| {
        // The first process of a pid namespace is not killed by its own signals: a child of it is, and its shell tells.
        let bundle = t.bundle().share("pid");
        for (signal, code) in [("KILL", 137), ("TERM", 143), ("SEGV", 139), ("HUP", 129)] {
            let script = format!("kill -{signal} $$; sleep 1000");
            let bundle = tests::Bundle { dir: bundle.dir.clone(), spec: bundle.spec.clone() }.sh(&script);
            assert_eq!(t.run(&bundle).code, code, "{signal}");
        }
    });
}

#[test]
fn missing_program_is_named() {
    test(|t| {
        for args in [&["/bin/not-there"] as &[&str], &["not-there"], &["./not-there"], &["/not/there"]] {
            let output = t.run(&t.bundle().args(args));
            if kind() == Kind::Rt {
                assert_eq!(output.code, 127, "{output}");
            }
            output.fails(&["not"]);
        }
    });
}

#[test]
fn program_that_cannot_be_run_is_named() {
    test(|t| {
        for name in ["/etc/passwd", "/etc", "/etc/passwd/x"] {
            let output = t.run(&t.bundle().args(&[name]));
            if kind() == Kind::Rt {
                assert_eq!(output.code, if name.ends_with('x') { 127 } else { 126 }, "{name}: {output}");
            }
            // crun 1.8 does not name it.
            output.fails(if kind() == Kind::Crun { &[] } else { &["/etc"] });
        }
    });
}

#[test]
fn missing_interpreter_is_not_a_missing_file() {
    test(|t| {
        let bundle = t.bundle().args(&["/script"]);
        std::fs::write(bundle.rootfs().join("script"), "#!/no/interpreter\n").unwrap();
        std::fs::set_permissions(bundle.rootfs().join("script"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .unwrap();
        let output = t.run(&bundle);
        assert_ne!(output.code, 0);
        assert!(kind() != Kind::Rt || output.code == 127, "{output}");
        assert_eq!(t.runtime(&["list", "-q"]).ok(), "");
    });
}

#[test]
fn garbage_cannot_be_run() {
    test(|t| {
        let bundle = t.bundle().args(&["/garbage"]);
        std::fs::write(bundle.rootfs().join("garbage"), [0x7f, b'E', b'L', b'F', 9, 9, 9]).unwrap();
        std::fs::set_permissions(bundle.rootfs().join("garbage"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .unwrap();
        let output = t.run(&bundle);
        assert_ne!(output.code, 0);
        assert!(kind() != Kind::Rt || output.code == 126, "{output}");
    });
}

#[test]
fn program_of_a_user_without_the_right() {
    test(|t| {
        let bundle = t.bundle().args(&["/bin/private"]).set("/process/user", json!({"uid": 1000, "gid": 1000}));
        let program = bundle.rootfs().join("bin/private");
        std::fs::copy("/bin/busybox", &program).unwrap();
        std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        let output = t.run(&bundle);
        assert!(kind() != Kind::Rt || output.code == 126, "{output}");
        output.fails(&["private"]);
    });
}
