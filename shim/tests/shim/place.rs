//! A state directory of a test, with containers in it.

use std::fs;
use std::io::{PipeReader, PipeWriter, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;
use runtime::sys::process::{pidfd_open, pidfd_send_signal};
use serde_json::{Value, json};
use shim::client::{self, Connection, Session};
use shim::layout::{Exit, State, Status};
use shim::local::{Directory, Wait};
use shim::protocol::{Reply, Request, Streams};
use shim::record;

/// The program under test.
pub(crate) fn program() -> PathBuf {
    std::env::var_os("RT_SHIM").map_or_else(|| env!("CARGO_BIN_EXE_rt-shim").into(), PathBuf::from)
}

/// Longest wait for an event in a test.
const PATIENCE: u16 = 30_000;

/// Copies a program that is to be run. By a process of its own: a descriptor that this one writes through may be in a child that
/// another test is just starting, and then the program cannot be executed (ETXTBSY).
pub(crate) fn copy_program(from: &Path, to: &Path) {
    assert!(std::process::Command::new("cp").arg(from).arg(to).status().unwrap().success());
}

/// A state directory with one container.
pub(crate) struct Place {
    root: tempfile::TempDir,
    pub(crate) id: String,
    pub(crate) spec: Value,
    pub(crate) task: Value,
}

impl Place {
    /// A container that runs `script` in a shell.
    pub(crate) fn new(script: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        assert!(nix::unistd::geteuid().is_root(), "tests of the shim need root");
        let root = tempfile::tempdir().unwrap();
        let id = format!("shimtest-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let rootfs = root.path().join("rootfs");
        for dir in ["bin", "proc", "dev", "tmp", "sys"] {
            fs::create_dir_all(rootfs.join(dir)).unwrap();
        }
        copy_program("/bin/busybox".as_ref(), &rootfs.join("bin/busybox"));
        for applet in [
            "sh", "cat", "echo", "sleep", "seq", "stty", "kill", "head", "tail", "yes", "dd", "ls", "true", "touch",
            "id", "ps", "test", "grep",
        ] {
            symlink("busybox", rootfs.join("bin").join(applet)).unwrap();
        }
        for dir in ["state/local", "state/names", "upper"] {
            fs::create_dir_all(root.path().join(dir)).unwrap();
        }
        fs::create_dir_all(root.path().join("upper").join(&id)).unwrap();
        let mount = |destination: &str, kind: &str, options: &[&str]| json!({"destination": destination, "type": kind, "source": kind, "options": options});
        let spec = json!({
            "ociVersion": "1.0.2",
            "process": {
                "user": {"uid": 0, "gid": 0},
                "args": ["/bin/sh", "-c", script],
                "env": ["PATH=/bin"],
                "cwd": "/",
            },
            "root": {"path": rootfs},
            "mounts": [
                mount("/proc", "proc", &[]),
                mount("/dev", "tmpfs", &["nosuid", "mode=755", "size=65536k"]),
                mount("/dev/pts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
            ],
            "linux": {
                "cgroupsPath": id,
                "namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "ipc"}, {"type": "uts"}],
            },
        });
        let task = json!({
            "version": 1, "layers": null, "log": {"k8s-file": {"path": root.path().join("upper").join(&id).join("log"), "max_files": 1}}, "stdin": "closed",
            "restart": "no", "auto_remove": false, "owned": [root.path().join("upper").join(&id)], "pid_file": null,
        });
        Self { root, id, spec, task }
    }

    /// A path below the test's directory.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    /// The container's directory.
    pub(crate) fn dir(&self) -> PathBuf {
        self.path("state/local").join(&self.id)
    }

    pub(crate) fn owned(&self) -> PathBuf {
        self.path("upper").join(&self.id)
    }

    /// Writes the container's files, as rtctl does.
    pub(crate) fn write(&self) {
        let dir = self.dir();
        fs::DirBuilder::new().mode(0o700).recursive(true).create(&dir).unwrap();
        fs::write(dir.join("config.json"), self.spec.to_string()).unwrap();
        fs::write(dir.join("shim.json"), self.task.to_string()).unwrap();
        fs::write(dir.join("name"), "web").unwrap();
        let name = self.path("state/names/web");
        if fs::symlink_metadata(&name).is_err() {
            symlink(format!("../local/{}", self.id), name).unwrap();
        }
        fs::write(dir.join("container.json"), "{}").unwrap();
    }

    /// Writes the files and starts the shim.
    pub(crate) fn spawn(&self) -> (Connection, Pid) {
        self.write();
        client::spawn(&program(), &self.dir()).unwrap()
    }

    pub(crate) fn create(&self, connection: &Connection) -> Pid {
        let request = Request::Create { container: self.id.clone(), dir: ".".into() };
        let Reply::Created { pid } = connection.request(&request, &[]).unwrap() else { panic!() };
        Pid::from_raw(pid)
    }

    pub(crate) fn start(&self, connection: &Connection) {
        let Reply::Started { .. } = connection.request(&self.start_request(), &[]).unwrap() else { panic!() };
    }

    pub(crate) fn start_request(&self) -> Request {
        Request::Start { container: self.id.clone() }
    }

    /// Spawns, creates and starts.
    pub(crate) fn run(&self) -> (Connection, Pid, Pid) {
        let (connection, shim) = self.spawn();
        let init = self.create(&connection);
        self.start(&connection);
        (connection, shim, init)
    }

    pub(crate) fn connect(&self) -> Connection {
        Connection::connect(&self.dir()).unwrap().unwrap()
    }

    /// Attaches to all output, and to input if `stdin`.
    pub(crate) fn attach(&self, connection: Connection, stdin: bool) -> Client {
        let streams = Streams { stdin, stdout: true, stderr: true };
        let request = Request::Attach { container: self.id.clone(), streams };
        let (client, reply) = Client::begin(connection, &request, streams);
        assert_eq!(reply, Reply::Done);
        client
    }

    /// Runs a shell script beside the container's program.
    pub(crate) fn exec(&self, name: &str, script: &str, stdin: bool) -> Client {
        self.exec_process(name, json!({"args": ["/bin/sh", "-c", script], "cwd": "/", "env": ["PATH=/bin"]}), stdin)
    }

    pub(crate) fn exec_process(&self, name: &str, process: Value, stdin: bool) -> Client {
        let terminal = process["terminal"] == true;
        let streams = Streams { stdin, stdout: true, stderr: !terminal };
        let (client, reply) = Client::begin(self.connect(), &self.exec_request(name, process, streams), streams);
        assert!(matches!(reply, Reply::Started { .. }), "{reply:?}");
        client
    }

    pub(crate) fn exec_request(&self, name: &str, process: Value, streams: Streams) -> Request {
        let process = serde_json::from_value(process).unwrap();
        Request::Exec {
            container: self.id.clone(),
            exec_id: name.into(),
            process: Box::new(process),
            streams,
            options: Default::default(),
        }
    }

    pub(crate) fn wait_request(&self) -> Request {
        Request::Wait { container: self.id.clone() }
    }

    /// Waits until the container has ended for good.
    pub(crate) fn wait(&self, connection: &Connection) -> Exit {
        let Reply::Exited { exit } = connection.request(&self.wait_request(), &[]).unwrap() else { panic!() };
        exit
    }

    pub(crate) fn state(&self, connection: &Connection) -> Status {
        let Reply::Status { status } = connection.request(&Request::State { container: self.id.clone() }, &[]).unwrap()
        else {
            panic!()
        };
        *status
    }

    pub(crate) fn stop(&self, connection: &Connection, seconds: Option<u64>) -> Reply {
        let timeout = seconds.map(std::time::Duration::from_secs);
        connection.request(&Request::Stop { container: self.id.clone(), signal: 15, timeout }, &[]).unwrap()
    }

    /// What a command without a shim sees.
    pub(crate) fn directory(&self) -> Directory {
        Directory::open(&self.dir()).unwrap().unwrap()
    }

    pub(crate) fn status(&self) -> Status {
        self.directory().status().unwrap().unwrap()
    }

    /// The log's records as (stream, tag, text).
    pub(crate) fn log(&self) -> Vec<(String, String, String)> {
        let text = fs::read_to_string(self.owned().join("log")).unwrap();
        text.lines()
            .map(|line| {
                let mut parts = line.splitn(4, ' ');
                let time = parts.next().unwrap();
                assert!(time.len() == 30 && time.ends_with('Z'), "{line:?}");
                let mut part = || parts.next().unwrap().to_owned();
                (part(), part(), part())
            })
            .collect()
    }

    /// The texts of one stream, put together.
    pub(crate) fn logged(&self, stream: &str) -> String {
        let mut text = String::new();
        for (_, tag, part) in self.log().into_iter().filter(|(of, _, _)| of == stream) {
            text.push_str(&part);
            if tag == "F" {
                text.push('\n');
            }
        }
        text
    }

    /// Whether any hierarchy has the container's cgroup.
    pub(crate) fn has_cgroup(&self) -> bool {
        let host = runtime::cgroup::Host::detect().unwrap();
        runtime::cgroup::Cgroup::open(&host, &self.id.parse().unwrap()).unwrap().is_some()
    }
}

impl Drop for Place {
    /// Leaves nothing, also after a failed assertion.
    fn drop(&mut self) {
        let Ok(Some(directory)) = Directory::open(&self.dir()) else { return };
        if let Ok(Some(Status { shim: (pid, start), .. })) = record::read::<Status>(&directory)
            && record::start_time(pid) == Ok(Some(start))
            && let Ok(pidfd) = pidfd_open(Pid::from_raw(pid))
        {
            let _ = pidfd_send_signal(&pidfd, 9);
            ended(&pidfd);
        }
        if let Ok(lock) = directory.lock(Wait::Yes) {
            let removed = directory.remove_dead(&lock);
            assert!(removed.is_ok() || std::thread::panicking(), "{removed:?}");
        }
    }
}

/// A client of a process's streams.
pub(crate) struct Client {
    pub(crate) session: Session,
    pub(crate) stdin: Option<PipeWriter>,
    pub(crate) stdout: PipeReader,
    pub(crate) stderr: Option<PipeReader>,
}

impl Client {
    pub(crate) fn begin(connection: Connection, request: &Request, streams: Streams) -> (Self, Reply) {
        let (child_in, stdin) = std::io::pipe().unwrap();
        let (stdout, child_out) = std::io::pipe().unwrap();
        let (stderr, child_err) = std::io::pipe().unwrap();
        let mut fds = Vec::new();
        for (wanted, fd) in [
            (streams.stdin, child_in.as_fd()),
            (streams.stdout, child_out.as_fd()),
            (streams.stderr, child_err.as_fd()),
        ] {
            if wanted {
                fds.push(fd);
            }
        }
        let (session, reply) = connection.session(request, &fds).unwrap();
        let client =
            Self { session, stdin: streams.stdin.then_some(stdin), stdout, stderr: streams.stderr.then_some(stderr) };
        (client, reply)
    }

    /// All output and error output until their ends, then the exit.
    pub(crate) fn finish(mut self) -> (String, String, Exit) {
        drop(self.stdin.take());
        let stderr = self.stderr.take();
        let errors = std::thread::spawn(move || {
            let mut text = String::new();
            stderr.map(|mut stderr| stderr.read_to_string(&mut text).unwrap());
            text
        });
        let mut text = String::new();
        self.stdout.read_to_string(&mut text).unwrap();
        let exit = self.session.wait().unwrap();
        (text, errors.join().unwrap(), exit)
    }

    /// Reads output until it ends with `end`.
    pub(crate) fn read_until(&mut self, end: &str) -> String {
        let mut text = Vec::new();
        let mut byte = [0];
        while !text.ends_with(end.as_bytes()) {
            readable(&self.stdout);
            assert_eq!(self.stdout.read(&mut byte).unwrap(), 1, "{:?}", String::from_utf8_lossy(&text));
            text.push(byte[0]);
        }
        String::from_utf8(text).unwrap()
    }
}

/// Waits until there is something to read.
pub(crate) fn readable(fd: impl AsFd) {
    let mut set = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
    assert_eq!(poll(&mut set, PollTimeout::from(PATIENCE)).unwrap(), 1, "nothing happened in {PATIENCE} ms");
}

/// Waits for the end of a process.
pub(crate) fn ended(pidfd: impl AsFd) {
    readable(pidfd);
}

/// Waits for the end of a process by its id; one that is gone has ended.
pub(crate) fn gone(pid: Pid) {
    if let Ok(pidfd) = pidfd_open(pid) {
        ended(&pidfd);
    }
}

/// The init process of a record.
pub(crate) fn init_of(state: &State) -> Option<i32> {
    match state {
        State::Created { init } | State::Running { init } | State::Paused { init } => Some(init.0),
        State::Creating | State::Restarting { .. } | State::Exited | State::Removing => None,
    }
}
