//! The command line itself: features, spec, version, options before and after positionals, logs.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tests::{Kind, differs, kind, test};

#[test]
fn features_are_told() {
    test(|t| {
        differs!(t, Kind::Crun, "1.8 has no features verb");
        let features = t.runtime(&["features"]).json();
        assert!(features["ociVersionMin"].as_str().unwrap().starts_with("1."));
        assert!(features["ociVersionMax"].as_str().unwrap().starts_with("1."));
        let has =
            |pointer: &str, name: &str| features.pointer(pointer).unwrap().as_array().unwrap().contains(&json!(name));
        for hook in ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"] {
            assert!(has("/hooks", hook), "{hook}");
        }
        for option in ["ro", "rro", "rbind", "nosuid", "rslave"] {
            assert!(has("/mountOptions", option), "{option}");
        }
        for namespace in ["cgroup", "ipc", "mount", "network", "pid", "user", "uts"] {
            assert!(has("/linux/namespaces", namespace), "{namespace}");
        }
        assert!(has("/linux/capabilities", "CAP_SYS_ADMIN"));
        assert_eq!(features["linux"]["seccomp"]["enabled"], true);
        assert!(has("/linux/seccomp/actions", "SCMP_ACT_ERRNO"));
        assert!(has("/linux/seccomp/operators", "SCMP_CMP_MASKED_EQ"));
        assert_eq!(features["linux"]["cgroup"]["v2"], true);
    });
}

#[test]
fn spec_writes_a_configuration_that_runs() {
    test(|t| {
        let bundle = t.bundle();
        t.runtime(&["spec", "--bundle", bundle.dir.to_str().unwrap()]).ok();
        let file = bundle.dir.join("config.json");
        let mut spec: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        assert_eq!(spec["process"]["args"], json!(["sh"]));
        assert_eq!(spec["root"], json!({"path": "rootfs", "readonly": true}));
        // It does not overwrite.
        t.runtime(&["spec", "--bundle", bundle.dir.to_str().unwrap()]).fails(&["config.json"]);
        spec["process"]["terminal"] = json!(false);
        spec["process"]["args"] = json!(["/bin/echo", "hello"]);
        if kind() == Kind::Crun {
            spec["linux"].as_object_mut().unwrap().remove("resources");
        }
        spec["linux"]["cgroupsPath"] = bundle.spec["linux"]["cgroupsPath"].clone();
        let bundle = tests::Bundle { dir: bundle.dir, spec };
        assert_eq!(t.run(&bundle).ok(), "hello");
    });
}

#[test]
fn version_names_the_specification() {
    test(|t| {
        let text = t.runtime(&["--version"]).ok();
        assert!(text.lines().any(|line| line.starts_with("spec: 1.")), "{text}");
    });
}

#[test]
fn options_before_and_after_the_id() {
    test(|t| {
        differs!(t, Kind::Crun, "1.8 stops at the id");
        differs!(t, Kind::Runc, "stops at the id");
        let bundle = t.bundle().args(&["/bin/echo", "ran"]);
        bundle.write();
        let dir = bundle.dir.to_str().unwrap();
        let equals = format!("--bundle={dir}");
        for args in [
            &["run", "--bundle", dir, "ID"] as &[&str],
            &["run", "ID", "--bundle", dir],
            &["run", &equals, "ID"],
            &["run", "-b", dir, "ID"],
            &["run", "ID", &equals],
        ] {
            let id = t.id();
            let args: Vec<&str> = args.iter().map(|word| if *word == "ID" { id.as_str() } else { word }).collect();
            assert_eq!(t.runtime(&args).ok(), "ran", "{args:?}");
        }
        // exec's own command keeps its options.
        let container = t.hold(t.bundle());
        assert_eq!(t.runtime(&["exec", &container.id, "/bin/echo", "--cwd", "-e"]).ok(), "--cwd -e");
        container.end();
    });
}

#[test]
fn empty_values_are_none() {
    test(|t| {
        differs!(t, Kind::Crun, "1.8 takes them for names");
        let container = t.hold(t.bundle());
        let empty = ["--cwd=", "--apparmor=", "--process-label=", "--pid-file=", "--console-socket=", "--process="];
        assert_eq!(container.exec_with(&empty, &["/bin/pwd"]).ok(), "/");
        t.runtime(&["update", "--kernel-memory", "5m", &container.id]).ok();
        t.runtime(&["--log=", "--log-format=", "state", &container.id]).ok();
        container.end();
    });
}

#[test]
fn bundle_is_the_working_folder_by_default() {
    test(|t| {
        let bundle = t.bundle().args(&["/bin/echo", "here"]);
        bundle.write();
        let output = t.command(&["run", &t.id()]).current_dir(&bundle.dir).output().unwrap();
        assert_eq!(tests::Output::from(output).ok(), "here");
    });
}

#[test]
fn unknown_verbs_and_flags_are_refused() {
    test(|t| {
        t.runtime(&["fly"]).fails(&[]);
        t.runtime(&["run", "--no-such-flag", &t.id()]).fails(&["no-such-flag"]);
        t.runtime(&["run"]).fails(&[]);
        t.runtime(&["state", "one", "two"]).fails(&[]);
    });
}

#[test]
fn files_that_cannot_be_opened_are_named_with_their_flag() {
    test(|t| {
        let container = t.hold(t.bundle());
        for (verb, flag) in [("update", "--resources"), ("exec", "--process")] {
            let output = container.verb(verb, &[flag, "/no/such/file"]);
            // runc 1.1 and crun 1.8 name the file alone.
            assert!(output.stderr.contains(flag) || kind() != Kind::Rt, "{output}");
            output.fails(&["/no/such/file"]);
        }
        container.end();
    });
}

/// Descriptors of the command's own, such as that of its log, are not those that the caller meant.
#[test]
fn preserved_descriptors_must_be_open() {
    test(|t| {
        differs!(t, Kind::Runc, "1.1 takes descriptors of its own for the caller's");
        differs!(t, Kind::Crun, "1.8 preserves what there is");
        let container = t.hold(t.bundle());
        let (bundle, id) = (t.bundle(), t.id());
        bundle.write();
        let run = ["run", "--preserve-fds", "2", "--bundle", bundle.dir.to_str().unwrap(), &id];
        let exec = ["exec", "--preserve-fds", "2", &container.id, "true"];
        for verb in [&run[..], &exec[..]] {
            let inner = t.command(verb);
            let mut shell = Command::new("sh");
            shell.args(["-c", "exec \"$@\" 3</dev/null 4<&-", "sh"]).arg(inner.get_program());
            shell.arg("--log").arg(t.dir.join("log")).args(inner.get_args()).stdin(Stdio::null());
            tests::Output::from(shell.output().unwrap()).fails(&["--preserve-fds", "descriptor 4"]);
        }
        container.end();
    });
}

#[test]
fn errors_go_to_the_log_as_json() {
    test(|t| {
        let log = t.dir.join("log.json");
        let bundle = t.bundle().args(&["/no/such/program"]);
        bundle.write();
        let output = t.runtime(&[
            "--log",
            log.to_str().unwrap(),
            "--log-format",
            "json",
            "run",
            "--bundle",
            bundle.dir.to_str().unwrap(),
            &t.id(),
        ]);
        assert_ne!(output.code, 0);
        let text = fs::read_to_string(&log).unwrap();
        // containerd reads the last entry of level error.
        let last: Value = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .rfind(|entry: &Value| entry["level"] == "error")
            .unwrap_or_else(|| panic!("{text}"));
        assert!(last["msg"].as_str().unwrap().contains("/no/such/program"), "{last}");
        assert!(last["time"].is_string(), "{last}");
    });
}

#[test]
fn every_verb_has_help() {
    test(|t| {
        if kind() != Kind::Rt {
            t.skip("its own wording");
            return;
        }
        let verbs = [
            "create", "start", "run", "exec", "state", "kill", "delete", "list", "ps", "pause", "resume", "update",
            "events", "spec", "features",
        ];
        for verb in verbs {
            let help = t.runtime(&[verb, "--help"]).ok();
            assert!(help.contains(&format!("usage: rt-runtime {verb}")), "{help}");
            assert_eq!(t.runtime(&["help", verb]).ok(), help);
        }
    });
}
