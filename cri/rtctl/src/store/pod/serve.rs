//! A pod's shim, and its namespaces.

use anyhow::{Context, Result, bail};
use shim::client::{self, Connection};
use shim::local::Wait;

use super::Pod;
use crate::store::roots::Roots;
use crate::store::start::program;

/// Connects to the shim of a pod whose namespaces are there: starts it and makes them if need be.
pub(crate) fn serve(roots: &Roots, id: &str) -> Result<Connection> {
    let Some(pod) = Pod::load(roots, id)? else {
        bail!("its pod {} has been removed; remove it, too", crate::store::id::short(id))
    };
    let _lock = pod.directory()?.lock(Wait::Yes)?;
    // It may have changed while we waited.
    let Some(pod) = Pod::load(roots, id)? else { bail!("pod {} has been removed", pod.shown()) };
    if pod.removing {
        bail!("pod {0} is being removed; rtctl pod rm -f {0} finishes it", pod.shown());
    }
    pod.record()?;
    let connection = match pod.connect()? {
        Some(connection) => connection,
        None => {
            let program = program()?;
            let spawned = client::spawn(&program, &pod.dir).with_context(|| format!("starting {}", program.display()));
            spawned?.0
        }
    };
    connection.sandbox().with_context(|| format!("pod {}", pod.shown()))?;
    Ok(connection)
}
