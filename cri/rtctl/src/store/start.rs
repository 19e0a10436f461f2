//! Starting a container: its shim, its init process, its program.
//!
//! ```text
//!  connect, or spawn rt-shim ─▶ (join networks) ─▶ Create ─▶ (attach) ─▶ Start
//! ```

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use runtime::spec::NamespaceKind;
use shim::client::{self, Connection};
use shim::local::{self, Lock};
use shim::protocol::{Reply, Request};

use super::record::MountKind;
use super::roots::Roots;
use super::view::{Container, Phase};
use super::volume::{self, Held};
use super::{create, network, plan, pod};
use crate::flag::namespace::Mode;
use crate::flag::network::NetworkMode;
use crate::rootfs;

/// A container whose init process waits for [`Ready::start`].
pub(crate) struct Ready {
    id: String,
    /// It has a shim of its own.
    standalone: bool,
    connection: Connection,
}

/// Makes the init process of a container that does not run; the caller holds its lock.
pub(crate) fn prepare(roots: &Roots, container: &Container, lock: &Lock) -> Result<Ready> {
    match container.phase() {
        Phase::Created | Phase::Exited => {}
        Phase::Running | Phase::Restarting => bail!("container {} is running already", container.shown()),
        Phase::Paused => bail!("container {0} is paused; rtctl unpause {0}", container.shown()),
        Phase::Removing => bail!("container {0} is being removed; rtctl rm -f {0} finishes it", container.shown()),
        Phase::Dead => {
            container.record()?;
            container.status()?;
        }
    }
    let directory = container.directory()?;
    let _volumes = hold_volumes(roots, container)?;
    let connection = match (container.pod(), container.connect()?) {
        (Some(pod), _) => {
            let connection =
                pod::serve::serve(roots, pod).with_context(|| format!("container {}", container.shown()))?;
            network::write_pod_files(roots, container, &pod::Pod::find(roots, pod)?)?;
            if !container.status()?.map(local::alive).transpose()?.unwrap_or(false) {
                directory.settle(lock)?;
            }
            connection
        }
        (None, Some(connection)) => connection,
        (None, None) => {
            directory.settle(lock)?;
            renew(roots, container)?;
            let program = program()?;
            let (connection, _pid) =
                client::spawn(&program, &container.dir).with_context(|| format!("starting {}", program.display()))?;
            connection
        }
    };
    if let Some((_, work)) = container.task()?.layers.and_then(|layers| layers.upper) {
        rootfs::forget_volatile(&work)?;
    }
    let own = [directory.as_fd()];
    let given = if container.pod().is_some() { &own[..] } else { &[] };
    let unused = Unused(container.pod().is_none().then_some(&connection));
    network::join(roots, container, &connection)?;
    let request = Request::Create { container: container.id.clone(), dir: ".".to_owned() };
    match connection.request(&request, given)? {
        Reply::Created { .. } => unused.keep(),
        other => bail!("unexpected answer of the shim: {other:?}"),
    }
    Ok(Ready { id: container.id.clone(), standalone: container.pod().is_none(), connection })
}

/// The sandbox of a container that cannot be started: dropped, it has ended and its networks have been left, so that nobody
/// meets what is on its way out. A pod's is not the container's.
struct Unused<'a>(Option<&'a Connection>);

impl Unused<'_> {
    /// It is used.
    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Unused<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.0 {
            // The error that led here is told; of a shim that is gone the kernel lets everything go.
            let _ = connection.request(&Request::StopSandbox { timeout: None }, &[]);
        }
    }
}

impl Ready {
    /// Lets the program run.
    pub(crate) fn start(self) -> Result<Connection> {
        let unused = Unused(self.standalone.then_some(&self.connection));
        match self.connection.request(&Request::Start { container: self.id.clone() }, &[])? {
            Reply::Started { .. } => unused.keep(),
            other => bail!("unexpected answer of the shim: {other:?}"),
        }
        Ok(self.connection)
    }
}

/// What is behind its volumes is mounted again where the host was restarted; one that is gone is named.
fn hold_volumes(roots: &Roots, container: &Container) -> Result<Vec<Held>> {
    let mut held = Vec::new();
    for mount in &container.record()?.mounts {
        if let MountKind::Volume { name, .. } = &mount.kind {
            held.push(volume::hold_existing(roots, name)?);
        }
    }
    Ok(held)
}

/// Namespaces of other containers are joined by their processes of now.
fn renew(roots: &Roots, container: &Container) -> Result<()> {
    let host = &container.record()?.host;
    let of = |id: &String, name: &str| -> Result<String> {
        Ok(format!("/proc/{}/ns/{name}", Container::find(roots, id)?.require_running()?))
    };
    let mut joined = Vec::new();
    if let NetworkMode::Container(id) = &host.network {
        joined.push((NamespaceKind::Network, of(id, "net")?));
    }
    if let Mode::Container(id) = &host.pid {
        plan::refuse_tracers(roots, &host.pid).context("--pid")?;
        joined.push((NamespaceKind::Pid, of(id, "pid")?));
    }
    if joined.is_empty() {
        return Ok(());
    }
    let mut spec = container.spec()?;
    for (kind, path) in joined {
        let linux = spec.linux.get_or_insert_default();
        for namespace in linux.namespaces.iter_mut().filter(|namespace| namespace.kind == kind) {
            namespace.path = Some(path.clone());
        }
    }
    create::write(&container.dir.join("config.json"), &serde_json::to_string(&spec)?, 0o600)
}

/// `rt-shim`: RT_SHIM, or beside this program.
pub(crate) fn program() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("RT_SHIM").filter(|path| !path.is_empty()) {
        return Ok(PathBuf::from(path));
    }
    let own = std::env::current_exe().context("readlink(/proc/self/exe)")?;
    let path = own.parent().unwrap_or(Path::new("/")).join("rt-shim");
    if !path.try_exists().with_context(|| format!("stat({})", path.display()))? {
        bail!("{} is missing: install rt-shim beside rtctl, or name it in RT_SHIM", path.display());
    }
    Ok(path)
}
