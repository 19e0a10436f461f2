//! Which images are made from which: those that have all layers of another at the bottom.

use std::collections::BTreeMap;

use cri::image::{Image, Store};

use super::roots::Roots;

/// Images that were asked for by name, and all others.
#[derive(Default)]
pub(crate) struct Lineage {
    images: Vec<Image>,
    ancestors: BTreeMap<String, Image>,
}

impl Lineage {
    /// Looks the names up; images that cannot be read are nobody's.
    pub(crate) fn read<'a>(roots: &Roots, names: impl Iterator<Item = &'a str>) -> Lineage {
        let mut names = names.peekable();
        let mut lineage = Lineage::default();
        if names.peek().is_none() || !roots.root.join("images").try_exists().unwrap_or(false) {
            return lineage;
        }
        let Ok(store) = Store::open(&roots.root) else { return lineage };
        lineage.images = store.list().unwrap_or_default();
        for name in names {
            lineage.ancestors.extend(store.resolve(name).ok().map(|image| (name.to_owned(), image)));
        }
        lineage
    }

    /// Whether the image `id` is the one of that name, or made from it.
    pub(crate) fn descends(&self, id: &str, name: &str) -> bool {
        let Some(ancestor) = self.ancestors.get(name) else { return false };
        if ancestor.id.to_string() == id {
            return true;
        }
        let image = self.images.iter().find(|image| image.id.to_string() == id);
        let below = &ancestor.config.diff_ids;
        image.is_some_and(|image| !below.is_empty() && image.config.diff_ids.starts_with(below))
    }
}
