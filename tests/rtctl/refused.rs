//! Flags that are not built are refused by name, never ignored; bad input says what is wrong.

use tests::rtctl_test;

#[test]
fn unknown_flags_and_verbs() {
    rtctl_test(|r| {
        r.call(&["run", "--no-such-flag", "busybox"]).fails(&["no-such-flag"]);
        r.call(&["fly"]).fails(&["fly"]);
    });
}

#[test]
fn flags_that_are_not_built() {
    rtctl_test(|r| {
        for args in [
            &["run", "--rm", "--link-local-ip", "169.254.0.2", "busybox", "true"] as &[&str],
            &["network", "create", "--driver", "overlay", "mine"],
        ] {
            let output = r.call(args);
            assert_eq!(output.code, 125, "{args:?}: {output}");
            output.fails(&[args[2].trim_start_matches('-')]);
        }
    });
}

#[test]
fn contradictions() {
    rtctl_test(|r| {
        for flags in [
            &["-d", "--rm", "--restart", "always"] as &[&str],
            &["--network", "none", "--network", "host"],
            &["--memory", "1k"],
            &["--cpus", "-1"],
            &["--ulimit", "nofile=10:5"],
            &["--workdir", "relative"],
            &["--network", "none", "--hostname", "x\n1.2.3.4 y"],
            &["--network", "none", "--domainname", "a b"],
            &["--pull", "maybe"],
            &["--platform", "vax/vms"],
        ] {
            let output = r.call(&[&["run"], flags, &["busybox", "true"]].concat());
            assert_eq!(output.code, 125, "{flags:?}: {output}");
            assert!(!output.stderr.trim().is_empty());
        }
    });
}

#[test]
fn state_of_a_newer_version_is_left_alone() {
    rtctl_test(|r| {
        let id = r.ok(&["create", "busybox"]);
        let file = r.state().join("local").join(&id).join("container.json");
        let old = std::fs::read_to_string(&file).unwrap();
        let mut value: serde_json::Value = serde_json::from_str(&old).unwrap();
        value["version"] = serde_json::json!(999);
        std::fs::write(&file, value.to_string()).unwrap();
        r.call(&["start", &id]).fails(&["version"]);
        std::fs::write(&file, old).unwrap();
        r.ok(&["rm", &id]);
    });
}
