//! `rtctl network release`: hidden; a shim runs it when its container has ended.

use anyhow::{Result, bail};

use crate::store::roots::Roots;
use crate::store::{id, network};

/// Give back addresses and ports of a container that has ended
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Its whole id
    id: String,
}

impl Args {
    pub(crate) fn run(self, roots: &Roots) -> Result<u8> {
        if !id::is_id(&self.id) {
            bail!("{:?} is no id of a container", self.id);
        }
        network::release(roots, &self.id)?;
        Ok(0)
    }
}
