//! `rtctl` with folders of its own, and what it may not leave behind.

use std::fs;
use std::io::{BufRead, BufReader, PipeReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};

use serde_json::Value;

use crate::network;
use crate::output::Output;
use crate::programs::program;
use crate::test::{Test, test};

/// `rtctl` under test.
#[derive(Debug)]
pub struct Rtctl<'t> {
    /// The test around it.
    pub test: &'t Test,
    root: PathBuf,
    state: PathBuf,
}

/// A test of `rtctl` with the busybox image loaded. At its end no container may be there, nor anything of one on disk.
pub fn rtctl_test(body: impl FnOnce(&Rtctl<'_>)) {
    test(|t| {
        let rtctl = Rtctl { test: t, root: t.dir.join("r"), state: t.dir.join("s") };
        rtctl.ok(&["load", "-i", env!("RT_TEST_IMAGE")]);
        body(&rtctl);
        assert_eq!(rtctl.ok(&["ps", "-aq"]), "", "containers are left");
        for folder in [rtctl.state.join("local"), rtctl.state.join("names"), rtctl.root.join("upper")] {
            let Ok(entries) = fs::read_dir(&folder) else { continue };
            // The lock of the names is no container's.
            let left: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).filter(|name| name != ".lock").collect();
            assert!(left.is_empty(), "left behind in {folder:?}: {left:?}");
        }
        network::forget_default(&rtctl.state);
    });
}

impl Rtctl<'_> {
    /// The command with its arguments; `run` and `create` get the test's cgroup, where the oracle looks.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(program("rtctl"));
        command.env("RT_ROOT", &self.root).env("RT_STATE", &self.state).env("RT_TEST", self.test.marker());
        let verb = if args.starts_with(&["pod", "create"]) { 2 } else { 1 };
        command.args(&args[..verb]);
        let makes_container = ["run", "create"].contains(&args[0]);
        if makes_container {
            command.arg("--cgroup-parent").arg(format!("/{}", self.test.marker()));
        }
        // Tests that are about something else also run where there can be no bridge. A pod's containers have the pod's network.
        let named = args.iter().any(|arg| ["--network", "--net", "--pod"].contains(arg));
        if (makes_container || verb == 2) && !named && !network::has_networks() {
            command.args(["--network", "none"]);
        }
        command.args(&args[verb..]).stdin(Stdio::null());
        command
    }

    /// Folder of containers' state.
    pub fn state(&self) -> &PathBuf {
        &self.state
    }

    /// Folder of images and volumes.
    pub fn root(&self) -> &PathBuf {
        &self.root
    }

    /// Runs it to its end.
    pub fn call(&self, args: &[&str]) -> Output {
        let mut command = self.command(args);
        command.output().unwrap_or_else(|error| panic!("{command:?}: {error}")).into()
    }

    /// Runs it; it must succeed. Returns its output without the last newline.
    #[track_caller]
    pub fn ok(&self, args: &[&str]) -> String {
        let output = self.call(args);
        assert_eq!(output.code, 0, "{args:?}: {output}");
        output.stdout.trim_end_matches('\n').to_owned()
    }

    /// `run -d ARGS…`: the id.
    #[track_caller]
    pub fn detached(&self, args: &[&str]) -> String {
        self.ok(&[&["run", "-d"], args].concat())
    }

    /// `run --rm busybox sh -c SCRIPT` with flags before the image.
    pub fn sh(&self, flags: &[&str], script: &str) -> Output {
        self.call(&[&["run", "--rm", "--network", "none"], flags, &["busybox", "sh", "-c", script]].concat())
    }

    /// `inspect ID`, its first element.
    #[track_caller]
    pub fn inspect(&self, id: &str) -> Value {
        let text = self.ok(&["inspect", id]);
        let value: Value = serde_json::from_str(&text).unwrap();
        value[0].clone()
    }

    /// `inspect -f FORMAT ID`.
    #[track_caller]
    pub fn field(&self, id: &str, format: &str) -> String {
        self.ok(&["inspect", "-f", format, id])
    }

    /// Starts it with pipes on its standard streams.
    pub fn start(&self, args: &[&str]) -> Session {
        let (reader, writer) = std::io::pipe().unwrap();
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(writer.try_clone().unwrap()).stderr(writer);
        let mut child = command.spawn().unwrap();
        let stdin = child.stdin.take();
        Session { child, stdin, output: BufReader::new(reader) }
    }
}

/// A running `rtctl` whose standard output and error come on one pipe.
#[derive(Debug)]
pub struct Session {
    /// The process.
    pub child: Child,
    stdin: Option<ChildStdin>,
    output: BufReader<PipeReader>,
}

impl Session {
    /// The next line, without its end; empty at the end.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end_matches(['\r', '\n']).to_owned()
    }

    /// Reads up to and including a line with the text.
    #[track_caller]
    pub fn wait_for(&mut self, text: &str) {
        loop {
            let line = self.line();
            assert!(!line.is_empty(), "no {text:?} before the end");
            if line.contains(text) {
                return;
            }
        }
    }

    /// Writes to its standard input.
    pub fn write(&mut self, text: &str) {
        let stdin = self.stdin.as_mut().unwrap();
        stdin.write_all(text.as_bytes()).unwrap();
        stdin.flush().unwrap();
    }

    /// Closes its standard input.
    pub fn close(&mut self) {
        self.stdin = None;
    }

    /// Sends it a signal by name.
    pub fn signal(&self, signal: &str) {
        let kill = Command::new("kill").arg(format!("-{signal}")).arg(self.child.id().to_string()).status().unwrap();
        assert!(kill.success());
    }

    /// Reads the rest and waits: exit code (128 + signal) and what was left to read.
    pub fn end(mut self) -> (i32, String) {
        self.stdin = None;
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).unwrap();
        let status = self.child.wait().unwrap();
        let output = Output::from(std::process::Output { status, stdout: Vec::new(), stderr: Vec::new() });
        (output.code, rest)
    }
}
