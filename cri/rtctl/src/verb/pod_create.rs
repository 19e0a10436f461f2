//! `rtctl pod create`

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::flag::pod::PodFlags;
use crate::output::say;
use crate::store::pod::create::create;
use crate::store::roots::Roots;

/// Make a pod: namespaces for containers to share; prints its id
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true, after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    flags: PodFlags,
    /// Write the pod's id to this new file
    #[arg(long, value_name = "FILE")]
    pod_id_file: Option<PathBuf>,
    /// Print help
    #[arg(long, action = clap::ArgAction::HelpLong)]
    help: Option<bool>,
}

const EXAMPLES: &str = "\
Its namespaces are made when it is started, by rtctl pod start or with its first container; no process stays in them.

Examples:
  rtctl pod create --name web
  rtctl run -d --pod web busybox httpd -f -p 8080
  rtctl run --rm --pod web busybox wget -qO- http://localhost:8080
  rtctl pod create --share +pid --sysctl net.ipv4.ip_unprivileged_port_start=80 --shm-size 1g";

impl Args {
    pub(crate) fn run(self, roots: &Roots) -> Result<u8> {
        let new = create(roots, &self.flags)?;
        if let Some(path) = &self.pod_id_file {
            use std::io::Write;
            let made = std::fs::File::create_new(path).and_then(|mut file| file.write_all(new.id.as_bytes()));
            made.with_context(|| format!("--pod-id-file {}", path.display()))?;
        }
        say(&new.id)?;
        new.keep();
        Ok(0)
    }
}
