//! `rtctl rmi`

use anyhow::Result;
use cri::image::{Digest, Force, Store};

use crate::events;
use crate::image::explain;
use crate::output::say;
use crate::store::id;
use crate::store::roots::Roots;
use crate::store::view::Container;

/// Remove images
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  rtctl rmi busybox:1.36")]
pub(crate) struct Args {
    /// Remove all its names at once
    #[arg(short, long)]
    force: bool,
    /// Leave the layers' other users alone; they always are
    #[arg(long)]
    no_prune: bool,
    /// Names or ids
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

impl Args {
    pub(crate) fn run(self, roots: &Roots) -> Result<u8> {
        let store = Store::open(&roots.root)?;
        let force = if self.force { Force::Yes } else { Force::No };
        let mut code = 0;
        for name in &self.images {
            match store.remove(name, force, &mut |image| used_by(roots, image)) {
                Ok(removed) => {
                    for name in &removed.untagged {
                        let name_text = name.familiar().to_string();
                        events::record(roots, "image", "untag", &name_text, [("name", &name_text)]);
                        say(&format!("Untagged: {}", name.familiar()))?;
                    }
                    for image in &removed.deleted {
                        events::record(roots, "image", "delete", &image.to_string(), []);
                        say(&format!("Deleted: {image}"))?;
                    }
                }
                Err(error) => {
                    eprintln!("rtctl: {:#}", explain(error, name));
                    code = 1;
                }
            }
        }
        Ok(code)
    }
}

/// The container that was made from an image. One whose record cannot be read may need any image.
pub(super) fn used_by(roots: &Roots, image: &Digest) -> Option<String> {
    let image = image.to_string();
    let list = match Container::list(roots) {
        Ok(list) => list,
        Err(error) => return Some(format!("(unknown: {error:#})")),
    };
    let uses = |container: &Container| match &container.record {
        Ok(record) => record.uses(&image),
        Err(_) => true,
    };
    if let Some(container) = list.iter().find(|container| uses(container)) {
        return Some(format!("{} ({})", container.shown(), id::short(&container.id)));
    }
    match cri::pod::user_of_image(&roots.state, &image) {
        Ok(container) => container.map(|id| format!("of a pod ({})", id::short(id.as_str()))),
        Err(error) => Some(format!("(unknown: {error})")),
    }
}
