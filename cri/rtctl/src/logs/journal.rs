//! What systemd's journal has of a container, by way of `journalctl -o json`.

use runtime::json;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value};

use super::record::{Record, Stream};
use crate::flag::time;

/// What is asked of the journal.
#[derive(Debug, Default)]
pub(crate) struct Query<'a> {
    /// Whole id of the container.
    pub(crate) id: &'a str,
    /// Only so many records from the end.
    pub(crate) last: Option<u64>,
    /// Nanoseconds since the epoch.
    pub(crate) since: Option<u64>,
    /// Go on with what comes.
    pub(crate) follow: bool,
    /// Only what comes after the record of this cursor.
    pub(crate) after: Option<&'a str>,
}

/// A running `journalctl`; dropped, it is ended.
pub(crate) struct Reader {
    child: Child,
}

impl Reader {
    pub(crate) fn start(query: &Query<'_>) -> Result<(Reader, ChildStdout)> {
        let mut command = Command::new("journalctl");
        command.args(arguments(query)).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = match command.spawn() {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                bail!("the log is in the journal, and journalctl, which reads it, is not installed")
            }
            child => child.context("execve(journalctl)")?,
        };
        let output = child.stdout.take().context("journalctl has no output")?;
        Ok((Reader { child }, output))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _ = self.child.wait();
    }
}

fn arguments(query: &Query<'_>) -> Vec<String> {
    let mut arguments: Vec<String> = ["--output=json", "--all", "--no-pager", "--quiet"].map(str::to_owned).to_vec();
    arguments.push(query.last.map_or_else(|| "--no-tail".to_owned(), |count| format!("--lines={count}")));
    if let Some(since) = query.since {
        arguments.push(format!("--since=@{}", since / 1_000_000_000));
    }
    if query.follow {
        arguments.push("--follow".to_owned());
    }
    if let Some(cursor) = query.after {
        arguments.push(format!("--after-cursor={cursor}"));
    }
    arguments.push(format!("CONTAINER_ID_FULL={}", query.id));
    arguments
}

/// Reads an entry: the record, and the cursor of it. `None` for what is no output of a container.
pub(crate) fn parse(line: &[u8]) -> Option<(Record<'static>, String)> {
    let entry: Map<String, Value> = json::from_slice(line).ok()?;
    let text = |name: &str| entry.get(name).and_then(Value::as_str);
    let message = match entry.get("MESSAGE")? {
        Value::String(text) => text.clone().into_bytes(),
        // Bytes that are no text.
        Value::Array(bytes) => {
            let byte = |value: &Value| value.as_u64().and_then(|value| u8::try_from(value).ok());
            bytes.iter().map(byte).collect::<Option<Vec<u8>>>()?
        }
        _ => return None,
    };
    let time = match (text("SYSLOG_TIMESTAMP"), text("__REALTIME_TIMESTAMP")) {
        (Some(time), _) => time.to_owned(),
        (None, Some(micros)) => time::rfc3339(micros.parse::<u64>().ok()?.checked_mul(1000)?),
        (None, None) => return None,
    };
    let record = Record {
        time: Cow::Owned(time),
        stream: if text("PRIORITY") == Some("3") { Stream::Stderr } else { Stream::Stdout },
        full: text("CONTAINER_PARTIAL_MESSAGE") != Some("true"),
        text: Cow::Owned(message),
        attributes: BTreeMap::new(),
    };
    Some((record, text("__CURSOR").unwrap_or_default().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries() {
        let line = br#"{"MESSAGE":"hello","PRIORITY":"6","SYSLOG_TIMESTAMP":"1970-01-01T00:00:00.000000001Z","__CURSOR":"s=1"}"#;
        let (record, cursor) = parse(line).unwrap();
        assert_eq!(
            (record.stream, record.full, &*record.text, record.nanos()),
            (Stream::Stdout, true, &b"hello"[..], Some(1))
        );
        assert_eq!(cursor, "s=1");
        let line = br#"{"MESSAGE":[255,10],"PRIORITY":"3","CONTAINER_PARTIAL_MESSAGE":"true","__REALTIME_TIMESTAMP":"1500000"}"#;
        let (record, _) = parse(line).unwrap();
        assert_eq!((record.stream, record.full, &*record.text), (Stream::Stderr, false, &b"\xff\n"[..]));
        assert_eq!(record.nanos(), Some(1_500_000_000));
        for line in ["", "{}", r#"{"MESSAGE":null}"#, r#"{"MESSAGE":[256],"__REALTIME_TIMESTAMP":"1"}"#, "[]"] {
            assert!(parse(line.as_bytes()).is_none(), "{line}");
        }
    }

    #[test]
    fn command_lines() {
        let query = Query { id: "abc", last: Some(5), since: Some(2_500_000_000), ..Query::default() };
        assert_eq!(arguments(&query)[4..], ["--lines=5", "--since=@2", "CONTAINER_ID_FULL=abc"]);
        let query = Query { id: "abc", follow: true, after: Some("c"), ..Query::default() };
        assert_eq!(arguments(&query)[4..], ["--no-tail", "--follow", "--after-cursor=c", "CONTAINER_ID_FULL=abc"]);
    }
}
