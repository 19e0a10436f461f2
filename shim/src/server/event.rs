//! Events of containers.

use std::collections::BTreeMap;

use super::Server;
use super::container::Container;
use crate::events::Event;
use crate::record;

/// Most bytes of a command line in an event.
const COMMAND_LIMIT: usize = 4096;

impl Server {
    /// Tells an event of a container, if its task says where to. Nobody minds one that cannot be written.
    pub(super) fn event(&self, id: &str, action: &str, more: &[(&str, String)]) {
        if let Some(container) = self.containers.get(id) {
            tell(container, id, action, more);
        }
    }
}

/// Tells an event of a container.
pub(super) fn tell(container: &Container, id: &str, action: &str, more: &[(&str, String)]) {
    let mut attributes = attributes(container);
    attributes.extend(more.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    tell_with(container, id, action, attributes);
}

/// What is to be said of a container.
pub(super) fn attributes(container: &Container) -> BTreeMap<String, String> {
    let Some(events) = &container.task.events else { return BTreeMap::new() };
    let mut attributes = events.attributes.clone();
    // It may have another name by now.
    if let Ok(Some(text)) = record::read_file(&container.dir, "name") {
        let name = String::from_utf8_lossy(&text);
        attributes.insert("name".to_owned(), name.lines().next().unwrap_or_default().to_owned());
    }
    attributes
}

/// Tells an event of a container with all that is to be said of it.
pub(super) fn tell_with(container: &Container, id: &str, action: &str, attributes: BTreeMap<String, String>) {
    let Some(events) = &container.task.events else { return };
    let event = Event { kind: "container", action, id, attributes: &attributes, time: record::now() };
    let _ = event.append(&events.path);
}

/// An action with a command line, as docker names it: `exec_create: sh -c date`.
pub(super) fn with_command(action: &str, args: &[String]) -> String {
    let mut text = format!("{action}: {}", args.join(" "));
    text.truncate(text.floor_char_boundary(COMMAND_LIMIT));
    text
}
