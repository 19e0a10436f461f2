//! `rtctl pull`

use anyhow::{Context, Result, bail};
use cri::image::registry::Fresh;
use cri::image::{Platform, Reference, Store};

use crate::events;
use crate::output::say;
use crate::store::roots::Roots;
use crate::transfer::display::{Display, Stream};
use crate::transfer::{BlobFlags, Interrupted, Pull, RegistryFlags, pull, tags};

/// Get an image from a registry
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Print only the image's name at the end
    #[arg(short, long)]
    quiet: bool,
    /// Get all tags of the repository
    #[arg(short, long)]
    all_tags: bool,
    /// Platform of the image; otherwise that of this machine
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<Platform>,
    #[command(flatten)]
    registries: RegistryFlags,
    #[command(flatten)]
    blobs: BlobFlags,
    /// Name of the image: [HOST[:PORT]/]PATH[:TAG|@DIGEST]
    #[arg(value_name = "NAME")]
    name: String,
}

const EXAMPLES: &str = "\
Names without a host are those of docker.io; the tag is latest where none is given. Layers that are there are not fetched
again; what an interrupted pull received is used by the next one.

Examples:
  rtctl pull busybox
  rtctl pull --platform linux/arm64 registry.example:5000/tools/busybox:1.37
  rtctl pull --all-tags registry.example:5000/tools/busybox
  rtctl pull -q busybox@sha256:73aaf090f3d85aa34ee199857f03fa3a95c8ede2ffd4cc2cdb5b94e566b11662";

impl Args {
    pub(crate) fn run(self, roots: &Roots) -> Result<u8> {
        let name: Reference = self.name.parse().with_context(|| format!("name {:?}", self.name))?;
        let store = Store::open(&roots.root)?;
        if !self.all_tags {
            return self.pull(roots, &store, &self.name, &name);
        }
        if name.digest().is_some() || is_tagged(&self.name) {
            bail!("--all-tags is for a repository: rtctl pull --all-tags {}", name.familiar_repository());
        }
        let tags = tags(&name, &self.registries)?;
        if tags.is_empty() {
            bail!("{} has no tags", name.familiar_repository());
        }
        let mut code = 0;
        for tag in tags {
            // One that is no image, or for other machines only, keeps nobody from the others.
            code = match self.pull(roots, &store, &tag.familiar(), &tag) {
                Ok(_) => code,
                Err(error) if error.is::<Interrupted>() => return Err(error),
                Err(error) => {
                    eprintln!("rtctl: {error:#}");
                    1
                }
            };
        }
        Ok(code)
    }

    fn pull(&self, roots: &Roots, store: &Store, typed: &str, name: &Reference) -> Result<u8> {
        let mut display = Display::new(if self.quiet { Stream::Quiet } else { Stream::Stdout });
        announce(&display, typed, name);
        let wanted =
            Pull { registries: &self.registries, name, platform: self.platform.as_ref(), blobs: self.blobs.choice() };
        let pulled = pull(store, &wanted, &mut display)?;
        let familiar = name.familiar().to_string();
        events::record(roots, "image", "pull", &familiar, [("name", &familiar)]);
        if !self.quiet {
            say(&format!("Digest: {}", pulled.resolved))?;
            let status = match pulled.fresh {
                Fresh::New => "Downloaded newer image for",
                Fresh::UpToDate => "Image is up to date for",
            };
            say(&format!("Status: {status} {}", name.familiar()))?;
        }
        say(&pulled.name.to_string())?;
        Ok(0)
    }
}

/// Whether a name was typed with a tag.
pub(crate) fn is_tagged(typed: &str) -> bool {
    typed.rsplit('/').next().is_some_and(|last| last.contains(':'))
}

/// Says what is going to be pulled.
pub(crate) fn announce(display: &Display, typed: &str, name: &Reference) {
    let tag = match (name.digest(), name.tag()) {
        (Some(digest), _) => digest.to_string(),
        (None, tag) => tag.unwrap_or("latest").to_owned(),
    };
    if name.digest().is_none() && !typed.ends_with(&format!(":{tag}")) {
        display.say(&format!("Using default tag: {tag}"));
    }
    display.say(&format!("{tag}: Pulling from {}", name.path()));
}
