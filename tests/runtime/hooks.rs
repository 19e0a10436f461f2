//! `hooks` (runtime-spec config.md, "POSIX-platform Hooks").

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tests::{Bundle, Kind, Test, differs, kind, test};

const POINTS: [&str; 6] = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// A hook that reads its input and runs a shell script: one that leaves the input unread may end crun by EPIPE or SIGPIPE.
fn hook(script: &str) -> Value {
    raw_hook(&format!("cat >/dev/null; {script}"))
}

/// A hook that runs a shell script. Those of the container's side need the shell inside as well, at the same path.
fn raw_hook(script: &str) -> Value {
    json!({"path": "/bin/busybox", "args": ["busybox", "sh", "-c", script], "env": ["PATH=/bin:/usr/bin"]})
}

/// Every point appends its name to a file that is at the same path inside and outside.
fn recording(t: &Test) -> (Bundle, PathBuf) {
    let log = t.dir.join("log");
    fs::create_dir(&log).unwrap();
    let mut bundle = t.bundle().mount(log.to_str().unwrap(), "bind", &log, &["bind"]);
    for point in POINTS {
        let script = format!("cat >{0}/{point}.state; echo {point} >>{0}/order", log.display());
        bundle = bundle.set(&format!("/hooks/{point}"), json!([raw_hook(&script)]));
    }
    (bundle, log)
}

fn order(log: &Path) -> Vec<String> {
    fs::read_to_string(log.join("order")).unwrap_or_default().lines().map(str::to_owned).collect()
}

#[test]
fn order_and_moment() {
    test(|t| {
        let (bundle, log) = recording(t);
        let bundle = bundle.sh(&format!("echo program >>{}/order; exec payload hold", log.display()));
        let mut container = t.create(&bundle);
        let created = order(&log);
        assert_eq!(created[..3], ["prestart", "createRuntime", "createContainer"]);
        // runc 1.1 runs poststart as part of create.
        assert!(created.len() == 3 || kind() == Kind::Runc, "{created:?}");
        container.start().ok();
        assert_eq!(container.line(), "ready");
        let started = order(&log);
        assert_eq!(started.len(), 6, "{started:?}");
        assert!(started[3..5].contains(&"startContainer".to_owned()), "{started:?}");
        // poststart and the program run side by side.
        assert!(started.contains(&"poststart".to_owned()) && started.contains(&"program".to_owned()), "{started:?}");
        let (id, pid) = (container.id.clone(), container.pid);
        container.end();
        assert_eq!(order(&log)[6..], ["poststop"]);

        for (point, status) in [
            ("prestart", "creating"),
            ("createRuntime", "creating"),
            ("createContainer", "creating"),
            ("startContainer", "created"),
            ("poststart", "running"),
            ("poststop", "stopped"),
        ] {
            let text = fs::read_to_string(log.join(format!("{point}.state"))).unwrap();
            let state: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{point}: {error}: {text}"));
            assert_eq!(state["id"], id.as_str(), "{point}");
            // crun 1.8 tells its own working folder in startContainer.
            if kind() != Kind::Crun {
                assert_eq!(state["bundle"], bundle.dir.to_str().unwrap(), "{point}");
            }
            assert!(state["ociVersion"].is_string(), "{point}: {state}");
            if kind() == Kind::Rt {
                assert_eq!(state["status"], status, "{point}");
            }
            if ["prestart", "createRuntime", "poststart"].contains(&point) {
                assert_eq!(state["pid"], pid, "{point}");
            }
        }
    });
}

#[test]
fn namespaces_in_which_they_run() {
    test(|t| {
        let log = t.dir.join("log");
        fs::create_dir(&log).unwrap();
        let mut bundle = t.bundle().mount(log.to_str().unwrap(), "bind", &log, &["bind"]);
        for point in POINTS {
            let script = format!("readlink /proc/self/ns/uts >{}/{point}", log.display());
            bundle = bundle.set(&format!("/hooks/{point}"), json!([hook(&script)]));
        }
        let container = t.hold(bundle);
        let inside = fs::read_link(format!("/proc/{}/ns/uts", container.pid)).unwrap().to_str().unwrap().to_owned();
        container.end();
        let outside = fs::read_link("/proc/self/ns/uts").unwrap().to_str().unwrap().to_owned();
        for (point, expected) in [
            ("prestart", &outside),
            ("createRuntime", &outside),
            ("createContainer", &inside),
            ("startContainer", &inside),
            ("poststart", &outside),
            ("poststop", &outside),
        ] {
            assert_eq!(fs::read_to_string(log.join(point)).unwrap().trim_end(), expected, "{point}");
        }
    });
}

#[test]
fn create_container_runs_before_pivot() {
    test(|t| {
        // The host's tree is still there: a folder of the test, which is not mounted inside.
        let script = format!("echo seen >{}/outside", t.dir.display());
        let bundle = t.bundle().set("/hooks/createContainer", json!([hook(&script)]));
        t.run(&bundle).ok();
        assert_eq!(fs::read_to_string(t.dir.join("outside")).unwrap(), "seen\n");
    });
}

#[test]
fn failure_before_start_undoes_the_container() {
    test(|t| {
        for point in ["prestart", "createRuntime", "createContainer"] {
            let bundle =
                t.bundle().set(&format!("/hooks/{point}"), json!([hook("echo words of the hook >&2; exit 7")]));
            let Err(output) = t.try_create(&bundle, &[]) else { panic!("{point}: created") };
            assert_ne!(output.code, 0, "{point}");
            if kind() == Kind::Rt {
                output.fails(&[point, "7"]);
            }
        }
        let bundle = t.bundle().set("/hooks/startContainer", json!([hook("exit 7")])).args(&["/bin/echo", "program"]);
        let output = t.run(&bundle);
        assert_ne!(output.code, 0, "{output}");
        assert_eq!(output.stdout, "");
        assert_eq!(t.runtime(&["list", "-q"]).ok(), "");
    });
}

/// A `run` in the foreground takes all signals for itself, and its caller is anywhere.
#[test]
fn signals_and_working_directory_are_not_the_callers() {
    test(|t| {
        differs!(t, Kind::Crun, "1.8 leaves the signals blocked");
        let log = t.dir.join("hook");
        let script = format!("grep SigBlk /proc/self/status >>{0}; pwd >>{0}", log.display());
        let bundle = t.bundle();
        let lines = format!("SigBlk:\t0000000000000000\n{}\n", bundle.dir.display());
        t.run(
            &bundle.set("/hooks/prestart", json!([hook(&script)])).set("/hooks/createRuntime", json!([hook(&script)])),
        )
        .ok();
        assert_eq!(fs::read_to_string(&log).unwrap(), lines.repeat(2));
    });
}

#[test]
fn failure_before_start_leads_to_poststop() {
    test(|t| {
        differs!(t, Kind::Crun, "1.8 runs none then");
        for point in ["prestart", "createRuntime", "createContainer"] {
            let log = t.dir.join(point);
            let bundle = t.bundle().set(&format!("/hooks/{point}"), json!([hook("exit 7")]));
            let poststop = hook(&format!("echo stopped >>{}", log.display()));
            let Err(output) = t.try_create(&bundle.set("/hooks/poststop", json!([poststop])), &[]) else {
                panic!("{point}: created")
            };
            assert_ne!(output.code, 0, "{point}");
            assert_eq!(fs::read_to_string(&log).unwrap(), "stopped\n", "{point}");
        }
    });
}

#[test]
fn failure_of_poststart_stops_the_container() {
    test(|t| {
        if kind() != Kind::Rt {
            return t.skip("a rule of runtime-spec 1.3: runc 1.1 and crun 1.8 are older");
        }
        let log = t.dir.join("stopped");
        let bundle = t
            .bundle()
            .set("/hooks/poststart", json!([hook("exit 9")]))
            .set("/hooks/poststop", json!([hook(&format!("echo poststop >{}", log.display()))]))
            .args(&["/bin/payload", "hold"]);
        t.run(&bundle).fails(&["hooks.poststart[0]", "9"]);
        assert_eq!(fs::read_to_string(&log).unwrap(), "poststop\n");
        assert_eq!(t.runtime(&["list", "-q"]).ok(), "");
        fs::remove_file(&log).unwrap();
        let mut container = t.create(&bundle);
        container.start().fails(&["hooks.poststart[0]", "9"]);
        assert_eq!(container.wait(), 137);
        assert_eq!(container.status(), "stopped");
        container.delete();
        assert_eq!(fs::read_to_string(&log).unwrap(), "poststop\n");
    });
}

#[test]
fn output_that_nobody_reads_and_processes_left_behind() {
    test(|t| {
        if kind() != Kind::Rt {
            return t.skip("runc 1.1 and crun 1.8 wait for whoever has the hook's output open");
        }
        // More than a pipe holds, and a process that outlives the hook with its output open.
        let pid = t.dir.join("pid");
        let script = format!("seq 1 50000; sleep 1000 & echo $! >{}", pid.display());
        t.run(&t.bundle().set("/hooks/createRuntime", json!([hook(&script)]))).ok();
        let left: i32 = fs::read_to_string(&pid).unwrap().trim().parse().unwrap();
        rustix::process::kill_process(rustix::process::Pid::from_raw(left).unwrap(), rustix::process::Signal::KILL)
            .unwrap();
        let failed = t.run(&t.bundle().set("/hooks/createRuntime", json!([hook("seq 1 50000; exit 1")])));
        assert!(failed.stderr.len() < 4096, "{}", failed.stderr.len());
        failed.fails(&["hooks.createRuntime[0]", "exit status 1: 1"]);
    });
}

#[test]
fn several_of_one_point_run_in_order_until_one_fails() {
    test(|t| {
        let line = |text: &str| hook(&format!("echo {text} >>{}/several", t.dir.display()));
        let bundle =
            t.bundle().set("/hooks/createRuntime", json!([line("one"), line("two"), hook("exit 1"), line("three")]));
        t.run(&bundle).fails(&[]);
        assert_eq!(fs::read_to_string(t.dir.join("several")).unwrap(), "one\ntwo\n");
    });
}

#[test]
fn failure_of_poststop_is_no_reason_to_keep_it() {
    test(|t| {
        let bundle = t
            .bundle()
            .set("/hooks/poststop", json!([hook("exit 1"), hook(&format!("echo >{}/after", t.dir.display()))]));
        t.run(&bundle);
        assert_eq!(t.runtime(&["list", "-q"]).ok(), "");
        assert!(kind() == Kind::Runc || t.dir.join("after").try_exists().unwrap(), "the hooks after it run");
    });
}

#[test]
fn timeout_ends_it() {
    test(|t| {
        let mut slow = hook("exec sleep 1000");
        slow["timeout"] = json!(1);
        t.run(&t.bundle().set("/hooks/createRuntime", json!([slow]))).fails(&[]);
    });
}

#[test]
fn environment_and_arguments() {
    test(|t| {
        let file = t.dir.join("facts");
        let script = format!("cat >/dev/null; echo \"$0 $A\" >{0}; env >>{0}", file.display());
        let hook = json!({"path": "/bin/busybox", "args": ["sh", "-c", script, "zero"], "env": ["A=b c"]});
        t.run(&t.bundle().set("/hooks/createRuntime", json!([hook]))).ok();
        let text = fs::read_to_string(&file).unwrap();
        assert_eq!(text.lines().next(), Some("zero b c"));
        let names: Vec<&str> = text
            .lines()
            .skip(1)
            .filter_map(|line| line.split('=').next())
            .filter(|name| !["PWD", "SHLVL", "_", "OLDPWD", "PATH"].contains(name))
            .collect();
        assert_eq!(names, ["A"]);
    });
}

#[test]
fn missing_program_fails() {
    test(|t| {
        let bundle = t.bundle().set("/hooks/createRuntime", json!([{"path": "/no/such/hook"}]));
        t.run(&bundle).fails(&["/no/such/hook"]);
        let bundle = t.bundle().set("/hooks/createRuntime", json!([{"path": "relative"}]));
        t.run(&bundle).fails(&["relative"]);
    });
}
