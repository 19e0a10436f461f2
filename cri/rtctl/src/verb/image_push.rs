//! `rtctl push`

use anyhow::{Context, Result, bail};
use cri::image::{Error, Reference, Store};

use crate::image::explain;
use crate::output::say;
use crate::store::roots::Roots;
use crate::transfer::display::{Display, Stream};
use crate::transfer::{RegistryFlags, advice, push};
use crate::verb::image_pull::is_tagged;

/// Send an image to a registry
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Print only the image's name at the end
    #[arg(short, long)]
    quiet: bool,
    /// Send all tags that the repository has here
    #[arg(short, long)]
    all_tags: bool,
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
  rtctl push registry.example:5000/tools/busybox:1
  rtctl push --all-tags registry.example:5000/tools/busybox";

impl Args {
    pub(crate) fn run(self, roots: &Roots) -> Result<u8> {
        let name: Reference = self.name.parse().with_context(|| format!("name {:?}", self.name))?;
        let store = Store::open(&roots.root)?;
        if !self.all_tags {
            return self.push(&store, &self.name, &name);
        }
        if name.digest().is_some() || is_tagged(&self.name) {
            bail!("--all-tags is for a repository: rtctl push --all-tags {}", name.familiar_repository());
        }
        let names = store.list()?.into_iter().flat_map(|image| image.names);
        let mut tags: Vec<Reference> = names.filter(|tag| tag.repository() == name.repository()).collect();
        tags.sort_by_key(Reference::familiar);
        if tags.is_empty() {
            bail!(
                "there is no image of {0} here; give one a name with rtctl tag IMAGE {0}:TAG",
                name.familiar_repository()
            );
        }
        for tag in &tags {
            self.push(&store, &tag.familiar(), tag)?;
        }
        Ok(0)
    }

    fn push(&self, store: &Store, typed: &str, name: &Reference) -> Result<u8> {
        store.resolve(typed).map_err(|error| explain(error, typed))?;
        let mut display = Display::new(if self.quiet { Stream::Quiet } else { Stream::Stdout });
        display.say(&format!("The push refers to repository [{}]", name.repository()));
        let pushed = push(store, name, &self.registries, &mut display)?.map_err(|error| match error {
            Error::NotFound { .. } => explain(error, typed),
            error => advice::explain(error, name),
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
