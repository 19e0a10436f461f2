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

use std::fs::DirBuilder;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, anyhow, bail};
use cri::image::Store;
use cri::spec::{
    Host, Image, Input, MountRequest, MountTarget, NamespaceChoice, Options, SeccompChoice, Security, UserNamespace,
};
use runtime::spec::IdMapping;
use shim::layout::{Layers, RestartPolicy, Stdin, Task};
use shim::local::{Directory, Lock, Wait};

use super::record::{Config, HostConfig, MountKind, MountPoint, Origin, Record, VERSION};
use super::remove::{self, Force};
use super::roots::{Roots, make_dir};
use super::volume::{self, Found};
use super::{id, name, view};
use crate::copy::place::{Owner, host_id};
use crate::flag::create::{CreateFlags, Pull, RootfsFlag, Stream};
use crate::flag::namespace::{Mode, Userns};
use crate::flag::security::SecurityFlag;
use crate::flag::volume::{Missing, MountFlag, Source};
use crate::flag::{device, env, signal, time};
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
    let draft = Draft::begin(roots, flags)?;
    let mut making = Making { roots, flags, plan, id: draft.id.clone(), draft };
    making.write(attachment)?;
    let Making { id, draft, .. } = making;
    Ok(Created { id, draft })
}

/// What is known before anything is changed.
struct Plan {
    origin: Origin,
    image: Image,
    lower: Vec<PathBuf>,
    command: Vec<String>,
    options: Options,
    host: Host,
    labels: std::collections::BTreeMap<String, String>,
    modes: Modes,
}

/// Namespaces, with containers by their ids.
struct Modes {
    network: Mode,
    pid: Mode,
    ipc: Mode,
}

impl Plan {
    fn new(roots: &Roots, flags: &CreateFlags) -> Result<Plan> {
        check_flags(flags)?;
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
        let modes = Modes {
            network: resolve_mode(roots, &flags.isolation.network).context("--network")?,
            pid: resolve_mode(roots, &flags.isolation.pid).context("--pid")?,
            ipc: resolve_mode(roots, &flags.isolation.ipc.mode).context("--ipc")?,
        };
        let mut labels = image.labels.clone();
        labels.extend(env::map("--label", &flags.label_file, &flags.label)?);
        let mut options = options(roots, flags, &modes)?;
        options.command = command.clone();
        options.check()?;
        // A missing command is found before anything is made.
        cri::spec::command(&image, &options)?;
        Ok(Plan { origin, image, lower, command, options, host, labels, modes })
    }
}

fn check_flags(flags: &CreateFlags) -> Result<()> {
    if flags.rm && flags.restart != RestartPolicy::No {
        bail!("--rm and --restart exclude each other: what is removed cannot be started again");
    }
    if flags.isolation.uts == Mode::Host && flags.isolation.hostname.is_some() {
        bail!("--hostname and --uts host exclude each other: it would be the host's name that changes");
    }
    if flags.isolation.userns != Userns::Host && flags.rootfs.as_ref().is_some_and(|rootfs| rootfs.overlay) {
        bail!("--userns and --rootfs DIR:O exclude each other: the files belong to the host's ids; use an image");
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
    if flags.pull == Pull::Always {
        bail!("--pull always is not built yet: registries come with the next image issue; use rtctl load -i FILE");
    }
    let store = Store::open(&roots.root)?;
    let prepared = store.prepare(name, &mut |_| {}).map_err(|error| crate::image::explain(error, name))?;
    if let Some(wanted) = &flags.platform {
        let wanted: cri::image::Platform = wanted.parse().context("--platform")?;
        if wanted.rank(&prepared.config.platform).is_none() {
            bail!("image {name:?} is for {}, not for {wanted}", prepared.config.platform);
        }
    }
    let origin = Origin::Image { name: name.clone(), id: prepared.id.to_string() };
    Ok((origin, crate::image::spec_image(&prepared.config), prepared.layers, command.to_vec()))
}

/// The options that need no container yet.
fn options(roots: &Roots, flags: &CreateFlags, modes: &Modes) -> Result<Options> {
    let isolation = &flags.isolation;
    let mut resources = flags.resources.resources()?;
    flags.fixed_resources.add_to(&mut resources)?;
    let mut devices = Vec::new();
    for flag in &flags.mounts.device {
        devices.extend(device::read(flag)?);
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
        network: choice(roots, &modes.network, "net")?,
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
            SecurityFlag::LabelDisable => {}
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

fn user_namespace(roots: &Roots, userns: &Userns) -> Result<UserNamespace> {
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
    for container in view::Container::list(roots)? {
        let linux = container.spec()?.linux.unwrap_or_default();
        let ranges = linux.uid_mappings.iter().chain(&linux.gid_mappings);
        taken.extend(ranges.map(|map| (map.host_id, map.host_id.saturating_add(map.size))));
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

/// A container that is being made. Dropped before [`Draft::keep`], it is removed.
pub(crate) struct Draft {
    roots: Roots,
    id: String,
    /// Given away when the container stays.
    lock: Option<Lock>,
    /// Files made outside of the container's directories.
    files: Vec<PathBuf>,
    /// Its anonymous volumes.
    volumes: Vec<PathBuf>,
}

impl Draft {
    /// Makes the directory, locks it, and takes the name.
    fn begin(roots: &Roots, flags: &CreateFlags) -> Result<Draft> {
        let id = id::new()?;
        let names = name::lock(roots)?;
        let dir = roots.container(&id);
        DirBuilder::new().mode(0o700).create(&dir).with_context(|| format!("mkdir({})", dir.display()))?;
        let directory = Directory::open(&dir)?.context("the directory that was just made is gone")?;
        let draft = Draft {
            roots: roots.clone(),
            id,
            lock: Some(directory.lock(Wait::No)?),
            files: Vec::new(),
            volumes: Vec::new(),
        };
        let name = match &flags.name {
            Some(name) => name.clone(),
            None => name::invent(roots)?,
        };
        // First the file: with it whoever removes what is left finds the link.
        write(&dir.join("name"), &name, 0o600)?;
        name::claim(roots, &names, &name, &draft.id)?;
        Ok(draft)
    }

    /// The right to change the container.
    pub(crate) fn lock(&self) -> &Lock {
        self.lock.as_ref().expect("only keep takes the lock, and the draft with it")
    }

    /// The container stays.
    pub(crate) fn keep(mut self) -> Option<Lock> {
        self.lock.take()
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        let Some(lock) = &self.lock else { return };
        for file in &self.files {
            let _gone_already = std::fs::remove_file(file);
        }
        let removed = remove::remove_with(&self.roots, &self.id, lock, Force::Yes, &self.volumes);
        if let Err(error) = removed {
            eprintln!("rtctl: {error:#}; remove it with rtctl rm -f {}", id::short(&self.id));
        }
    }
}

/// Removes what programs that ended in the middle of [`create`] left.
pub(crate) fn sweep(roots: &Roots) -> Result<()> {
    for id in view::all_ids(roots)? {
        if roots.container(&id).join("container.json").try_exists().unwrap_or(true) {
            continue;
        }
        // With the names locked nobody is between making a directory and locking it.
        let names = name::lock(roots)?;
        let Some(directory) = Directory::open(&roots.container(&id))? else { continue };
        let lock = match directory.lock(Wait::No) {
            Err(shim::local::Error::Busy(_) | shim::local::Error::Removed(_)) => continue,
            lock => lock?,
        };
        drop(names);
        if roots.container(&id).join("container.json").try_exists().unwrap_or(true) {
            continue;
        }
        match directory.remove_dead(&lock) {
            // A shim that is removing its container.
            Ok(()) | Err(shim::local::Error::Alive { .. }) => {}
            Err(error) => eprintln!("rtctl: remains of container {}: {error}", id::short(&id)),
        }
    }
    Ok(())
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
        if self.copies() {
            rootfs::copy_up(&root, "/", &upper.join("fs"), self.owner())?;
        }
        let user = self.flags.process.user.as_ref().unwrap_or(&self.plan.image.user).clone();
        let identity = cri::image::identity::resolve(&root, &user, &self.flags.process.group_add)?;
        let points = self.make_mounts(&mounts, &root)?;
        self.etc_files(&dir)?;
        self.plan.options.rootfs = match &self.plan.origin {
            Origin::Rootfs(rootfs) if !rootfs.overlay => rootfs.dir.clone(),
            _ if self.copies() => upper.join("fs").display().to_string(),
            Origin::Rootfs(_) | Origin::Image { .. } => "rootfs".to_owned(),
        };
        let Plan { image, options, host, .. } = &self.plan;
        let spec = cri::spec::build(&Input { id: &self.id, image, options, identity: &identity, host })?;
        write_json(&dir.join("config.json"), &spec)?;
        let record = self.record(&user, points, attachment, &task)?;
        if let Some(path) = &self.flags.cidfile {
            let path = std::path::absolute(path)?;
            let made = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o644).open(&path);
            let mut file = made.with_context(|| format!("--cidfile {}", path.display()))?;
            self.draft.files.push(path);
            file.write_all(self.id.as_bytes())?;
        }
        write_json(&dir.join("container.json"), &record)?;
        if !self.flags.rm && !anonymous.is_empty() {
            task.owned = kept;
            write_json(&dir.join("shim.json"), &task)?;
        }
        Ok(())
    }

    fn task(&self, attachment: Attachment) -> Result<Task> {
        let upper = self.roots.upper(&self.id);
        let owned = vec![upper.clone()];
        let lower = self.plan.lower.clone();
        let overlay = !lower.is_empty() && !self.copies();
        let layers = overlay.then(|| Layers { lower, upper: Some((upper.join("fs"), upper.join("work"))) });
        let stdin = match (self.flags.interactive, attachment) {
            (false, _) => Stdin::Closed,
            // End of file when the terminal or pipe of the foreground run ends.
            (true, Attachment::Foreground) => Stdin::Once,
            (true, Attachment::Background) => Stdin::Open,
        };
        let pid_file = self.flags.pidfile.as_ref().map(std::path::absolute).transpose().context("--pidfile")?;
        let stop_signal =
            self.stop_signal().map(|name| signal::parse(&name)).transpose().map_err(anyhow::Error::msg)?;
        Ok(Task {
            version: shim::layout::VERSION,
            layers,
            log: Some(upper.join("log")),
            stdin,
            restart: self.flags.restart,
            auto_remove: self.flags.rm,
            owned,
            pid_file,
            stop_signal,
            init: self.flags.process.init,
        })
    }

    /// Layers belong to the host's ids. In a user namespace they would be nobody's, so the container gets a copy that belongs to
    /// its own. (Id-mapped layers would save the copy; the runtime has none yet.)
    fn copies(&self) -> bool {
        matches!(self.plan.options.userns, UserNamespace::Mapped { .. }) && !self.plan.lower.is_empty()
    }

    /// Who owns what is copied for the container.
    fn owner(&self) -> Owner {
        match &self.plan.options.userns {
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
        let (mut uid, mut gid) = (like.uid(), like.gid());
        if let UserNamespace::Mapped { uids, gids } = &self.plan.options.userns {
            (uid, gid) = (host_id(uids, uid), host_id(gids, gid));
        }
        std::os::unix::fs::chown(&top, Some(uid), Some(gid)).with_context(|| format!("chown({})", top.display()))?;
        let mode = std::fs::Permissions::from_mode(like.mode() & 0o7777);
        std::fs::set_permissions(&top, mode).with_context(|| format!("chmod({})", top.display()))
    }

    /// All mounts: flags, then the image's volumes that no flag covers. Anonymous volumes get their names here.
    fn name_volumes(&self) -> Result<(Vec<MountFlag>, Vec<String>)> {
        let flags = &self.flags.mounts;
        let mut mounts: Vec<MountFlag> = flags.volume.iter().chain(&flags.mount).chain(&flags.tmpfs).cloned().collect();
        for destination in &self.plan.image.volumes {
            let text = crate::flag::volume::destination(destination).map_err(anyhow::Error::msg);
            let destination = text.context("volume of the image")?;
            if !mounts.iter().any(|mount| mount.destination == destination) {
                mounts.push(crate::flag::volume::volume(&destination).map_err(anyhow::Error::msg)?);
            }
        }
        let mut anonymous = Vec::new();
        for mount in &mut mounts {
            if let Source::Volume { name: name @ None, .. } = &mut mount.source {
                let new = id::new()?;
                anonymous.push(new.clone());
                *name = Some(new);
            }
        }
        Ok((mounts, anonymous))
    }

    /// Makes volumes and missing sources; sets the options' mounts.
    fn make_mounts(&mut self, mounts: &[MountFlag], root: &OwnedFd) -> Result<Vec<MountPoint>> {
        let mut points = Vec::new();
        for mount in mounts {
            let (target, kind, source) = match &mount.source {
                Source::Tmpfs { options } => {
                    (MountTarget::Tmpfs { options: options.clone() }, MountKind::Tmpfs, String::new())
                }
                Source::Bind { path, missing } => {
                    bind_source(path, *missing)?;
                    (self.bind(mount, path), MountKind::Bind, path.clone())
                }
                Source::Volume { name, copy } => {
                    let name = name.as_deref().context("an anonymous volume without name")?;
                    let (data, found) = volume::ensure(self.roots, name)?;
                    if found == Found::New {
                        self.give_to_root(&data)?;
                    }
                    if *copy {
                        volume::fill(root, &mount.destination, &data, self.owner())?;
                    }
                    let data = data.into_os_string().into_string();
                    let data = data.map_err(|data| anyhow!("{}: not UTF-8", data.display()))?;
                    let kind = MountKind::Volume { name: name.to_owned(), anonymous: id::is_id(name) };
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
                    Source::Volume { .. } | Source::Tmpfs { .. } => String::new(),
                },
            });
            self.plan.options.mounts.push(MountRequest {
                destination: mount.destination.clone(),
                target,
                read_only: mount.read_only,
            });
        }
        Ok(points)
    }

    fn bind(&self, mount: &MountFlag, source: &str) -> MountTarget {
        MountTarget::Bind { source: source.to_owned(), propagation: mount.propagation, recursion: mount.recursion }
    }

    /// In a user namespace a new volume belongs to the container's root.
    fn give_to_root(&self, path: &Path) -> Result<()> {
        let UserNamespace::Mapped { uids, gids } = &self.plan.options.userns else { return Ok(()) };
        let (uid, gid) = (host_id(uids, 0), host_id(gids, 0));
        std::os::unix::fs::chown(path, Some(uid), Some(gid)).with_context(|| format!("chown({})", path.display()))
    }

    /// `/etc/hostname`, `/etc/hosts` and `/etc/resolv.conf`: the container's own, or copies of the host's with its network.
    fn etc_files(&mut self, dir: &Path) -> Result<()> {
        let isolation = &self.flags.isolation;
        let own_name = match self.plan.options.uts {
            NamespaceChoice::Private => isolation.hostname.clone().unwrap_or_else(|| id::short(&self.id).to_owned()),
            NamespaceChoice::Host | NamespaceChoice::Join(_) => host_name()?,
        };
        let shared = matches!(self.plan.modes.network, Mode::Host);
        let hosts = if shared {
            let mut text = host_file("/etc/hosts")?;
            for entry in &isolation.add_host {
                text.push_str(&format!("{}\t{}\n", entry.address, entry.name));
            }
            text
        } else {
            cri::spec::hosts(&own_name, isolation.domainname.as_deref(), &isolation.add_host)
        };
        let resolver = cri::spec::Resolver {
            servers: isolation.dns.clone(),
            search: isolation.dns_search.clone(),
            options: isolation.dns_option.clone(),
        };
        let resolv_conf = cri::spec::resolv_conf(&host_file("/etc/resolv.conf")?, &resolver);
        for (name, text) in [("hostname", format!("{own_name}\n")), ("hosts", hosts), ("resolv.conf", resolv_conf)] {
            let path = dir.join(name);
            write(&path, &text, 0o644)?;
            self.give_to_root(&path)?;
            let source =
                path.into_os_string().into_string().map_err(|path| anyhow!("{}: not UTF-8", path.display()))?;
            self.plan.options.etc_files.push((format!("/etc/{name}"), source));
        }
        Ok(())
    }

    fn record(&self, user: &str, mounts: Vec<MountPoint>, attachment: Attachment, task: &Task) -> Result<Record> {
        let Plan { origin, image, command, options, labels, modes, .. } = &self.plan;
        let flags = self.flags;
        let isolation = &flags.isolation;
        let foreground = attachment == Attachment::Foreground;
        let attached = |stream| foreground && (flags.attach.is_empty() || flags.attach.contains(&stream));
        let cmd = match (&options.entrypoint, command.is_empty()) {
            (None, true) => image.cmd.clone(),
            (Some(_), _) | (None, false) => command.clone(),
        };
        let config = Config {
            hostname: isolation.hostname.clone().unwrap_or_else(|| id::short(&self.id).to_owned()),
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
            exposed_ports: image.exposed_ports.clone(),
        };
        let text = |list: &[std::net::IpAddr]| list.iter().map(ToString::to_string).collect();
        let host = HostConfig {
            auto_remove: flags.rm,
            network: modes.network.clone(),
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
            dns: text(&isolation.dns),
            dns_search: isolation.dns_search.clone(),
            dns_option: isolation.dns_option.clone(),
            extra_hosts: isolation.add_host.iter().map(|entry| format!("{}:{}", entry.name, entry.address)).collect(),
            shm_size: options.shm_size.unwrap_or(cri::spec::SHM_SIZE),
            cidfile: flags.cidfile.as_ref().map(|path| path.display().to_string()),
            nano_cpus: flags.resources.cpus.unwrap_or(0),
        };
        Ok(Record {
            version: VERSION,
            id: self.id.clone(),
            created: time::since_epoch(SystemTime::now()),
            origin: origin.clone(),
            command: cri::spec::command(image, options)?,
            config,
            host,
            mounts,
            log: task.log.as_ref().map(|path| path.display().to_string()),
        })
    }
}

fn options_text(mount: &MountFlag) -> String {
    match &mount.source {
        Source::Tmpfs { options } => options.join(","),
        Source::Bind { .. } | Source::Volume { .. } => (if mount.read_only { "ro" } else { "" }).to_owned(),
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

fn host_name() -> Result<String> {
    let name = nix::unistd::gethostname().context("gethostname")?;
    name.into_string().map_err(|name| anyhow!("host name {}: not UTF-8", name.display()))
}

/// A file of the host's /etc; one that is missing is empty.
fn host_file(path: &str) -> Result<String> {
    match env::read(Path::new(path)) {
        Ok(text) => Ok(text),
        Err(error) => match error.downcast_ref::<std::io::Error>() {
            Some(cause) if cause.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
            Some(_) | None => Err(error).with_context(|| path.to_owned()),
        },
    }
}

fn write_json(path: &Path, value: &impl serde::Serialize) -> Result<()> {
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
