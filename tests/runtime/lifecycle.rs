//! create, start, state, kill, delete, list, ps, pause, resume (runtime-spec runtime.md, "Lifecycle" and "Operations").

use serde_json::json;
use tests::{Kind, differs, kind, needs, test};

#[test]
fn run_returns_output_and_deletes() {
    test(|t| {
        let output = t.run(&t.bundle().sh("echo out; echo err >&2"));
        assert_eq!(output.stdout, "out\n");
        assert_eq!(output.stderr, "err\n");
        assert_eq!(output.code, 0);
        assert_eq!(t.runtime(&["list", "-q"]).ok(), "");
    });
}

#[test]
fn life_of_a_container() {
    test(|t| {
        let bundle = t.bundle().args(&["/bin/payload", "hold"]).set("/annotations/org.example.key", json!("value"));
        let mut container = t.create(&bundle);
        let state = container.state();
        assert_eq!(state["id"], container.id);
        assert_eq!(state["status"], "created");
        assert_eq!(state["bundle"], bundle.dir.to_str().unwrap());
        assert_eq!(state["annotations"]["org.example.key"], "value");
        assert!(state["ociVersion"].as_str().unwrap().starts_with("1."), "{state}");
        assert!(state["pid"].as_i64().unwrap() > 0, "{state}");

        container.start().ok();
        assert_eq!(container.line(), "ready");
        assert_eq!(container.status(), "running");
        container.kill("TERM").ok();
        assert_eq!(container.wait(), 0);
        assert_eq!(container.status(), "stopped");
        assert_eq!(container.rest(), "SIGTERM\n");
        container.delete();
    });
}

#[test]
fn created_container_waits_for_start() {
    test(|t| {
        let mut container = t.create(&t.bundle().sh("echo started"));
        // Its program has not run: what `ps` shows is the runtime's, and nothing is on standard output until start.
        assert_eq!(container.status(), "created");
        container.start().ok();
        assert_eq!(container.rest(), "started\n");
        assert_eq!(container.wait(), 0);
        container.delete();
    });
}

#[test]
fn verbs_are_refused_in_wrong_states() {
    test(|t| {
        differs!(t, Kind::Crun, "1.8 takes a second start, and delete of what runs then");
        let mut container = t.create(&t.bundle().args(&["/bin/payload", "hold"]));
        container.start().ok();
        assert_eq!(container.line(), "ready");
        container.start().fails(&[]);
        container.verb("delete", &[]).fails(&[]);
        container.verb("resume", &[]).fails(&[]);
        assert_eq!(container.status(), "running");
        container.kill("KILL").ok();
        assert_eq!(container.wait(), 137);
        container.start().fails(&[]);
        container.exec(&["/bin/true"]).fails(&[]);
        container.kill("TERM").fails(&[]);
        container.verb("pause", &[]).fails(&[]);
        assert_eq!(container.status(), "stopped");
        container.delete();
    });
}

#[test]
fn unknown_container_is_refused() {
    test(|t| {
        for verb in ["state", "start", "kill", "delete", "pause", "resume", "ps"] {
            t.runtime(&[verb, "nobody"]).fails(&[]);
        }
        t.runtime(&["exec", "nobody", "true"]).fails(&[]);
        // Force asks for the end state, which it is in already.
        t.runtime(&["delete", "--force", "nobody"]).ok();
    });
}

#[test]
fn id_is_taken_only_once() {
    test(|t| {
        let container = t.hold(t.bundle());
        let bundle = t.bundle();
        bundle.write();
        t.runtime(&["create", "--bundle", bundle.dir.to_str().unwrap(), &container.id]).fails(&["exist"]);
        assert_eq!(container.status(), "running");
        assert_eq!(container.exec(&["/bin/echo", "alive"]).ok(), "alive");
        container.end();
    });
}

#[test]
fn signals_by_name_and_number() {
    test(|t| {
        let container = t.hold(t.bundle());
        for (given, shown) in [("HUP", "SIGHUP"), ("SIGUSR1", "SIGUSR1"), ("12", "SIGUSR2"), ("SIGWINCH", "SIGWINCH")] {
            container.kill(given).ok();
            assert_eq!(container.line(), shown, "kill {given}");
        }
        // runc and crun take some of these, as numbers modulo something.
        let wrong = ["NOSUCH", "0x0f", "-1", "99999999999999999999", "", "65"];
        for wrong in if kind() == Kind::Rt { &wrong[..] } else { &[] } {
            container.kill(wrong).fails(&[]);
        }
        // Without a signal: SIGTERM.
        container.verb("kill", &[]).ok();
        assert_eq!(container.line(), "SIGTERM");
        assert_eq!(container.wait(), 0);
        container.delete();
    });
}

#[test]
fn delete_force_ends_a_living_container() {
    test(|t| {
        let container = t.hold(t.bundle());
        container.verb("delete", &["--force"]).ok();
        assert_eq!(container.wait(), 137);
        t.runtime(&["state", &container.id]).fails(&[]);
    });
}

#[test]
fn delete_force_ends_a_created_container() {
    test(|t| {
        let container = t.create(&t.bundle());
        container.verb("delete", &["-f"]).ok();
        t.wait_pid(container.pid);
        t.runtime(&["state", &container.id]).fails(&[]);
    });
}

#[test]
fn all_processes_end_with_the_first() {
    test(|t| {
        let mut container =
            t.create(&t.bundle().sh("sleep 1000 & setsid sleep 1000 & echo started; exec payload hold"));
        container.start().ok();
        assert_eq!((container.line().as_str(), container.line().as_str()), ("started", "ready"));
        container.kill("TERM").ok();
        assert_eq!(container.wait(), 0);
        container.delete();
    });
}

#[test]
fn delete_ends_processes_without_a_pid_namespace() {
    test(|t| {
        let bundle = t.bundle().share("pid").sh("sleep 1000 & setsid sleep 1000 & echo started; exec payload hold");
        let mut container = t.create(&bundle);
        container.start().ok();
        assert_eq!((container.line().as_str(), container.line().as_str()), ("started", "ready"));
        differs_in_deleting(t, container);
    });
}

/// The orphans of a container that shares the pid namespace live on after its first process; `delete --force` ends them.
fn differs_in_deleting(t: &tests::Test, container: tests::Container<'_>) {
    if tests::kind() == Kind::Rt {
        container.kill("TERM").ok();
        assert_eq!(container.wait(), 0);
        container.delete();
    } else {
        // runc and crun refuse to remove the cgroup, or leave the orphans, unless all are killed first.
        let signal = t.runtime(&["kill", "--all", &container.id, "KILL"]);
        assert_eq!(signal.code, 0, "{signal}");
        assert_eq!(container.wait(), 137);
        container.delete();
    }
}

#[test]
fn list_shows_containers() {
    test(|t| {
        let bundle = t.bundle().args(&["/bin/payload", "hold"]);
        let first = t.create(&bundle);
        let second = t.hold(t.bundle());
        let ids = t.runtime(&["list", "--quiet"]).ok();
        let mut ids: Vec<&str> = ids.lines().collect();
        ids.sort_unstable();
        let mut expected = [first.id.as_str(), second.id.as_str()];
        expected.sort_unstable();
        assert_eq!(ids, expected);

        let list = t.runtime(&["list", "--format", "json"]).json();
        let list = list.as_array().unwrap();
        assert_eq!(list.len(), 2);
        let row = list.iter().find(|row| row["id"] == first.id.as_str()).unwrap();
        assert_eq!(row["status"], "created");
        assert_eq!(row["pid"], first.pid);
        assert_eq!(row["bundle"], bundle.dir.to_str().unwrap());
        let row = list.iter().find(|row| row["id"] == second.id.as_str()).unwrap();
        assert_eq!(row["status"], "running");

        let table = t.runtime(&["list"]).ok();
        assert!(table.lines().next().unwrap().contains("STATUS"), "{table}");
        assert!(table.contains(&first.id) && table.contains("running"), "{table}");
        first.verb("delete", &["-f"]).ok();
        t.wait_pid(first.pid);
        second.end();
    });
}

#[test]
fn ps_shows_processes() {
    test(|t| {
        let container = t.hold(t.bundle());
        let pids = container.verb("ps", &["--format", "json"]).json();
        assert_eq!(pids, json!([container.pid]));
        // ps(1) itself does not work everywhere (user-mode Linux tells no boot time).
        let works = std::process::Command::new("ps").arg("-ef").output().is_ok_and(|output| output.status.success());
        if tests::kind() != Kind::Crun && works {
            let table = container.verb("ps", &[]).ok();
            assert!(table.lines().next().unwrap().contains("PID"), "{table}");
            assert!(table.contains("payload hold"), "{table}");
        }
        container.end();
    });
}

#[test]
fn pause_stops_and_resume_goes_on() {
    test(|t| {
        needs!(t, t.cgroups.has("freezer") || t.cgroups.is_v2(), "no freezer");
        let container = t.hold(t.bundle());
        container.verb("pause", &[]).ok();
        assert_eq!(container.status(), "paused");
        // By the v1 controller, or by the unified hierarchy, which a hybrid host has as well.
        let read = |controller, file| {
            t.cgroups
                .folder(container.pid, controller)
                .and_then(|folder| std::fs::read_to_string(folder.join(file)).ok())
        };
        let states = [read("freezer", "freezer.state"), read("", "cgroup.freeze")];
        assert!(states.iter().flatten().any(|state| matches!(state.trim(), "FROZEN" | "1")), "{states:?}");
        // Comes through only after resume.
        container.kill("USR1").ok();
        container.verb("resume", &[]).ok();
        assert_eq!(container.line(), "SIGUSR1");
        assert_eq!(container.status(), "running");
        container.end();
    });
}

#[test]
fn paused_container_can_be_deleted_by_force() {
    test(|t| {
        needs!(t, t.cgroups.has("freezer") || t.cgroups.is_v2(), "no freezer");
        let container = t.hold(t.bundle());
        container.verb("pause", &[]).ok();
        container.verb("delete", &["--force"]).ok();
        assert_eq!(container.wait(), 137);
    });
}

#[test]
fn pid_file_has_the_pid() {
    test(|t| {
        let file = t.dir.join("pid");
        let container = t.try_create(&t.bundle(), &["--pid-file", file.to_str().unwrap()]).unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap().trim(), container.pid.to_string());
        container.verb("delete", &["-f"]).ok();
        t.wait_pid(container.pid);
    });
}

#[test]
fn detached_run_returns_at_once() {
    test(|t| {
        let bundle = t.bundle().args(&["/bin/payload", "hold"]);
        bundle.write();
        let id = t.id();
        // Its standard streams are inherited: a pipe would hold the caller, so they go to a file.
        let out = std::fs::File::create_new(t.dir.join("out")).unwrap();
        let mut command = t.command(&["run", "--detach", "--bundle", bundle.dir.to_str().unwrap(), &id]);
        let status = command.stdout(out.try_clone().unwrap()).stderr(out).status().unwrap();
        assert!(status.success(), "{}", std::fs::read_to_string(t.dir.join("out")).unwrap());
        let state = t.runtime(&["state", &id]).json();
        assert_eq!(state["status"], "running");
        t.runtime(&["delete", "-f", &id]).ok();
        t.wait_pid(state["pid"].as_i64().unwrap().try_into().unwrap());
    });
}

#[test]
fn stopped_without_being_waited_for() {
    test(|t| {
        let mut container = t.create(&t.bundle().sh("exit 3"));
        container.start().ok();
        assert_eq!(container.rest(), "");
        // A zombie is no running container. Its pipe is closed a moment before it is one.
        while container.status() == "running" {}
        assert_eq!(container.status(), "stopped");
        assert_eq!(container.wait(), 3);
        container.delete();
    });
}

#[test]
fn foreground_run_passes_signals_on() {
    test(|t| {
        let bundle = t.bundle().args(&["/bin/payload", "hold"]);
        bundle.write();
        let id = t.id();
        let (reader, writer) = std::io::pipe().unwrap();
        let mut command = t.command(&["run", "--bundle", bundle.dir.to_str().unwrap(), &id]);
        let mut child = command.stdout(writer).spawn().unwrap();
        drop(command);
        let mut lines = std::io::BufRead::lines(std::io::BufReader::new(reader)).map(Result::unwrap);
        assert_eq!(lines.next().unwrap(), "ready");
        for (signal, shown) in [("-USR1", "SIGUSR1"), ("-TERM", "SIGTERM")] {
            assert!(
                std::process::Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success()
            );
            // runc 1.1 also passes on what Go's scheduler sends to runc's own threads.
            let told = lines.find(|line| kind() != Kind::Runc || line != "SIGURG");
            assert_eq!(told.unwrap(), shown);
        }
        assert_eq!(child.wait().unwrap().code(), Some(0));
    });
}

#[test]
fn keeps_nothing_of_a_run_that_is_killed() {
    test(|t| {
        differs!(t, Kind::Crun, "1.8 writes its state after the start");
        differs!(t, Kind::Runc, "1.1 tells created until it has removed a file, after the start");
        let bundle = t.bundle().args(&["/bin/payload", "hold"]);
        bundle.write();
        let id = t.id();
        let (reader, writer) = std::io::pipe().unwrap();
        let mut command = t.command(&["run", "--bundle", bundle.dir.to_str().unwrap(), &id]);
        let mut child = command.stdout(writer).spawn().unwrap();
        drop(command);
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(reader), &mut line).unwrap();
        assert_eq!(line, "ready\n");
        child.kill().unwrap();
        child.wait().unwrap();
        // The container outlives its starter, can be told, and can be removed.
        let state = t.runtime(&["state", &id]).json();
        assert!(matches!(state["status"].as_str(), Some("running" | "stopped")), "{state}");
        t.runtime(&["delete", "--force", &id]).ok();
        t.wait_pid(state["pid"].as_i64().unwrap().try_into().unwrap());
    });
}
