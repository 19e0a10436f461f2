//! `rtctl restart`

use anyhow::Result;

use super::container_stop::{How, finish};
use super::{container_start, each};
use crate::events;
use crate::store::roots::Roots;
use crate::store::view::Container;

/// Stop containers and start them again
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  rtctl restart -t 3 web")]
pub(crate) struct Args {
    #[command(flatten)]
    how: How,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Args {
    pub(crate) fn run(self, roots: &Roots) -> Result<u8> {
        Ok(each(&self.containers, |query| {
            let container = Container::find(roots, query)?;
            if let Some(connection) = self.how.ask(&container)? {
                finish(&connection)?;
            }
            container_start::background(roots, &container.id)?;
            if let Ok(record) = &container.record {
                events::container(roots, "restart", record, container.shown(), &[]);
            }
            Ok(())
        }))
    }
}
