//! What callers hand over and get back: descriptors of socket activation, a notify socket, pidfds; places below the cgroup.

use std::fs;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;
use std::process::Command;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use tests::{Kind, Output, Test, differs, kind, needs, test};

/// The runtime's command in a shell that has sockets of systemd's from 3 on, for the process `pid`.
fn activated(t: &Test, pid: &str, args: &[&str]) -> Command {
    let runtime = t.command(args);
    let mut shell = Command::new("sh");
    let script = format!("exec 3</dev/null 4</dev/null; export LISTEN_FDS=2 LISTEN_PID={pid}; exec \"$@\"");
    shell.arg("-c").arg(script).arg("sh").arg(runtime.get_program()).args(runtime.get_args());
    shell.env("RT_TEST", t.marker());
    shell
}

#[test]
fn sockets_of_systemd_are_handed_on() {
    test(|t| {
        differs!(t, Kind::Crun, "1.8 tells LISTEN_PID alone");
        let bundle = t.bundle().sh("echo $LISTEN_FDS $LISTEN_PID; echo /proc/self/fd/*");
        bundle.write();
        let dir = bundle.dir.to_str().unwrap();
        let run = |pid: &str| Output::from(activated(t, pid, &["run", "-b", dir, &t.id()]).output().unwrap()).ok();
        let text = run("$$");
        let (first, fds) = text.split_once('\n').unwrap();
        assert_eq!(first, "2 1");
        assert!(fds.contains("/proc/self/fd/3 ") && fds.contains("/proc/self/fd/4"), "{fds}");
        // They are another process's.
        let text = run("1");
        assert!(!text.contains("/proc/self/fd/4"), "{text}");
        assert!(!text.starts_with('2'), "{text}");
    });
}

#[test]
fn ready_is_passed_on_to_who_asked() {
    test(|t| {
        needs!(t, kind() == Kind::Rt, "runc 1.1 and crun 1.8 have their sockets elsewhere");
        let host = t.dir.join("host.sock");
        let socket = UnixDatagram::bind(&host).unwrap();
        let bundle = t.bundle().args(&["/bin/payload", "hold"]);
        bundle.write();
        let id = t.id();
        let pid_file = t.dir.join("pid");
        let args = ["run", "-d", "--pid-file", pid_file.to_str().unwrap(), "-b", bundle.dir.to_str().unwrap(), &id];
        let mut run = t
            .command(&args)
            .env("NOTIFY_SOCKET", &host)
            .stdout(fs::File::create_new(t.dir.join("out")).unwrap())
            .spawn()
            .unwrap();
        // The program does not speak: we speak for it, by the socket that it sees.
        let inside = loop {
            let path = t.dir.join("root").join(&id).join("notify/notify.sock");
            if pid_file.try_exists().unwrap() && path.try_exists().unwrap() {
                break path;
            }
            std::thread::yield_now();
        };
        let speaker = UnixDatagram::unbound().unwrap();
        speaker.send_to(b"STATUS=not yet", &inside).unwrap();
        speaker.send_to(b"STATUS=now\nREADY=1", &inside).unwrap();
        let next = || {
            let mut buffer = [0; 100];
            let length = socket.recv(&mut buffer).unwrap();
            String::from_utf8(buffer[..length].to_vec()).unwrap()
        };
        let pid = fs::read_to_string(&pid_file).unwrap();
        assert_eq!(next(), "READY=1\n");
        assert_eq!(next(), format!("MAINPID={pid}\n"));
        // A barrier: its descriptor is closed as it is not taken.
        assert_eq!(next(), "BARRIER=1");
        assert!(run.wait().unwrap().success());
        let environment = fs::read_to_string(format!("/proc/{pid}/environ")).unwrap();
        assert!(environment.contains("NOTIFY_SOCKET=/run/notify/notify.sock"), "{environment}");
        assert!(Path::new(&format!("/proc/{pid}/root/run/notify/notify.sock")).try_exists().unwrap());
        t.runtime(&["kill", &id, "KILL"]).ok();
        t.wait_pid(pid.parse().unwrap());
        t.runtime(&["delete", &id]).ok();
    });
}

/// What a `--pidfd-socket` got: the process of the pidfd.
fn received(listener: &UnixListener) -> i32 {
    let (stream, _) = listener.accept().unwrap();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut name = [0; 100];
    recvmsg(&stream, &mut [IoSliceMut::new(&mut name)], &mut control, RecvFlags::CMSG_CLOEXEC).unwrap();
    let mut fds: Vec<OwnedFd> = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", fds[0].as_raw_fd())).unwrap();
    info.lines().find_map(|line| line.strip_prefix("Pid:")).unwrap().trim().parse().unwrap()
}

#[test]
fn pidfds_are_sent() {
    test(|t| {
        differs!(t, Kind::Crun, "has an annotation for it");
        differs!(t, Kind::Runc, "1.1 has no --pidfd-socket");
        let path = t.dir.join("pidfd.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let socket = path.to_str().unwrap();
        let mut container =
            t.try_create(&t.bundle().args(&["/bin/payload", "hold"]), &["--pidfd-socket", socket]).unwrap();
        assert_eq!(received(&listener), container.pid);
        container.start().ok();
        let pid_file = t.dir.join("pid");
        let file = pid_file.to_str().unwrap();
        let args = ["exec", "--pidfd-socket", socket, "--pid-file", file, "-d", &container.id, "/bin/sleep", "1000"];
        t.detached(&args).ok();
        assert_eq!(received(&listener).to_string(), fs::read_to_string(&pid_file).unwrap());
        container.end();
    });
}

#[test]
fn exec_goes_to_a_group_below() {
    test(|t| {
        differs!(t, Kind::Crun, "takes it from the root of the hierarchy");
        needs!(t, t.cgroups.is_v2(), "no v2");
        let container = t.hold(t.bundle());
        // A v2 view of a hybrid host has the others in it, too.
        let unified = |table: &str| table.lines().find_map(|line| line.strip_prefix("0::/")).unwrap().to_owned();
        let own = unified(&fs::read_to_string(format!("/proc/{}/cgroup", container.pid)).unwrap());
        let group = t.cgroups.unified().unwrap().join(&own);
        fs::create_dir(group.join("inner")).unwrap();
        let place = |args: &[&str]| container.exec_with(args, &["/bin/cat", "/proc/self/cgroup"]);
        assert_eq!(unified(&place(&["--cgroup", "inner"]).ok()), format!("{own}/inner"));
        assert_eq!(unified(&place(&[]).ok()), own);
        for wrong in ["none", "../x", ".."] {
            place(&["--cgroup", wrong]).fails(&[]);
        }
        container.end();
    });
}

#[test]
fn root_by_chroot() {
    test(|t| {
        let bundle = t.bundle().sh("ls / | tr '\\n' ' '; hostname");
        bundle.write();
        let output = t.runtime(&["run", "--no-pivot", "-b", bundle.dir.to_str().unwrap(), &t.id()]).ok();
        assert!(output.starts_with("bin dev etc proc root sys tmp"), "{output}");
        // One more process gets to the same root.
        let container = t.try_create(&t.bundle().args(&["/bin/payload", "hold"]), &["--no-pivot"]);
        let mut container = container.unwrap();
        container.start().ok();
        assert_eq!(container.exec(&["/bin/cat", "/etc/group"]).ok().lines().next(), Some("root:x:0:"));
        container.end();
    });
}
