//! `--pull` of `run` and `create`: the image for a container, from the store or from its registry.

use anyhow::{Context, Result, bail};
use cri::image::{Error, Platform, Prepared, Reference, Store};

use super::display::{Display, Stream};
use super::{Pull, RegistryFlags, pull};
use crate::flag::create::Pull as When;
use crate::image::explain;
use crate::verb::image_pull::announce;

/// Where the image may come from.
pub(crate) struct Fetch<'a> {
    pub(crate) pull: When,
    pub(crate) platform: Option<&'a Platform>,
    pub(crate) registries: &'a RegistryFlags,
    pub(crate) stream: Stream,
}

impl Fetch<'_> {
    /// The image of that name or id, ready for a container.
    pub(crate) fn prepare(&self, store: &Store, name: &str) -> Result<Prepared> {
        if self.pull == When::Always {
            return self.fetch(store, name);
        }
        match store.prepare(name, &mut |_| {}) {
            Ok(prepared) => self.check_platform(store, name, prepared),
            Err(Error::NotFound { .. }) if self.pull == When::Missing => {
                let Ok(reference) = name.parse::<Reference>() else {
                    return Err(explain(Error::NotFound { query: name.to_owned() }, name));
                };
                let display = Display::new(self.stream);
                display.say(&format!("Unable to find image '{}' locally", reference.familiar()));
                self.fetch(store, name)
            }
            Err(Error::NotFound { .. }) => bail!("no image {name:?}, and --pull never; get it with rtctl pull {name}"),
            Err(error) => Err(explain(error, name)),
        }
    }

    /// An image of that name for another platform is not the one that is meant.
    fn check_platform(&self, store: &Store, name: &str, prepared: Prepared) -> Result<Prepared> {
        let Some(wanted) = self.platform else { return Ok(prepared) };
        if wanted.rank(&prepared.config.platform).is_some() {
            return Ok(prepared);
        }
        match self.pull {
            When::Missing if name.parse::<Reference>().is_ok() => self.fetch(store, name),
            When::Always | When::Missing | When::Never => {
                bail!("image {name:?} is for {}, not for {wanted}", prepared.config.platform)
            }
        }
    }

    fn fetch(&self, store: &Store, name: &str) -> Result<Prepared> {
        let reference: Reference = name.parse().with_context(|| format!("{name:?} cannot be pulled"))?;
        let mut display = Display::new(self.stream);
        announce(&display, name, &reference);
        let wanted = Pull { registries: self.registries, name: &reference, platform: self.platform };
        let pulled = pull(store, &wanted, &mut display)?;
        // By its id: the name may be given to another image any time.
        Ok(store.prepare(&pulled.id.to_string(), &mut |_| {})?)
    }
}
