//! Making a container: its directory, its writable layer, its configuration; complete, or nothing is left. Its process is made when it is
//! started.
//!
//! ```text
//!  image held ─▶ layers ─▶ directory, upper ─▶ who it is, what it mounts ─▶ config.json, shim.json ─▶ container.json: now it is there
//! ```

use std::fs;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::stat::Mode;
use runtime::overlay::{self, Syncing};
use runtime::root::{Links, open_in};
use runtime::sys::Call;
use shim::client::SOCKET_NAME;
use shim::layout::{Task, VERSION};
use shim::local::Wait;
use shim::record;

use super::apparmor;
use super::config::{ContainerConfig, GroupsPolicy, ImageSpec, MountSource, PidScope, Profile, User};
use super::device;
use super::engine::{Engine, blocking, now, private_dir};
use super::error::{Error, Io};
use super::event::EventKind;
use super::files;
use super::flight::{Key, Outcome, Patience, Steps};
use super::id::Id;
use super::plan::{self, ContainerInput, Defaults, ResolvedMount, Runner};
use super::propagation;
use super::record::{Applied, CONTAINERS, ContainerRecord, IMAGES, OWNER, UserRecord};
use super::run::open;
use super::selinux;
use super::state::{Container, ContainerChanging, ContainerState, Phase, Pod};
use crate::config::ImageVolumes;
use crate::copy::place::{Owner, copy_up};
use crate::image::Prepared;
use crate::image::identity::{self, Identity};
use crate::selinux::Labels;
use crate::spec::cdi::{self, Edits, Registry};
use crate::spec::{Host, Image};

/// Largest seccomp profile of the node that is read, in bytes.
const PROFILE_LIMIT: u64 = 4 << 20;

impl Engine {
    /// Makes a container in a pod that is ready, or joins whoever is making it; one that is there, was never started and is the same
    /// is found. CRI: CreateContainer
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NotReady`], [`Error::ContainerExists`], and the step that failed with its reason.
    pub async fn create_container(&self, pod: &str, config: ContainerConfig, patience: Patience) -> Outcome {
        let pod = self.find_pod(pod)?;
        let (engine, key) = (self.clone(), Key::Create(pod.id().clone(), config.metadata.clone()));
        let who = format!("container {} of pod sandbox {}", config.metadata.name, pod.id());
        let flight = self.0.flights.join(key, |steps| async move { engine.create_in(pod, config, steps).await });
        flight.end_within(patience, "CreateContainer", &who).await
    }

    async fn create_in(&self, pod: Arc<Pod>, config: ContainerConfig, steps: Steps) -> Result<Id, Error> {
        require_ready(&pod)?;
        let same = |container: &Arc<Container>| container.record.config.metadata == config.metadata;
        if let Some(before) = pod.containers().into_iter().find(same) {
            if before.state() == ContainerState::Created && before.record.config == config {
                return Ok(before.id().clone());
            }
            return Err(Error::ContainerExists { metadata: config.metadata, id: before.id().clone() });
        }
        let (engine, of) = (self.clone(), Arc::clone(&pod));
        let container = blocking(move || engine.make_container(&of, config, &steps)).await?;
        let id = container.id().clone();
        self.insert_container(&pod, &container);
        self.tell(&id, EventKind::Created, pod.id());
        Ok(id)
    }

    fn make_container(&self, pod: &Pod, config: ContainerConfig, steps: &Steps) -> Result<Arc<Container>, Error> {
        let id = Id::new().io(|| "read(/dev/urandom)".to_owned())?;
        let making = Making {
            engine: self,
            pod,
            dir: pod.dir.join(CONTAINERS).join(id.as_str()),
            upper: self.upper_dir(&id),
            id,
            config,
            steps,
        };
        match making.build() {
            Ok(container) => Ok(Arc::new(container)),
            Err(error) => {
                let undone = making.undo();
                self.release_images(&making.id);
                match undone {
                    Ok(()) => Err(error),
                    Err(undo) => Err(Error::Several(vec![error, undo.at("undoing it")])),
                }
            }
        }
    }
}

fn require_ready(pod: &Pod) -> Result<(), Error> {
    match pod.lock().phase {
        Phase::Ready => Ok(()),
        Phase::Stopping | Phase::NotReady | Phase::Removing => Err(Error::NotReady { id: pod.id().clone() }),
    }
}

/// A container on its way.
struct Making<'a> {
    engine: &'a Engine,
    pod: &'a Pod,
    id: Id,
    config: ContainerConfig,
    dir: PathBuf,
    upper: PathBuf,
    steps: &'a Steps,
}

impl Making<'_> {
    fn build(&self) -> Result<Container, Error> {
        let config = &self.config;
        self.steps.at("directory");
        fs::DirBuilder::new().mode(0o700).create(&self.dir).io(|| format!("mkdir({:?})", self.dir))?;
        let directory = open(&self.dir)?;
        // First of all what there is to remove.
        record::write(&directory, &remnant(&self.upper))?;
        self.steps.at("image");
        let prepared = self.image(&config.image).map_err(|error| error.at("image"))?;
        let labels = selinux::of_container(&self.pod.record, config);
        let mut mounted_images = Vec::new();
        self.steps.at("mounts");
        let mounts = self.mounts(&mut mounted_images, labels.as_ref()).map_err(|error| error.at("mounts"))?;

        self.steps.at("writable layer");
        self.writable_layer(&prepared)?;
        std::os::unix::fs::symlink(Path::new("../..").join(SOCKET_NAME), self.dir.join(SOCKET_NAME))
            .io(|| format!("symlink({SOCKET_NAME:?})"))?;

        self.steps.at("user");
        let image = Image::from(&prepared.config);
        let identity = self.identity(&prepared, &image)?;
        let defaults = self.defaults()?;

        self.steps.at("volumes");
        let volumes = self
            .volumes(&prepared, &image, &defaults, labels.as_ref())
            .map_err(|error| error.at("volumes of the image"))?;

        self.steps.at("configuration");
        let runner = self.engine.runner(&self.pod.record.handler)?;
        let mut plan = plan::container(&ContainerInput {
            id: self.id.as_str(),
            pod: &self.pod.record.config,
            config,
            image: &image,
            identity: &identity,
            host: &self.host(&runner)?,
            layers: &prepared.layers,
            upper: &self.upper,
            files: &self.pod.dir,
            mounts: &mounts,
            volumes: &volumes,
            devices: &device::read(&config.devices)?,
            cdi: &self.cdi()?,
            seccomp: self.seccomp()?.as_deref(),
            labels: labels.as_ref(),
            target_pid: self.target()?,
            defaults: &defaults,
            runner: &runner,
        })?;
        if let (Some(logs), Some(path)) = (&self.pod.record.config.log_directory, &config.log_path)
            && let Some(parent) = path.parent()
        {
            self.steps.at("log directory");
            let made = files::public_dir(logs).and_then(|()| files::public_dirs_below(logs, parent));
            made.map_err(|error| error.at("log directory"))?;
        }
        let parent = &self.pod.record.config.cgroup_parent;
        let path = self.engine.0.settings.cgroups.container_path(parent, self.id.as_str())?;
        plan.spec.linux.get_or_insert_default().cgroups_path = Some(path);
        record::replace(&directory, "config.json", &plan.spec)?;
        record::write(&directory, &plan.task)?;
        let applied = Applied { version: VERSION, resources: config.resources.clone() };
        record::write(&directory, &applied)?;
        let made = ContainerRecord {
            version: VERSION,
            id: self.id.clone(),
            pod: self.pod.id().clone(),
            config: config.clone(),
            created_at: now(),
            image_id: prepared.id.to_string(),
            mounted_images,
            user: UserRecord { uid: identity.uid, gid: identity.gid, groups: identity.additional_gids },
            stop_signal: plan.task.stop_signal.unwrap_or(nix::libc::SIGTERM),
        };
        // Under the lock: a pod that is being stopped does not get one more.
        let changing = self.pod.lock();
        if changing.phase != Phase::Ready {
            return Err(Error::NotReady { id: self.pod.id().clone() });
        }
        record::write(&directory, &made)?;
        drop(changing);
        let known = ContainerChanging { state: ContainerState::Created, resources: applied.resources };
        Ok(Container::new(made, &self.pod.record, self.dir.clone(), known))
    }

    fn undo(&self) -> Result<(), Error> {
        let Some(directory) = shim::local::Directory::open(&self.dir)? else { return Ok(()) };
        let lock = directory.lock(Wait::Yes)?;
        Ok(directory.remove(&lock, true)?)
    }

    /// Finds an image and keeps it; its layers are there afterwards.
    fn image(&self, spec: &ImageSpec) -> Result<Prepared, Error> {
        let store = &self.engine.0.store;
        let id = store.resolve(&spec.image)?.id;
        self.engine.hold_image(&self.id, &id);
        // For other programs that remove images.
        let path = self.dir.join(IMAGES);
        let file = fs::OpenOptions::new().append(true).create(true).open(&path);
        file.and_then(|mut file| writeln!(file, "{id}")).io(|| format!("write({path:?})"))?;
        Ok(store.prepare(&id.to_string(), &mut |_| {})?)
    }

    /// What the container mounts, all of it there.
    fn mounts(&self, images: &mut Vec<(String, String)>, labels: Option<&Labels>) -> Result<Vec<ResolvedMount>, Error> {
        let mut list = Vec::new();
        for (index, mount) in self.config.mounts.iter().enumerate() {
            list.push(match &mount.source {
                MountSource::Host(path) => {
                    // Not stat(2), which asks the disk: the daemon could not end as long as a dead one does not answer.
                    openat(AT_FDCWD, path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
                        .call(|| format!("open({path:?}, O_PATH): mount at {}", mount.container_path))?;
                    propagation::require(&format!("config.mounts[{index}]"), path, mount.propagation)?;
                    if let Some(labels) = labels.filter(|_| mount.selinux_relabel) {
                        selinux::relabel(path, &labels.mount)?;
                    }
                    ResolvedMount::Host(path.clone())
                }
                MountSource::Image { image, sub_path } => {
                    let prepared = self.image(image).map_err(|error| Error::Invalid {
                        field: format!("config.mounts: {}", mount.container_path),
                        problem: format!("ImageVolumeMountFailed: {error}"),
                    })?;
                    require_sub_path(&prepared.layers, sub_path).map_err(|error| Error::Invalid {
                        field: format!("config.mounts: {}", mount.container_path),
                        problem: format!("ImageVolumeMountFailed: image {}: {error}", image.image),
                    })?;
                    images.push((mount.container_path.clone(), prepared.id.to_string()));
                    ResolvedMount::Image { layers: prepared.layers, sub_path: sub_path.clone() }
                }
            });
        }
        Ok(list)
    }

    /// The writable layer: the top of it looks like the top of what is below.
    fn writable_layer(&self, prepared: &Prepared) -> Result<(), Error> {
        private_dir(&self.upper)?;
        let owner = self.upper.join(OWNER);
        let state = self.engine.0.settings.state.display().to_string();
        fs::write(&owner, state).io(|| format!("write({owner:?})"))?;
        for name in ["fs", "work"] {
            private_dir(&self.upper.join(name))?;
        }
        let top = self.upper.join("fs");
        let root = &prepared.root;
        std::os::unix::fs::chown(&top, Some(root.uid), Some(root.gid)).io(|| format!("chown({top:?})"))?;
        fs::set_permissions(&top, fs::Permissions::from_mode(root.mode & 0o7777)).io(|| format!("chmod({top:?})"))
    }

    /// Directories of its own for those that the image declares as volumes, with what the image has there. They go with the writable
    /// layer.
    fn volumes(
        &self,
        prepared: &Prepared,
        image: &Image,
        defaults: &Defaults,
        labels: Option<&Labels>,
    ) -> Result<Vec<(String, PathBuf)>, Error> {
        match defaults.image_volumes {
            ImageVolumes::Ignore => return Ok(Vec::new()),
            ImageVolumes::Private if image.volumes.is_empty() => return Ok(Vec::new()),
            ImageVolumes::Private => {}
        }
        let base = self.upper.join("volumes");
        private_dir(&base)?;
        let volumes = plan::volumes(&self.config, &image.volumes, &base);
        let root = root(&prepared.layers)?;
        for (destination, dir) in &volumes {
            private_dir(dir)?;
            // Whatever the umask is; the image may say otherwise.
            let mode = fs::Permissions::from_mode(0o755);
            fs::set_permissions(dir, mode).io(|| format!("chmod({dir:?})"))?;
            let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
            let open = nix::fcntl::open(dir, flags, Mode::empty()).call(|| format!("open({dir:?}, O_PATH)"))?;
            copy_up(&root, destination, open, Owner::Same)?;
            if let Some(labels) = labels {
                selinux::relabel(dir, &labels.mount)?;
            }
        }
        Ok(volumes)
    }

    /// Who its program is. CRI: SupplementalGroupsPolicy
    fn identity(&self, prepared: &Prepared, image: &Image) -> Result<Identity, Error> {
        let root = root(&prepared.layers)?;
        let (user, gid) = match &self.config.user {
            User::Image => (image.user.clone(), None),
            User::Id { uid, gid } => (uid.to_string(), *gid),
            User::Name { name, gid } => (name.clone(), *gid),
        };
        let mut identity = identity::resolve(&root, &user, &[])?;
        // The memberships of the user count also where a group is named.
        let name = user.split(':').next().unwrap_or_default();
        let members = match name == user {
            true => identity.additional_gids.clone(),
            false => identity::resolve(&root, name, &[])?.additional_gids,
        };
        identity.gid = gid.unwrap_or(identity.gid);
        identity.additional_gids = self.config.supplemental_groups.clone();
        identity.additional_gids.push(identity.gid);
        match self.config.supplemental_groups_policy {
            GroupsPolicy::Merge => identity.additional_gids.extend(members),
            GroupsPolicy::Strict => {}
        }
        identity.additional_gids.sort_unstable();
        identity.additional_gids.dedup();
        Ok(identity)
    }

    /// What the machine is like; its devices are read only where all of them are wanted.
    fn host(&self, runner: &Runner) -> Result<Host, Error> {
        let mut host = self.engine.0.host.clone();
        if self.config.privileged && runner.host_devices {
            host.devices = crate::spec::host_nodes(Path::new("/dev")).io(|| "readdir(\"/dev\")".to_owned())?;
        }
        Ok(host)
    }

    /// What it gets where it does not say otherwise: no AppArmor profile that is not loaded.
    fn defaults(&self) -> Result<Defaults, Error> {
        let loaded = apparmor::loaded(&self.engine.0.host)?;
        apparmor::require(&self.config, loaded.as_ref())?;
        self.engine.defaults(&self.pod.record.handler)
    }

    fn cdi(&self) -> Result<Edits, Error> {
        if self.config.cdi_devices.is_empty() {
            return Ok(Edits::default());
        }
        let invalid = |problem: String| Error::Invalid { field: "config.CDI_devices".to_owned(), problem };
        let names = self.config.cdi_devices.iter().map(|name| name.parse::<cdi::DeviceName>());
        let names: Vec<_> = names.collect::<Result<_, _>>().map_err(|error| invalid(error.to_string()))?;
        let registry = Registry::read(&self.engine.0.settings.daemon.now().cdi_spec_dirs);
        registry.resolve(&names).and_then(Edits::complete).map_err(|error| invalid(error.to_string()))
    }

    /// The text of a seccomp profile of the node.
    fn seccomp(&self) -> Result<Option<String>, Error> {
        let Some(Profile::Localhost(path)) = self.config.seccomp.as_ref().filter(|_| !self.config.privileged) else {
            return Ok(None);
        };
        let mut text = String::new();
        let file = fs::File::open(path).io(|| format!("open({path:?}): config.linux.security_context.seccomp"))?;
        file.take(PROFILE_LIMIT + 1).read_to_string(&mut text).io(|| format!("read({path:?})"))?;
        if text.len() as u64 > PROFILE_LIMIT {
            let problem = format!("{path}: larger than {PROFILE_LIMIT} bytes");
            return Err(Error::Invalid { field: "config.linux.security_context.seccomp".to_owned(), problem });
        }
        Ok(Some(text))
    }

    /// The process in whose pid namespace it runs.
    fn target(&self) -> Result<Option<i32>, Error> {
        let namespaces = self.config.namespaces.as_ref().unwrap_or(&self.pod.record.config.namespaces);
        let PidScope::Target(id) = &namespaces.pid else { return Ok(None) };
        let target = self.engine.find_container(id)?;
        if target.record.pod != *self.pod.id() {
            let field = "config.linux.security_context.namespace_options.target_id".to_owned();
            return Err(Error::Invalid { field, problem: format!("container {id} is in another pod") });
        }
        match target.state() {
            ContainerState::Running { pid, .. } => Ok(Some(pid)),
            state @ (ContainerState::Created | ContainerState::Exited(_)) => {
                Err(Error::WrongState { id: target.id().clone(), state: state.word(), wanted: "running" })
            }
        }
    }
}

/// What is to be removed of a container that did not come about.
fn remnant(upper: &Path) -> Task {
    Task {
        version: VERSION,
        layers: None,
        log: None,
        stdin: shim::layout::Stdin::Closed,
        restart: shim::layout::RestartPolicy::No,
        auto_remove: false,
        owned: vec![upper.to_owned()],
        pid_file: None,
        stop_signal: None,
        init: false,
        health: None,
        events: None,
        sandbox: Vec::new(),
        image_mounts: Vec::new(),
        program: None,
    }
}

/// Whether there is such a path in an image; links lead nowhere out of it.
fn require_sub_path(layers: &[PathBuf], sub_path: &str) -> Result<(), Error> {
    if !sub_path.is_empty() {
        open_in(root(layers)?, sub_path.as_ref(), OFlag::O_PATH, Links::InRoot)?;
    }
    Ok(())
}

/// The layers of an image, read-only.
fn root(lower: &[PathBuf]) -> Result<OwnedFd, Error> {
    match lower {
        [] => Err(Error::Invalid { field: "config.image".to_owned(), problem: "the image has no layers".to_owned() }),
        // The kernel takes no overlay of a single layer.
        [only] => {
            let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
            Ok(nix::fcntl::open(only, flags, Mode::empty()).call(|| format!("open({only:?}, O_PATH)"))?)
        }
        lower => Ok(overlay::mount(lower, None, Syncing::OnRequest)?),
    }
}
