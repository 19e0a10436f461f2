//! `--pid`, `--ipc`, `--uts`, `--cgroupns`, `--userns`.

use runtime::spec::IdMapping;
use serde::{Deserialize, Serialize};

/// Where a namespace comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Mode {
    /// A new one.
    #[default]
    Private,
    /// The host's.
    Host,
    /// That of another container, by what the user calls it, later by its id.
    Container(String),
    /// A file.
    Path(String),
}

impl Mode {
    /// As docker shows it.
    pub(crate) fn show(&self, private: &str) -> String {
        match self {
            Mode::Private => private.to_owned(),
            Mode::Host => "host".to_owned(),
            Mode::Container(id) => format!("container:{id}"),
            Mode::Path(path) => format!("ns:{path}"),
        }
    }
}

/// Forms that all kinds have in common: `host`, `container:NAME`, `ns:PATH`.
pub(super) fn shared(text: &str) -> Option<Result<Mode, String>> {
    if text == "host" {
        return Some(Ok(Mode::Host));
    }
    if let Some(name) = text.strip_prefix("container:") {
        let empty = || Err(format!("{text:?}: name the container"));
        return Some(if name.is_empty() { empty() } else { Ok(Mode::Container(name.to_owned())) });
    }
    let path = text.strip_prefix("ns:")?;
    let relative = || Err(format!("{text:?}: the path must be absolute"));
    Some(if path.starts_with('/') { Ok(Mode::Path(path.to_owned())) } else { relative() })
}

/// `--pid`
pub(crate) fn pid(text: &str) -> Result<Mode, String> {
    match (text, shared(text)) {
        (_, Some(mode)) => mode,
        ("" | "private", None) => Ok(Mode::Private),
        (_, None) => Err(format!("{text:?}: must be private, host, container:NAME or ns:PATH")),
    }
}

/// `--uts` and `--cgroupns`
pub(crate) fn host_or_private(text: &str) -> Result<Mode, String> {
    match text {
        "" | "private" => Ok(Mode::Private),
        "host" => Ok(Mode::Host),
        _ => Err(format!("{text:?}: must be private or host")),
    }
}

/// `--ipc`: the namespace and whether there is a `/dev/shm`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ipc {
    pub(crate) mode: Mode,
    /// No `/dev/shm`.
    pub(crate) no_shm: bool,
}

/// `--ipc`
pub(crate) fn ipc(text: &str) -> Result<Ipc, String> {
    match (text, shared(text)) {
        (_, Some(mode)) => Ok(Ipc { mode: mode?, no_shm: false }),
        ("" | "private" | "shareable", None) => Ok(Ipc::default()),
        ("none", None) => Ok(Ipc { mode: Mode::Private, no_shm: true }),
        (_, None) => Err(format!("{text:?}: must be private, shareable, none, host, container:NAME or ns:PATH")),
    }
}

/// `--userns`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Userns {
    /// The host's.
    #[default]
    Host,
    /// A new one with ids that no other container has.
    Auto {
        /// How many.
        size: u32,
    },
    /// A new one with these maps.
    Maps { uids: Vec<IdMapping>, gids: Vec<IdMapping> },
}

/// Ids of an automatic user namespace.
const AUTO_SIZE: u32 = 65536;

/// `host`, `auto[:size=N]` or `map=CONTAINER:HOST:SIZE[,...]`, where `uidmap=` and `gidmap=` set only one of the two.
pub(crate) fn userns(text: &str) -> Result<Userns, String> {
    let wrong = || format!("{text:?}: must be host, auto[:size=N] or map=CONTAINER_ID:HOST_ID:SIZE[,map=...]");
    match text {
        "" | "host" => return Ok(Userns::Host),
        "auto" => return Ok(Userns::Auto { size: AUTO_SIZE }),
        _ => {}
    }
    if let Some(size) = text.strip_prefix("auto:size=") {
        let size = size.parse().ok().filter(|size| (1..=1 << 24).contains(size)).ok_or_else(wrong)?;
        return Ok(Userns::Auto { size });
    }
    let (mut uids, mut gids) = (Vec::new(), Vec::new());
    for part in text.split(',') {
        let (key, line) = part.split_once('=').ok_or_else(wrong)?;
        let numbers: Vec<u32> = line.split(':').map(str::parse).collect::<Result<_, _>>().map_err(|_| wrong())?;
        let [container_id, host_id, size] = *numbers.as_slice() else { return Err(wrong()) };
        if size == 0 || container_id.checked_add(size).is_none() || host_id.checked_add(size).is_none() {
            return Err(format!("{part:?}: the ids must be in 0 to 4294967295 and at least one"));
        }
        let mapping = IdMapping { container_id, host_id, size };
        match key {
            "map" => {
                uids.push(mapping);
                gids.push(mapping);
            }
            "uidmap" => uids.push(mapping),
            "gidmap" => gids.push(mapping),
            _ => return Err(wrong()),
        }
    }
    for (maps, what) in [(&uids, "user"), (&gids, "group")] {
        if !maps.iter().any(|map| map.container_id == 0) {
            return Err(format!("{text:?}: the maps must give {what} id 0 of the container"));
        }
        overlap(maps).map_err(|problem| format!("{text:?}: {problem}"))?;
    }
    Ok(Userns::Maps { uids, gids })
}

/// The kernel refuses maps that overlap: user_namespaces(7).
fn overlap(maps: &[IdMapping]) -> Result<(), String> {
    let meet =
        |left: u32, left_size: u32, right: u32, right_size: u32| left < right + right_size && right < left + left_size;
    for (index, left) in maps.iter().enumerate() {
        for right in &maps[index + 1..] {
            if meet(left.container_id, left.size, right.container_id, right.size)
                || meet(left.host_id, left.size, right.host_id, right.size)
            {
                return Err("the maps overlap".to_owned());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes() {
        assert_eq!(pid("host"), Ok(Mode::Host));
        assert!(pid("nope").is_err());
        assert_eq!(host_or_private("private"), Ok(Mode::Private));
        assert!(host_or_private("container:x").is_err());
        assert_eq!(ipc("none").map(|ipc| ipc.no_shm), Ok(true));
        assert_eq!(ipc("shareable"), Ok(Ipc::default()));
        assert!(ipc("nope").is_err());
    }

    #[test]
    fn user_namespaces() {
        let map = |container_id, host_id, size| IdMapping { container_id, host_id, size };
        assert_eq!(userns("host"), Ok(Userns::Host));
        assert_eq!(userns("auto"), Ok(Userns::Auto { size: 65536 }));
        assert_eq!(userns("auto:size=10"), Ok(Userns::Auto { size: 10 }));
        let both = vec![map(0, 100_000, 10), map(10, 5, 1)];
        assert_eq!(userns("map=0:100000:10,map=10:5:1"), Ok(Userns::Maps { uids: both.clone(), gids: both }));
        assert_eq!(
            userns("uidmap=0:1:1,gidmap=0:2:1"),
            Ok(Userns::Maps { uids: vec![map(0, 1, 1)], gids: vec![map(0, 2, 1)] })
        );
        for text in [
            "keep-id",
            "auto:size=0",
            "auto:size=x",
            "map=0:1",
            "map=0:1:0",
            "map=1:1:1",
            "map=0:1:4294967295,map=0:1:1",
            "map=0:10:5,map=5:12:5",
            "map=0:10:5,map=4:20:5",
            "uidmap=0:1:1",
            "0:1:1",
            "map=0:4294967295:2",
            "map=-1:0:1",
        ] {
            assert!(userns(text).is_err(), "{text} -> {:?}", userns(text));
        }
    }
}
