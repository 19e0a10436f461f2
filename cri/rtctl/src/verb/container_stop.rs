//! `rtctl stop`

use std::time::Duration;

use anyhow::{Result, bail};
use shim::client::{Connection, Error};
use shim::protocol::{Reply, Request};

use crate::flag::signal;
use crate::store::roots::Roots;
use crate::store::view::{Container, Phase};

/// Seconds before a container is killed when nothing is said.
const GRACE: i64 = 10;

/// Stop containers: a signal, and after a while the end
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  rtctl stop web\n  rtctl stop -t 60 -s SIGINT db")]
pub(crate) struct Args {
    #[command(flatten)]
    pub(super) how: How,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// How containers are stopped.
#[derive(Debug, clap::Args)]
pub(crate) struct How {
    /// Signal to send first
    #[arg(short, long, value_parser = signal::parse)]
    signal: Option<i32>,
    /// Seconds to wait before killing it; -1 waits for ever
    #[arg(
        short = 't',
        long = "timeout",
        visible_alias = "time",
        value_name = "SECONDS",
        allow_negative_numbers = true
    )]
    timeout: Option<i64>,
}

impl Args {
    pub(crate) fn run(self, roots: &Roots) -> Result<u8> {
        // All are asked before the first is waited for: they stop at the same time.
        let mut asked: Vec<Result<Option<Connection>>> =
            self.containers.iter().map(|query| self.how.ask(&Container::find(roots, query)?)).collect();
        asked.reverse();
        Ok(super::each(&self.containers, |_| match asked.pop() {
            Some(Ok(Some(connection))) => finish(&connection),
            Some(Ok(None)) | None => Ok(()),
            Some(Err(error)) => Err(error),
        }))
    }
}

impl How {
    /// Asks the shim to stop a container; `None` when it does not run.
    pub(super) fn ask(&self, container: &Container) -> Result<Option<Connection>> {
        match container.phase() {
            // Created: with a shim it is being started, by a command or again.
            Phase::Created | Phase::Running | Phase::Paused | Phase::Restarting => {}
            Phase::Exited | Phase::Removing => return Ok(None),
            Phase::Dead => {
                container.record()?;
                container.status()?;
            }
        }
        let config = &container.record()?.config;
        let signal = match self.signal {
            Some(signal) => signal,
            None => signal::parse(&config.stop_signal).map_err(anyhow::Error::msg)?,
        };
        let seconds = self.timeout.or(config.stop_timeout).unwrap_or(GRACE);
        let timeout = u64::try_from(seconds).ok().map(Duration::from_secs);
        let Some(connection) = container.connect()? else { return Ok(None) };
        match connection.send(&Request::Stop { container: container.id.clone(), signal, timeout }, &[]) {
            // It has just ended by itself.
            Err(Error::Gone) => Ok(None),
            answer => {
                answer?;
                Ok(Some(connection))
            }
        }
    }
}

/// Waits until the container has stopped, and is removed if it is to be.
pub(super) fn finish(connection: &Connection) -> Result<()> {
    match connection.receive() {
        Ok(Reply::Exited { .. } | Reply::Done) | Err(Error::Gone) => Ok(()),
        Ok(other) => bail!("unexpected answer of the shim: {other:?}"),
        Err(error) => Err(error.into()),
    }
}
