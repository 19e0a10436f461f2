//! A container of the OCI command line under test, after `create`.

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, PipeReader, Read};
use std::path::PathBuf;

use serde_json::Value;

use crate::bundle::Bundle;
use crate::output::Output;
use crate::test::Test;

/// A created container. Deleting it is the test's work: what it leaves, the oracle reports.
#[derive(Debug)]
pub struct Container<'t> {
    test: &'t Test,
    /// Its id.
    pub id: String,
    /// Host pid of its first process.
    pub pid: i32,
    stdout: RefCell<BufReader<PipeReader>>,
    stderr: PathBuf,
}

/// How a process ended: its exit code, or 128 + the signal.
pub type Exit = i32;

impl<'t> Container<'t> {
    pub(crate) fn create(test: &'t Test, bundle: &Bundle, id: String, args: &[&str]) -> Result<Self, Output> {
        bundle.write();
        let (reader, writer) = std::io::pipe().unwrap();
        let stderr = test.dir.join(format!("{id}.stderr"));
        let mut command = test.command(&["create", "--bundle", bundle.dir.to_str().unwrap()]);
        command.args(args).arg(&id).stdout(writer).stderr(stderr_file(&stderr));
        let status = command.status().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        // Its copy of the pipe's end goes with it.
        drop(command);
        let mut stdout = BufReader::new(reader);
        if !status.success() {
            let mut text = Vec::new();
            stdout.read_to_end(&mut text).unwrap();
            return Err(std::process::Output { status, stdout: text, stderr: fs::read(&stderr).unwrap() }.into());
        }
        let mut container = Self { test, id, pid: 0, stdout: RefCell::new(stdout), stderr };
        container.pid = container.state()["pid"]
            .as_i64()
            .and_then(|pid| pid.try_into().ok())
            .expect("a created container has a pid");
        Ok(container)
    }

    /// `start`.
    pub fn start(&mut self) -> Output {
        self.verb("start", &[])
    }

    /// `state`, which must succeed.
    #[track_caller]
    pub fn state(&self) -> Value {
        self.verb("state", &[]).json()
    }

    /// The `status` member of [`Container::state`].
    #[track_caller]
    pub fn status(&self) -> String {
        self.state()["status"].as_str().expect("status is a string").to_owned()
    }

    /// Runs a verb: its arguments, then the id.
    pub fn verb(&self, verb: &str, args: &[&str]) -> Output {
        let mut all = vec![verb];
        all.extend(args);
        all.push(&self.id);
        self.test.runtime(&all)
    }

    /// `kill ID SIGNAL`.
    pub fn kill(&self, signal: &str) -> Output {
        self.test.runtime(&["kill", &self.id, signal])
    }

    /// `exec ARGS… ID COMMAND…`.
    pub fn exec_with(&self, args: &[&str], command: &[&str]) -> Output {
        let mut all = vec!["exec"];
        all.extend(args);
        all.push(&self.id);
        all.extend(command);
        self.test.runtime(&all)
    }

    /// `exec ID COMMAND…`.
    pub fn exec(&self, command: &[&str]) -> Output {
        self.exec_with(&[], command)
    }

    /// The next line that the container writes to standard output, without its end; empty at the end.
    pub fn line(&self) -> String {
        let mut line = String::new();
        self.stdout.borrow_mut().read_line(&mut line).unwrap();
        line.trim_end_matches('\n').to_owned()
    }

    /// The rest of standard output, until nobody has it open.
    pub fn rest(&self) -> String {
        let mut text = String::new();
        self.stdout.borrow_mut().read_to_string(&mut text).unwrap();
        text
    }

    /// What the container and `create` wrote to standard error.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.stderr).unwrap()).into_owned()
    }

    /// Waits for the end of the first process.
    #[track_caller]
    pub fn wait(&self) -> Exit {
        self.test.wait_pid(self.pid)
    }

    /// `delete` of a stopped container, which must succeed.
    #[track_caller]
    pub fn delete(self) {
        self.verb("delete", &[]).ok();
    }

    /// SIGKILL, wait and `delete`.
    #[track_caller]
    pub fn end(self) {
        self.kill("KILL").ok();
        assert_eq!(self.wait(), 137);
        self.delete();
    }
}

fn stderr_file(path: &std::path::Path) -> File {
    File::create_new(path).unwrap()
}
