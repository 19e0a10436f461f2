//! What a finished command left.

use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process;

use serde_json::Value;

/// Exit code and texts of a finished command.
#[derive(Debug, Clone)]
pub struct Output {
    /// Exit code, or 128 + the signal that killed the command.
    pub code: i32,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

impl From<process::Output> for Output {
    fn from(output: process::Output) -> Self {
        let code = output.status.code().or_else(|| output.status.signal().map(|signal| 128 + signal));
        Self {
            code: code.expect("a finished process has a code or a signal"),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exit code {}\nstdout: {}\nstderr: {}", self.code, self.stdout.trim_end(), self.stderr.trim_end())
    }
}

impl Output {
    /// Panics unless the command succeeded; returns its standard output without the last newline.
    #[track_caller]
    pub fn ok(self) -> String {
        assert!(self.code == 0, "{self}");
        self.stdout.trim_end_matches('\n').to_owned()
    }

    /// [`Output::ok`], parsed as JSON.
    #[track_caller]
    pub fn json(self) -> Value {
        let text = self.ok();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// Panics unless the command failed and its standard error has all of `words` (case aside); returns its code.
    #[track_caller]
    pub fn fails(self, words: &[&str]) -> i32 {
        assert!(self.code != 0, "succeeded: {self}");
        let text = self.stderr.to_lowercase();
        for word in words {
            assert!(text.contains(&word.to_lowercase()), "no {word:?} in: {self}");
        }
        self.code
    }
}
