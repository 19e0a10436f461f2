//! systemd's driver: a scope for each container.

use std::path::PathBuf;
use std::sync::Arc;

use runtime::cgroup::{self, Cgroup, Host, Mode};
use runtime::spec::Resources;
use runtime::systemd::properties::{self, Value, properties};
use tokio::task::spawn_blocking;
use zbus::Variant;

use super::bus::{Bus, Property};
use super::error::Error;
use super::hold::{Hold, Placement};
use super::slice::{self, Slice};

/// One task more than the container's is in the scope.
const PLACEHOLDERS: u64 = 1;

/// systemd, as it makes cgroups.
#[derive(Debug, Clone)]
pub struct Systemd(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    bus: Bus,
    /// The program of placeholders.
    shim: PathBuf,
}

impl Systemd {
    pub(super) fn new(shim: PathBuf) -> Systemd {
        Systemd(Arc::new(Inner { bus: Bus::default(), shim }))
    }

    /// [`CgroupDriver::prepare`](super::CgroupDriver::prepare)
    pub(super) async fn prepare(&self, slice: &Slice, id: &str, resources: &Resources) -> Result<Placement, Error> {
        let scope = slice::scope(id)?;
        let host = Host::detect()?;
        let limits = properties(resources, host.mode(), PLACEHOLDERS)?;
        let inner = self.0.clone();
        let name = scope.clone();
        let hold = blocking(move || Hold::start(&inner.shim, &name)).await?;
        let start = Start { id, slice, pid: hold.pid(), limits: &limits, mode: host.mode() };
        let properties = start.properties();
        match self.0.bus.start_transient(&scope, &properties).await {
            // The first answer was lost with the connection.
            Err(error) if error.is_unit_exists() && hold.is_in(&scope) => {}
            // Left over from a container that nobody released.
            Err(error) if error.is_unit_exists() => {
                self.0.bus.stop(&scope).await?;
                self.0.bus.start_transient(&scope, &properties).await?;
            }
            answer => answer?,
        }
        let (inner, slice) = (self.0.clone(), slice.clone());
        blocking(move || hold.settle_in(&host, &inner.shim, &slice, &scope)).await
    }

    /// [`CgroupDriver::update`](super::CgroupDriver::update)
    pub(super) async fn update(&self, id: &str, resources: &Resources) -> Result<(), Error> {
        let limits = properties(resources, Host::detect()?.mode(), PLACEHOLDERS)?;
        if limits.is_empty() {
            return Ok(());
        }
        let limits: Vec<Property<'_>> = limits.iter().map(variant).collect();
        self.0.bus.set_properties(&slice::scope(id)?, &limits).await
    }

    /// [`CgroupDriver::release`](super::CgroupDriver::release)
    pub(super) async fn release(&self, slice: &Slice, id: &str) -> Result<(), Error> {
        let scope = slice::scope(id)?;
        self.0.bus.stop(&scope).await?;
        let path: cgroup::Path = format!("{}/{scope}", slice.path()).parse()?;
        blocking(move || {
            // Hierarchies of v1 that systemd does not know keep what the runtime made there.
            match Cgroup::open(&Host::detect()?, &path)? {
                Some(group) => Ok(group.remove()?),
                None => Ok(()),
            }
        })
        .await
    }
}

/// What a new scope is made of.
struct Start<'a> {
    id: &'a str,
    slice: &'a Slice,
    pid: u32,
    limits: &'a [properties::Property],
    mode: Mode,
}

impl Start<'_> {
    fn properties(&self) -> Vec<Property<'_>> {
        let io = if self.mode == Mode::V2 { "IOAccounting" } else { "BlockIOAccounting" };
        let mut properties = vec![
            ("Description", Variant::from(format!("container {}", self.id))),
            ("Slice", self.slice.name().into()),
            ("PIDs", vec![self.pid].into()),
            // What is below the scope is not systemd's, and an OOM kill there is no reason to end it.
            ("Delegate", true.into()),
            // At shutdown the kubelet ends pods in its own order; scopes with the default dependencies would be ended beside it.
            ("DefaultDependencies", false.into()),
            // A scope that failed is forgotten, too.
            ("CollectMode", "inactive-or-failed".into()),
            ("CPUAccounting", true.into()),
            ("MemoryAccounting", true.into()),
            ("TasksAccounting", true.into()),
            (io, true.into()),
        ];
        // systemd's default is a part of what the host can have; nobody asked for it.
        if !self.limits.iter().any(|limit| limit.name == "TasksMax") {
            properties.push(("TasksMax", u64::MAX.into()));
        }
        properties.extend(self.limits.iter().map(variant));
        properties
    }
}

fn variant(property: &properties::Property) -> Property<'_> {
    let value = match &property.value {
        Value::Number(number) => (*number).into(),
        Value::Mask(mask) => mask.clone().into(),
    };
    (property.name, value)
}

/// Runs what waits for the kernel beside the asynchronous threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    spawn_blocking(work).await.expect("the work does not panic and is not cancelled")
}
