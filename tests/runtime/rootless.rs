//! Containers of an ordinary user: a user namespace with a single id, or those of /etc/subuid; no cgroup.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::chown;
use std::process::{Command, Stdio};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::mount::{UnmountFlags, mount_bind, unmount};
use serde_json::{Value, json};
use tests::{Killer, Kind, Output, differs, needs, test};

use crate::user::{USER, User};

#[test]
fn spec_runs_as_written() {
    test(|t| {
        differs!(t, Kind::Crun, "its own idea of what is rootless");
        differs!(t, Kind::Runc, "1.1 needs a cgroup");
        let user = User::new(t);
        let bundle = user.bundle().sh("id -u; cat /proc/self/uid_map; cat /proc/self/setgroups; hostname");
        let text = user.run(&bundle).ok();
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        assert_eq!(words, ["0", "0", &USER.to_string(), "1", "deny", "rt-runtime"]);
        // The host's control groups are in its /sys, and cannot be written to, whoever they belong to (CVE-2023-25809).
        let bundle = user
            .bundle()
            .sh("while read a b at type options; do case $at in /sys*) echo $options;; esac; done </proc/mounts");
        for options in user.run(&bundle).ok().lines() {
            assert!(options.starts_with("ro"), "{options}");
        }
    });
}

#[test]
fn life_of_a_container() {
    test(|t| {
        differs!(t, Kind::Crun, "its own idea of what is rootless");
        differs!(t, Kind::Runc, "1.1 needs a cgroup");
        let user = User::new(t);
        let bundle = user.bundle().args(&["/bin/payload", "hold"]);
        bundle.write();
        let id = t.id();
        let out = fs::File::create_new(t.dir.join("out")).unwrap();
        let pid_file = bundle.dir.join("pid");
        let mut create = user.command(&[
            "create",
            "--pid-file",
            pid_file.to_str().unwrap(),
            "-b",
            bundle.dir.to_str().unwrap(),
            &id,
        ]);
        let status = create.stdout(out.try_clone().unwrap()).stderr(out).status().unwrap();
        assert!(status.success(), "{}", fs::read_to_string(t.dir.join("out")).unwrap());
        let state: Value = user.runtime(&["state", &id]).json();
        assert_eq!(state["status"], "created");
        let pid = fs::read_to_string(&pid_file).unwrap();
        assert_eq!(state["pid"].to_string(), pid);
        user.runtime(&["start", &id]).ok();
        assert_eq!(user.runtime(&["exec", &id, "/bin/id", "-u"]).ok(), "0");
        assert_eq!(user.runtime(&["exec", &id, "/bin/sh", "-c", "exit 7"]).code, 7);
        user.runtime(&["exec", &id, "/no/such"]).fails(&["/no/such"]);
        let list: Value = user.runtime(&["list", "-f", "json"]).json();
        assert_eq!(list[0]["status"], "running");
        assert!(["54321", "rtuser"].contains(&list[0]["owner"].as_str().unwrap()), "{list}");
        // What takes a cgroup says so.
        user.runtime(&["pause", &id]).fails(&["no cgroup"]);
        user.runtime(&["ps", &id]).fails(&["no cgroup"]);
        user.runtime(&["update", "--memory", "64m", &id]).fails(&["no cgroup"]);
        user.runtime(&["events", "--stats", &id]).fails(&["no cgroup"]);
        // Another user's containers are not seen.
        t.runtime(&["state", &id]).fails(&["does not exist"]);
        user.runtime(&["delete", &id]).fails(&["running"]);
        user.runtime(&["delete", "--force", &id]).ok();
        assert_eq!(user.runtime(&["list", "-q"]).ok(), "");
        t.wait_pid(pid.parse().unwrap());
    });
}

#[test]
fn ids_of_subuid_are_mapped_by_newuidmap() {
    test(|t| {
        differs!(t, Kind::Crun, "its own idea of what is rootless");
        differs!(t, Kind::Runc, "1.1 needs a cgroup");
        needs!(t, fs::symlink_metadata("/usr/bin/newuidmap").is_ok(), "no newuidmap (hack/setup installs uidmap)");
        let user = User::new(t);
        // Of this test's mount namespace alone.
        let files = [
            ("/etc/passwd", format!("root:x:0:0::/root:/bin/sh\nrtt:x:{USER}:{USER}::/:/bin/sh\n")),
            ("/etc/group", format!("root:x:0:\nrtt:x:{USER}:\n")),
            ("/etc/subuid", "rtt:700000:1000\n".to_owned()),
            ("/etc/subgid", "rtt:700000:1000\n".to_owned()),
        ];
        let there: Vec<_> = files.iter().filter(|(path, _)| fs::symlink_metadata(path).is_ok()).collect();
        for (path, text) in &there {
            let own = t.dir.join(path.rsplit('/').next().unwrap());
            fs::write(&own, text).unwrap();
            mount_bind(&own, *path).unwrap();
        }
        let mapped = |first: u32| {
            let map = json!([{"containerID": 0, "hostID": USER, "size": 1}, {"containerID": 1, "hostID": first, "size": 1000}]);
            user.bundle().set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map)
        };
        if there.len() == files.len() {
            let bundle = mapped(700_000).set("/process/user", json!({"uid": 5, "gid": 6, "additionalGids": [7]}));
            let text = user.run(&bundle.sh("id -u; id -G; cat /proc/self/uid_map")).ok();
            let words: Vec<&str> = text.split_ascii_whitespace().collect();
            assert_eq!(words, ["5", "6", "7", "0", &USER.to_string(), "1", "1", "700000", "1000"]);
            user.run(&mapped(800_000)).fails(&["newuidmap", "800000"]);
        } else {
            t.skip("no /etc/subuid and /etc/subgid");
        }
        for (path, _) in &there {
            unmount(*path, UnmountFlags::empty()).unwrap();
        }
    });
}

/// Without a cgroup nothing but its record leads to the init of a container: one that is not on record ends with who made it.
#[test]
fn nothing_stays_of_a_maker_that_is_killed_at_any_step() {
    test(|t| {
        differs!(t, Kind::Crun, "its own idea of what is rootless");
        differs!(t, Kind::Runc, "1.1 needs a cgroup");
        needs!(t, fs::read("/proc/self/syscall").is_ok(), "this kernel does not tell the calls of a process");
        let user = User::new(t);
        let bundle = user.bundle().args(&["/bin/payload", "hold"]);
        bundle.write();
        for verb in [&["create"] as &[&str], &["run", "--detach"]] {
            let attempt = |at| {
                let (id, (reader, writer)) = (t.id(), std::io::pipe().unwrap());
                // It begins when it is watched.
                let mut maker = user.program("sh", &["-c", "read begin; exec \"$@\" </dev/null", "sh"]);
                maker.arg(&user.program).args(verb).args(["-b", bundle.dir.to_str().unwrap(), &id]);
                let mut child = maker.stdin(Stdio::piped()).stdout(writer).stderr(Stdio::null()).spawn().unwrap();
                drop(maker);
                let killer = Killer::watch(child.id().try_into().unwrap(), at, &t.dir);
                child.stdin.take().unwrap().write_all(b"\n").unwrap();
                let steps = killer.ended();
                // Who waited for its steps may have waited for its end, too.
                let _ = child.wait();
                user.runtime(&["delete", "--force", &id]).ok();
                assert_eq!(user.runtime(&["list", "-q"]).ok(), "");
                // Its output ends with the last process that has it.
                let mut output = [PollFd::new(reader.as_fd(), PollFlags::empty())];
                poll(&mut output, PollTimeout::from(10_000u16)).unwrap();
                assert_eq!(output[0].revents(), Some(PollFlags::POLLHUP), "{verb:?}, killed before step {at} of it");
                steps
            };
            let steps = attempt(u32::MAX);
            assert!(steps > 5, "{steps}");
            for at in 1..=steps {
                attempt(at);
            }
        }
    });
}

#[test]
fn refusals() {
    test(|t| {
        differs!(t, Kind::Crun, "its own idea of what is rootless");
        differs!(t, Kind::Runc, "1.1 needs a cgroup");
        let user = User::new(t);
        let bundle = user.bundle().unset("/linux/uidMappings").unset("/linux/gidMappings");
        let bundle = bundle
            .set("/linux/namespaces", json!([{"type": "mount"}, {"type": "pid"}, {"type": "uts"}, {"type": "ipc"}]));
        user.run(&bundle).fails(&["linux.namespaces", "user namespace", "spec --rootless"]);
        user.run(&user.bundle().set("/linux/resources", json!({"pids": {"limit": 5}})))
            .fails(&["linux.resources", "cgroup"]);
        user.run(&user.bundle().set("/linux/cgroupsPath", json!("/rtt-not-mine/x"))).fails(&["linux.cgroupsPath"]);
        user.runtime(&["--rootless", "perhaps", "list"]).fails(&["--rootless", "auto, true, false"]);
        user.runtime(&["--rootless=false", "list"]).ok();
        assert_eq!(user.runtime(&["list", "-q"]).ok(), "");
    });
}

#[test]
fn delegated_group() {
    test(|t| {
        differs!(t, Kind::Crun, "its own idea of what is rootless");
        differs!(t, Kind::Runc, "1.1 needs a cgroup");
        needs!(t, t.cgroups.is_v2() && t.cgroups.has("pids"), "no v2 with pids");
        let user = User::new(t);
        let root = t.cgroups.unified().unwrap();
        let top = root.join(t.marker());
        let caller = top.join("caller");
        fs::create_dir(&top).unwrap();
        fs::write(root.join("cgroup.subtree_control"), "+pids").unwrap();
        fs::write(top.join("cgroup.subtree_control"), "+pids").unwrap();
        fs::create_dir(&caller).unwrap();
        for file in ["", "cgroup.procs", "cgroup.subtree_control", "caller", "caller/cgroup.procs"] {
            chown(top.join(file), Some(USER), Some(USER)).unwrap();
        }
        let limit = format!("cat /sys/fs/cgroup/{}/c1/pids.max", t.marker());
        let bundle = user.bundle().set("/linux/cgroupsPath", json!(format!("/{}/c1", t.marker())));
        let bundle = bundle.set("/linux/resources", json!({"pids": {"limit": 7}})).sh(&limit);
        bundle.write();
        let mut shell = Command::new("sh");
        let script =
            "echo 0 >\"$0\" && exec setpriv --reuid \"$1\" --regid \"$1\" --clear-groups \"$2\" run -b \"$3\" \"$4\"";
        shell.arg("-c").arg(script).arg(caller.join("cgroup.procs")).arg(USER.to_string());
        shell.arg(&user.program).arg(&bundle.dir).arg(t.id());
        shell.env("XDG_RUNTIME_DIR", &user.runtime_directory).env("RT_TEST", t.marker());
        assert_eq!(Output::from(shell.output().unwrap()).ok(), "7");
        assert!(!top.join("c1").try_exists().unwrap());
        fs::remove_dir(&caller).unwrap();
    });
}

/// CVE-2019-5736 where the program belongs to the user who is root in the container.
#[test]
fn program_runs_from_a_sealed_copy() {
    test(|t| {
        differs!(t, Kind::Crun, "its own idea of what is rootless");
        differs!(t, Kind::Runc, "1.1 needs a cgroup");
        let user = User::new(t);
        chown(&user.program, Some(USER), Some(USER)).unwrap();
        let bundle = user.bundle().args(&["/bin/payload", "hold"]);
        bundle.write();
        let id = t.id();
        let mut run = user.command(&["run", "-b", bundle.dir.to_str().unwrap(), &id]);
        let mut run = run.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(run.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        let link = format!("/proc/{}/exe", run.id());
        assert_eq!(fs::read_link(&link).unwrap().to_str(), Some("/memfd:rt-runtime (deleted)"));
        // Held over the end of the process, it is still not to be written to.
        let held = File::open(&link).unwrap();
        user.runtime(&["kill", &id, "KILL"]).ok();
        assert_eq!(run.wait().unwrap().code(), Some(137));
        let path = format!("/proc/self/fd/{}", held.as_raw_fd());
        let written = OpenOptions::new().write(true).open(path).and_then(|mut file| file.write_all(b"#!"));
        assert_eq!(written.unwrap_err().raw_os_error(), Some(rustix::io::Errno::PERM.raw_os_error()));
    });
}
