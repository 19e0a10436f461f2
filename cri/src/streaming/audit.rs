//! Who ran what, and how it ended: two lines for each session, with the target `audit`. What is typed and what is answered is never
//! in them, nor is the token of the address.

use std::net::SocketAddr;
use std::time::Instant;

use super::{Kind, Subject};

/// Longest command that is told, in bytes.
const COMMAND_LIMIT: usize = 4096;

/// How a session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The process ended with this code.
    Exited(i32),
    /// It could not be run.
    Failed(String),
    /// The client left.
    Left,
    /// The client did not open the streams that belong to it.
    NoStreams,
    /// Nothing moved for too long.
    Idle,
    /// All its connections have ended.
    Done,
}

/// A session that is told of.
pub(super) struct Audit {
    kind: Kind,
    subject: Subject,
    command: String,
    peer: SocketAddr,
    begun: Instant,
    outcome: Option<Outcome>,
}

impl Audit {
    /// A session begins.
    pub(super) fn begin(kind: Kind, subject: Subject, peer: SocketAddr) -> Audit {
        let command = shown(&subject.command);
        tracing::info!(
            target: "audit",
            kind = kind.name(),
            pod = subject.pod,
            container = subject.container,
            command,
            %peer,
            "session begins"
        );
        Audit { kind, subject, command, peer, begun: Instant::now(), outcome: None }
    }

    /// It ends.
    pub(super) fn end(mut self, outcome: Outcome) {
        self.outcome = Some(outcome);
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        let (exit, reason) = match &self.outcome {
            Some(Outcome::Exited(code)) => (Some(*code), "exited"),
            Some(Outcome::Failed(message)) => (None, message.as_str()),
            Some(Outcome::Left) => (None, "the client left"),
            Some(Outcome::NoStreams) => (None, "the client did not open its streams"),
            Some(Outcome::Idle) => (None, "idle for too long"),
            Some(Outcome::Done) => (None, "done"),
            None => (None, "cut off"),
        };
        tracing::info!(
            target: "audit",
            kind = self.kind.name(),
            pod = self.subject.pod,
            container = self.subject.container,
            command = self.command,
            peer = %self.peer,
            exit,
            reason,
            duration_ms = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            "session ends"
        );
    }
}

/// A command on one line, whatever is in it.
fn shown(command: &[String]) -> String {
    if command.is_empty() {
        return String::new();
    }
    let mut text = format!("{command:?}");
    if text.len() > COMMAND_LIMIT {
        let end = (0..=COMMAND_LIMIT).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push_str("...");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_one_short_line() {
        assert_eq!(shown(&[]), "");
        assert_eq!(shown(&["a b".into(), "c\nd\u{1b}".into()]), r#"["a b", "c\nd\u{1b}"]"#);
        let long = shown(&["ä".repeat(5000)]);
        assert!(long.len() <= COMMAND_LIMIT + 3 && long.ends_with("ä..."), "{}", long.len());
    }
}
