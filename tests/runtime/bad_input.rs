//! Configurations that are wrong: the error names the JSON path, and nothing is left behind (the oracle looks).

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tests::{Kind, Test, differs, kind, test};

/// Every document is refused; ours names the path.
fn refused(t: &Test, pointer: &str, value: Value, path: &str) {
    let output = t.run(&t.bundle().set(pointer, value.clone()));
    assert_ne!(output.code, 0, "{pointer} = {value}: {output}");
    if kind() == Kind::Rt {
        assert!(output.stderr.contains(path), "{pointer} = {value}: no {path} in {output}");
        assert_eq!(output.stderr.trim_end().lines().count(), 1, "{output}");
    }
    assert_eq!(t.runtime(&["list", "-q"]).ok(), "");
}

#[test]
fn wrong_types_are_named() {
    test(|t| {
        differs!(t, Kind::Crun, "1.8 takes text for numbers");
        refused(t, "/process/user/uid", json!("root"), "process.user.uid");
        refused(t, "/process/user/uid", json!(-1), "process.user.uid");
        refused(t, "/process/user/uid", json!(1u64 << 32), "process.user.uid");
        refused(t, "/process/args", json!("sh"), "process.args");
        refused(t, "/process/args", json!(["sh", 1]), "process.args[1]");
        refused(t, "/process/terminal", json!("no"), "process.terminal");
        refused(t, "/root", json!([]), "root");
        refused(t, "/mounts/2/options", json!("ro"), "mounts[2].options");
        refused(t, "/linux/namespaces/0/type", json!(4), "linux.namespaces[0].type");
        refused(t, "/linux/resources/memory", json!({"limit": "64M"}), "linux.resources.memory.limit");
        refused(t, "/hooks", json!({"prestart": [{"args": []}]}), "hooks.prestart[0]");
    });
}

/// A list is no object, wherever one is expected; of a known kind the error says which members it may have.
#[test]
fn lists_are_no_objects() {
    test(|t| {
        differs!(t, Kind::Crun, "1.8 takes lists for objects");
        let bundle = t.bundle().set("/hooks", json!({"poststop": [{"path": "/bin/true"}]}));
        let mut all = Vec::new();
        places(&bundle.spec, "", &mut all);
        let objects = all.iter().filter(|place| bundle.spec.pointer(place).unwrap().is_object());
        let mut seen = 0;
        for place in objects {
            for list in [json!([]), json!(["x"]), json!([{}])] {
                let path = place.split('/').skip(1).fold(String::new(), |path, name| match name.parse::<usize>() {
                    Ok(index) => format!("{path}[{index}]"),
                    Err(_) if path.is_empty() => name.to_owned(),
                    Err(_) => format!("{path}.{name}"),
                });
                let document = match place.as_str() {
                    "" => list.clone(),
                    _ => {
                        let mut spec = bundle.spec.clone();
                        *spec.pointer_mut(place).unwrap() = list.clone();
                        spec
                    }
                };
                fs::write(bundle.dir.join("config.json"), document.to_string()).unwrap();
                let output = t.runtime(&["run", "--bundle", bundle.dir.to_str().unwrap(), &t.id()]);
                assert_ne!(output.code, 0, "{place} = {list}: {output}");
                let at = if path.is_empty() { "." } else { &path };
                let start = format!("config.json: {at}: invalid type: sequence, expected an object with ");
                assert!(kind() != Kind::Rt || output.stderr.contains(&start), "no {start:?} in {output}");
                seen += 1;
            }
        }
        assert!(seen > 60, "{seen}");
    });
}

/// The same of what other verbs read.
#[test]
fn lists_are_no_processes_and_no_resources() {
    test(|t| {
        differs!(t, Kind::Crun, "1.8 takes lists for objects");
        let container = t.hold(t.bundle());
        let file = t.dir.join("document.json");
        let name = file.to_str().unwrap();
        let process = json!({"args": ["/bin/true"], "cwd": "/", "user": {"uid": 0, "gid": 0}});
        let cases = [
            ("exec", "--process", json!([]), "process: .: "),
            ("exec", "--process", json!({"args": ["/bin/true"], "cwd": "/", "user": [0, 0]}), "process: user: "),
            ("update", "--resources", json!([]), "resources: .: "),
            ("update", "--resources", json!({"memory": [1 << 30]}), "resources: memory: "),
        ];
        for (verb, flag, document, path) in cases {
            fs::write(&file, document.to_string()).unwrap();
            let output = container.verb(verb, &[flag, name]);
            assert_ne!(output.code, 0, "{verb} {document}: {output}");
            let text = format!("{path}invalid type: sequence, expected an object with ");
            assert!(kind() != Kind::Rt || output.stderr.contains(&text), "{verb} {document}: {output}");
        }
        fs::write(&file, process.to_string()).unwrap();
        container.verb("exec", &["--process", name]).ok();
        container.end();
    });
}

#[test]
fn contradictions_are_named() {
    test(|t| {
        if kind() != Kind::Rt {
            return t.skip("runc 1.1 and crun 1.8 take some of these");
        }
        refused(t, "/process/cwd", json!(""), "process.cwd");
        refused(t, "/process/env", json!(["NO_VALUE\u{0}"]), "process.env[0]");
        refused(t, "/process/oomScoreAdj", json!(5000), "process.oomScoreAdj");
        refused(t, "/mounts/0/destination", json!(""), "mounts[0].destination");
        refused(t, "/linux/maskedPaths", json!(["relative"]), "linux.maskedPaths[0]");
        refused(t, "/linux/readonlyPaths", json!(["relative"]), "linux.readonlyPaths[0]");
        refused(t, "/linux/cgroupsPath", json!("/a/../../b"), "linux.cgroupsPath");
        refused(
            t,
            "/linux/devices",
            json!([{"path": "relative", "type": "c", "major": 1, "minor": 3}]),
            "linux.devices[0].path",
        );
        refused(t, "/process/rlimits", json!([{"type": "NOFILE", "soft": 1, "hard": 1}]), "process.rlimits[0].type");
    });
}

#[test]
fn versions() {
    test(|t| {
        for version in ["1.0.0", "1.0.2", "1.0.2-dev", "1.1.0"] {
            t.run(&t.bundle().set("/ociVersion", json!(version))).ok();
        }
        if kind() == Kind::Rt {
            t.run(&t.bundle().set("/ociVersion", json!("1.3.0"))).ok();
        }
        for version in ["2.0.0", "banana", ""] {
            if kind() == Kind::Rt {
                refused(t, "/ociVersion", json!(version), "ociVersion");
            }
        }
    });
}

/// Programs in Go write it for a list that has nothing in it.
#[test]
fn null_is_as_good_as_absent() {
    test(|t| {
        for pointer in [
            "/annotations",
            "/hooks",
            "/linux/devices",
            "/linux/maskedPaths",
            "/linux/readonlyPaths",
            "/linux/resources",
            "/linux/seccomp",
            "/linux/sysctl",
            "/linux/uidMappings",
            "/mounts/0/options",
            "/process/capabilities",
            "/process/capabilities/ambient",
            "/process/noNewPrivileges",
            "/process/rlimits",
            "/process/terminal",
            "/process/user",
            "/process/user/additionalGids",
            "/root/readonly",
        ] {
            let output = t.run(&t.bundle().set(pointer, Value::Null));
            assert_eq!(output.code, 0, "{pointer}: {output}");
        }
        for (pointer, value) in [
            ("/hooks", json!({"prestart": null, "poststop": [{"path": "/bin/true", "args": null, "env": null}]})),
            ("/linux/personality", json!({"domain": "LINUX", "flags": null})),
            ("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": null, "syscalls": null})),
            ("/linux/resources/unified", Value::Null),
        ] {
            let output = t.run(&t.bundle().set(pointer, value));
            assert_eq!(output.code, 0, "{pointer}: {output}");
        }
    });
}

#[test]
fn documents_that_are_none() {
    test(|t| {
        for text in [
            "",
            "{",
            "[]",
            "null",
            "{\"ociVersion\": \"1.0.0\"} trailing",
            "{\"ociVersion\": \"1.0.2\"}",
            "\u{0}",
            "{}",
        ] {
            let bundle = t.bundle();
            fs::write(bundle.dir.join("config.json"), text).unwrap();
            let output = t.runtime(&["run", "--bundle", bundle.dir.to_str().unwrap(), &t.id()]);
            output.fails(&[]);
        }
        let bundle = t.bundle();
        t.runtime(&["run", "--bundle", bundle.dir.to_str().unwrap(), &t.id()]).fails(&["config.json"]);
        t.runtime(&["run", "--bundle", "/nonexistent", &t.id()]).fails(&["nonexistent"]);
    });
}

#[test]
fn deep_nesting_and_size_are_bounded() {
    test(|t| {
        if kind() != Kind::Rt {
            return t.skip("memory of a test machine is not for runc and crun to eat");
        }
        let bundle = t.bundle();
        let id = t.id();
        let args = ["run", "--bundle", bundle.dir.to_str().unwrap(), &id];
        for start in ["", "{\"ociVersion\": \"1.0.2\", \"unknown\": "] {
            fs::write(bundle.dir.join("config.json"), start.to_owned() + &"[".repeat(2_000_000)).unwrap();
            let output = t.runtime(&args);
            assert!(output.stderr.len() < 2000, "{} bytes", output.stderr.len());
            output.fails(&["config.json"]);
        }
        let file = fs::File::options().write(true).open(bundle.dir.join("config.json")).unwrap();
        file.set_len(64 << 20).unwrap();
        t.runtime(&args).fails(&["config.json"]);
    });
}

#[test]
fn every_member_absurd() {
    test(|t| {
        if kind() != Kind::Rt {
            return t.skip("runc 1.1 and crun 1.8 take many of these, and crun ends by a signal at some");
        }
        let long = "x".repeat(5000);
        for (pointer, value, path) in [
            ("/process/user", json!(7), "process.user"),
            ("/process/user/gid", json!(1.5), "process.user.gid"),
            ("/process/user/umask", json!(0o1000), "process.user.umask"),
            ("/process/user/additionalGids", json!([1, -1]), "process.user.additionalGids[1]"),
            ("/process/consoleSize", json!({"height": -1, "width": 1}), "process.consoleSize.height"),
            ("/process/consoleSize", json!({"height": 70000, "width": 1}), "process.consoleSize.height"),
            ("/process/args", json!(["a\u{0}"]), "process.args"),
            ("/process/env", json!([""]), "process.env[0]"),
            ("/process/env", json!(["=x"]), "process.env[0]"),
            ("/process/cwd", json!("/a\u{0}b"), "process.cwd"),
            ("/process/capabilities", json!(["CAP_KILL"]), "process.capabilities"),
            ("/process/rlimits", json!([{"type": "RLIMIT_CORE", "soft": -1, "hard": 1}]), "process.rlimits[0].soft"),
            ("/process/noNewPrivileges", json!("yes"), "process.noNewPrivileges"),
            ("/process/scheduler", json!({"policy": "SCHED_OTHER", "nice": 999}), "process.scheduler.nice"),
            ("/process/scheduler", json!({"policy": "SCHED_DEADLINE", "runtime": -5}), "process.scheduler.runtime"),
            ("/process/ioPriority", json!({"class": "RT"}), "process.ioPriority.class"),
            ("/process/ioPriority", json!({"class": "IOPRIO_CLASS_RT", "priority": 99}), "process.ioPriority.priority"),
            ("/process/execCPUAffinity", json!({"initial": "9-1"}), "process.execCPUAffinity.initial"),
            ("/root", Value::Null, "root"),
            ("/root/path", json!(""), "root.path"),
            ("/root/path", json!("a\u{0}"), "root.path"),
            ("/root/readonly", json!(1), "root.readonly"),
            ("/hostname", json!(long), "hostname"),
            ("/domainname", json!("a\u{0}"), "domainname"),
            ("/annotations", json!({"a": 1}), "annotations.a"),
            ("/mounts/0", json!({"type": "tmpfs"}), "mounts[0]"),
            ("/mounts/0/destination", json!("/a\u{0}"), "mounts[0].destination"),
            ("/mounts/0/source", json!("a\u{0}"), "mounts[0].source"),
            ("/mounts/0/options", json!(["size=\u{0}"]), "mounts[0].options[0]"),
            ("/mounts/0/options", json!(["idmap"]), "mounts[0]"),
            ("/mounts/0/uidMappings", json!([{"containerID": 0, "hostID": 0, "size": 0}]), "mounts[0].uidMappings[0]"),
            ("/hooks", json!({"prestart": {}}), "hooks.prestart"),
            ("/hooks", json!({"poststop": [{"path": "/a", "timeout": 0}]}), "hooks.poststop[0].timeout"),
            ("/hooks", json!({"poststop": [{"path": "/a", "timeout": -9}]}), "hooks.poststop[0].timeout"),
            ("/hooks", json!({"poststop": [{"path": "/a", "args": ["\u{0}"]}]}), "hooks.poststop[0]"),
            ("/linux/namespaces/0/path", json!("relative"), "linux.namespaces[0].path"),
            ("/linux/namespaces/0/path", json!("/a\u{0}"), "linux.namespaces[0].path"),
            (
                "/linux/uidMappings",
                json!([{"containerID": 0, "hostID": 4_294_967_295_u32, "size": 2}]),
                "linux.uidMappings[0]",
            ),
            ("/linux/timeOffsets", json!({"boottime": {"secs": 1}}), "linux.timeOffsets"),
            (
                "/linux/devices",
                json!([{"path": "/dev/x", "type": "c", "major": 5000, "minor": 1}]),
                "linux.devices[0].major",
            ),
            ("/linux/devices", json!([{"path": "/", "type": "p"}]), "linux.devices[0].path"),
            ("/linux/netDevices", json!({"a b": {}}), "linux.netDevices[\"a b\"]"),
            ("/linux/cgroupsPath", json!("a\u{0}b"), "linux.cgroupsPath"),
            ("/linux/resources/memory", json!({"limit": -2}), "linux.resources.memory.limit"),
            ("/linux/resources/memory", json!({"limit": 10, "swap": 5}), "linux.resources.memory.swap"),
            ("/linux/resources/cpu", json!({"cpus": "a"}), "linux.resources.cpu.cpus"),
            ("/linux/resources/cpu", json!({"idle": 2}), "linux.resources.cpu.idle"),
            ("/linux/resources/pids", json!({"limit": -7}), "linux.resources.pids.limit"),
            ("/linux/resources/blockIO", json!({"weight": 9}), "linux.resources.blockIO.weight"),
            (
                "/linux/resources/hugepageLimits",
                json!([{"pageSize": "2", "limit": 1}]),
                "linux.resources.hugepageLimits[0]",
            ),
            ("/linux/resources/network", json!({"classID": -1}), "linux.resources.network.classID"),
            ("/linux/resources/network", json!({"classID": 1}), "linux.resources.network.classID"),
            ("/linux/resources/rdma", json!({"": {"hcaHandles": 1}}), "linux.resources.rdma[\"\"]"),
            ("/linux/resources/rdma", json!({"mlx5": {"hcaHandles": 1}}), "linux.resources.rdma[\"mlx5\"]"),
            ("/linux/resources/unified", json!({"../x": "1"}), "linux.resources.unified"),
            ("/linux/resources/devices", json!([{"allow": true, "type": "q"}]), "linux.resources.devices[0]"),
            ("/linux/intelRdt", json!({"closID": "x"}), "linux.intelRdt"),
            ("/linux/memoryPolicy", json!({"mode": "x"}), "linux.memoryPolicy.mode"),
            ("/linux/sysctl", json!({"": "1"}), "linux.sysctl[\"\"]"),
            ("/linux/sysctl", json!({"net.ipv4.ip_forward": 1}), "linux.sysctl"),
            ("/linux/seccomp", json!({}), "linux.seccomp"),
            ("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_NOTIFY"}), "linux.seccomp.defaultAction"),
            ("/linux/rootfsPropagation", json!("x"), "linux.rootfsPropagation"),
            ("/linux/maskedPaths", json!(["/a\u{0}"]), "linux.maskedPaths[0]"),
            ("/linux/mountLabel", json!("a\u{0}"), "linux.mountLabel"),
            ("/linux/personality", json!({"domain": "LINUX", "flags": ["x"]}), "linux.personality.flags"),
        ] {
            refused(t, pointer, value, path);
        }
    });
}

/// Every place of the document, and of members that it does not have.
fn places(value: &Value, at: &str, all: &mut Vec<String>) {
    all.push(at.to_owned());
    match value {
        Value::Object(members) => members.iter().for_each(|(name, value)| places(value, &format!("{at}/{name}"), all)),
        Value::Array(list) => {
            list.iter().enumerate().for_each(|(index, value)| places(value, &format!("{at}/{index}"), all))
        }
        _ => {}
    }
}

#[test]
fn anything_anywhere_is_taken_or_refused_in_one_line() {
    test(|t| {
        if kind() != Kind::Rt {
            return t.skip("runc 1.1 and crun 1.8 take many of these, and crun ends by a signal at some");
        }
        let mut all = Vec::new();
        places(&t.bundle().spec, "", &mut all);
        let values = [
            Value::Null,
            json!(true),
            json!(-1),
            json!(u64::MAX),
            json!(1e300),
            json!(""),
            json!("\u{0}"),
            json!("/".repeat(5000)),
            json!([]),
            json!([[[]]]),
            json!({}),
            json!({"": {"": null}}),
        ];
        // Each place one value, and each value many places.
        for (index, place) in all.iter().filter(|place| !place.is_empty()).enumerate() {
            let value = &values[index * 5 % values.len()];
            let output = t.run(&t.bundle().set(place, value.clone()));
            assert!(output.code < 128, "{place} = {value}: {output}");
            // Of capabilities unknown names are left out with a warning.
            let warned = output.code == 0 && place.starts_with("/process/capabilities/");
            assert!((output.code == 0) == output.stderr.is_empty() || warned, "{place} = {value}: {output}");
            assert!(output.stderr.trim_end().lines().count() <= 1, "{place} = {value}: {output}");
        }
        assert_eq!(t.runtime(&["list", "-q"]).ok(), "");
    });
}

#[test]
fn configuration_of_100_megabytes() {
    test(|t| {
        if kind() != Kind::Rt {
            return t.skip("memory of a test machine is not for runc and crun to eat");
        }
        let bundle = t.bundle();
        bundle.write();
        let path = bundle.dir.join("config.json");
        // Valid JSON all the same: what is too much is white space.
        let mut text = fs::read(&path).unwrap();
        text.resize(100 << 20, b' ');
        fs::write(&path, text).unwrap();
        t.runtime(&["run", "--bundle", bundle.dir.to_str().unwrap(), &t.id()]).fails(&["config.json", "larger than"]);
        fs::remove_file(&path).unwrap();
        for kind in [&["mkfifo"] as &[&str], &["mkdir"]] {
            assert!(Command::new(kind[0]).arg(&path).status().unwrap().success());
            let output = t.runtime(&["run", "--bundle", bundle.dir.to_str().unwrap(), &t.id()]);
            output.fails(&["config.json"]);
            assert!(Command::new("rm").arg("-r").arg(&path).status().unwrap().success());
        }
    });
}

fn mount(kind: &str, options: &str, source: &str, at: &Path) {
    let status = Command::new("mount").args(["-t", kind, "-o", options, source]).arg(at).status().unwrap();
    assert!(status.success(), "mount {at:?}");
}

fn unmount(at: &Path) {
    assert!(Command::new("umount").arg(at).status().unwrap().success(), "umount {at:?}");
}

#[test]
fn bundle_on_a_read_only_file_system() {
    test(|t| {
        differs!(t, Kind::Crun, "1.8 leaves the cgroup behind when create fails late");
        let bundle = t.bundle().args(&["/bin/echo", "runs"]);
        bundle.write();
        let dir = bundle.dir.to_str().unwrap().to_owned();
        let dir = dir.as_str();
        mount("none", "bind", dir, &bundle.dir);
        mount("none", "remount,bind,ro", dir, &bundle.dir);
        assert_eq!(t.runtime(&["run", "--bundle", dir, &t.id()]).ok(), "runs");
        unmount(&bundle.dir);
        // What is missing cannot be made.
        let bundle = bundle.mount("/missing/x", "tmpfs", "tmpfs", &[]);
        bundle.write();
        mount("none", "bind", dir, &bundle.dir);
        mount("none", "remount,bind,ro", dir, &bundle.dir);
        let output = t.runtime(&["run", "--bundle", dir, &t.id()]);
        unmount(&bundle.dir);
        let words: &[&str] = if kind() == Kind::Rt { &["mounts[6]", "EROFS"] } else { &[] };
        output.fails(words);
    });
}

#[test]
fn full_file_systems() {
    test(|t| {
        if kind() != Kind::Rt {
            return t.skip("runc 1.1 and crun 1.8 leave something behind");
        }
        let full = t.dir.join("full");
        fs::create_dir(&full).unwrap();
        mount("tmpfs", "size=64k,nr_inodes=8", "full", &full);
        // State that cannot be written; the directory of the container can be made.
        let fill = |text: &str| {
            let _ = fs::write(full.join("filler"), vec![b'x'; 1 << 20]);
            assert!(fs::write(full.join("filler2"), text).is_err() || text.is_empty());
        };
        fill("more");
        let bundle = t.bundle();
        bundle.write();
        let program = tests::program("rt-runtime");
        let run = |root: &Path| {
            let mut command = Command::new(&program);
            command.arg("--root").arg(root).args(["run", "--bundle"]).arg(&bundle.dir).arg(t.id()).stdin(Stdio::null());
            tests::Output::from(command.output().unwrap())
        };
        run(&full.join("state")).fails(&["state.json", "ENOSPC"]);
        assert_eq!(fs::read_dir(full.join("state")).unwrap().count(), 0, "the container's directory is removed");
        fs::remove_dir(full.join("state")).unwrap();
        fs::remove_file(full.join("filler2")).unwrap();
        fs::remove_file(full.join("filler")).unwrap();
        // No room for the mount point.
        let root = full.join("rootfs");
        fs::create_dir(&root).unwrap();
        while fs::write(full.join(t.id()), "").is_ok() {}
        t.run(&t.bundle().set("/root/path", json!(root))).fails(&["mounts[0]", "ENOSPC"]);
        assert_eq!(t.runtime(&["list", "-q"]).ok(), "");
        unmount(&full);
    });
}

#[test]
fn bundle_that_answers_late() {
    test(|t| {
        if kind() != Kind::Rt {
            return t.skip("the time at which runc and crun read is their own");
        }
        let bundle = t.bundle().args(&["/bin/echo", "at last"]);
        let root = bundle.rootfs();
        let bundle = bundle.set("/root/path", json!(root));
        bundle.write();
        let at = t.dir.join("late");
        fs::create_dir(&at).unwrap();
        // Serves the file, and answers a read when it is told to: a line on its standard input for each.
        let mut late = Command::new(tests::calls());
        late.arg("late").arg(&at).arg(bundle.dir.join("config.json")).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut late = late.spawn().unwrap();
        let mut said = BufReader::new(late.stdout.take().unwrap());
        let mut answer = late.stdin.take().unwrap();
        let mut line = || {
            let mut line = String::new();
            said.read_line(&mut line).unwrap();
            line.trim_end().to_owned()
        };
        let first = line();
        if first != "mounted" {
            late.wait().unwrap();
            return t.skip("the kernel has no FUSE");
        }
        let run = |id: &str| {
            let mut command = t.command(&["run", "--bundle", at.to_str().unwrap(), id]);
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        };
        // Killed while it waits, there is nothing yet.
        let mut killed = run(&t.id());
        assert_eq!(line(), "read");
        killed.kill().unwrap();
        std::io::Write::write_all(&mut answer, b"\n").unwrap();
        killed.wait().unwrap();
        assert_eq!(t.runtime(&["list", "-q"]).ok(), "");
        // An answer after a while is an answer.
        let waiting = run(&t.id());
        assert_eq!(line(), "read");
        std::io::Write::write_all(&mut answer, b"\n").unwrap();
        let output = tests::Output::from(waiting.wait_with_output().unwrap());
        assert_eq!(output.ok(), "at last");
        unmount(&at);
        drop(answer);
        late.wait().unwrap();
    });
}

#[test]
fn ids_with_every_odd_byte() {
    test(|t| {
        if kind() != Kind::Rt {
            return t.skip("runc 1.1 and crun 1.8 take some of these");
        }
        let bundle = t.bundle();
        bundle.write();
        let dir = bundle.dir.to_str().unwrap();
        for byte in 1..=255_u8 {
            let good = byte.is_ascii_alphanumeric() || b"_+-.".contains(&byte);
            for id in [vec![byte], vec![b'a', byte], vec![b'a', byte, b'a']] {
                if good && (id[0] == b'a' || !b"-.".contains(&byte)) {
                    continue;
                }
                let output = t.command(&["run", "--bundle", dir]).arg(OsStr::from_bytes(&id)).output().unwrap();
                let output = tests::Output::from(output);
                assert!(output.code == 1 && output.stdout.is_empty(), "{id:?}: {output}");
                assert_eq!(output.stderr.trim_end().lines().count(), 1, "{id:?}: {output}");
            }
        }
        for id in ["", ".", "..", "../x", "a/../b", &"a".repeat(1025)] {
            t.runtime(&["run", "--bundle", dir, id]).fails(&["id"]);
        }
        assert_eq!(fs::read_dir(t.dir.join("root")).unwrap().count(), 0);
    });
}

#[test]
fn failure_after_the_clone_leaves_nothing() {
    test(|t| {
        // Each fails at another step of the child.
        t.run(&t.bundle().mount("/x", "tmpfs", "tmpfs", &["size=banana"])).fails(&[]);
        t.run(&t.bundle().set("/process/args", json!(["/missing"]))).fails(&[]);
        t.run(&t.bundle().set("/linux/sysctl", json!({"net.core.none": "1"}))).fails(&[]);
        t.run(&t.bundle().mount("/x", "bind", "/proc/self/nothing", &["bind"])).fails(&[]);
        assert_eq!(t.runtime(&["list", "-q"]).ok(), "");
    });
}
