//! `rtctl rename`

use anyhow::{Context, Result};
use shim::local::Wait;

use crate::store::roots::Roots;
use crate::store::view::Container;
use crate::store::{create, name};

/// Give a container another name
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  rtctl rename web old-web")]
pub(crate) struct Args {
    /// Name or id
    container: String,
    /// The new name
    #[arg(value_parser = name::parse)]
    name: String,
}

impl Args {
    pub(crate) fn run(self, roots: &Roots) -> Result<u8> {
        let container = Container::find(roots, &self.container)?;
        let _changing = container.directory()?.lock(Wait::Yes)?;
        let names = name::lock(roots)?;
        name::claim(roots, &names, &self.name, &container.id)?;
        let old = container.name.clone().context("its name file cannot be read")?;
        // Between these steps both names lead to it.
        create::write(&container.dir.join("name"), &self.name, 0o600)?;
        if old != self.name {
            name::release(roots, &old)?;
        }
        Ok(0)
    }
}
