//! What a container is going to be, known and checked before anything is changed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use cri::image::{Platform, Prepared, Store};
use cri::selinux::Labels;
use cri::spec::cdi::{DeviceName, Edits, Registry, SPEC_DIRS};
use cri::spec::{Host, Image, NamespaceChoice, Options, SeccompChoice, Security, UserNamespace};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use runtime::root::Links;
use runtime::spec::IdMapping;
use shim::layout::RestartPolicy;

use super::plan_network::NetworkPlan;
use super::record::Origin;
use super::roots::Roots;
use super::{inherit, selinux, view};
use crate::flag::create::CreateFlags;
use crate::flag::device::DeviceFlag;
use crate::flag::health::Healthcheck;
use crate::flag::log::LogOptions;
use crate::flag::namespace::{Mode, Userns};
use crate::flag::network::NetworkMode;
use crate::flag::security::SecurityFlag;
use crate::flag::volume::{MountFlag, Source};
use crate::flag::{device, env};
use crate::rootfs;
use crate::transfer::display::Stream;
use crate::transfer::fetch::Fetch;

/// What is known before anything is changed.
pub(super) struct Plan {
    pub(super) origin: Origin,
    pub(super) image: Image,
    pub(super) lower: Vec<PathBuf>,
    pub(super) command: Vec<String>,
    pub(super) options: Options,
    pub(super) host: Host,
    pub(super) labels: std::collections::BTreeMap<String, String>,
    pub(super) modes: Modes,
    pub(super) network: NetworkPlan,
    pub(super) log: LogOptions,
    pub(super) health: Option<Healthcheck>,
    /// `--volumes-from`
    pub(super) inherited: Vec<MountFlag>,
    /// Images that are mounted, by the names they are given by.
    pub(super) images: BTreeMap<String, MountedImage>,
    /// CDI devices by name, and what they bring.
    pub(super) cdi: (Vec<DeviceName>, Edits),
}

/// An image that is mounted.
pub(super) struct MountedImage {
    /// `sha256:…` of its configuration.
    pub(super) id: String,
    /// Topmost first.
    pub(super) layers: Vec<PathBuf>,
}

/// Namespaces, with containers by their ids.
pub(super) struct Modes {
    pub(super) pid: Mode,
    pub(super) ipc: Mode,
}

impl Plan {
    pub(super) fn new(roots: &Roots, flags: &CreateFlags) -> Result<Plan> {
        check_flags(flags)?;
        let mut network = NetworkPlan::new(roots, flags)?;
        let log = flags.log.options().map_err(anyhow::Error::msg)?;
        let mut host = Host::read().context("reading the host's capabilities and cgroup version")?;
        if flags.isolation.privileged {
            host.devices = cri::spec::host_nodes(Path::new("/dev")).context("/dev")?;
        }
        let (origin, image, lower, command) = match &flags.rootfs {
            Some(rootfs) => {
                let lower = if rootfs.overlay { vec![PathBuf::from(&rootfs.dir)] } else { Vec::new() };
                rootfs::directory(Path::new(&rootfs.dir)).context("--rootfs")?;
                (Origin::Rootfs(rootfs.clone()), Image::default(), lower, flags.words.clone())
            }
            None => from_image(roots, flags)?,
        };
        let health = flags.health.with_image(image.healthcheck.as_ref()).map_err(anyhow::Error::msg)?;
        let modes = Modes {
            pid: resolve_mode(roots, &flags.isolation.pid).context("--pid")?,
            ipc: resolve_mode(roots, &flags.isolation.ipc.mode).context("--ipc")?,
        };
        refuse_tracers(roots, &modes.pid).context("--pid")?;
        network.add_ports(&flags.network, &image.exposed_ports)?;
        let mut labels = image.labels.clone();
        labels.extend(env::map("--label", &flags.label_file, &flags.label)?);
        let mut options = options(roots, flags, &modes)?;
        options.network = network.choice(roots)?;
        if let NetworkMode::Container(id) = &network.mode
            && options.uts == NamespaceChoice::Private
        {
            options.hostname = Some(view::Container::find(roots, id)?.record()?.config.hostname.clone());
        }
        options.security.labels = selinux::of_container(roots, flags, &modes, host.selinux)?;
        options.mounts.extend(selinux::nested(flags));
        options.command = command.clone();
        options.check()?;
        // A missing command is found before anything is made.
        cri::spec::command(&image, &options)?;
        let inherited = inherit::mounts(roots, &flags.mounts.volumes_from).context("--volumes-from")?;
        let cdi = cdi(flags)?;
        let images = mounted_images(roots, flags, &inherited)?;
        Ok(Plan {
            origin,
            image,
            lower,
            command,
            options,
            host,
            labels,
            modes,
            network,
            log,
            health,
            inherited,
            images,
            cdi,
        })
    }
}

impl Plan {
    /// The SELinux labels; `None` where there is no SELinux.
    pub(super) fn selinux(&self) -> Option<&Labels> {
        self.options.security.labels.as_ref()
    }
}

/// Devices by name, and what their specs give the container.
fn cdi(flags: &CreateFlags) -> Result<(Vec<DeviceName>, Edits)> {
    let mounts = &flags.mounts;
    let named = mounts.device.iter().any(|device| matches!(device, DeviceFlag::Cdi(_)));
    if !named && mounts.gpus.is_none() {
        return Ok((Vec::new(), Edits::default()));
    }
    let dirs = match mounts.cdi_spec_dir.as_slice() {
        [] => SPEC_DIRS.iter().map(PathBuf::from).collect(),
        dirs => dirs.to_vec(),
    };
    let registry = Registry::read(&dirs);
    let names = device::cdi_names(&mounts.device, mounts.gpus.as_ref(), &registry)?;
    let edits = registry.resolve(&names).and_then(Edits::complete).context("--device")?;
    Ok((names, edits))
}

fn check_flags(flags: &CreateFlags) -> Result<()> {
    if flags.rm && flags.restart != RestartPolicy::No {
        bail!("--rm and --restart exclude each other: what is removed cannot be started again");
    }
    if flags.isolation.uts == Mode::Host && flags.isolation.hostname.is_some() {
        bail!("--hostname and --uts host exclude each other: it would be the host's name that changes");
    }
    if let Some(path) = &flags.cidfile
        && path.try_exists().with_context(|| format!("--cidfile {}", path.display()))?
    {
        bail!(
            "--cidfile {0}: the file exists; if no container of that id is in use any more, remove {0}",
            path.display()
        );
    }
    Ok(())
}

type FromImage = (Origin, Image, Vec<PathBuf>, Vec<String>);

fn from_image(roots: &Roots, flags: &CreateFlags) -> Result<FromImage> {
    let Some((name, command)) = flags.words.split_first() else {
        bail!("name an image, or a directory with --rootfs DIR; rtctl images lists what is there");
    };
    let prepared = prepare(roots, flags, name)?;
    let origin = Origin::Image { name: name.clone(), id: prepared.id.to_string() };
    Ok((origin, Image::from(&prepared.config), prepared.layers, command.to_vec()))
}

fn prepare(roots: &Roots, flags: &CreateFlags, name: &str) -> Result<Prepared> {
    let store = Store::open(&roots.root)?;
    let platform: Option<Platform> = flags.platform.as_deref().map(str::parse).transpose().context("--platform")?;
    let source = Fetch {
        roots,
        pull: flags.pull,
        platform: platform.as_ref(),
        registries: &flags.registries,
        blobs: flags.blobs.choice(),
        stream: if flags.quiet { Stream::Quiet } else { Stream::Stderr },
    };
    source.prepare(&store, name)
}

/// `--mount type=image`: the images, and that what is asked of them is there.
fn mounted_images(
    roots: &Roots,
    flags: &CreateFlags,
    inherited: &[MountFlag],
) -> Result<BTreeMap<String, MountedImage>> {
    let mut images = BTreeMap::new();
    for mount in flags.mounts.mount.iter().chain(inherited) {
        let Source::Image { name, subpath } = &mount.source else { continue };
        let about = || format!("image {name} at {}", mount.destination);
        if !images.contains_key(name) {
            let prepared = prepare(roots, flags, name).with_context(about)?;
            images.insert(name.clone(), MountedImage { id: prepared.id.to_string(), layers: prepared.layers });
        }
        let files = rootfs::layers(&images[name].layers).with_context(about)?;
        let Some(subpath) = subpath else { continue };
        match runtime::root::open_in(files, subpath.as_ref(), OFlag::O_PATH, Links::InRoot) {
            Ok(_) => {}
            Err(error) if error.errno == Errno::ENOENT => {
                bail!("subpath={subpath}: image {name} has no such directory or file")
            }
            Err(error) => return Err(error).with_context(|| format!("subpath={subpath}")),
        }
    }
    Ok(images)
}

/// The options that need no container yet.
fn options(roots: &Roots, flags: &CreateFlags, modes: &Modes) -> Result<Options> {
    let isolation = &flags.isolation;
    let mut resources = flags.resources.resources()?;
    flags.fixed_resources.add_to(&mut resources)?;
    let mut devices = Vec::new();
    for flag in &flags.mounts.device {
        if let DeviceFlag::Path(flag) = flag {
            devices.extend(device::read(flag)?);
        }
    }
    let no_files: &[&str] = &[];
    let sysctl = env::map("--sysctl", no_files, &isolation.sysctl)?;
    let security = security(flags)?;
    let entrypoint = flags.process.entrypoint.as_ref();
    Ok(Options {
        entrypoint: entrypoint.map(|program| if program.is_empty() { Vec::new() } else { vec![program.clone()] }),
        env: env::environment(&flags.process.env_file, &flags.process.env)?,
        workdir: flags.process.workdir.clone(),
        terminal: flags.tty,
        hostname: isolation.hostname.clone(),
        domainname: isolation.domainname.clone(),
        pid: choice(roots, &modes.pid, "pid")?,
        ipc: choice(roots, &modes.ipc, "ipc")?,
        no_shm: isolation.ipc.no_shm,
        uts: choice(roots, &isolation.uts, "uts")?,
        cgroupns: isolation.cgroupns.as_ref().map(|mode| choice(roots, mode, "cgroup")).transpose()?,
        userns: user_namespace(roots, &isolation.userns)?,
        cgroup_parent: isolation.cgroup_parent.clone(),
        resources,
        shm_size: flags.mounts.shm_size.filter(|size| *size > 0),
        shm_source: shm_source(&modes.ipc),
        capabilities: cri::spec::CapabilityChange { add: isolation.cap_add.clone(), drop: isolation.cap_drop.clone() },
        privileged: isolation.privileged,
        security,
        read_only: flags.mounts.read_only,
        devices,
        device_rules: flags.mounts.device_cgroup_rule.clone(),
        sysctl,
        init: flags.process.init,
        rlimits: flags.process.ulimit.clone(),
        oom_score_adj: flags.process.oom_score_adj,
        annotations: env::map("--annotation", no_files, &flags.annotation)?,
        ..Options::default()
    })
}

fn security(flags: &CreateFlags) -> Result<Security> {
    let mut security = Security::default();
    for option in &flags.isolation.security_opt {
        match option {
            SecurityFlag::NoNewPrivileges(on) => security.no_new_privileges = *on,
            SecurityFlag::SeccompDefault => security.seccomp = SeccompChoice::Default,
            SecurityFlag::SeccompUnconfined => security.seccomp = SeccompChoice::Unconfined,
            SecurityFlag::SeccompFile(path) => {
                let profile = seccomp_file(path, flags);
                let profile = profile.with_context(|| format!("--security-opt seccomp={}", path.display()))?;
                security.seccomp = SeccompChoice::Profile(Box::new(profile));
            }
            SecurityFlag::AppArmor(profile) => security.apparmor = Some(profile.clone()),
            // See `selinux`.
            SecurityFlag::Label(_) => {}
            SecurityFlag::SystemPathsUnconfined => security.unconfined_paths = true,
        }
    }
    Ok(security)
}

fn seccomp_file(path: &Path, flags: &CreateFlags) -> Result<runtime::spec::Seccomp> {
    let text = std::fs::read(path)?;
    if text.len() > 4 << 20 {
        bail!("larger than 4 MiB");
    }
    let release = nix::sys::utsname::uname()?.release().to_string_lossy().into_owned();
    let kernel = cri::spec::kernel_version(&release).ok_or_else(|| anyhow!("kernel version {release:?}"))?;
    let host = Host::read()?;
    let change =
        cri::spec::CapabilityChange { add: flags.isolation.cap_add.clone(), drop: flags.isolation.cap_drop.clone() };
    let bounding = cri::spec::effective_capabilities(&change, flags.isolation.privileged, &host)?;
    let profile = cri::spec::parse_seccomp_profile(&text, &bounding, kernel)?;
    // Wrong actions and operators are found now and not when the container starts.
    runtime::seccomp::compile(&profile)?;
    Ok(profile)
}

/// Replaces the name of a container by its id; it must run.
fn resolve_mode(roots: &Roots, mode: &Mode) -> Result<Mode> {
    match mode {
        Mode::Container(query) => {
            let container = view::Container::find(roots, query)?;
            container.require_running()?;
            Ok(Mode::Container(container.id))
        }
        Mode::Private | Mode::Host | Mode::Path(_) => Ok(mode.clone()),
    }
}

/// Refuses a pid namespace with a container in it that may trace: until its program runs, the new process has the host's files,
/// and whoever traces it has them, too (CVE-2016-9962).
pub(crate) fn refuse_tracers(roots: &Roots, pid: &Mode) -> Result<()> {
    let Mode::Container(id) = pid else { return Ok(()) };
    let namespace =
        |pid: i32| std::fs::read_link(format!("/proc/{pid}/ns/pid")).with_context(|| format!("process {pid}"));
    let shared = namespace(view::Container::find(roots, id)?.require_running()?)?;
    for container in view::Container::list(roots)? {
        let Some(pid) = container.pid() else { continue };
        // One that has just ended traces nobody.
        if !namespace(pid).is_ok_and(|own| own == shared) {
            continue;
        }
        let spec = container.spec()?;
        let sets = spec.process.and_then(|process| process.capabilities).unwrap_or_default();
        let mapped = spec.linux.is_some_and(|linux| !linux.uid_mappings.is_empty());
        if !mapped && sets.bounding.iter().any(|capability| capability == "CAP_SYS_PTRACE") {
            bail!(
                "container {0} may trace every process there (CAP_SYS_PTRACE), this one too while it still has the host's \
                 files; start {0} after it",
                container.shown()
            );
        }
    }
    Ok(())
}

/// Refuses a container that may trace in the pid namespace of a pod without being of the pod: whoever is of it is frozen while
/// another one enters, this one would not be.
pub(crate) fn refuse_tracing_pod(roots: &Roots, pid: &Mode, spec: &runtime::spec::Spec) -> Result<()> {
    let Mode::Container(id) = pid else { return Ok(()) };
    let container = view::Container::find(roots, id)?;
    let shares = container.task()?.sandbox.contains(&runtime::spec::NamespaceKind::Pid);
    let sets = spec.process.as_ref().and_then(|process| process.capabilities.as_ref());
    let traces = sets.is_some_and(|sets| sets.bounding.iter().any(|capability| capability == "CAP_SYS_PTRACE"));
    let mapped = spec.linux.as_ref().is_some_and(|linux| !linux.uid_mappings.is_empty());
    if shares && traces && !mapped {
        bail!(
            "container {} is in a pod that shares pids, and CAP_SYS_PTRACE reaches all of it; use --pod",
            container.shown()
        );
    }
    Ok(())
}

/// Where a namespace comes from, now. `kind` is its file's name in `/proc/PID/ns`.
pub(crate) fn choice(roots: &Roots, mode: &Mode, kind: &str) -> Result<NamespaceChoice> {
    Ok(match mode {
        Mode::Private => NamespaceChoice::Private,
        Mode::Host => NamespaceChoice::Host,
        Mode::Path(path) => NamespaceChoice::Join(path.clone()),
        Mode::Container(id) => {
            let pid = view::Container::find(roots, id)?.require_running()?;
            NamespaceChoice::Join(format!("/proc/{pid}/ns/{kind}"))
        }
    })
}

/// The host's /dev/shm along with its ipc namespace.
fn shm_source(ipc: &Mode) -> Option<String> {
    match ipc {
        Mode::Host => Some("/dev/shm".to_owned()),
        Mode::Private | Mode::Container(_) | Mode::Path(_) => None,
    }
}

pub(crate) fn user_namespace(roots: &Roots, userns: &Userns) -> Result<UserNamespace> {
    Ok(match userns {
        Userns::Host => UserNamespace::Host,
        Userns::Maps { uids, gids } => UserNamespace::Mapped { uids: uids.clone(), gids: gids.clone() },
        Userns::Auto { size } => {
            let host_id = free_range(roots, *size)?;
            let map = vec![IdMapping { container_id: 0, host_id, size: *size }];
            UserNamespace::Mapped { uids: map.clone(), gids: map }
        }
    })
}

/// First host id of automatic user namespaces; above what adduser(8) and subuid(5) hand out by default.
const AUTO_FIRST: u32 = 1 << 30;

/// The lowest range of host ids that no container has.
fn free_range(roots: &Roots, size: u32) -> Result<u32> {
    let mut taken: Vec<(u32, u32)> = Vec::new();
    let end = |map: &IdMapping| map.host_id.saturating_add(map.size);
    taken.extend(super::pod::create::mapped(roots)?.iter().map(|map| (map.host_id, end(map))));
    for container in view::Container::list(roots)? {
        let linux = container.spec()?.linux.unwrap_or_default();
        let ranges = linux.uid_mappings.iter().chain(&linux.gid_mappings);
        taken.extend(ranges.map(|map| (map.host_id, end(map))));
    }
    taken.sort_unstable();
    let mut first = AUTO_FIRST;
    for (low, high) in taken {
        if low < first.saturating_add(size) && high > first {
            first = high;
        }
    }
    match first.checked_add(size) {
        Some(end) if end < u32::MAX => Ok(first),
        Some(_) | None => bail!("--userns auto: no {size} ids are free; remove containers or give maps"),
    }
}
