//! `rtctl pod restart`

use anyhow::Result;

use super::pod_stop::{Grace, finish};
use super::{each, pod_start};
use crate::store::pod::Pod;
use crate::store::roots::Roots;

/// Stop pods and start them again, with new namespaces
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  rtctl pod restart -t 3 web")]
pub(crate) struct Args {
    #[command(flatten)]
    grace: Grace,
    /// Names or ids
    #[arg(required = true, value_name = "POD")]
    pods: Vec<String>,
}

impl Args {
    pub(crate) fn run(self, roots: &Roots) -> Result<u8> {
        Ok(each(&self.pods, |query| {
            let pod = Pod::find(roots, query)?;
            if let Some(connection) = self.grace.ask(&pod)? {
                finish(&connection)?;
            }
            pod_start::start(roots, &pod)
        }))
    }
}
