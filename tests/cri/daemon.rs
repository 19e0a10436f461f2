//! `rtd` with a file of settings, as an operator runs it.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use proto::v1::VersionRequest;
use proto::v1::runtime_service_client::RuntimeServiceClient;
use tests::{Test, connect, program, test};
use tonic::transport::Channel;

/// How long anything may take on a machine that is busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// A test with a directory for settings: `rtd.toml` names folders of the test.
pub(crate) fn config_test(body: impl FnOnce(&Test)) {
    // The first one of a process leaves descriptors for signals: the oracle must not see them as new.
    drop(runtime());
    test(|t| {
        std::fs::create_dir_all(t.dir.join("etc/rtd.toml.d")).unwrap();
        settings(t, "");
        body(t);
    });
}

pub(crate) fn file(t: &Test) -> PathBuf {
    t.dir.join("etc/rtd.toml")
}

pub(crate) fn dropin(t: &Test, name: &str, text: &str) -> PathBuf {
    let path = t.dir.join("etc/rtd.toml.d").join(name);
    std::fs::write(&path, text).unwrap();
    path
}

pub(crate) fn settings(t: &Test, more: &str) {
    let dir = t.dir.display();
    let text = format!("root = \"{dir}/r\"\nstate = \"{dir}/s\"\nlisten = \"{dir}/rtd.sock\"\n{more}");
    std::fs::write(file(t), text).unwrap();
}

pub(crate) fn rtd(t: &Test) -> Command {
    let mut command = Command::new(program("rtd"));
    command.env("RT_TEST", t.marker()).env_remove("NOTIFY_SOCKET").stdin(Stdio::null());
    command
}

/// Loads the image of busybox.
pub(crate) fn load(t: &Test) {
    let mut load = Command::new(program("rtctl"));
    load.env("RT_ROOT", t.dir.join("r")).env("RT_STATE", t.dir.join("s"));
    let loaded = load.args(["load", "-q", "-i", env!("RT_TEST_IMAGE")]).output().unwrap();
    assert!(loaded.status.success(), "{loaded:?}");
}

pub(crate) fn run(t: &Test, args: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = rtd(t).args(args).output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// A running daemon with the settings of the test.
pub(crate) struct Daemon {
    pub(crate) child: Option<Child>,
    pub(crate) lines: Receiver<String>,
    pub(crate) socket: PathBuf,
    pub(crate) runtime: tokio::runtime::Runtime,
    pub(crate) channel: Option<Channel>,
}

impl Daemon {
    pub(crate) fn start(t: &Test, mut command: Command) -> Daemon {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let socket = t.dir.join("rtd.sock");
        Daemon { child: Some(child), lines, socket, runtime: runtime(), channel: None }
    }

    pub(crate) fn with(t: &Test, more: &str) -> Daemon {
        settings(t, more);
        let mut command = rtd(t);
        command.arg("--config").arg(file(t));
        Daemon::start(t, command)
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.as_ref().unwrap().id()).unwrap())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// The next line of the log that holds all of these.
    pub(crate) fn line(&self, parts: &[&str]) -> String {
        let mut seen = Vec::new();
        loop {
            let line =
                self.lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no line with {parts:?}: {seen:#?}"));
            if parts.iter().all(|part| line.contains(part)) {
                return line;
            }
            seen.push(line);
        }
    }

    pub(crate) fn channel(&mut self) -> Channel {
        let (runtime, socket) = (&self.runtime, self.socket.clone());
        self.channel.get_or_insert_with(|| runtime.block_on(connect(socket))).clone()
    }

    /// A call that always succeeds.
    pub(crate) fn version(&mut self) {
        let mut client = RuntimeServiceClient::new(self.channel());
        let answer = self.runtime.block_on(client.version(VersionRequest::default())).unwrap();
        assert_eq!(answer.into_inner().runtime_name, "rtd");
    }

    /// Asks it to end, and answers the rest of its log.
    pub(crate) fn stop(mut self) -> Vec<String> {
        self.channel = None;
        self.signal(Signal::SIGTERM);
        let rest: Vec<String> = std::iter::from_fn(|| self.lines.recv_timeout(PATIENCE).ok()).collect();
        let status = self.child.take().unwrap().wait().unwrap();
        assert!(status.success(), "rtd: {status}: {rest:#?}");
        rest
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // After a test that failed.
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
