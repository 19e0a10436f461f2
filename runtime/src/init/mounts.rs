//! The container's mounts, each attached by descriptor: nothing between look-up and mount can be swapped (CVE-2021-30465).

use std::borrow::Cow;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, readlinkat};
use nix::sys::stat::{Mode, SFlag, fstat, mkdirat};
use nix::unistd::symlinkat;

use super::{Create, Failure, Step, copy_up, leave, write_below};
use crate::plan::{Extra, Mount, Options, Parameter, Plan, Source};
use crate::root::{Links, Root, open_leaf, split};
use crate::sys::mount::{
    Attributes, Depth, attr, file_type, fsconfig_create, fsconfig_flag, fsconfig_string, fsmount, fsopen,
    mount_setattr, move_mount,
};
use crate::sys::{Call, CallError, xattr};

/// Descriptors of mounts that later steps work on.
#[derive(Default)]
pub(super) struct Made {
    /// The container's procfs.
    pub proc: Option<OwnedFd>,
    /// Its devpts.
    pub devpts: Option<OwnedFd>,
    /// The first tmpfs that was mounted where no link leads, `/dev` that is, and its place.
    fresh: Option<(PathBuf, OwnedFd)>,
}

impl Made {
    /// The mount on `/dev`, if nothing was there before.
    pub(super) fn dev(&self) -> Option<&OwnedFd> {
        self.fresh.as_ref().filter(|(place, _)| place == Path::new("dev")).map(|(_, dev)| dev)
    }

    /// No later step works on them.
    pub(super) fn leave(self) {
        let Self { proc, devpts, fresh } = self;
        [proc, devpts, fresh.map(|(_, fd)| fd)].into_iter().flatten().for_each(leave);
    }
}

/// Makes the mounts of the plan in their order.
pub(super) fn make(create: &mut Create<'_>, root: &Root) -> Result<Made, Failure> {
    let mut made = Made::default();
    for (index, mount) in create.plan.mounts.iter().enumerate() {
        let attached = match &mount.source {
            Source::Bind(..) => {
                let source = create.sources[index].take().expect("the parent opened each bind source");
                bind(root, mount, source)
            }
            Source::FileSystem { kind, source, parameters } => {
                let label = create.plan.mount_label.as_deref();
                let parameters = labelled(mount, parameters, label);
                let new = file_system(root, mount, made.fresh.as_ref(), (kind, source), parameters);
                match (&new, label) {
                    (Ok(Some(queues)), Some(label)) if mount.is("mqueue") => label_queues(queues, label).and(new),
                    _ => new,
                }
            }
            Source::Remount => remount(root, mount),
            Source::Cgroup => cgroup(root, mount, std::mem::take(&mut create.cgroups)),
        };
        let attached = attached.map_err(|error| Failure {
            step: Step::Mounts,
            errno: error.errno,
            text: format!("mounts[{index}] (\"/{}\"): {error}", mount.destination.display()),
        })?;
        if made.fresh.as_ref().is_some_and(|(place, _)| place.starts_with(&mount.destination)) {
            // It is covered now.
            made.fresh = None;
        }
        match attached {
            Some(fd) if mount.is("tmpfs") && mount.links() == Links::Refuse && made.fresh.is_none() => {
                made.fresh = Some((mount.destination.clone(), fd));
            }
            Some(fd) if mount.is("proc") && mount.destination == Path::new("proc") => made.proc = Some(fd),
            Some(fd) if mount.is("devpts") && mount.destination == Path::new("dev/pts") => made.devpts = Some(fd),
            Some(fd) => leave(fd),
            None => {}
        }
    }
    Ok(made)
}

/// A new directory in the root of a tmpfs that was just mounted; nothing where it is somewhere else, or not new.
fn in_fresh(fresh: Option<&(PathBuf, OwnedFd)>, path: &Path) -> Option<OwnedFd> {
    let (parent, name) = split(path);
    let (_, tmpfs) = fresh.filter(|(place, _)| place == parent)?;
    mkdirat(tmpfs, name, Mode::from_bits_truncate(0o755)).ok()?;
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(tmpfs, name, flags, Mode::empty()).ok()
}

/// Where a mount goes: a directory or a file, made if it is missing.
fn target(root: &Root, mount: &Mount, directory: bool) -> Result<OwnedFd, CallError> {
    let (path, links) = (&mount.destination, mount.links());
    if mount.options.has(Extra::TargetNoFollow) {
        let (parent, name) = split(path);
        let parent = root.make_directory(parent, links)?;
        if let Some(link) = open_leaf(&parent, name).ok().filter(is_link) {
            return Ok(link);
        }
    }
    if directory { root.make_directory(path, links) } else { root.make_file(path, links) }
}

fn bind(root: &Root, mount: &Mount, source: OwnedFd) -> Result<Option<OwnedFd>, CallError> {
    if mount.options.has(Extra::CopySymlink) && is_link(&source) {
        return copy_link(root, mount, &source);
    }
    let directory = is_directory(&source)?;
    let target = target(root, mount, directory)?;
    let call = || format!("move_mount(<source>, \"/{}\")", mount.destination.display());
    match move_mount(&source, &target) {
        // Callers look for the words of that error.
        Err(Errno::EINVAL) if !directory && is_directory(&target)? => {
            return Err(Errno::ENOTDIR).call(|| format!("{}: a file goes to no directory", call()));
        }
        moved => moved.call(call)?,
    }
    leave(source);
    leave(target);
    Ok(None)
}

fn copy_link(root: &Root, mount: &Mount, source: &OwnedFd) -> Result<Option<OwnedFd>, CallError> {
    let (parent, name) = split(&mount.destination);
    let parent = root.make_directory(parent, mount.links())?;
    let text = readlinkat(source, "").call(|| "readlinkat(<source>)".to_owned())?;
    match symlinkat(text.as_os_str(), &parent, name) {
        Err(Errno::EEXIST) if readlinkat(&parent, name).is_ok_and(|there| there == text) => Ok(None),
        result => result.map(|()| None).call(|| format!("symlinkat({text:?}, \"/{}\")", mount.destination.display())),
    }
}

fn remount(root: &Root, mount: &Mount) -> Result<Option<OwnedFd>, CallError> {
    let target = root.open(&mount.destination, OFlag::O_PATH, mount.links())?;
    mount_setattr(&target, Depth::Single, mount.options.attributes)
        .and_then(|()| set_recursive(&target, &mount.options))
        .call(|| format!("mount_setattr(\"/{}\"): remount", mount.destination.display()))?;
    Ok(None)
}

/// Gives the root of a message queue file system the container's SELinux label: it takes none as a parameter, but for its files.
fn label_queues(mount: &OwnedFd, label: &CStr) -> Result<(), CallError> {
    let root = openat(mount, ".", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
        .call(|| "openat(<mqueue>, \".\")".to_owned())?;
    match xattr::fset(&root, c"security.selinux", label.to_bytes()) {
        Err(Errno::EOPNOTSUPP) => Ok(()),
        set => set.call(|| format!("fsetxattr(<mqueue>, \"security.selinux\", {label:?})")),
    }
}

/// The parameters with the SELinux context of new file systems; the kernel has its own for procfs, sysfs and message queues.
fn labelled<'a>(mount: &Mount, parameters: &'a [Parameter], label: Option<&CStr>) -> Cow<'a, [Parameter]> {
    let mut parameters = Cow::Borrowed(parameters);
    let own = mount.is("proc") || mount.is("sysfs") || mount.is("mqueue");
    if let Some(label) = label.filter(|_| !own) {
        parameters.to_mut().push(Parameter::Value(c"context".into(), label.into()));
    }
    parameters
}

fn file_system(
    root: &Root,
    mount: &Mount,
    fresh: Option<&(PathBuf, OwnedFd)>,
    (kind, source): (&CStr, &CStr),
    mut parameters: Cow<'_, [Parameter]>,
) -> Result<Option<OwnedFd>, CallError> {
    let attributes = mount.options.attributes.set;
    // A tmpfs has the mode of the directory that it covers, unless it is told another one, as runc has it.
    let has_mode = parameters.iter().any(|one| matches!(one, Parameter::Value(key, _) if key.as_c_str() == c"mode"));
    if kind == c"tmpfs"
        && !has_mode
        && let Ok(there) = root.open(&mount.destination, OFlag::O_PATH, mount.links())
    {
        let mode = fstat(&there).call(|| "fstat(<target>)".to_owned())?.st_mode & 0o7777;
        let mode = CString::new(format!("{mode:o}")).expect("made of digits");
        parameters.to_mut().push(Parameter::Value(c"mode".into(), mode));
    }
    let target = match in_fresh(fresh, &mount.destination) {
        Some(directory) => directory,
        None => target(root, mount, true)?,
    };
    if !mount.options.has(Extra::CopyUp) {
        let new = new_mount(kind, source, &parameters, attributes)?;
        attach(&new, &target, &mount.options, &mount.destination)?;
        leave(target);
        return Ok(Some(new));
    }
    let new = new_mount(kind, source, &parameters, attributes & !attr::RDONLY)?;
    copy_up::copy(&target, &new)?;
    if attributes & attr::RDONLY != 0 {
        let readonly = Attributes { set: attr::RDONLY, ..Attributes::default() };
        mount_setattr(&new, Depth::Single, readonly).call(|| "mount_setattr(<tmpfs>, RDONLY)".to_owned())?;
    }
    attach(&new, &target, &mount.options, &mount.destination)?;
    Ok(Some(new))
}

/// A detached mount of a new file system.
pub(super) fn new_mount(
    kind: &CStr,
    source: &CStr,
    parameters: &[Parameter],
    attributes: u64,
) -> Result<OwnedFd, CallError> {
    let fs = fsopen(kind).call(|| format!("fsopen({kind:?})"))?;
    fsconfig_string(&fs, c"source", source).call(|| format!("fsconfig(<{kind:?}>, \"source\", {source:?})"))?;
    for parameter in parameters {
        match parameter {
            Parameter::Flag(key) => {
                fsconfig_flag(&fs, key).call(|| explain(&fs, format!("fsconfig(<{kind:?}>, {key:?})")))?
            }
            Parameter::Value(key, value) => fsconfig_string(&fs, key, value)
                .call(|| explain(&fs, format!("fsconfig(<{kind:?}>, {key:?}, {value:?})")))?,
        }
    }
    fsconfig_create(&fs).call(|| explain(&fs, format!("fsconfig(<{kind:?}>, FSCONFIG_CMD_CREATE)")))?;
    let mount = fsmount(&fs, attributes).call(|| format!("fsmount(<{kind:?}>, {attributes:#x})"))?;
    leave(fs);
    Ok(mount)
}

/// Adds what the kernel logged on a file system context.
fn explain(fs: &OwnedFd, call: String) -> String {
    let mut buffer = [0; 512];
    match nix::unistd::read(fs, &mut buffer) {
        Ok(length) if length > 2 => format!("{call} ({})", String::from_utf8_lossy(&buffer[2..length]).trim_end()),
        Ok(_) | Err(_) => call,
    }
}

fn attach(new: &OwnedFd, target: &OwnedFd, options: &Options, destination: &Path) -> Result<(), CallError> {
    let call = |name: &str| format!("{name}(\"/{}\")", destination.display());
    set_recursive(new, options).call(|| call("mount_setattr"))?;
    move_mount(new, target).call(|| call("move_mount"))
}

/// Recursive attributes and propagation of a detached mount.
pub(crate) fn set_recursive(mount: impl AsFd, options: &Options) -> Result<(), Errno> {
    if !options.recursive.is_empty() {
        mount_setattr(&mount, Depth::Recursive, options.recursive)?;
    }
    for (propagation, depth) in &options.propagation {
        mount_setattr(&mount, *depth, Attributes { propagation: *propagation, ..Attributes::default() })?;
    }
    Ok(())
}

/// The container's own groups: on a unified hierarchy one directory, on v1 one below a tmpfs for each hierarchy.
fn cgroup(
    root: &Root,
    mount: &Mount,
    mut groups: Vec<(std::path::PathBuf, OwnedFd)>,
) -> Result<Option<OwnedFd>, CallError> {
    let target = root.make_directory(&mount.destination, mount.links())?;
    if let [(directory, _)] = groups.as_slice()
        && directory.as_os_str().is_empty()
    {
        let (_, group) = groups.swap_remove(0);
        attach(&group, &target, &mount.options, &mount.destination)?;
        leave(group);
        leave(target);
        return Ok(None);
    }
    let mode = Parameter::Value(c"mode".into(), c"755".into());
    let writable = mount.options.attributes.set & !attr::RDONLY;
    let tmpfs = new_mount(c"tmpfs", c"cgroup", &[mode], writable)?;
    move_mount(&tmpfs, &target).call(|| format!("move_mount(\"/{}\")", mount.destination.display()))?;
    for (name, group) in groups {
        mkdirat(&tmpfs, &name, Mode::from_bits_truncate(0o755)).call(|| format!("mkdirat(<cgroup>, {name:?})"))?;
        let directory = open_leaf(&tmpfs, &name)?;
        move_mount(&group, &directory).call(|| format!("move_mount(<cgroup>, {name:?})"))?;
        let text = name.to_string_lossy();
        for alias in text.split(',').filter(|alias| *alias != text) {
            symlinkat(name.as_path(), &tmpfs, alias).call(|| format!("symlinkat({name:?}, <cgroup>, {alias:?})"))?;
        }
    }
    if mount.options.attributes.set & attr::RDONLY != 0 {
        let readonly = Attributes { set: attr::RDONLY, ..Attributes::default() };
        mount_setattr(&tmpfs, Depth::Single, readonly).call(|| "mount_setattr(<cgroup>, RDONLY)".to_owned())?;
    }
    Ok(None)
}

/// Writes the kernel parameters by a procfs that nobody else has touched yet.
pub(super) fn sysctls(plan: &Plan, proc: Option<&OwnedFd>) -> Result<(), CallError> {
    if plan.sysctls.is_empty() {
        return Ok(());
    }
    let private;
    let proc = match proc {
        Some(proc) => proc,
        None => {
            private = new_mount(c"proc", c"proc", &[], attr::NOSUID | attr::NODEV | attr::NOEXEC)?;
            &private
        }
    };
    plan.sysctls.iter().try_for_each(|sysctl| write_below(proc, &sysctl.path, sysctl.value.as_bytes()))
}

/// Whether a descriptor is of a symbolic link.
pub(crate) fn is_link(fd: &OwnedFd) -> bool {
    file_type(fd).is_ok_and(|found| found == SFlag::S_IFLNK)
}

/// Whether a descriptor is of a directory.
fn is_directory(fd: &OwnedFd) -> Result<bool, CallError> {
    Ok(file_type(fd).call(|| "statx(<source>, AT_STATX_DONT_SYNC)".to_owned())? == SFlag::S_IFDIR)
}
