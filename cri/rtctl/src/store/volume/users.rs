//! Which containers use a volume: those whose records name it. One whose record cannot be read may use any.

use std::collections::BTreeMap;

use anyhow::Result;

use crate::store::id;
use crate::store::record::MountKind;
use crate::store::roots::Roots;
use crate::store::view::Container;

/// Containers by the volumes they use.
pub(crate) struct Users {
    by_volume: BTreeMap<String, Vec<String>>,
    unknown: Vec<String>,
}

impl Users {
    /// Asks all containers.
    pub(crate) fn read(roots: &Roots) -> Result<Users> {
        Users::without(roots, None)
    }

    /// Asks all containers but one.
    pub(crate) fn without(roots: &Roots, left_out: Option<&str>) -> Result<Users> {
        let mut users = Users { by_volume: BTreeMap::new(), unknown: Vec::new() };
        for container in Container::list(roots)? {
            if left_out == Some(container.id.as_str()) {
                continue;
            }
            let shown = match &container.name {
                Some(name) => format!("{name} ({})", id::short(&container.id)),
                None => id::short(&container.id).to_owned(),
            };
            match &container.record {
                Ok(record) => {
                    for mount in &record.mounts {
                        if let MountKind::Volume { name, .. } = &mount.kind {
                            let list = users.by_volume.entry(name.clone()).or_default();
                            if list.last() != Some(&shown) {
                                list.push(shown.clone());
                            }
                        }
                    }
                }
                Err(_) => users.unknown.push(format!("{shown}, whose record cannot be read")),
            }
        }
        Ok(users)
    }

    /// Those that use a volume, or may.
    pub(crate) fn of(&self, volume: &str) -> Vec<&str> {
        let known = self.by_volume.get(volume).map(Vec::as_slice).unwrap_or_default();
        known.iter().chain(&self.unknown).map(String::as_str).collect()
    }
}
