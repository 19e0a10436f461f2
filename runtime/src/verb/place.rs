//! The cgroup of a new container: made by the file system or by systemd, or none.

use std::str::FromStr;

use nix::errno::Errno;
use runtime::cgroup::{self, Cgroup, Host, Mode};
use runtime::plan::with_default_devices;
use runtime::rootless::{in_user_namespace, is_hosts_root};
use runtime::spec::{Pids, Resources};
use runtime::state::{Record, StateDir};
use runtime::systemd::{Hold, Scope, Start};

use super::{Context, Failure};

/// What makes cgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Driver {
    /// mkdir(2).
    FileSystem,
    /// systemd, by a scope.
    Systemd,
}

/// Tasks that are in the group of a new container beside its program: systemd's placeholder, and what bears the program.
const TASKS: i64 = 4;

/// A container's cgroup, while it is being made.
pub(super) struct Place {
    /// The group; `None`: it has none.
    pub(super) cgroup: Option<Cgroup>,
    hold: Option<Hold>,
}

impl Place {
    /// Names the cgroup of a container in its record, as far as it is known before it is made.
    pub(super) fn name(context: &Context<'_>, record: &mut Record) -> Result<(), Failure> {
        let path = record.spec.linux.as_ref().and_then(|linux| linux.cgroups_path.as_deref());
        let path = path.filter(|path| !path.is_empty());
        match context.driver {
            Driver::Systemd => record.scope = Some(Scope::new(path, &record.id).map_err(in_config)?),
            Driver::FileSystem => {
                let path = path.unwrap_or(&record.id);
                cgroup::Path::from_str(path)
                    .map_err(|error| Failure::new(format!("config.json: linux.cgroupsPath: {error}")))?;
                let beside = if is_hosts_root() || path.starts_with('/') { None } else { beside_caller(path) };
                record.cgroup = beside.unwrap_or_else(|| path.to_owned());
            }
        }
        Ok(())
    }

    /// Makes it. When it fails, nothing is left.
    pub(super) fn make(context: &Context<'_>, directory: &StateDir, record: &mut Record) -> Result<Self, Failure> {
        let resources = resources(record);
        let resources = if in_user_namespace() { resources } else { with_default_devices(&resources) };
        let place = match record.scope.clone() {
            Some(scope) => Self::in_scope(context, directory, record, &scope, &resources)?,
            None => Self::in_file_system(context, directory, record)?,
        };
        let applied =
            place.cgroup.as_ref().map_or(Ok(()), |cgroup| cgroup.apply(&for_birth(&resources, place.hold.is_some())));
        if let Err(error) = applied {
            place.remove(record)?;
            return Err(error.into());
        }
        context.log.debug(|| match &place.cgroup {
            Some(_) => format!("container {}: cgroup {:?}", record.id, record.cgroup),
            None => format!("container {}: no cgroup", record.id),
        });
        Ok(place)
    }

    fn in_file_system(context: &Context<'_>, directory: &StateDir, record: &mut Record) -> Result<Self, Failure> {
        let made = Host::detect().and_then(|host| Cgroup::create(&host, &cgroup::Path::from_str(&record.cgroup)?));
        match made {
            Ok(cgroup) => Ok(Self { cgroup: Some(cgroup), hold: None }),
            Err(error) if context.rootless && is_denied(&error) => {
                let linux = record.spec.linux.as_ref();
                if linux.is_some_and(|linux| linux.cgroups_path.as_ref().is_some_and(|path| !path.is_empty())) {
                    return Err(Failure::new(format!("config.json: linux.cgroupsPath: {error}")));
                }
                if resources(record) != Resources::default() {
                    return Err(Failure::new(format!(
                        "config.json: linux.resources: limits need a cgroup, and this user may make none: {error}"
                    )));
                }
                record.cgroup.clear();
                directory.write(record)?;
                Ok(Self { cgroup: None, hold: None })
            }
            Err(error) => Err(error.into()),
        }
    }

    fn in_scope(
        context: &Context<'_>,
        directory: &StateDir,
        record: &mut Record,
        scope: &Scope,
        resources: &Resources,
    ) -> Result<Self, Failure> {
        let host = Host::detect()?;
        if host.mode() != Mode::V2
            && !resources.devices.is_empty()
            && cgroup::device_allow_list(&resources.devices).is_none()
        {
            context.log.warning(
                "linux.resources.devices: systemd can keep lists of allowed devices alone; it takes these rules back at its next \
                 daemon-reload",
            );
        }
        let hold = Hold::new()?;
        let limits = for_birth(resources, true);
        let start = Start {
            id: &record.id,
            pid: hold.pid,
            resources: &limits,
            annotations: &record.spec.annotations,
            mode: host.mode(),
        };
        record.cgroup = scope.start(&start).map_err(in_config)?;
        let found = directory
            .write(record)
            .map_err(Failure::from)
            .and_then(|()| Ok(Cgroup::adopt(&host, &cgroup::Path::from_str(&record.cgroup)?)?));
        match found {
            Ok(cgroup) => Ok(Self { cgroup: Some(cgroup), hold: Some(hold) }),
            Err(failure) => {
                drop(hold);
                scope.stop()?;
                Err(failure)
            }
        }
    }

    /// The container's init process is in its group: the placeholder goes.
    pub(super) fn settle(self, record: &Record) -> Result<Option<Cgroup>, Failure> {
        let held = self.hold.is_some();
        drop(self.hold);
        let resources = resources(record);
        if let (Some(cgroup), Some(scope)) = (&self.cgroup, &record.scope)
            && for_birth(&resources, held) != resources
        {
            let exact = Resources { pids: resources.pids, ..Resources::default() };
            scope.update(&exact)?;
            cgroup.apply(&exact)?;
        }
        Ok(self.cgroup)
    }

    /// Removes it again.
    pub(super) fn remove(self, record: &Record) -> Result<(), Failure> {
        drop(self.hold);
        remove(self.cgroup.as_ref(), record.scope.as_ref())
    }
}

/// Kills what is in a container's cgroup, and removes it. What is already gone is done.
pub(super) fn remove(cgroup: Option<&Cgroup>, scope: Option<&Scope>) -> Result<(), Failure> {
    // On a unified hierarchy the removal tells whether there is somebody to be killed.
    if let Some(cgroup) = cgroup.filter(|cgroup| scope.is_some() || !cgroup.is_unified()) {
        cgroup.kill()?;
    }
    if let Some(scope) = scope {
        scope.stop()?;
    }
    if let Some(cgroup) = cgroup {
        // With systemd these are hierarchies of v1 that it does not know.
        cgroup.remove()?;
    }
    Ok(())
}

/// The limits of a container. In a user namespace no filter of devices can be had, nor is one needed: no node is made there.
fn resources(record: &Record) -> Resources {
    let mut resources = record.spec.linux.as_ref().and_then(|linux| linux.resources.clone()).unwrap_or_default();
    if in_user_namespace() {
        resources.devices.clear();
    }
    resources
}

/// Limits that leave room for the placeholder.
fn for_birth(resources: &Resources, held: bool) -> Resources {
    let mut resources = resources.clone();
    let limit = resources.pids.as_ref().and_then(|pids| pids.limit);
    if held && limit.is_some_and(|limit| (0..TASKS).contains(&limit)) {
        resources.pids = Some(Pids { limit: Some(TASKS) });
    }
    resources
}

/// A relative path of an ordinary user on v2 is beside the group that the caller is in, as with runc: that has processes and can pass no
/// controllers on, but the one above can, and is this user's if it was delegated. `None`: there is none above.
fn beside_caller(path: &str) -> Option<String> {
    let host = Host::detect().ok().filter(|host| host.mode() == Mode::V2);
    let table = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = table.lines().find_map(|line| line.strip_prefix("0::")).filter(|_| host.is_some())?;
    let (above, _) = own.rsplit_once('/').filter(|(above, _)| !above.is_empty())?;
    // One that this cgroup namespace does not show.
    (!above.contains("/..")).then(|| format!("{above}/{path}"))
}

/// The kernel's answers to who may make no cgroup there.
fn is_denied(error: &cgroup::Error) -> bool {
    matches!(error, cgroup::Error::NotMounted)
        || matches!(error.errno(), Some(Errno::EACCES | Errno::EPERM | Errno::EROFS))
}

fn in_config(error: runtime::systemd::Error) -> Failure {
    match error {
        error @ runtime::systemd::Error::Path { .. } => Failure::new(format!("config.json: {error}")),
        error => error.into(),
    }
}
