//! Removing a pod, whatever state it is in.
//!
//! ```text
//!  [removing] ─▶ its containers, each by itself ─▶ shim: RemoveSandbox, or the directory of one that has none
//! ```
//!
//! From the mark on nothing starts in it any more. Whoever removes it again goes on where the last one ended.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use shim::client::{Connection, Error};
use shim::local::{self, Directory, Wait};
use shim::protocol::{Reply, Request};

use super::{Pod, ids};
use crate::flag::network::NetworkMode;
use crate::store::remove::{Force, readable, remove, wait_for_end};
use crate::store::roots::Roots;
use crate::store::view::Container;
use crate::store::{create, name, network};

/// How long a shim may take before it is killed.
const PATIENCE: Duration = Duration::from_secs(30);

/// Removes a pod with its containers; one that is gone is done.
pub(crate) fn remove_pod(roots: &Roots, id: &str, force: Force) -> Result<()> {
    let Some(pod) = Pod::load(roots, id)? else { return Ok(()) };
    let directory = pod.directory()?;
    if force == Force::No {
        refuse_running(roots, &pod)?;
    }
    {
        let _lock = match directory.lock(Wait::Yes) {
            Err(local::Error::Removed(_)) => return Ok(()),
            lock => lock?,
        };
        create::write(&pod.dir.join("removing"), "", 0o600)?;
    }
    loop {
        for container in pod.containers(roots)? {
            remove_container(roots, &container, force)?;
        }
        let _lock = match directory.lock(Wait::Yes) {
            Err(local::Error::Removed(_)) => return Ok(()),
            lock => lock?,
        };
        // One may have been made before the mark was.
        if pod.containers(roots)?.is_empty() {
            finish(&pod, &directory, force)?;
            // What a shim that was killed could not.
            return match &pod.record {
                Ok(record) if !matches!(record.network, NetworkMode::Networks(_)) => Ok(()),
                Ok(_) | Err(_) => network::release(roots, id),
            };
        }
    }
}

fn refuse_running(roots: &Roots, pod: &Pod) -> Result<()> {
    for container in pod.containers(roots)? {
        if container.phase().lives() {
            bail!(
                "container {1} of pod {0} is {2}; rtctl pod stop {0} first, or remove it with -f",
                pod.shown(),
                container.shown(),
                container.phase().word()
            );
        }
    }
    Ok(())
}

fn remove_container(roots: &Roots, container: &Container, force: Force) -> Result<()> {
    let Some(directory) = Directory::open(&container.dir)? else { return Ok(()) };
    let lock = match directory.lock(Wait::Yes) {
        Err(local::Error::Removed(_)) => return Ok(()),
        lock => lock?,
    };
    remove(roots, &container.id, &lock, force).with_context(|| format!("container {}", container.shown()))
}

/// The sandbox and the directory, once there are no containers.
fn finish(pod: &Pod, directory: &Directory, force: Force) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    match directory.connect() {
        Ok(Some(connection)) => {
            if ask(&connection, until)? {
                return Ok(());
            }
            if force == Force::No {
                bail!("the shim of pod {0} does not answer; rtctl pod rm -f {0} ends it", pod.shown());
            }
            kill_shim(directory)?;
        }
        Ok(None) => {}
        Err(Error::Silent) if force == Force::Yes => kill_shim(directory)?,
        Err(error) => return Err(error.into()),
    }
    if let Ok(Some(status)) = local::sandbox_status(directory)
        && status.state == shim::layout::SandboxState::Ready
    {
        // It serves nobody any more, so it is about to end.
        wait_for_end(status.shim.0, until)?;
    }
    remove_directory(&pod.dir)
}

/// Whether the shim did it.
fn ask(connection: &Connection, until: Instant) -> Result<bool> {
    match connection.send(&Request::RemoveSandbox {}, &[]) {
        Ok(()) => {}
        Err(Error::Gone) => return Ok(false),
        Err(error) => return Err(error.into()),
    }
    if !readable(connection, until)? {
        return Ok(false);
    }
    match connection.receive() {
        Ok(Reply::Done) => {
            connection.closed()?;
            Ok(true)
        }
        Err(Error::Gone) => Ok(false),
        Ok(other) => bail!("unexpected answer of the shim: {other:?}"),
        Err(error) => Err(error.into()),
    }
}

fn kill_shim(directory: &Directory) -> Result<()> {
    let Some(status) = shim::record::read::<shim::layout::SandboxStatus>(directory)? else { return Ok(()) };
    Ok(shim::stuck::kill(status.shim, &status.boot_id, PATIENCE)?)
}

/// Removes the directory of a pod without a shim.
pub(crate) fn remove_directory(path: &Path) -> Result<()> {
    match Directory::open(path)? {
        Some(directory) => Ok(local::remove_pod_files(&directory, path)?),
        None => Ok(()),
    }
}

/// Removes what programs that ended while they made a pod left.
pub(crate) fn sweep(roots: &Roots) -> Result<()> {
    for id in ids(roots)? {
        let path = roots.pod(&id);
        if path.join("pod.json").try_exists().unwrap_or(true) {
            continue;
        }
        // With the names locked nobody is between making a directory and locking it.
        let names = name::lock(roots)?;
        let Some(directory) = Directory::open(&path)? else { continue };
        let _lock = match directory.lock(Wait::No) {
            Err(local::Error::Busy(_) | local::Error::Removed(_)) => continue,
            lock => lock?,
        };
        drop(names);
        if path.join("pod.json").try_exists().unwrap_or(true) || matches!(directory.connect(), Ok(Some(_)) | Err(_)) {
            // Made meanwhile, or its shim is removing it.
            continue;
        }
        if let Err(error) = remove_directory(&path) {
            eprintln!("rtctl: remains of a pod: {error:#}");
        }
    }
    Ok(())
}
