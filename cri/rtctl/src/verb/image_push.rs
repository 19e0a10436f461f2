//! `rtctl push`

use anyhow::{Context, Result};
use cri::image::{Error, Reference, Store};

use crate::image::explain;
use crate::output::say;
use crate::store::roots::Roots;
use crate::transfer::display::{Display, Stream};
use crate::transfer::{RegistryFlags, advice, push};

/// Send an image to a registry
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Print only the image's name at the end
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    registries: RegistryFlags,
    /// Name of the image: [HOST[:PORT]/]PATH[:TAG]
    #[arg(value_name = "NAME")]
    name: String,
}

const EXAMPLES: &str = "\
The name says where the image goes: give it one with rtctl tag. What the registry has already is not sent again.

Examples:
  rtctl tag busybox registry.example:5000/tools/busybox:1
  rtctl push registry.example:5000/tools/busybox:1";

impl Args {
    pub(crate) fn run(self, roots: &Roots) -> Result<u8> {
        let name: Reference = self.name.parse().with_context(|| format!("name {:?}", self.name))?;
        let store = Store::open(&roots.root)?;
        store.resolve(&self.name).map_err(|error| explain(error, &self.name))?;
        let mut display = Display::new(if self.quiet { Stream::Quiet } else { Stream::Stdout });
        display.say(&format!("The push refers to repository [{}]", name.repository()));
        let pushed = push(&store, &name, &self.registries, &mut display)?.map_err(|error| match error {
            Error::NotFound { .. } => explain(error, &self.name),
            error => advice::explain(error, &name),
        })?;
        match self.quiet {
            true => say(&name.to_string())?,
            false => {
                let tag = name.tag().unwrap_or_default();
                say(&format!("{tag}: digest: {} size: {}", pushed.digest, pushed.size))?;
            }
        }
        Ok(0)
    }
}
