//! A pod's shim, and its namespaces.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use shim::client::{self, Connection};
use shim::layout::{SandboxState, SandboxStatus};
use shim::local::Wait;
use shim::protocol::Request;

use super::Pod;
use crate::flag::network::NetworkMode;
use crate::store::roots::Roots;
use crate::store::start::program;
use crate::store::{create, network};

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
    let before = match &pod.status {
        Ok(Some(status)) if status.state == SandboxState::Ready => Some(status.started_at),
        Ok(_) | Err(_) => None,
    };
    let mut connection = connect(&pod)?;
    let mut status = made(&pod, &connection)?;
    if joins(&pod) && !joined(&pod, &status) {
        // Whoever made it ended before it was on its networks: what was reserved for that is still held.
        if before.is_some_and(|before| before == status.started_at) {
            connection.request(&Request::StopSandbox { timeout: Some(Duration::ZERO) }, &[])?;
            connection = connect(&pod)?;
            status = made(&pod, &connection)?;
        }
        let joined = network::join_pod(roots, &pod, &connection);
        if let Err(error) = joined {
            // It is of no use without.
            let _stopped = connection.request(&Request::StopSandbox { timeout: Some(Duration::ZERO) }, &[]);
            return Err(error.context(format!("pod {}", pod.shown())));
        }
        create::write(&pod.dir.join(JOINED), &status.started_at.to_string(), 0o600)?;
    }
    Ok(connection)
}

/// Which sandbox is on its networks: when it was made.
const JOINED: &str = "joined";

fn joins(pod: &Pod) -> bool {
    pod.record.as_ref().is_ok_and(|record| matches!(record.network, NetworkMode::Networks(_)))
}

fn joined(pod: &Pod, status: &SandboxStatus) -> bool {
    std::fs::read_to_string(pod.dir.join(JOINED)).is_ok_and(|text| text == status.started_at.to_string())
}

fn connect(pod: &Pod) -> Result<Connection> {
    if let Some(connection) = pod.connect()? {
        return Ok(connection);
    }
    let program = program()?;
    let spawned = client::spawn(&program, &pod.dir).with_context(|| format!("starting {}", program.display()));
    Ok(spawned?.0)
}

/// The sandbox, made if need be.
fn made(pod: &Pod, connection: &Connection) -> Result<SandboxStatus> {
    connection.sandbox().with_context(|| format!("pod {}", pod.shown()))?;
    let status = shim::local::sandbox_status(pod.directory()?)?;
    status.with_context(|| format!("pod {}: the shim has not recorded its sandbox", pod.shown()))
}
