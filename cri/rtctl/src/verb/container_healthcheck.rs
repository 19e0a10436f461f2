//! `rtctl healthcheck run`

use anyhow::{Result, bail};
use shim::layout::HealthStatus;
use shim::protocol::{Reply, Request};

use crate::output::say;
use crate::store::roots::Roots;
use crate::store::view::Container;

/// Check a container's health now
///
/// The exit code is 0 when the check succeeds, 1 when it fails, 125 when there was none.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  rtctl healthcheck run web && echo it is well")]
pub(crate) struct Args {
    /// Name or id
    container: String,
}

impl Args {
    pub(crate) fn run(self, roots: &Roots) -> Result<u8> {
        let container = Container::find(roots, &self.container)?;
        if container.task()?.health.is_none() {
            bail!("container {} has no health check; give it one with rtctl run --health-cmd", container.shown());
        }
        container.require_running()?;
        let reply =
            super::connect(&container)?.request(&Request::HealthCheck { container: container.id.clone() }, &[])?;
        match reply {
            Reply::Checked { result, .. } if result.exit_code == 0 => Ok(0),
            Reply::Checked { status, result } => {
                eprint!("{}", result.output);
                say(match status {
                    HealthStatus::Starting => "starting",
                    HealthStatus::Healthy | HealthStatus::Unhealthy => "unhealthy",
                })?;
                Ok(1)
            }
            other => bail!("unexpected answer of the shim: {other:?}"),
        }
    }
}
