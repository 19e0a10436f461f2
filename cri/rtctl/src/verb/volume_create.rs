//! `rtctl volume create`

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};

use crate::flag::env;
use crate::flag::volume::{self as flag, NewVolume};
use crate::output::say;
use crate::store::roots::Roots;
use crate::store::{id, volume};

/// Make a volume; prints its name
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Driver: local
    #[arg(short, long, value_name = "DRIVER", default_value = "local", value_parser = flag::driver)]
    driver: String,
    /// Add a label
    #[arg(short, long, value_name = "NAME=VALUE")]
    label: Vec<String>,
    /// What is mounted on it: type=, device= and o= as mount(8)'s
    #[arg(short, long, value_name = "NAME=VALUE")]
    opt: Vec<String>,
    /// Name; otherwise one is made up
    #[arg(value_name = "VOLUME")]
    name: Option<String>,
}

const EXAMPLES: &str = "\
A volume of that name that is there already is kept; with other options it is an error.
What --opt names is mounted when the first container uses the volume, and stays until the volume is removed.

Examples:
  rtctl volume create data
  rtctl volume create --opt type=tmpfs --opt device=tmpfs --opt o=size=100m,mode=700 scratch
  rtctl volume create --opt type=none --opt o=bind --opt device=/srv/www www
  rtctl volume create --opt type=nfs --opt o=addr=10.0.0.1,vers=4 --opt device=:/export share";

impl Args {
    pub(crate) fn run(self, roots: &Roots) -> Result<u8> {
        let no_files: &[&str] = &[];
        let labels = env::map("--label", no_files, &self.label)?;
        let mut options = BTreeMap::new();
        for text in &self.opt {
            let Some((name, value)) = text.split_once('=') else { bail!("--opt {text:?}: write it as NAME=VALUE") };
            options.insert(name.to_owned(), value.to_owned());
        }
        volume::backing::backing(&options).map_err(anyhow::Error::msg).context("--opt")?;
        let name = match &self.name {
            Some(name) => flag::volume_name(name).map_err(anyhow::Error::msg)?,
            None => id::new()?,
        };
        roots.prepare()?;
        volume::sweep(roots)?;
        volume::create(roots, &name, &NewVolume { anonymous: self.name.is_none(), labels, options })?;
        say(&name)?;
        Ok(0)
    }
}
