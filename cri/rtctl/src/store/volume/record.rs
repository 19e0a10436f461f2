//! `volume.json`: what a volume was made with. It never changes.

use nix::fcntl::AT_FDCWD;
use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::super::id;

/// Version of the record. A newer one is refused, an older one is read.
pub(crate) const VERSION: u32 = 1;

/// `volume.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// [`VERSION`].
    pub(crate) version: u32,
    /// Nanoseconds since the epoch.
    pub(crate) created: u64,
    /// Whether it was made for one container.
    pub(crate) anonymous: bool,
    /// Labels.
    pub(crate) labels: BTreeMap<String, String>,
    /// `--opt`: see [`super::backing`].
    pub(crate) options: BTreeMap<String, String>,
}

/// Reads the record of the volume in `dir`. A directory without one is a plain volume, as made by hand.
pub(super) fn read(dir: &Path, name: &str, created: u64) -> Result<Record, String> {
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    let path = dir.join("volume.json");
    let text = runtime::spec::read_record(AT_FDCWD, &path).map_err(|error| error.to_string())?;
    let Some(text) = text else {
        return Ok(Record {
            version: VERSION,
            created,
            anonymous: id::is_id(name),
            labels: BTreeMap::new(),
            options: BTreeMap::new(),
        });
    };
    let version: Version = runtime::spec::parse("volume.json", &text).map_err(|error| error.to_string())?;
    if version.version > VERSION {
        return Err(format!(
            "volume.json is of version {}, this program knows {VERSION}: use the newer rtctl that made it",
            version.version
        ));
    }
    runtime::spec::parse("volume.json", &text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_and_newer_records_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let plain = read(dir.path(), "data", 5).unwrap();
        assert_eq!((plain.created, plain.anonymous), (5, false));
        assert!(read(dir.path(), &"a".repeat(64), 5).unwrap().anonymous);
        for (text, expected) in [
            ("{", "volume.json"),
            (r#"{"version": 9}"#, "use the newer rtctl"),
            (r#"{"version": 1, "created": 1}"#, "missing field"),
        ] {
            std::fs::write(dir.path().join("volume.json"), text).unwrap();
            let error = read(dir.path(), "data", 5).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
