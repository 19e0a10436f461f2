//! Making a container: its files, complete, or none.
//!
//! ```text
//!  flags ─▶ checked ─▶ directory, lock, name ─▶ shim.json (what to remove) ─▶ upper, volumes, /etc files
//!                                                    ─▶ config.json ─▶ container.json: now it exists
//! ```
//!
//! Everything is checked before the first effect as far as it can be. What fails later, or an end of this program at any
//! moment, leaves a directory without `container.json`: [`Draft`] removes its own when dropped, and the next [`create`]
//! removes those of others ([`sweep`]).

use std::collections::BTreeMap;
use std::fs::DirBuilder;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, anyhow, bail};
use cri::copy::place::{Owner, host_id};
use cri::spec::{Families, Input, MountIdMap, MountRequest, MountTarget, NamespaceChoice, UserNamespace};
use runtime::spec::NamespaceKind;
use shim::layout::{Ends, EventTarget, Layers, LogTarget, Sandbox, Stdin, Task};
use shim::local::{Directory, Lock, Wait};

use super::draft::{Draft, sweep};
use super::endpoint::Endpoints;
use super::etc::{self, Names};
use super::log;
use super::plan::Plan;
use super::plan_network::NetworkPlan;
use super::pod::Pod;
use super::record::{CommandLine, Config, HostConfig, MountKind, MountPoint, Origin, Record, VERSION};
use super::roots::{Roots, make_dir};
use super::volume::{self, Held, TopOwner};
use super::{id, network, plan, selinux};
use crate::events;
use crate::flag::create::{CreateFlags, JoinedPod, RootfsFlag, Stream};
use crate::flag::health::Healthcheck;
use crate::flag::network::NetworkMode;
use crate::flag::security::SecurityFlag;
use crate::flag::volume::{Missing, MountFlag, Relabel, Source};
use crate::flag::{signal, time};
use crate::rootfs;

/// A container that has been made and is still locked; dropped, it is removed again.
pub(crate) struct Created {
    pub(crate) id: String,
    pub(crate) draft: Draft,
}

/// What a container is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attachment {
    /// `run`, and `create` for a `start -ai` to come: its input ends with the first client's.
    Foreground,
    /// `run -d`: its input stays open.
    Background,
}

/// Makes a container.
pub(crate) fn create(roots: &Roots, flags: &CreateFlags, attachment: Attachment) -> Result<Created> {
    let plan = Plan::new(roots, flags)?;
    roots.prepare()?;
    sweep(roots)?;
    volume::sweep(roots)?;
    let draft = Draft::begin(roots, flags)?;
    let mut making = Making { roots, flags, plan, id: draft.id.clone(), draft };
    making.write(attachment)?;
    let Making { id, draft, .. } = making;
    Ok(Created { id, draft })
}

struct Making<'a> {
    roots: &'a Roots,
    flags: &'a CreateFlags,
    plan: Plan,
    draft: Draft,
    id: String,
}

impl Making<'_> {
    fn write(&mut self, attachment: Attachment) -> Result<()> {
        let dir = self.roots.container(&self.id);
        let (mounts, anonymous) = self.name_volumes()?;
        let mut task = self.task(attachment)?;
        let kept = task.owned.clone();
        self.draft.volumes = anonymous.iter().map(|name| volume::dir(self.roots, name)).collect();
        // First of all what there will be to remove: until it is made, anonymous volumes, too.
        task.owned.extend(self.draft.volumes.iter().cloned());
        write_json(&dir.join("shim.json"), &task)?;
        let upper = self.roots.upper(&self.id);
        make_dir(&upper)?;
        self.make_upper(&upper)?;
        let root = match &self.plan.origin {
            Origin::Rootfs(RootfsFlag { dir, .. }) => rootfs::directory(Path::new(dir))?,
            Origin::Image { .. } => rootfs::layers(&self.plan.lower)?,
        };
        let user = self.flags.process.user.as_ref().unwrap_or(&self.plan.image.user).clone();
        let identity = cri::image::identity::resolve(&root, &user, &self.flags.process.group_add)?;
        let (points, _held) = self.make_mounts(&mounts, &anonymous, &root)?;
        self.etc_files(&dir)?;
        self.network_files(&dir)?;
        self.plan.options.rootfs = match &self.plan.origin {
            Origin::Rootfs(rootfs) if !rootfs.overlay => rootfs.dir.clone(),
            Origin::Rootfs(_) | Origin::Image { .. } => "rootfs".to_owned(),
        };
        task.image_mounts = cri::spec::image_mounts(&self.plan.options);
        if !task.image_mounts.is_empty() {
            write_json(&dir.join("shim.json"), &task)?;
        }
        let Plan { image, options, host, .. } = &self.plan;
        let mut spec = cri::spec::build(&Input { id: &self.id, image, options, identity: &identity, host })?;
        cri::spec::cdi::apply(&self.plan.cdi.1, &mut spec);
        plan::refuse_tracing_pod(self.roots, &self.plan.modes.pid, &spec).context("--pid")?;
        write_json(&dir.join("config.json"), &spec)?;
        let record = self.record(&user, points, attachment, &task)?;
        if let Some(path) = &self.flags.cidfile {
            let path = std::path::absolute(path)?;
            let made = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o644).open(&path);
            let mut file = made.with_context(|| format!("--cidfile {}", path.display()))?;
            self.draft.files.push(path);
            file.write_all(self.id.as_bytes())?;
        }
        let _pod = self.link_pod(&dir)?;
        write_json(&dir.join("container.json"), &record)?;
        if !self.flags.rm && !anonymous.is_empty() {
            task.owned = kept;
            write_json(&dir.join("shim.json"), &task)?;
        }
        events::container(self.roots, "create", &record, &self.draft.name, &[]);
        Ok(())
    }

    /// The socket of a container in a pod is the pod's. The lock says that the pod is not removed meanwhile.
    fn link_pod(&self, dir: &Path) -> Result<Option<Lock>> {
        let Some(JoinedPod { id, .. }) = &self.flags.joined else { return Ok(None) };
        let gone = || anyhow!("pod {} has been removed", id::short(id));
        let directory = Directory::open(&self.roots.pod(id))?.ok_or_else(gone)?;
        let lock = directory.lock(Wait::Yes)?;
        if Pod::load(self.roots, id)?.is_none_or(|pod| pod.removing) {
            return Err(gone());
        }
        let socket = dir.join(shim::client::SOCKET_NAME);
        let target = Path::new("../../pods-local").join(id).join(shim::client::SOCKET_NAME);
        std::os::unix::fs::symlink(target, &socket).with_context(|| format!("symlink({})", socket.display()))?;
        Ok(Some(lock))
    }

    fn task(&self, attachment: Attachment) -> Result<Task> {
        let upper = self.roots.upper(&self.id);
        let owned = vec![upper.clone()];
        let lower = self.plan.lower.clone();
        let layers = (!lower.is_empty()).then(|| Layers { lower, upper: Some((upper.join("fs"), upper.join("work"))) });
        let stdin = match (self.flags.interactive, attachment) {
            (false, _) => Stdin::Closed,
            // End of file when the terminal or pipe of the foreground run ends.
            (true, Attachment::Foreground) => Stdin::Once,
            (true, Attachment::Background) => Stdin::Open,
        };
        let pid_file = self.flags.pidfile.as_ref().map(std::path::absolute).transpose().context("--pidfile")?;
        let stop_signal =
            self.stop_signal().map(|name| signal::parse(&name)).transpose().map_err(anyhow::Error::msg)?;
        let mut attributes = self.plan.labels.clone();
        attributes.insert("image".to_owned(), self.plan.origin.name().to_owned());
        attributes.insert("name".to_owned(), self.draft.name.clone());
        Ok(Task {
            program: None,
            version: shim::layout::VERSION,
            layers,
            log: self.log(&upper)?,
            stdin,
            restart: self.flags.restart,
            auto_remove: self.flags.rm,
            owned,
            pid_file,
            stop_signal,
            init: self.flags.process.init,
            health: self.plan.health.as_ref().and_then(Healthcheck::check).transpose().map_err(anyhow::Error::msg)?,
            events: Some(EventTarget { path: self.roots.state.join(shim::events::NAME), attributes }),
            image_mounts: Vec::new(),
            sandbox: match &self.flags.joined {
                Some(pod) => pod.sandbox.clone(),
                None => self.sandbox(),
            },
        })
    }

    /// Where the output goes. A file elsewhere can be written: that is seen now and not when the container starts.
    fn log(&self, upper: &Path) -> Result<Option<LogTarget>> {
        let Plan { origin, image, command, options, labels, log, .. } = &self.plan;
        let env = cri::spec::merged_environment(&image.env, &options.env);
        let facts = log::Facts { id: &self.id, name: &self.draft.name, origin, command, labels, env: &env };
        let target = log::target(log, &facts, upper)?;
        match &target {
            Some(LogTarget::Journald { socket, .. }) => {
                let found = std::os::unix::net::UnixDatagram::unbound().and_then(|client| client.connect(socket));
                found.with_context(|| {
                    format!(
                        "--log-driver journald: no journal listens at {}; use k8s-file or json-file",
                        socket.display()
                    )
                })?;
            }
            Some(target) if log.path.is_some() => {
                shim::log::Log::open(target).context("--log-opt path")?;
            }
            Some(_) | None => {}
        }
        Ok(target)
    }

    /// Who owns what is copied to a volume.
    fn owner(&self, mount: &MountFlag) -> Owner {
        match &self.plan.options.userns {
            UserNamespace::Mapped { .. } if mount.id_map => Owner::Same,
            UserNamespace::Host => Owner::Same,
            UserNamespace::Mapped { uids, gids } => Owner::Mapped { uids: uids.clone(), gids: gids.clone() },
        }
    }

    fn stop_signal(&self) -> Option<String> {
        self.flags.stop_signal.clone().or_else(|| self.plan.image.stop_signal.clone())
    }

    /// The writable layer: the top of it looks like the top of what is below.
    fn make_upper(&self, upper: &Path) -> Result<()> {
        let Some(below) = self.plan.lower.first() else { return Ok(()) };
        let top = upper.join("fs");
        make_dir(&top)?;
        make_dir(&upper.join("work"))?;
        let like = std::fs::metadata(below).with_context(|| format!("{}", below.display()))?;
        std::os::unix::fs::chown(&top, Some(like.uid()), Some(like.gid()))
            .with_context(|| format!("chown({})", top.display()))?;
        let mode = std::fs::Permissions::from_mode(like.mode() & 0o7777);
        std::fs::set_permissions(&top, mode).with_context(|| format!("chmod({})", top.display()))
    }

    /// All mounts: flags, then the image's volumes that no flag covers. Anonymous volumes get their names here.
    fn name_volumes(&self) -> Result<(Vec<MountFlag>, Vec<String>)> {
        let flags = &self.flags.mounts;
        let mut mounts: Vec<MountFlag> = flags.volume.iter().chain(&flags.mount).chain(&flags.tmpfs).cloned().collect();
        for inherited in &self.plan.inherited {
            if !mounts.iter().any(|mount| mount.destination == inherited.destination) {
                mounts.push(inherited.clone());
            }
        }
        for destination in &self.plan.image.volumes {
            let text = crate::flag::volume::destination(destination).map_err(anyhow::Error::msg);
            let destination = text.context("volume of the image")?;
            if !mounts.iter().any(|mount| mount.destination == destination) {
                mounts.push(crate::flag::volume::volume(&destination).map_err(anyhow::Error::msg)?);
            }
        }
        let mut anonymous = Vec::new();
        for mount in &mut mounts {
            if let Source::Volume { name: name @ None, new, .. } = &mut mount.source {
                let id = id::new()?;
                anonymous.push(id.clone());
                new.anonymous = true;
                *name = Some(id);
            }
        }
        Ok((mounts, anonymous))
    }

    /// Makes volumes and missing sources; sets the options' mounts. The volumes are held until the record names them.
    fn make_mounts(
        &mut self,
        mounts: &[MountFlag],
        anonymous: &[String],
        root: &OwnedFd,
    ) -> Result<(Vec<MountPoint>, Vec<Held>)> {
        let mut points = Vec::new();
        let mut holds = Vec::new();
        for mount in mounts {
            let (target, kind, source) = match &mount.source {
                Source::Tmpfs { options } => {
                    (MountTarget::Tmpfs { options: options.clone() }, MountKind::Tmpfs, String::new())
                }
                Source::Bind { path, missing } => {
                    bind_source(path, *missing)?;
                    selinux::label_mount(self.plan.selinux(), mount, Path::new(path))?;
                    (self.bind(mount, path), MountKind::Bind, path.clone())
                }
                Source::Image { name, subpath } => {
                    let image = self.plan.images.get(name).context("an image that was not looked up")?;
                    let lower = image.layers.clone();
                    let target = MountTarget::Image { lower, subpath: subpath.clone(), options: Vec::new() };
                    (target, MountKind::Image { id: image.id.clone(), subpath: subpath.clone() }, name.clone())
                }
                Source::Volume { name, copy, subpath, new } => {
                    let name = name.as_deref().context("an anonymous volume without name")?;
                    let inherited = self.plan.inherited.contains(mount);
                    let held = match inherited {
                        true => volume::hold_existing(self.roots, name)?,
                        false => volume::hold(self.roots, name, new, self.volume_owner(mount))?,
                    };
                    let data = held.data();
                    match subpath {
                        Some(subpath) => require_subpath(name, &data, subpath)?,
                        None if *copy => volume::fill(&held, root, &mount.destination, &data, self.owner(mount))?,
                        None => {}
                    }
                    selinux::label_volume(self.plan.selinux(), mount, &held)?;
                    holds.push(held);
                    let data = data.into_os_string().into_string();
                    let data = data.map_err(|data| anyhow!("{}: not UTF-8", data.display()))?;
                    let anonymous = anonymous.iter().any(|own| own == name);
                    let kind = MountKind::Volume { name: name.to_owned(), anonymous, subpath: subpath.clone() };
                    (self.bind(mount, &data), kind, data)
                }
            };
            points.push(MountPoint {
                kind,
                source,
                destination: mount.destination.clone(),
                options: options_text(mount),
                read_only: mount.read_only,
                propagation: match &mount.source {
                    Source::Bind { .. } => mount.propagation.name().to_owned(),
                    Source::Volume { .. } | Source::Image { .. } | Source::Tmpfs { .. } => String::new(),
                },
                recursion: mount.recursion,
                id_map: mount.id_map,
            });
            self.plan.options.mounts.push(MountRequest {
                destination: mount.destination.clone(),
                target,
                read_only: mount.read_only,
            });
        }
        Ok((points, holds))
    }

    fn bind(&self, mount: &MountFlag, source: &str) -> MountTarget {
        let subpath = match &mount.source {
            Source::Volume { subpath, .. } => subpath.clone(),
            Source::Bind { .. } | Source::Image { .. } | Source::Tmpfs { .. } => None,
        };
        let MountFlag { propagation, recursion, id_map, .. } = *mount;
        let id_map = id_map.then_some(MountIdMap::Container);
        MountTarget::Bind { source: source.to_owned(), propagation, recursion, subpath, options: Vec::new(), id_map }
    }

    /// In a user namespace a new volume belongs to the container's root.
    fn volume_owner(&self, mount: &MountFlag) -> TopOwner {
        match &self.plan.options.userns {
            UserNamespace::Mapped { .. } if mount.id_map => TopOwner(0, 0),
            UserNamespace::Host => TopOwner(0, 0),
            UserNamespace::Mapped { uids, gids } => TopOwner(host_id(uids, 0), host_id(gids, 0)),
        }
    }

    /// In a user namespace the container's files belong to its root.
    fn give_to_root(&self, path: &Path) -> Result<()> {
        let UserNamespace::Mapped { uids, gids } = &self.plan.options.userns else { return Ok(()) };
        let (uid, gid) = (host_id(uids, 0), host_id(gids, 0));
        std::os::unix::fs::chown(path, Some(uid), Some(gid)).with_context(|| format!("chown({})", path.display()))
    }

    /// `/etc/hostname`, `/etc/hosts` and `/etc/resolv.conf`: the container's own, or those of the one whose network it shares.
    fn etc_files(&mut self, dir: &Path) -> Result<()> {
        let mode = self.plan.network.mode.clone();
        if let NetworkMode::Container(id) = &mode {
            let other = self.roots.container(id);
            for name in ["hostname", "hosts", "resolv.conf"] {
                // A link: what is written to one is in both, and it stays when the other container goes.
                let (from, to) = (other.join(name), dir.join(name));
                std::fs::hard_link(&from, &to)
                    .with_context(|| format!("link({}, {})", from.display(), to.display()))?;
                self.add_etc_file(name, to)?;
            }
            return Ok(());
        }
        let isolation = &self.flags.isolation;
        let hostname = self.hostname()?;
        let extra = &self.flags.network.add_host;
        let names = Names {
            mode: &mode,
            hostname: &hostname,
            domainname: isolation.domainname.as_deref(),
            extra,
            resolver: &self.plan.network.resolver,
        };
        let hosts = names.hosts(None)?;
        let (resolv_conf, _) = names.resolv_conf(Families::Both)?;
        for (name, text) in [("hostname", format!("{hostname}\n")), ("hosts", hosts), ("resolv.conf", resolv_conf)] {
            let path = dir.join(name);
            write(&path, &text, 0o644)?;
            self.give_to_root(&path)?;
            selinux::label_file(self.plan.selinux(), &path)?;
            self.add_etc_file(name, path)?;
        }
        Ok(())
    }

    fn add_etc_file(&mut self, name: &str, path: PathBuf) -> Result<()> {
        let source = path.into_os_string().into_string();
        let source = source.map_err(|path| anyhow!("{}: not UTF-8", path.display()))?;
        self.plan.options.etc_files.push((format!("/etc/{name}"), source));
        Ok(())
    }

    fn hostname(&self) -> Result<String> {
        match self.plan.options.uts {
            NamespaceChoice::Private => {
                Ok(self.flags.isolation.hostname.clone().unwrap_or_else(|| id::short(&self.id).to_owned()))
            }
            NamespaceChoice::Host | NamespaceChoice::Join(_) => etc::host_name(),
        }
    }

    /// What the container takes from its shim's sandbox, which outlives its runs.
    fn sandbox(&self) -> Vec<NamespaceKind> {
        match (&self.plan.network.mode, &self.plan.options.userns) {
            (NetworkMode::Networks(_), UserNamespace::Host) => vec![NamespaceKind::Network],
            // A network namespace belongs to the user namespace it is made in.
            (NetworkMode::Networks(_), UserNamespace::Mapped { .. }) => {
                vec![NamespaceKind::User, NamespaceKind::Network]
            }
            (NetworkMode::None | NetworkMode::Host | NetworkMode::Container(_) | NetworkMode::Path(_), _) => Vec::new(),
        }
    }

    /// `sandbox.json` and `networks.json`, when it joins networks.
    fn network_files(&self, dir: &Path) -> Result<()> {
        if self.flags.joined.is_some() {
            return Ok(());
        }
        let namespaces = self.sandbox();
        if namespaces.is_empty() {
            return Ok(());
        }
        let (uid_mappings, gid_mappings) = match &self.plan.options.userns {
            UserNamespace::Host => (Vec::new(), Vec::new()),
            UserNamespace::Mapped { uids, gids } => (uids.clone(), gids.clone()),
        };
        let sandbox = Sandbox {
            version: shim::layout::VERSION,
            namespaces,
            ends: Ends::WithContainer,
            hostname: None,
            domainname: None,
            sysctls: BTreeMap::new(),
            uid_mappings,
            gid_mappings,
            shm_size: None,
            mount_label: None,
            process_label: None,
            on_exit: network::on_exit(self.roots, &self.id)?,
        };
        write_json(&dir.join("sandbox.json"), &sandbox)?;
        let NetworkPlan { endpoints, links, .. } = &self.plan.network;
        let own_names = cri::spec::own_names(&self.hostname()?, self.flags.isolation.domainname.as_deref());
        Endpoints::new(own_names, endpoints.clone(), links.clone()).write(dir)
    }

    fn record(&self, user: &str, mounts: Vec<MountPoint>, attachment: Attachment, task: &Task) -> Result<Record> {
        let Plan { origin, image, command, options, labels, modes, network, .. } = &self.plan;
        let flags = self.flags;
        let isolation = &flags.isolation;
        let foreground = attachment == Attachment::Foreground;
        let attached = |stream| foreground && (flags.attach.is_empty() || flags.attach.contains(&stream));
        let cmd = match (&options.entrypoint, command.is_empty()) {
            (None, true) => image.cmd.clone(),
            (Some(_), _) | (None, false) => command.clone(),
        };
        let config = Config {
            hostname: options.hostname.clone().unwrap_or_else(|| id::short(&self.id).to_owned()),
            domainname: isolation.domainname.clone().unwrap_or_default(),
            user: user.to_owned(),
            attach_stdin: flags.interactive && attached(Stream::Stdin),
            attach_stdout: attached(Stream::Stdout),
            attach_stderr: attached(Stream::Stderr),
            tty: flags.tty,
            open_stdin: flags.interactive,
            stdin_once: flags.interactive && foreground,
            env: cri::spec::merged_environment(&image.env, &options.env),
            cmd,
            entrypoint: options.entrypoint.clone().unwrap_or_else(|| image.entrypoint.clone()),
            volumes: image.volumes.clone(),
            working_dir: options.workdir.clone().unwrap_or_else(|| image.working_dir.clone()),
            labels: labels.clone(),
            stop_signal: self.stop_signal().unwrap_or_else(|| "SIGTERM".to_owned()),
            stop_timeout: flags.stop_timeout,
            exposed_ports: network.exposed.iter().map(ToString::to_string).collect(),
            healthcheck: self.plan.health.clone(),
        };
        let host = HostConfig {
            auto_remove: flags.rm,
            network: network.mode.clone(),
            publish: network.publish.clone(),
            publish_all: self.flags.network.publish_all,
            pid: modes.pid.clone(),
            ipc: crate::flag::namespace::Ipc { mode: modes.ipc.clone(), no_shm: isolation.ipc.no_shm },
            uts: isolation.uts.clone(),
            cgroupns: isolation.cgroupns.clone(),
            userns: isolation.userns.clone(),
            cgroup_parent: isolation.cgroup_parent.clone(),
            cap_add: isolation.cap_add.clone(),
            cap_drop: isolation.cap_drop.clone(),
            group_add: flags.process.group_add.clone(),
            privileged: isolation.privileged,
            read_only: flags.mounts.read_only,
            init: flags.process.init,
            security_opt: isolation.security_opt.iter().map(SecurityFlag::show).collect(),
            dns: network.resolver.servers.iter().map(ToString::to_string).collect(),
            dns_search: network.resolver.search.clone(),
            dns_option: network.resolver.options.clone(),
            extra_hosts: self.flags.network.add_host.iter().map(ToString::to_string).collect(),
            shm_size: options.shm_size.unwrap_or(cri::spec::SHM_SIZE),
            cidfile: flags.cidfile.as_ref().map(|path| path.display().to_string()),
            nano_cpus: flags.resources.cpus.unwrap_or(0),
            cdi: self.plan.cdi.0.iter().map(ToString::to_string).collect(),
            log_driver: self.plan.log.driver.name().to_owned(),
            log_options: flags.log.pairs(),
        };
        Ok(Record {
            version: VERSION,
            id: self.id.clone(),
            created: time::since_epoch(SystemTime::now()),
            pod: flags.joined.as_ref().map(|pod| pod.id.clone()),
            origin: origin.clone(),
            command: cri::spec::command(image, options)?,
            command_line: CommandLine::own(),
            config,
            host,
            mounts,
            log: task.log.as_ref().and_then(LogTarget::file).map(|file| file.path.display().to_string()),
        })
    }
}

/// A subpath is not made: it must be there, and inside.
fn require_subpath(volume: &str, data: &Path, subpath: &str) -> Result<()> {
    let flags = nix::fcntl::OFlag::O_PATH;
    let found = runtime::root::open_in(rootfs::directory(data)?, subpath.as_ref(), flags, runtime::root::Links::InRoot);
    match found {
        Ok(_) => Ok(()),
        Err(error) if error.errno == nix::errno::Errno::ENOENT => {
            bail!("volume-subpath={subpath}: volume {volume} has no such directory or file; make it first")
        }
        Err(error) => Err(error).with_context(|| format!("volume-subpath={subpath}")),
    }
}

fn options_text(mount: &MountFlag) -> String {
    match &mount.source {
        Source::Tmpfs { options } => options.join(","),
        Source::Bind { .. } | Source::Volume { .. } | Source::Image { .. } => {
            let relabel = mount.relabel.map(Relabel::word);
            let words = [mount.read_only.then_some("ro"), mount.id_map.then_some("idmap"), relabel];
            words.into_iter().flatten().collect::<Vec<_>>().join(",")
        }
    }
}

fn bind_source(path: &str, missing: Missing) -> Result<()> {
    match std::fs::metadata(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => match missing {
            Missing::Refuse => {
                bail!("bind source {path:?} does not exist; make it, or use -v, which makes a directory")
            }
            // As docker does for -v; the directory stays, as it is the user's.
            Missing::Create => {
                let made = DirBuilder::new().recursive(true).mode(0o755).create(path);
                made.with_context(|| format!("mkdir({path:?})"))
            }
        },
        Err(error) => Err(error).with_context(|| format!("bind source {path:?}")),
    }
}

pub(super) fn write_json(path: &Path, value: &impl serde::Serialize) -> Result<()> {
    write(path, &serde_json::to_string(value)?, 0o600)
}

/// Replaces a file as a whole: nobody sees half of it.
pub(crate) fn write(path: &Path, text: &str, mode: u32) -> Result<()> {
    let new = path.with_added_extension("new");
    let shown = || format!("write({})", path.display());
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(&new)
        .with_context(shown)?;
    file.set_permissions(std::fs::Permissions::from_mode(mode)).with_context(shown)?;
    file.write_all(text.as_bytes()).with_context(shown)?;
    drop(file);
    std::fs::rename(&new, path).with_context(shown)
}
