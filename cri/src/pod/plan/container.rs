//! A container.

use std::path::{Path, PathBuf};

use runtime::spec::{NamespaceKind, Pids, Resources, Spec};
use shim::layout::{Layers, LogFile, LogTarget, RestartPolicy, Stdin, Task, VERSION};

use super::super::config::{ContainerConfig, Namespaces, PidScope, PodConfig, Scope};
use super::super::error::Error;
use super::mounts::{self, ResolvedMount};
use super::refusal::{explain, refuse};
use super::resources::resources;
use super::{Defaults, Runner, sandbox, security, stop_signal};
use crate::image::identity::Identity;
use crate::selinux::Labels;
use crate::spec::cdi::{self, Edits};
use crate::spec::{
    CapabilityChange, DeviceRequest, EnvChange, Host, Image, Input, NamespaceChoice, Options, UserNamespace,
};

/// `root.path`: where the shim mounts the layers.
const ROOTFS: &str = "rootfs";

/// Everything that [`container`] looks at.
pub(in crate::pod) struct ContainerInput<'a> {
    /// Id of the container.
    pub(in crate::pod) id: &'a str,
    /// Its pod.
    pub(in crate::pod) pod: &'a PodConfig,
    /// What was asked for.
    pub(in crate::pod) config: &'a ContainerConfig,
    /// What its image says.
    pub(in crate::pod) image: &'a Image,
    /// Who it runs as.
    pub(in crate::pod) identity: &'a Identity,
    /// What the machine is like; with all its devices for a privileged container.
    pub(in crate::pod) host: &'a Host,
    /// Layers of its image, topmost first.
    pub(in crate::pod) layers: &'a [PathBuf],
    /// Directory with `fs` and `work`: its writable layer.
    pub(in crate::pod) upper: &'a Path,
    /// The pod's directory, with the files of its network.
    pub(in crate::pod) files: &'a Path,
    /// What the mounts of the configuration are, each by each.
    pub(in crate::pod) mounts: &'a [ResolvedMount],
    /// Directories of the node for the volumes that the image declares, by destination.
    pub(in crate::pod) volumes: &'a [(String, PathBuf)],
    /// Devices of the node that it is given.
    pub(in crate::pod) devices: &'a [DeviceRequest],
    /// What its CDI devices bring.
    pub(in crate::pod) cdi: &'a Edits,
    /// Text of its seccomp profile, if that is a file of the node.
    pub(in crate::pod) seccomp: Option<&'a str>,
    /// Its SELinux labels, where there is SELinux.
    pub(in crate::pod) labels: Option<&'a Labels>,
    /// First process of the container whose pid namespace it joins.
    pub(in crate::pod) target_pid: Option<i32>,
    /// What it gets where it does not say otherwise.
    pub(in crate::pod) defaults: &'a Defaults,
    /// What its runtime handler makes of it.
    pub(in crate::pod) runner: &'a Runner,
}

/// What a container comes to.
#[derive(Debug)]
pub(in crate::pod) struct ContainerPlan {
    /// `config.json`.
    pub(in crate::pod) spec: Spec,
    /// `shim.json`.
    pub(in crate::pod) task: Task,
}

/// Makes the plan of a container.
///
/// # Errors
/// [`Error::Invalid`] for what cannot be, alone, together or on this machine.
pub(in crate::pod) fn container(input: &ContainerInput<'_>) -> Result<ContainerPlan, Error> {
    let ContainerInput { id, config, image, identity, host, .. } = *input;
    let mut options = options(input)?;
    options.security.labels = input.labels.cloned();
    let mut spec = crate::spec::build(&Input { id, image, options: &options, identity, host }).map_err(explain)?;
    let defaults = std::mem::take(&mut spec.mounts);
    spec.mounts = mounts::mounts(input, defaults)?;
    // The sandbox's namespace has its name.
    spec.hostname = None;
    let linux = spec.linux.get_or_insert_default();
    linux.rootfs_propagation = mounts::rootfs_propagation(config).map(str::to_owned);
    if !config.privileged {
        linux.masked_paths.clone_from(&config.masked_paths);
        linux.readonly_paths.clone_from(&config.readonly_paths);
    }
    if let Some(process) = &mut spec.process {
        if let Some(sets) = &mut process.capabilities {
            security::add_ambient(&config.capabilities, sets);
        }
        name_host(&mut process.env, input.pod);
        let raw = config.envs.iter().filter(|(_, value)| std::str::from_utf8(value).is_err());
        process.env_bytes = raw.cloned().collect();
    }
    cdi::apply(input.cdi, &mut spec);
    spec.annotations = input.runner.annotations(input.pod, config);
    Ok(ContainerPlan { task: task(input)?, spec: input.runner.finish(spec) })
}

/// What is asked of the library that makes configurations.
fn options(input: &ContainerInput<'_>) -> Result<Options, Error> {
    let ContainerInput { pod, config, host, defaults, .. } = *input;
    let namespaces = namespaces(input);
    let scope = |scope| match scope {
        Scope::Pod => NamespaceChoice::Private,
        Scope::Node => NamespaceChoice::Host,
    };
    let pid = match (&namespaces.pid, input.target_pid) {
        (PidScope::Pod | PidScope::Container, _) => NamespaceChoice::Private,
        (PidScope::Node, _) => NamespaceChoice::Host,
        (PidScope::Target(_), Some(pid)) => NamespaceChoice::Join(format!("/proc/{pid}/ns/pid")),
        (PidScope::Target(id), None) => {
            let field = "linux.security_context.namespace_options.target_id";
            return Err(refuse(field, format!("container {id} does not run")));
        }
    };
    let userns = match namespaces.user {
        Some(maps) => UserNamespace::Mapped { uids: vec![maps.uids], gids: vec![maps.gids] },
        None => UserNamespace::Host,
    };
    let text = |value: &String| Some(value.clone()).filter(|value| !value.is_empty());
    Ok(Options {
        rootfs: ROOTFS.to_owned(),
        entrypoint: Some(config.command.clone()).filter(|command| !command.is_empty()),
        command: config.args.clone(),
        env: environment(config),
        workdir: text(&config.working_dir),
        terminal: config.tty,
        network: scope(namespaces.network),
        uts: scope(namespaces.network),
        hostname: (namespaces.network == Scope::Pod).then(|| sandbox::hostname(pod)),
        ipc: scope(namespaces.ipc),
        shm_source: (namespaces.ipc == Scope::Node).then(|| "/dev/shm".to_owned()),
        pid,
        userns,
        cgroup_parent: text(&pod.cgroup_parent).map(|parent| {
            // A slice alone is at the top.
            if parent.starts_with('/') { parent } else { format!("/{parent}") }
        }),
        resources: limits(input)?,
        capabilities: match (config.privileged, namespaces.user) {
            (true, Some(_)) => CapabilityChange { add: vec!["ALL".to_owned()], drop: Vec::new() },
            (true, None) | (false, _) => security::capability_change(&config.capabilities),
        },
        // In a user namespace nothing of the node's is within reach: it has all capabilities there, and no devices more than others.
        privileged: config.privileged && namespaces.user.is_none(),
        security: security::security(config, input.seccomp, defaults, host)?,
        read_only: config.readonly_rootfs,
        devices: input.devices.to_vec(),
        rlimits: defaults.rlimits.clone(),
        // Always: what the daemon has is not for containers.
        oom_score_adj: i32::try_from(config.resources.oom_score_adj).ok(),
        ..Options::default()
    })
}

/// Limits of a new container.
fn limits(input: &ContainerInput<'_>) -> Result<Resources, Error> {
    let pages = &input.config.resources.hugepage_limits;
    if !pages.is_empty() && !input.host.hugetlb && !input.defaults.tolerate_missing_hugetlb {
        let problem =
            "the kernel has no cgroup controller of huge pages (tolerate_missing_hugetlb leaves these limits out)";
        return Err(refuse("linux.resources.hugepage_limits", problem));
    }
    let pids = input.defaults.pids_limit.map(|limit| Pids { limit: Some(limit) });
    Ok(Resources { pids, ..resources(&input.config.resources, input.host) })
}

/// Environment variables; `config.json` is JSON and cannot hold other bytes than UTF-8 in them: those are beside them.
fn environment(config: &ContainerConfig) -> Vec<EnvChange> {
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    config.envs.iter().map(|(name, value)| EnvChange::Set(name.clone(), text(value))).collect()
}

/// With the node's network the name is the node's, which a pod may know under another one.
fn name_host(env: &mut Vec<String>, pod: &PodConfig) {
    if pod.namespaces.network == Scope::Node
        && !pod.hostname.is_empty()
        && !env.iter().any(|entry| entry.starts_with("HOSTNAME="))
    {
        env.push(format!("HOSTNAME={}", pod.hostname));
    }
}

fn namespaces<'a>(input: &ContainerInput<'a>) -> &'a Namespaces {
    input.config.namespaces.as_ref().unwrap_or(&input.pod.namespaces)
}

fn task(input: &ContainerInput<'_>) -> Result<Task, Error> {
    let ContainerInput { config, image, upper, .. } = *input;
    let stdin = match (config.stdin, config.stdin_once) {
        (false, _) => Stdin::Closed,
        (true, true) => Stdin::Once,
        (true, false) => Stdin::Open,
    };
    Ok(Task {
        version: VERSION,
        layers: Some(Layers { lower: input.layers.to_vec(), upper: Some((upper.join("fs"), upper.join("work"))) }),
        log: log_path(input.pod, config).map(|path| {
            let max_line = input.defaults.max_log_line;
            LogTarget::K8sFile(LogFile {
                path,
                max_size: None,
                max_files: 1,
                max_line,
                within: input.pod.log_directory.clone(),
            })
        }),
        stdin,
        restart: RestartPolicy::No,
        auto_remove: false,
        owned: vec![upper.to_owned()],
        pid_file: None,
        stop_signal: Some(stop_signal(config, image)?),
        init: false,
        health: None,
        events: None,
        sandbox: shared(input),
        image_mounts: mounts::images(input),
        program: input.runner.program.clone(),
    })
}

/// Namespaces of the pod's that the container is in.
fn shared(input: &ContainerInput<'_>) -> Vec<NamespaceKind> {
    let pid = namespaces(input).pid == PidScope::Pod;
    sandbox::namespaces(input.pod).into_iter().filter(|kind| *kind != NamespaceKind::Pid || pid).collect()
}

/// Where the output goes: nowhere, unless pod and container both say so.
pub(in crate::pod) fn log_path(pod: &PodConfig, config: &ContainerConfig) -> Option<PathBuf> {
    Some(pod.log_directory.as_ref()?.join(config.log_path.as_ref()?))
}

fn stop_signal(config: &ContainerConfig, image: &Image) -> Result<i32, Error> {
    match (config.stop_signal, image.stop_signal.as_deref()) {
        (Some(number), _) => Ok(number),
        (None, None | Some("")) => Ok(nix::libc::SIGTERM),
        (None, Some(text)) => stop_signal::parse(text).ok_or_else(|| {
            refuse("image", format!("the image's stop signal {text:?} is no signal; give config.stop_signal"))
        }),
    }
}
