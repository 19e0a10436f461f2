//! `rtctl pod stop`

use std::time::Duration;

use anyhow::{Result, bail};
use shim::client::{Connection, Error};
use shim::protocol::{Reply, Request};

use super::each;
use crate::store::pod::Pod;
use crate::store::roots::Roots;

/// Seconds before containers are killed when nothing is said.
const GRACE: i64 = 10;

/// Stop pods: each container by its stop signal, and after a while the end of all
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  rtctl pod stop web\n  rtctl pod stop -t 60 web db")]
pub(crate) struct Args {
    #[command(flatten)]
    grace: Grace,
    /// Names or ids
    #[arg(required = true, value_name = "POD")]
    pods: Vec<String>,
}

/// How long containers get.
#[derive(Debug, clap::Args)]
pub(crate) struct Grace {
    /// Seconds to wait before killing what is left; -1 waits for ever
    #[arg(short = 't', long = "time", visible_alias = "timeout", value_name = "SECONDS", allow_negative_numbers = true, default_value_t = GRACE)]
    seconds: i64,
}

impl Args {
    pub(crate) fn run(self, roots: &Roots) -> Result<u8> {
        // All are asked before the first is waited for: they stop at the same time.
        let mut asked: Vec<Result<Option<Connection>>> =
            self.pods.iter().map(|query| self.grace.ask(&Pod::find(roots, query)?)).collect();
        asked.reverse();
        Ok(each(&self.pods, |_| match asked.pop() {
            Some(Ok(Some(connection))) => finish(&connection),
            Some(Ok(None)) | None => Ok(()),
            Some(Err(error)) => Err(error),
        }))
    }
}

impl Grace {
    /// Asks the shim to stop a pod; `None` when it has none.
    pub(super) fn ask(&self, pod: &Pod) -> Result<Option<Connection>> {
        let timeout = u64::try_from(self.seconds).ok().map(Duration::from_secs);
        let Some(connection) = pod.connect()? else { return Ok(None) };
        match connection.send(&Request::StopSandbox { timeout }, &[]) {
            Err(Error::Gone) => Ok(None),
            answer => {
                answer?;
                Ok(Some(connection))
            }
        }
    }
}

/// Waits until the pod has stopped.
pub(super) fn finish(connection: &Connection) -> Result<()> {
    match connection.receive() {
        Ok(Reply::Done) | Err(Error::Gone) => Ok(()),
        Ok(other) => bail!("unexpected answer of the shim: {other:?}"),
        Err(error) => Err(error.into()),
    }
}
