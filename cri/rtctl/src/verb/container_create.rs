//! `rtctl create`

use anyhow::Result;

use crate::flag::create::CreateFlags;
use crate::output::say;
use crate::store::create::{Attachment, create};
use crate::store::pod;
use crate::store::roots::Roots;

/// Make a container without starting it; prints its id
#[derive(Debug, clap::Args)]
#[command(
    disable_help_flag = true,
    after_help = "Example:\n  rtctl create --name web busybox httpd -f && rtctl start web"
)]
pub(crate) struct Args {
    #[command(flatten)]
    flags: CreateFlags,
    /// Print help
    #[arg(long, action = clap::ArgAction::HelpLong)]
    help: Option<bool>,
}

impl Args {
    pub(crate) fn run(mut self, roots: &Roots) -> Result<u8> {
        let new_pod = pod::join::join(roots, &mut self.flags)?;
        let created = create(roots, &self.flags, Attachment::Foreground)?;
        say(&created.id)?;
        created.draft.keep();
        if let Some(pod) = new_pod {
            pod.keep();
        }
        Ok(0)
    }
}
