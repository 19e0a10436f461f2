//! `rtctl inspect` and `rtctl container inspect`

use anyhow::{Result, bail};
use clap::ValueEnum;
use cri::image::Store;
use runtime::spec::{Linux, Memory, Resources, Spec};
use serde_json::{Value, json};
use shim::layout::Health;

use super::container_list::written;
use crate::flag::volume::volume_name;
use crate::flag::{restart, time};
use crate::output::{self, list};
use crate::store::endpoint::Endpoints;
use crate::store::network;
use crate::store::record::{MountKind, MountPoint, Origin, Record};
use crate::store::roots::Roots;
use crate::store::selinux;
use crate::store::view::{Container, Missing, Phase};
use crate::store::volume::Volume;
use crate::store::volume::users::Users;

/// Show all that is known of containers and images
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  rtctl inspect web\n  rtctl inspect -f '{{.State.Status}} {{.State.ExitCode}}' web"
)]
pub(crate) struct Args {
    /// json, or a Go template
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    /// Show the size of what containers wrote
    #[arg(short, long)]
    size: bool,
    /// Only objects of this type
    #[arg(long, value_name = "TYPE")]
    r#type: Option<Type>,
    /// Names or ids
    #[arg(required = true, value_name = "NAME|ID")]
    names: Vec<String>,
}

/// Show all that is known of containers
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  rtctl container inspect web")]
pub(crate) struct ContainerArgs {
    /// json, or a Go template
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    /// Show the size of what containers wrote
    #[arg(short, long)]
    size: bool,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    names: Vec<String>,
}

/// `--type`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Type {
    Container,
    Image,
    Volume,
}

impl ContainerArgs {
    pub(crate) fn run(self, roots: &Roots) -> Result<u8> {
        let ContainerArgs { format, size, names } = self;
        Args { format, size, r#type: Some(Type::Container), names }.run(roots)
    }
}

impl Args {
    pub(crate) fn run(self, roots: &Roots) -> Result<u8> {
        let mut documents = Vec::new();
        let mut code = 0;
        for name in &self.names {
            match self.one(roots, name) {
                Ok(document) => documents.push(document),
                Err(error) => {
                    eprintln!("rtctl: {error:#}");
                    code = 1;
                }
            }
        }
        if self.format.is_none() || !documents.is_empty() {
            list::documents(self.format.as_deref(), &documents, &list::pretty(&documents)?)?;
        }
        Ok(code)
    }

    fn one(&self, roots: &Roots, name: &str) -> Result<Value> {
        match self.r#type {
            Some(Type::Image) => return super::image_inspect::document(roots, name),
            Some(Type::Volume) => return volume(roots, name),
            Some(Type::Container) => return document(roots, &Container::find(roots, name)?, self.size),
            None => {}
        }
        match Container::find(roots, name) {
            Ok(container) => document(roots, &container, self.size),
            Err(error) if !error.is::<Missing>() => Err(error),
            Err(_) if volume_name(name).is_ok() && Volume::load(roots, name)?.is_some() => volume(roots, name),
            Err(missing) => {
                if !roots.root.join("images").try_exists().unwrap_or(false) {
                    return Err(missing);
                }
                match Store::open(&roots.root)?.resolve(name) {
                    Ok(_) => super::image_inspect::document(roots, name),
                    Err(cri::image::Error::NotFound { .. }) => {
                        bail!(
                            "no container, image or volume {name:?}: rtctl ps -a, rtctl images and rtctl volume ls list them"
                        )
                    }
                    Err(error) => Err(error.into()),
                }
            }
        }
    }
}

fn volume(roots: &Roots, name: &str) -> Result<Value> {
    super::volume_inspect::document(&Volume::find(roots, name)?, &Users::read(roots)?)
}

/// The document of a container, in docker's shape.
fn document(roots: &Roots, container: &Container, size: bool) -> Result<Value> {
    let record = match &container.record {
        Ok(record) => record,
        Err(problem) => {
            let name = container.name.as_ref().map(|name| format!("/{name}"));
            return Ok(json!({ "Id": container.id, "Name": name, "State": { "Status": "dead", "Error": problem } }));
        }
    };
    let spec = container.spec().unwrap_or_default();
    let task = container.task().ok();
    let (driver, data) = match task.as_ref().and_then(|task| task.layers.as_ref()) {
        Some(layers) => {
            let lower: Vec<String> = layers.lower.iter().map(|path| path.display().to_string()).collect();
            let (upper, work) = layers.upper.clone().unwrap_or_default();
            let data = json!({ "LowerDir": lower.join(":"), "UpperDir": upper, "WorkDir": work });
            ("overlay", data)
        }
        None => ("directory", json!({ "Dir": spec.root.as_ref().map(|root| root.path.clone()) })),
    };
    let (program, args) = record.command.split_first().map_or(("", &[][..]), |(first, rest)| (first.as_str(), rest));
    let image = match &record.origin {
        Origin::Image { id, .. } => id.clone(),
        Origin::Rootfs(_) => String::new(),
    };
    let labels = selinux::of_spec(&spec);
    let file = |name: &str| container.dir.join(name).display().to_string();
    let mut document = json!({
        "Id": container.id,
        "Created": time::rfc3339(record.created),
        "Path": program,
        "Args": args,
        "State": state(container),
        "Image": image,
        "ResolvConfPath": file("resolv.conf"),
        "HostnamePath": file("hostname"),
        "HostsPath": file("hosts"),
        "LogPath": record.log.clone().unwrap_or_default(),
        "Name": format!("/{}", container.name.as_deref().unwrap_or_default()),
        "RestartCount": container.status.as_ref().ok().and_then(|status| status.as_ref()).map_or(0, |status| status.restart_count),
        "Driver": driver,
        "Platform": "linux",
        "MountLabel": labels.mount,
        "ProcessLabel": labels.process,
        "AppArmorProfile": spec.process.as_ref().and_then(|process| process.apparmor_profile.clone()).unwrap_or_default(),
        "ExecIDs": null,
        "HostConfig": host_config(record, &spec, task.as_ref()),
        "GraphDriver": { "Name": driver, "Data": data },
        "Mounts": record.mounts.iter().map(mount).collect::<Vec<_>>(),
        "Config": config(record),
        "NetworkSettings": network_settings(roots, container, record)?,
    });
    if size && let Value::Object(map) = &mut document {
        map.insert("SizeRw".to_owned(), written(roots, &container.id).into());
    }
    Ok(document)
}

fn network_settings(roots: &Roots, container: &Container, record: &Record) -> Result<Value> {
    let endpoints = Endpoints::read(&container.dir)?.networks;
    // What is there of one that has just ended is about to go.
    let attachments = match container.phase().lives() {
        true => network::attachments(roots, &container.id)?,
        false => Vec::new(),
    };
    Ok(output::network::settings(&record.host.network, &endpoints, &record.config.exposed_ports, &attachments))
}

fn state(container: &Container) -> Value {
    let phase = container.phase();
    let status = container.status.as_ref().ok().and_then(|status| status.as_ref());
    let exit = status.and_then(|status| status.last_exit.as_ref());
    let exit = exit.filter(|_| matches!(phase, Phase::Exited | Phase::Restarting | Phase::Removing));
    let error = match &container.status {
        Err(problem) => problem.clone(),
        Ok(status) => status.as_ref().and_then(|status| status.error.clone()).unwrap_or_default(),
    };
    let never = "0001-01-01T00:00:00Z".to_owned();
    let moment = |nanos: u64| if nanos == 0 { never.clone() } else { time::rfc3339(nanos) };
    let mut state = json!({
        "Status": phase.word(),
        "Running": phase.lives(),
        "Paused": phase == Phase::Paused,
        "Restarting": phase == Phase::Restarting,
        "OOMKilled": exit.is_some_and(|exit| exit.oom_killed),
        "Dead": phase == Phase::Dead,
        "Pid": container.pid().unwrap_or(0),
        "ExitCode": exit.map_or(0, |exit| exit.code),
        "Error": error,
        "StartedAt": moment(status.map_or(0, |status| status.started_at)),
        "FinishedAt": exit.map_or_else(|| never.clone(), |exit| moment(exit.finished_at)),
    });
    if let (Some(health), Value::Object(map)) = (health(container), &mut state) {
        map.insert("Health".to_owned(), health);
    }
    state
}

/// What its health checks found; `None` without health check.
fn health(container: &Container) -> Option<Value> {
    let health: Health = shim::record::read(container.directory().ok()?).ok()??;
    let results = health.results.iter().map(|result| {
        json!({
            "Start": time::rfc3339(result.start),
            "End": time::rfc3339(result.end),
            "ExitCode": result.exit_code,
            "Output": result.output,
        })
    });
    Some(json!({
        "Status": health.status.word(),
        "FailingStreak": health.failing_streak,
        "Log": results.collect::<Vec<_>>(),
    }))
}

fn mount(mount: &MountPoint) -> Value {
    let (kind, name) = match &mount.kind {
        MountKind::Bind => ("bind", None),
        MountKind::Volume { name, .. } => ("volume", Some(name)),
        MountKind::Image { .. } => ("image", None),
        MountKind::Tmpfs => ("tmpfs", None),
    };
    let mut value = json!({
        "Type": kind,
        "Source": mount.source,
        "Destination": mount.destination,
        "Mode": mount.options,
        "RW": !mount.read_only,
        "Propagation": mount.propagation,
    });
    if let (Some(name), Value::Object(map)) = (name, &mut value) {
        map.insert("Name".to_owned(), name.clone().into());
        map.insert("Driver".to_owned(), "local".into());
    }
    value
}

fn config(record: &Record) -> Value {
    let config = &record.config;
    let set = |list: &[String]| list.iter().map(|name| (name.clone(), json!({}))).collect::<serde_json::Map<_, _>>();
    json!({
        "Hostname": config.hostname,
        "Domainname": config.domainname,
        "User": config.user,
        "AttachStdin": config.attach_stdin,
        "AttachStdout": config.attach_stdout,
        "AttachStderr": config.attach_stderr,
        "ExposedPorts": set(&config.exposed_ports),
        "Tty": config.tty,
        "OpenStdin": config.open_stdin,
        "StdinOnce": config.stdin_once,
        "Env": config.env,
        "Cmd": config.cmd,
        "Image": record.origin.name(),
        "Volumes": set(&config.volumes),
        "WorkingDir": config.working_dir,
        "Entrypoint": config.entrypoint,
        "Labels": config.labels,
        "StopSignal": config.stop_signal,
        "StopTimeout": config.stop_timeout,
        "Healthcheck": config.healthcheck,
    })
}

fn host_config(record: &Record, spec: &Spec, task: Option<&shim::layout::Task>) -> Value {
    let host = &record.host;
    let linux = spec.linux.clone().unwrap_or_default();
    let Linux { resources, sysctl, masked_paths, readonly_paths, .. } = linux;
    let Resources { memory, cpu, pids, block_io, .. } = resources.unwrap_or_default();
    let (memory, cpu) = (memory.unwrap_or_default(), cpu.unwrap_or_default());
    let Memory { limit, reservation, swap, swappiness, disable_oom_killer, .. } = memory;
    let process = spec.process.clone().unwrap_or_default();
    let (policy, retries) = restart::show(task.map_or(shim::layout::RestartPolicy::No, |task| task.restart));
    let binds: Vec<String> = record
        .mounts
        .iter()
        .filter(|mount| matches!(mount.kind, MountKind::Bind | MountKind::Volume { .. }))
        .map(|mount| {
            let source = match &mount.kind {
                MountKind::Volume { name, .. } => name,
                MountKind::Bind | MountKind::Image { .. } | MountKind::Tmpfs => &mount.source,
            };
            let options = if mount.options.is_empty() { String::new() } else { format!(":{}", mount.options) };
            format!("{source}:{}{options}", mount.destination)
        })
        .collect();
    let tmpfs: serde_json::Map<String, Value> = record
        .mounts
        .iter()
        .filter(|mount| mount.kind == MountKind::Tmpfs)
        .map(|mount| (mount.destination.clone(), mount.options.clone().into()))
        .collect();
    let ulimits: Vec<Value> = process
        .rlimits
        .iter()
        .map(|limit| {
            let name = limit.kind.trim_start_matches("RLIMIT_").to_lowercase();
            json!({ "Name": name, "Soft": limit.soft.cast_signed(), "Hard": limit.hard.cast_signed() })
        })
        .collect();
    let ipc = if host.ipc.no_shm { "none".to_owned() } else { host.ipc.mode.show("private") };
    json!({
        "Binds": binds,
        "Tmpfs": tmpfs,
        "ContainerIDFile": host.cidfile.clone().unwrap_or_default(),
        "LogConfig": { "Type": host.log_driver, "Config": host.log_options },
        "NetworkMode": host.network.show(),
        "PortBindings": output::network::bindings(&host.publish),
        "PublishAllPorts": host.publish_all,
        "RestartPolicy": { "Name": policy, "MaximumRetryCount": retries },
        "AutoRemove": host.auto_remove,
        "CapAdd": host.cap_add,
        "CapDrop": host.cap_drop,
        "CgroupnsMode": host.cgroupns.as_ref().map(|mode| mode.show("private")).unwrap_or_default(),
        "Dns": host.dns,
        "DnsOptions": host.dns_option,
        "DnsSearch": host.dns_search,
        "ExtraHosts": host.extra_hosts,
        "GroupAdd": host.group_add,
        "IpcMode": ipc,
        "OomScoreAdj": process.oom_score_adj.unwrap_or(0),
        "PidMode": host.pid.show(""),
        "Privileged": host.privileged,
        "ReadonlyRootfs": host.read_only,
        "SecurityOpt": host.security_opt,
        "UTSMode": host.uts.show(""),
        "UsernsMode": if linux_userns(spec) { "private" } else { "host" },
        "ShmSize": host.shm_size,
        "Sysctls": sysctl,
        "Runtime": "rt",
        "Init": host.init,
        "CpuShares": cpu.shares.unwrap_or(0),
        "Memory": limit.unwrap_or(0),
        "NanoCpus": host.nano_cpus,
        "CgroupParent": host.cgroup_parent.clone().unwrap_or_default(),
        "BlkioWeight": block_io.and_then(|block_io| block_io.weight).unwrap_or(0),
        "CpuPeriod": cpu.period.unwrap_or(0),
        "CpuQuota": cpu.quota.unwrap_or(0),
        "CpusetCpus": cpu.cpus.unwrap_or_default(),
        "CpusetMems": cpu.mems.unwrap_or_default(),
        "Devices": devices(spec),
        "DeviceRequests": device_requests(&host.cdi),
        "MemoryReservation": reservation.unwrap_or(0),
        "MemorySwap": swap.unwrap_or(0),
        "MemorySwappiness": swappiness,
        "OomKillDisable": disable_oom_killer.unwrap_or(false),
        "PidsLimit": pids.and_then(|pids| pids.limit),
        "Ulimits": ulimits,
        "Annotations": spec.annotations,
        "MaskedPaths": masked_paths,
        "ReadonlyPaths": readonly_paths,
    })
}

/// CDI devices in docker's shape.
fn device_requests(names: &[String]) -> Value {
    match names {
        [] => Value::Null,
        names => json!([{ "Driver": "cdi", "Count": 0, "DeviceIDs": names, "Capabilities": null, "Options": null }]),
    }
}

fn linux_userns(spec: &Spec) -> bool {
    spec.linux.as_ref().is_some_and(|linux| !linux.uid_mappings.is_empty())
}

fn devices(spec: &Spec) -> Vec<Value> {
    let devices = spec.linux.as_ref().map(|linux| linux.devices.as_slice()).unwrap_or_default();
    devices
        .iter()
        .map(|device| {
            json!({
                "PathInContainer": device.path,
                "Type": device.kind,
                "Major": device.major,
                "Minor": device.minor,
            })
        })
        .collect()
}
