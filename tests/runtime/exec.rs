//! `exec`: a further process in a running container.

use std::fs;

use serde_json::json;
use tests::{Kind, differs, kind, needs, test};

#[test]
fn output_and_exit_code() {
    test(|t| {
        let container = t.hold(t.bundle());
        let output = container.exec(&["sh", "-c", "echo out; echo err >&2; exit 42"]);
        assert_eq!((output.stdout.as_str(), output.stderr.as_str(), output.code), ("out\n", "err\n", 42));
        let output = container.exec(&["sh", "-c", "kill -9 $$"]);
        assert_eq!(output.code, 137);
        container.end();
    });
}

#[test]
fn it_is_in_all_namespaces() {
    test(|t| {
        let container = t.hold(t.bundle().namespace("cgroup", None));
        let facts = container.exec(&["/bin/payload", "facts"]).json();
        for link in ["pid", "net", "mnt", "ipc", "uts", "user", "cgroup"] {
            let init = fs::read_link(format!("/proc/{}/ns/{link}", container.pid)).unwrap();
            assert_eq!(facts["ns"][link], init.to_str().unwrap(), "{link}");
        }
        container.end();
    });
}

#[test]
fn it_has_the_containers_privileges_and_no_more() {
    test(|t| {
        let bundle = t
            .bundle()
            .set("/process/noNewPrivileges", json!(true))
            .set("/process/rlimits", json!([{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 100}]));
        let container = t.hold(bundle);
        let facts = container.exec(&["/bin/payload", "facts"]).json();
        let init = fs::read_to_string(format!("/proc/{}/status", container.pid)).unwrap();
        for set in ["CapBnd", "CapPrm", "CapEff", "CapInh", "CapAmb", "Uid", "Gid", "Groups"] {
            let line = init.lines().find_map(|line| line.strip_prefix(&format!("{set}:"))).unwrap();
            assert_eq!(facts["status"][set], line.trim(), "{set}");
        }
        if kind() != Kind::Crun {
            // crun 1.8 sets it only on request.
            assert_eq!(facts["status"]["NoNewPrivs"], "1");
        }
        assert_eq!(facts["limits"]["Max open files"], json!(["100", "100"]));
        let fds: Vec<&String> = facts["fds"].as_object().unwrap().keys().collect();
        assert_eq!(fds, ["0", "1", "2"]);
        container.end();
    });
}

#[test]
fn user_cwd_and_environment() {
    test(|t| {
        let container = t.hold(t.bundle());
        let facts = container
            .exec_with(
                &["--user", "1000:1001", "--cwd", "/etc", "--env", "EXTRA=1", "--env", "PATH=/bin:/x"],
                &["/bin/payload", "facts"],
            )
            .json();
        assert_eq!(facts["status"]["Uid"], "1000\t1000\t1000\t1000");
        assert_eq!(facts["status"]["Gid"], "1001\t1001\t1001\t1001");
        assert_eq!(facts["cwd"], "/etc");
        assert_eq!(facts["env"]["EXTRA"], "1");
        assert_eq!(facts["env"]["PATH"], "/bin:/x");
        container.end();
    });
}

#[test]
fn additional_capability() {
    test(|t| {
        differs!(t, Kind::Crun, "1.8 gives the additional one alone");
        let bundle = t.bundle().capabilities(&["bounding", "permitted", "effective"], &["CAP_CHOWN", "CAP_KILL"]);
        let container = t.hold(bundle.set("/process/capabilities/effective", json!(["CAP_CHOWN"])));
        let facts = container.exec_with(&["--cap", "CAP_KILL"], &["/bin/payload", "facts"]).json();
        assert_eq!(facts["status"]["CapEff"], "0000000000000021");
        // CVE-2022-29162
        assert_eq!(facts["status"]["CapInh"], "0000000000000000");
        container.end();
    });
}

#[test]
fn process_document() {
    test(|t| {
        let container = t.hold(t.bundle());
        let process = json!({
            "terminal": false, "user": {"uid": 1000, "gid": 1000, "additionalGids": [77]}, "cwd": "/tmp",
            "args": ["/bin/payload", "facts"], "env": ["PATH=/bin", "ONLY=this", "HOME=/"],
            "capabilities": {"bounding": ["CAP_KILL"]}, "noNewPrivileges": true,
        });
        let file = t.dir.join("process.json");
        fs::write(&file, process.to_string()).unwrap();
        let facts = t.runtime(&["exec", "--process", file.to_str().unwrap(), &container.id]).json();
        assert_eq!(facts["env"], json!({"PATH": "/bin", "ONLY": "this", "HOME": "/"}));
        assert_eq!(facts["status"]["Groups"], "77");
        assert_eq!(facts["status"]["CapBnd"], "0000000000000020");
        assert_eq!(facts["status"]["NoNewPrivs"], "1");
        assert_eq!(facts["cwd"], "/tmp");
        container.end();
    });
}

#[test]
fn detached_with_a_pid_file() {
    test(|t| {
        let container = t.hold(t.bundle());
        let file = t.dir.join("exec.pid");
        let mut command =
            t.command(&["exec", "--detach", "--pid-file", file.to_str().unwrap(), &container.id, "sh", "-c", "exit 6"]);
        let out = fs::File::create_new(t.dir.join("out")).unwrap();
        let status = command.stdout(out.try_clone().unwrap()).stderr(out).status().unwrap();
        assert!(status.success(), "{}", fs::read_to_string(t.dir.join("out")).unwrap());
        let pid = fs::read_to_string(&file).unwrap().trim().parse().unwrap();
        assert_eq!(t.wait_pid(pid), 6);
        container.end();
    });
}

#[test]
fn missing_and_not_executable_programs() {
    test(|t| {
        let container = t.hold(t.bundle());
        let (missing, plain) = (container.exec(&["nothing-here"]), container.exec(&["/etc/passwd"]));
        if kind() == Kind::Rt {
            assert_eq!((missing.code, plain.code), (127, 126), "{missing}\n{plain}");
        }
        missing.fails(&["nothing-here"]);
        // crun 1.8 does not name it.
        plain.fails(if kind() == Kind::Crun { &[] } else { &["/etc/passwd"] });
        assert_eq!(container.status(), "running");
        container.end();
    });
}

#[test]
fn preserved_descriptors() {
    test(|t| {
        let container = t.hold(t.bundle());
        fs::write(t.dir.join("three"), "3\n").unwrap();
        let inner = t.command(&["exec", "--preserve-fds", "1", &container.id, "cat", "/proc/self/fd/3"]);
        let mut shell = std::process::Command::new("sh");
        shell
            .args(["-c", "cd \"$0\"; exec \"$@\" 3<three"])
            .arg(&t.dir)
            .arg(inner.get_program())
            .args(inner.get_args());
        assert_eq!(tests::Output::from(shell.output().unwrap()).ok(), "3");
        container.end();
    });
}

#[test]
fn its_processes_end_with_the_container() {
    test(|t| {
        let container = t.hold(t.bundle());
        let file = t.dir.join("exec.pid");
        let mut command =
            t.command(&["exec", "--detach", "--pid-file", file.to_str().unwrap(), &container.id, "sleep", "1000"]);
        assert!(
            command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).status().unwrap().success()
        );
        let pid = fs::read_to_string(&file).unwrap().trim().parse().unwrap();
        container.kill("KILL").ok();
        // It is our child, not one of the container's processes: the first process is gone when all are waited for.
        assert_eq!(t.wait_pid(pid), 137);
        assert_eq!(container.wait(), 137);
        container.delete();
    });
}

#[test]
fn paused_container_is_refused() {
    test(|t| {
        needs!(t, t.cgroups.has("freezer") || t.cgroups.is_v2(), "no freezer");
        differs!(t, Kind::Crun, "1.8 waits for the resume");
        let container = t.hold(t.bundle());
        container.verb("pause", &[]).ok();
        container.exec(&["/bin/true"]).fails(&["pause"]);
        container.verb("resume", &[]).ok();
        container.exec(&["/bin/true"]).ok();
        container.end();
    });
}

#[test]
fn many_at_once() {
    test(|t| {
        let container = t.hold(t.bundle());
        let children: Vec<_> = (0..10)
            .map(|number: i32| {
                let mut command =
                    t.command(&["exec", &container.id, "sh", "-c", &format!("echo {number}; exit {number}")]);
                command.stdout(std::process::Stdio::piped()).spawn().unwrap()
            })
            .collect();
        for (number, child) in (0..).zip(children) {
            let output: tests::Output = child.wait_with_output().unwrap().into();
            assert_eq!((output.code, output.stdout), (number, format!("{number}\n")));
        }
        container.end();
    });
}
