//! Names of containers for each other: the lines of `/etc/hosts` that are kept current.
//!
//! On a network that a user made, a container finds the others by their names, aliases and short ids. There is no name server: what
//! changes on a network is written to the file of everyone there, in place, as it is mounted in them. On the default network there are
//! no names, as with docker, but those of `--link`.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result};
use cri::network::{Attachment, Networks};
use cri::spec::{HostEntry, with_current};
use nix::fcntl::{Flock, FlockArg, OFlag, open};
use nix::sys::stat::Mode;

use super::endpoint::Endpoints;
use super::pod::Pod;
use super::roots::Roots;
use super::{etc, id, name};
use crate::flag::network::{DEFAULT, Link};

/// The right to write the files.
pub(crate) struct Hosts<'a> {
    roots: &'a Roots,
    #[expect(dead_code, reason = "held for its descriptor")]
    lock: Flock<std::os::fd::OwnedFd>,
}

/// Waits for the right to write the files. Whoever changes who is on a network refreshes them afterwards, so the last one sees all.
pub(crate) fn lock(roots: &Roots) -> Result<Hosts<'_>> {
    let path = roots.state.join("network").join("hosts.lock");
    let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
    let file =
        open(&path, flags, Mode::from_bits_truncate(0o600)).with_context(|| format!("open({path:?}, O_CREAT)"))?;
    let lock = Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno);
    Ok(Hosts { roots, lock: lock.with_context(|| format!("flock({path:?})"))? })
}

impl Hosts<'_> {
    /// Writes the files of all that share a network with what has `changed`, and of those.
    pub(crate) fn refresh(&mut self, networks: &Networks, changed: &[Attachment]) -> Result<()> {
        if changed.is_empty() {
            return Ok(());
        }
        let mut all = networks.attachments()?;
        all.sort_by_key(|attachment| attachment.order);
        let touched: BTreeSet<&str> = changed.iter().map(|attachment| attachment.network_id.as_str()).collect();
        let on = all.iter().filter(|attachment| touched.contains(attachment.network_id.as_str()));
        let containers: BTreeSet<&str> = on.chain(changed).map(|attachment| attachment.container.as_str()).collect();
        for container in containers {
            self.write(container, &all)?;
        }
        Ok(())
    }

    /// Writes one file. A container that is being removed has none any more.
    fn write(&self, container: &str, all: &[Attachment]) -> Result<()> {
        if !id::is_id(container) {
            return Ok(());
        }
        if let Some(pod) = Pod::load(self.roots, container)? {
            let Ok(record) = &pod.record else { return Ok(()) };
            let entries = entries(container, &record.hostname, all, &[], |id| name::of(self.roots, id));
            return pod.containers(self.roots)?.iter().try_for_each(|member| write_current(&member.dir, &entries));
        }
        let dir = self.roots.container(container);
        let Endpoints { own_names, links, .. } = Endpoints::read(&dir)?;
        let entries = entries(container, &own_names, all, &links, |id| name::of(self.roots, id));
        write_current(&dir, &entries)
    }
}

/// Writes the lines into the file of the container whose directory this is.
fn write_current(dir: &Path, entries: &[HostEntry]) -> Result<()> {
    let path = dir.join("hosts");
    if !path.try_exists().with_context(|| format!("stat({})", path.display()))? {
        return Ok(());
    }
    // Its programs may have made it what we do not read or write. Then it keeps what it has, and others do not wait for it.
    let Ok(text) = etc::read(&path) else { return Ok(()) };
    let new = with_current(&text, entries);
    if new != text { etc::overwrite_if_left(&path, &new) } else { Ok(()) }
}

/// The lines for one container, its own first; `name` is the current name of another one.
fn entries(
    container: &str,
    own_names: &str,
    all: &[Attachment],
    links: &[Link],
    name: impl Fn(&str) -> Option<String>,
) -> Vec<HostEntry> {
    let own: BTreeSet<&str> = on(container, all).map(|attachment| attachment.network_id.as_str()).collect();
    let mut entries = Vec::new();
    for own in on(container, all).flat_map(Attachment::addresses) {
        entries.push(HostEntry { name: own_names.to_owned(), address: own.address });
    }
    for other in all.iter().filter(|other| own.contains(other.network_id.as_str()) && other.container != container) {
        let mut names: Vec<String> = Vec::new();
        for link in links.iter().filter(|link| link.container == other.container) {
            names.push(link.alias.clone());
        }
        if other.network != DEFAULT || !names.is_empty() {
            // A rename is not in the attachment.
            names.extend(name(&other.container));
            names.extend(other.names.iter().skip(1).cloned());
        }
        let mut seen = BTreeSet::new();
        names.retain(|name| seen.insert(name.clone()));
        if !names.is_empty() {
            let name = names.join(" ");
            entries.extend(
                other.addresses().iter().map(|assigned| HostEntry { name: name.clone(), address: assigned.address }),
            );
        }
    }
    entries
}

fn on<'a>(container: &'a str, all: &'a [Attachment]) -> impl Iterator<Item = &'a Attachment> {
    all.iter().filter(move |attachment| attachment.container == container)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attachment(container: &str, network: &str, address: &str, names: &[&str]) -> Attachment {
        let value = serde_json::json!({
            "container": container, "network": network, "network_id": network, "interface": "eth0", "mac": "02:42:ac:11:00:02",
            "ip": {"address": address, "prefix": 16}, "names": names, "order": 0, "veth": "rtv0", "ifindex": 1,
        });
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn names_of_those_on_the_same_network() {
        let all = [
            attachment("a", "mine", "10.1.0.2", &["one", "alias", "aaaa"]),
            attachment("b", "mine", "10.1.0.3", &["two", "bbbb"]),
            attachment("b", DEFAULT, "172.17.0.3", &["two", "bbbb"]),
            attachment("c", DEFAULT, "172.17.0.4", &["three", "cccc"]),
            attachment("d", "else", "10.2.0.2", &["four", "dddd"]),
        ];
        let name = |id: &str| Some(if id == "a" { "renamed".to_owned() } else { format!("name-{id}") });
        let show = |container: &str, links: &[Link]| -> Vec<String> {
            let entries = entries(container, "box", &all, links, name);
            entries.iter().map(|entry| format!("{} {}", entry.address, entry.name)).collect()
        };
        assert_eq!(show("a", &[]), ["10.1.0.2 box", "10.1.0.3 name-b bbbb"]);
        assert_eq!(show("b", &[]), ["10.1.0.3 box", "172.17.0.3 box", "10.1.0.2 renamed alias aaaa"]);
        assert_eq!(show("c", &[]), ["172.17.0.4 box"]);
        let link = |container: &str| Link { container: container.to_owned(), alias: "db".to_owned() };
        assert_eq!(show("c", &[link("b")]), ["172.17.0.4 box", "172.17.0.3 db name-b bbbb"]);
        // Not on a network of its own: no way there, and no name.
        assert_eq!(show("c", &[link("a")]), ["172.17.0.4 box"]);
        assert_eq!(show("d", &[link("a")]), ["10.2.0.2 box"]);
    }
}
