//! Which layers running containers see: these must not be replaced below them.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::roots::Roots;
use super::view::Container;

/// The layers that running containers see.
pub(crate) struct LayersInUse(Vec<(String, Vec<PathBuf>)>);

impl LayersInUse {
    /// Asks all containers.
    pub(crate) fn read(roots: &Roots) -> Result<LayersInUse> {
        let mut running = Vec::new();
        for container in Container::list(roots)?.into_iter().filter(|container| container.phase().lives()) {
            let task = container.task()?;
            let mut layers = task.layers.map(|layers| layers.lower).unwrap_or_default();
            layers.extend(task.image_mounts.into_iter().flat_map(|mount| mount.lower));
            running.push((container.shown().to_owned(), layers));
        }
        Ok(LayersInUse(running))
    }

    /// The container that sees the layer of that folder name.
    pub(crate) fn by(&self, layer: &str) -> Option<String> {
        let of_layer = |path: &PathBuf| path.parent().and_then(Path::file_name).is_some_and(|name| name == layer);
        self.0.iter().find(|(_, layers)| layers.iter().any(of_layer)).map(|(container, _)| container.clone())
    }
}
