//! Callers that come at another time than expected: beside a `run` in the foreground, before the start, after the end, twice.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::json;
use tests::{Bundle, Kind, Test, differs, kind, needs, test};

/// `run` in the foreground of a program that says `ready`.
fn in_foreground(t: &Test, bundle: &Bundle) -> (Child, String) {
    bundle.write();
    let id = t.id();
    let (reader, writer) = std::io::pipe().unwrap();
    let mut command = t.command(&["run", "--bundle", bundle.dir.to_str().unwrap(), &id]);
    let child = command.stdout(writer).stderr(Stdio::null()).spawn().unwrap();
    drop(command);
    let mut line = String::new();
    BufReader::new(reader).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    (child, id)
}

#[test]
fn container_in_the_foreground_is_paused_and_updated() {
    test(|t| {
        differs!(t, Kind::Runc, "1.1 now and then does not come back from that");
        needs!(t, t.cgroups.has("freezer") || t.cgroups.is_v2(), "no freezer");
        let (mut child, id) = in_foreground(t, &t.bundle().args(&["/bin/payload", "hold"]));
        t.runtime(&["pause", &id]).ok();
        assert_eq!(t.runtime(&["state", &id]).json()["status"], "paused");
        t.runtime(&["resume", &id]).ok();
        if t.cgroups.has("pids") {
            t.runtime(&["update", "--pids-limit", "77", &id]).ok();
        }
        t.runtime(&["kill", &id, "TERM"]).ok();
        assert_eq!(child.wait().unwrap().code(), Some(0));
        assert_eq!(t.runtime(&["list", "-q"]).ok(), "");
    });
}

/// A path of a group is given once more while the container that had it before is only stopped: nothing of the second one is the
/// first one's.
#[test]
fn deleted_after_its_group_was_given_away() {
    test(|t| {
        differs!(t, Kind::Crun, "1.8 kills whatever is in the group of a container that has ended");
        let path = json!(format!("/{}/both", t.marker()));
        let first = t.bundle().set("/linux/cgroupsPath", path.clone());
        let mut first = t.create(&first);
        first.start().ok();
        first.wait();
        let second = t.hold(t.bundle().set("/linux/cgroupsPath", path));
        let first_id = first.id.clone();
        if kind() == Kind::Rt {
            // Neither by a signal to all.
            assert_ne!(t.runtime(&["kill", "--all", &first_id, "KILL"]).code, 0);
        }
        first.delete();
        assert_eq!(second.status(), "running");
        t.runtime(&["state", &first_id]).fails(&[]);
        second.end();
    });
}

#[test]
fn container_in_the_foreground_is_deleted() {
    test(|t| {
        differs!(t, Kind::Crun, "1.8 fails when its `run` removes the container first");
        let (mut child, id) = in_foreground(t, &t.bundle().args(&["/bin/payload", "hold"]));
        t.runtime(&["delete", "--force", &id]).ok();
        let code = child.wait().unwrap().code();
        assert!(code == Some(137) || (kind() != Kind::Rt && code.is_some_and(|code| code != 0)), "{code:?}");
        assert_eq!(t.runtime(&["list", "-q"]).ok(), "");
    });
}

/// Of a container that is being made or started by a command which waits for a hook.
#[test]
fn deleted_while_a_hook_hangs() {
    test(|t| {
        differs!(t, Kind::Runc, "1.1 forgets the container and lets the hook run on");
        differs!(t, Kind::Crun, "1.8 waits as long as the hook");
        let folder = t.dir.join("hook");
        std::fs::create_dir(&folder).unwrap();
        let begun = folder.join("begun");
        let script = format!("echo >{}; exec sleep 1000", begun.display());
        let hook =
            json!([{"path": "/bin/busybox", "args": ["busybox", "sh", "-c", script], "env": ["PATH=/bin:/usr/bin"]}]);
        for (verb, point) in [
            ("create", "prestart"),
            ("create", "createRuntime"),
            ("create", "createContainer"),
            ("run", "createRuntime"),
            ("run", "startContainer"),
        ] {
            nix::unistd::mkfifo(&begun, nix::sys::stat::Mode::S_IRWXU).unwrap();
            let bundle = t.bundle().mount(folder.to_str().unwrap(), "bind", &folder, &["bind"]);
            let bundle = bundle.set(&format!("/hooks/{point}"), hook.clone());
            bundle.write();
            let id = t.id();
            let mut command = t.command(&[verb, "--bundle", bundle.dir.to_str().unwrap(), &id]);
            let mut maker = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            // Until the hook is at it.
            std::fs::read(&begun).unwrap();
            t.runtime(&["delete", "--force", &id]).ok();
            assert_ne!(maker.wait().unwrap().code(), Some(0), "{verb}, {point}");
            assert_eq!(t.runtime(&["list", "-q"]).ok(), "", "{verb}, {point}");
            std::fs::remove_file(&begun).unwrap();
        }
    });
}

#[test]
fn paused_before_its_start() {
    test(|t| {
        differs!(t, Kind::Crun, "1.8 shows it as created");
        needs!(t, t.cgroups.has("freezer") || t.cgroups.is_v2(), "no freezer");
        let mut container = t.create(&t.bundle().args(&["/bin/payload", "hold"]));
        container.verb("pause", &[]).ok();
        // More often than connections to it can wait.
        for _ in 0..20 {
            assert_eq!(container.status(), "paused");
        }
        assert_ne!(container.start().code, 0);
        assert_ne!(container.verb("delete", &[]).code, 0);
        container.verb("resume", &[]).ok();
        assert_eq!(container.status(), "created");
        container.start().ok();
        assert_eq!(container.line(), "ready");
        container.end();
        // Removed as it is.
        let container = t.create(&t.bundle());
        container.verb("pause", &[]).ok();
        container.verb("delete", &["--force"]).ok();
        assert_eq!(container.wait(), 137);
    });
}

#[test]
fn deleted_by_two_at_once() {
    test(|t| {
        for _ in 0..20 {
            let container = t.hold(t.bundle());
            let delete = || {
                let mut command = t.command(&["delete", "--force", &container.id]);
                command.stderr(Stdio::piped()).spawn().unwrap()
            };
            let both = [delete(), delete()].map(|child| tests::Output::from(child.wait_with_output().unwrap()));
            if kind() == Kind::Rt {
                both.into_iter().for_each(|output| drop(output.ok()));
            }
            assert_eq!(container.wait(), 137);
            container.verb("delete", &["--force"]).ok();
        }
    });
}

#[test]
fn signal_zero_asks_whether_there_is_somebody() {
    test(|t| {
        differs!(t, Kind::Crun, "1.8 says it in other words");
        let container = t.hold(t.bundle());
        container.kill("0").ok();
        container.kill("KILL").ok();
        assert_eq!(container.wait(), 137);
        container.kill("0").fails(&["container not running"]);
        container.delete();
    });
}

/// Two children that do not end with the first process.
const WITH_CHILDREN: &str = "sleep 1000 & setsid sleep 1000 & echo $! started; exec payload hold";

#[test]
fn kill_reaches_who_has_outlived_init() {
    test(|t| {
        differs!(t, Kind::Runc, "1.1 wants --all for that");
        differs!(t, Kind::Crun, "1.8 kills init alone");
        let mut container = t.create(&t.bundle().share("pid").sh(WITH_CHILDREN));
        container.start().ok();
        assert!(container.line().ends_with("started"));
        assert_eq!(container.line(), "ready");
        container.kill("TERM").ok();
        assert_eq!(container.wait(), 0);
        assert_eq!(container.status(), "stopped");
        // They hold the container's output open until they are gone.
        container.kill("KILL").ok();
        assert_eq!(container.rest(), "SIGTERM\n");
        container.delete();
    });
}

#[test]
fn kill_in_a_joined_pid_namespace_kills_all() {
    test(|t| {
        differs!(t, Kind::Runc, "1.1 kills init alone");
        differs!(t, Kind::Crun, "1.8 kills init alone");
        let first = t.hold(t.bundle());
        let path = format!("/proc/{}/ns/pid", first.pid);
        let bundle = t.bundle().share("pid").namespace("pid", Some(&path)).sh(WITH_CHILDREN);
        let mut container = t.create(&bundle);
        container.start().ok();
        assert!(container.line().ends_with("started"));
        assert_eq!(container.line(), "ready");
        container.kill("KILL").ok();
        assert_eq!(container.wait(), 137);
        assert_eq!(container.rest(), "");
        container.delete();
        first.end();
    });
}

#[test]
fn exec_that_cannot_be_told_of_is_no_more() {
    test(|t| {
        differs!(t, Kind::Crun, "1.8 lets it run");
        let container = t.hold(t.bundle());
        let full = t.dir.join("full");
        std::fs::create_dir(&full).unwrap();
        assert!(
            Command::new("mount")
                .args(["-t", "tmpfs", "-o", "size=4k,nr_inodes=3", "full"])
                .arg(&full)
                .status()
                .unwrap()
                .success()
        );
        std::fs::write(full.join("filler"), [0; 4096]).unwrap();
        let pid_file = full.join("pid");
        for detach in [&["--detach"] as &[&str], &[]] {
            let args = [&["exec", "--pid-file", pid_file.to_str().unwrap()], detach, &[&container.id, "sleep", "1000"]];
            assert_ne!(t.detached(&args.concat()).code, 0);
            let processes = t.runtime(&["ps", "--format", "json", &container.id]).json();
            assert_eq!(processes, json!([container.pid]));
        }
        if kind() == Kind::Rt {
            assert_eq!(std::fs::read_dir(&full).unwrap().count(), 1, "the filler alone");
        }
        assert!(Command::new("umount").arg(&full).status().unwrap().success());
        container.end();
    });
}

#[test]
fn group_of_an_exec_stays_the_containers() {
    test(|t| {
        differs!(t, Kind::Crun, "1.8 makes it 0");
        let container = t.hold(t.bundle().set("/process/user", json!({"uid": 7, "gid": 8})));
        let facts = container.exec_with(&["--user", "9"], &["/bin/payload", "facts"]).json();
        assert_eq!(facts["status"]["Uid"], "9\t9\t9\t9");
        assert_eq!(facts["status"]["Gid"], "8\t8\t8\t8");
        container.end();
    });
}

#[test]
fn terminal_takes_more_than_it_holds() {
    test(|t| {
        if kind() != Kind::Rt {
            return t.skip("wants a terminal of the caller's for that");
        }
        // A program that says as much as it hears: each direction waits for the other, if somebody lets it.
        let lines = 8000;
        let file = t.dir.join("input");
        std::fs::write(&file, format!("{}\u{4}", format!("{}\n", "a".repeat(40)).repeat(lines))).unwrap();
        let bundle = t.bundle().sh("tee /dev/tty | wc -l; exit 6").set("/process/terminal", json!(true));
        bundle.write();
        let mut command = t.command(&["run", "--bundle", bundle.dir.to_str().unwrap(), &t.id()]);
        let output = tests::Output::from(command.stdin(std::fs::File::open(&file).unwrap()).output().unwrap());
        assert_eq!((output.code, output.stderr.as_str()), (6, ""));
        assert_eq!(output.stdout.lines().next_back(), Some(lines.to_string().as_str()));
    });
}

#[test]
fn containers_without_a_record_have_a_time() {
    test(|t| {
        if kind() != Kind::Rt {
            return t.skip("about files of ours");
        }
        let id = t.id();
        std::fs::create_dir_all(t.dir.join("root").join(&id)).unwrap();
        let list = t.runtime(&["list", "--format", "json"]).json();
        assert_eq!((&list[0]["id"], &list[0]["created"]), (&json!(id), &json!("0001-01-01T00:00:00Z")));
        t.runtime(&["delete", &id]).ok();
    });
}
