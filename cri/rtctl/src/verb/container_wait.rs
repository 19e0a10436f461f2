//! `rtctl wait`

use anyhow::{Result, bail};
use shim::client::{Connection, Error};
use shim::protocol::{Reply, Request};

use crate::output::say;
use crate::store::roots::Roots;
use crate::store::view::{Container, Phase};

/// Wait until containers end, and print their exit codes
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  rtctl wait web")]
pub(crate) struct Args {
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Args {
    pub(crate) fn run(self, roots: &Roots) -> Result<u8> {
        let mut code = 0;
        for query in &self.containers {
            match Container::find(roots, query).and_then(|container| wait(&container)) {
                Ok(exit) => say(&exit.to_string())?,
                Err(error) => {
                    eprintln!("rtctl: {error:#}");
                    code = 1;
                }
            }
        }
        Ok(code)
    }
}

fn wait(container: &Container) -> Result<i32> {
    // Also one that has ended: its shim may be about to give back its addresses and ports.
    if container.phase() != Phase::Created
        && let Some(connection) = container.connect()?
    {
        match ask(&connection, &container.id) {
            Ok(Reply::Exited { exit }) => return Ok(exit.code),
            Ok(Reply::Done) | Err(Error::Gone) => {}
            Ok(other) => bail!("unexpected answer of the shim: {other:?}"),
            Err(error) => return Err(error.into()),
        }
    }
    container.record()?;
    let status = container.directory()?.status()?;
    match status.and_then(|status| status.last_exit) {
        Some(exit) => Ok(exit.code),
        None if container.phase() == Phase::Created => Ok(0),
        None => bail!("container {}: no exit is recorded", container.shown()),
    }
}

fn ask(connection: &Connection, id: &str) -> Result<Reply, Error> {
    connection.request(&Request::Wait { container: id.to_owned() }, &[])
}
