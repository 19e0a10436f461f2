//! Events: told by the shim and by commands, read by `rtctl events`. [`shim::events`] has the format.

use runtime::json;
use std::collections::BTreeMap;

use cri::network::Attachment;
use nix::errno::Errno;
use serde_json::{Map, Value, json};
use shim::events::Event;

use crate::store::record::Record;
use crate::store::roots::{Roots, make_dir};

/// Tells an event of an object: `record(roots, "volume", "create", name, [("driver", "local")])`.
///
/// One that cannot be told is left out: what happened has happened.
pub(crate) fn record<const N: usize>(roots: &Roots, kind: &str, action: &str, id: &str, attributes: [(&str, &str); N]) {
    let attributes = attributes.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    record_all(roots, kind, action, id, &attributes);
}

/// The same with any number of attributes.
pub(crate) fn record_all(roots: &Roots, kind: &str, action: &str, id: &str, attributes: &BTreeMap<String, String>) {
    let event = Event { kind, action, id, attributes, time: shim::record::now() };
    let path = roots.state.join(shim::events::NAME);
    // Commands on images need no state directory otherwise.
    if event.append(&path).is_err_and(|error| error.errno == Errno::ENOENT) && make_dir(&roots.state).is_ok() {
        let _left_out = event.append(&path);
    }
}

/// Tells an event of a container.
pub(crate) fn container(roots: &Roots, action: &str, record: &Record, name: &str, more: &[(&str, &str)]) {
    let mut attributes = attributes(record, name);
    attributes.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    record_all(roots, "container", action, &record.id, &attributes);
}

/// Tells that containers have come to networks or have left them.
pub(crate) fn network(roots: &Roots, action: &str, attachments: &[Attachment]) {
    for Attachment { container, network, network_id, .. } in attachments {
        let attributes = [("container", container.as_str()), ("name", network), ("type", "bridge")];
        record(roots, "network", action, network_id, attributes);
    }
}

/// What every event of a container says: its labels, image and name.
pub(crate) fn attributes(record: &Record, name: &str) -> BTreeMap<String, String> {
    let mut attributes = record.config.labels.clone();
    attributes.insert("image".to_owned(), record.origin.name().to_owned());
    attributes.insert("name".to_owned(), name.to_owned());
    attributes
}

/// An event that was read.
#[derive(Debug)]
pub(crate) struct Told(Map<String, Value>);

impl Told {
    /// Reads a line; `None` for what is no event.
    pub(crate) fn parse(line: &[u8]) -> Option<Told> {
        let told = Told(json::from_slice(line).ok()?);
        (told.nanos() > 0 && told.0.get("Actor").is_some_and(Value::is_object)).then_some(told)
    }

    fn text(&self, name: &str) -> &str {
        self.0.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    pub(crate) fn kind(&self) -> &str {
        self.text("Type")
    }

    pub(crate) fn action(&self) -> &str {
        self.text("Action")
    }

    pub(crate) fn id(&self) -> &str {
        self.0.get("Actor").and_then(|actor| actor.get("ID")).and_then(Value::as_str).unwrap_or_default()
    }

    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes()?.get(name)?.as_str()
    }

    fn attributes(&self) -> Option<&Map<String, Value>> {
        self.0.get("Actor")?.get("Attributes")?.as_object()
    }

    /// Nanoseconds since the epoch.
    pub(crate) fn nanos(&self) -> u64 {
        self.0.get("timeNano").and_then(Value::as_u64).unwrap_or(0)
    }

    /// `2026-11-22T05:11:51.000000042Z container start <id> (image=busybox, name=web)`
    pub(crate) fn line(&self) -> String {
        let pairs = self.attributes().into_iter().flatten();
        let pairs: Vec<String> =
            pairs.map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default())).collect();
        let time = crate::flag::time::rfc3339(self.nanos());
        let line = format!("{time} {} {} {} ({})", self.kind(), self.action(), self.id(), pairs.join(", "));
        // Names and labels come from others: what could move a cursor is shown and not done.
        line.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
    }

    /// What a template sees: the names that Go has for them.
    pub(crate) fn dot(&self) -> Value {
        let get = |name: &str| self.0.get(name).cloned().unwrap_or_default();
        json!({
            "Status": get("status"), "ID": get("id"), "From": get("from"), "Type": get("Type"), "Action": get("Action"),
            "Actor": get("Actor"), "Scope": get("scope"), "Time": get("time"), "TimeNano": get("timeNano"),
            "Name": self.attribute("name").unwrap_or_default(), "Image": self.attribute("image").unwrap_or_default(),
        })
    }

    /// As it was written.
    pub(crate) fn document(&self) -> String {
        Value::Object(self.0.clone()).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_told_is_read() {
        let attributes =
            [("image".to_owned(), "busybox".to_owned()), ("name".to_owned(), "w\u{1b}b".to_owned())].into();
        let event = Event { kind: "container", action: "die", id: "abc", attributes: &attributes, time: 1_000_000_001 };
        let told = Told::parse(event.encode().trim_ascii_end()).unwrap();
        let expected = r"1970-01-01T00:00:01.000000001Z container die abc (image=busybox, name=w\u{1b}b)";
        assert_eq!(told.line(), expected);
        assert_eq!((told.attribute("image"), told.nanos()), (Some("busybox"), 1_000_000_001));
        assert_eq!(told.dot()["Actor"]["ID"], "abc");
        for line in
            ["", "{}", "[]", r#"{"timeNano":1}"#, r#"{"timeNano":1,"Actor":[]}"#, r#"{"timeNano":-1,"Actor":{}}"#]
        {
            assert!(Told::parse(line.as_bytes()).is_none(), "{line}");
        }
    }
}
