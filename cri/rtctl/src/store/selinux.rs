//! SELinux labels of containers and pods, and of the files that they get. Where SELinux is off nobody has labels, and no file is
//! labelled: `label=disable`, `z` and `Z` ask for nothing then, all else of `label=` is an error.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use cri::selinux::{self, Context, Labels};
use cri::spec::{BindRecursion, MountRequest, MountTarget, Propagation};
use runtime::spec::Spec;

use super::plan::Modes;
use super::pod::Pod;
use super::roots::Roots;
use super::view::Container;
use super::volume::Held;
use crate::flag::create::CreateFlags;
use crate::flag::namespace::Mode;
use crate::flag::security::LabelRequest;
use crate::flag::volume::{MountFlag, Relabel};

/// Where the kernel shows SELinux.
const SELINUXFS: &str = "/sys/fs/selinux";

/// The labels of a new container; `enabled` says whether the host has SELinux.
pub(super) fn of_container(roots: &Roots, flags: &CreateFlags, modes: &Modes, enabled: bool) -> Result<Option<Labels>> {
    let asked = LabelRequest::new(&flags.isolation.security_opt);
    let base = if enabled { selinux::policy()? } else { None };
    let Some(base) = base else {
        if asked.confines() {
            let why = match enabled {
                false => "SELinux is not enabled on this host",
                true => "the SELinux policy of this host has no labels for containers (contexts/lxc_contexts)",
            };
            bail!("--security-opt label: {why}; leave it out, or use label=disable, which does on every host");
        }
        return Ok(None);
    };
    if let Some(reason) = unconfined(flags, modes, &asked) {
        if asked.confines() {
            bail!(
                "--security-opt label and {reason} exclude each other: with {reason} no label confines the container"
            );
        }
        return Ok(Some(base.unconfined()));
    }
    if let Some(pod) = &flags.joined
        && let Some(labels) = Pod::load(roots, &pod.id)?.and_then(|pod| pod.record.ok()?.selinux)
    {
        return Ok(Some(labels.within(Some(&asked.context))));
    }
    for mode in [&modes.pid, &modes.ipc] {
        if let Mode::Container(id) = mode {
            let labels = of_spec(&Container::find(roots, id)?.spec()?);
            if !labels.process.is_empty() {
                return Ok(Some(labels.within(Some(&asked.context))));
            }
        }
    }
    Ok(Some(labels(roots, &base, &asked.context)?))
}

/// The labels of a new pod.
pub(super) fn of_pod(roots: &Roots) -> Result<Option<Labels>> {
    if !Path::new(SELINUXFS).join("enforce").try_exists()? {
        return Ok(None);
    }
    let base = selinux::policy()?;
    base.map(|base| labels(roots, &base, &Context::default())).transpose()
}

/// The labels of a container that has been made.
pub(crate) fn of_spec(spec: &Spec) -> Labels {
    let process = spec.process.as_ref().and_then(|process| process.selinux_label.clone());
    let mount = spec.linux.as_ref().and_then(|linux| linux.mount_label.clone());
    Labels { process: process.unwrap_or_default(), mount: mount.unwrap_or_default() }
}

/// With a level that no container and no pod has; those whose files are damaged have none.
fn labels(roots: &Roots, base: &Labels, asked: &Context) -> Result<Labels> {
    let containers = Container::list(roots)?.into_iter().filter_map(|container| container.spec().ok());
    let pods = Pod::list(roots)?.into_iter().filter_map(|pod| pod.record.ok()?.selinux);
    let taken: Vec<Labels> = containers.map(|spec| of_spec(&spec)).chain(pods).collect();
    Ok(base.with(Some(asked), &selinux::new_level(taken.iter())?))
}

/// What ends the confinement of a container: its processes have the label that the policy gives them.
fn unconfined(flags: &CreateFlags, modes: &Modes, asked: &LabelRequest) -> Option<&'static str> {
    let reasons = [
        (flags.isolation.privileged, "--privileged"),
        (modes.pid == Mode::Host, "--pid host"),
        (modes.ipc == Mode::Host, "--ipc host"),
        (asked.disable, "label=disable"),
    ];
    reasons.into_iter().find_map(|(holds, reason)| holds.then_some(reason))
}

/// `label=nested`: what the container sees SELinux by.
pub(super) fn nested(flags: &CreateFlags) -> Option<MountRequest> {
    let request = MountRequest {
        destination: SELINUXFS.to_owned(),
        target: MountTarget::Bind {
            source: SELINUXFS.to_owned(),
            propagation: Propagation::default(),
            recursion: BindRecursion::default(),
            subpath: None,
            options: Vec::new(),
            id_map: None,
        },
        read_only: false,
    };
    LabelRequest::new(&flags.isolation.security_opt).nested.then_some(request)
}

/// Labels what is mounted as `z` and `Z` say.
pub(super) fn label_mount(labels: Option<&Labels>, mount: &MountFlag, path: &Path) -> Result<()> {
    let (Some(labels), Some(relabel)) = (labels, mount.relabel) else { return Ok(()) };
    let label = match relabel {
        Relabel::Private => labels.mount.clone(),
        Relabel::Shared => labels.shared(),
    };
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let labelled = selinux::relabel(path, &label, home.as_deref());
    labelled.with_context(|| format!("{} of the mount at {}", relabel.word(), mount.destination))
}

/// Labels a volume: one that no container has had is everybody's.
pub(super) fn label_volume(labels: Option<&Labels>, mount: &MountFlag, volume: &Held) -> Result<()> {
    let data = volume.data();
    let Some(labels) = labels.filter(|_| mount.relabel.is_none() && volume.is_plain()) else {
        return label_mount(labels, mount, &data);
    };
    match selinux::label_of(&data)? {
        Some(label) if labels.is_of_files(&label) => Ok(()),
        Some(_) | None => Ok(selinux::relabel(&data, &labels.shared(), None)?),
    }
}

/// Labels a file of the container's own, which others may share with its network.
pub(super) fn label_file(labels: Option<&Labels>, path: &Path) -> Result<()> {
    let Some(labels) = labels else { return Ok(()) };
    Ok(selinux::relabel(path, &labels.shared(), None)?)
}
