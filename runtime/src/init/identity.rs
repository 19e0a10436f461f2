//! Who the process is: limits, user, groups, capabilities, labels.
//!
//! Without `noNewPrivileges` a filter can be loaded, and rules of Landlock be taken, only with CAP_SYS_ADMIN, but should be loaded last: the capability is kept
//! until [`Identity::complete`], one capset(2) after the filter.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use caps::Capability;
use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::sys::stat::{Mode, umask};

use super::{At, Bounds, Failure, Step, enter_directory, scheduling};
use crate::launch::Channel;
use crate::plan::{Capabilities, Process};
use crate::sys::caps::{self as capset, CapSet};
use crate::sys::process::{new_session_keyring, set_groups, set_ids, set_rlimit};
use crate::sys::{Call, CallError};

/// Highest capability number tried; the kernel says where its own end is.
const LAST: u8 = 63;

/// An identity that is assumed but for its last step.
pub(super) struct Identity {
    capabilities: Capabilities,
    kept: CapSet,
    /// User id, for the home directory.
    pub uid: u32,
}

/// Asks to be killed when the parent ends.
pub(super) fn die_with_parent() -> Result<(), CallError> {
    prctl::set_pdeathsig(Signal::SIGKILL).call(|| "prctl(PR_SET_PDEATHSIG, SIGKILL)".to_owned())
}

/// A session keyring of its own; kernels without keyrings, and users out of quota, have nothing to hide or to share.
pub(super) fn hide_keyring() -> Result<(), CallError> {
    match new_session_keyring() {
        Ok(()) | Err(Errno::ENOSYS | Errno::EDQUOT) => Ok(()),
        Err(errno) => Err(errno).call(|| "keyctl(KEYCTL_JOIN_SESSION_KEYRING)".to_owned()),
    }
}

/// Writes oom_score_adj while the host's procfs is in reach. Lowering it needs CAP_SYS_RESOURCE: without, it stays as it is,
/// and a warning says so.
pub(super) fn oom_score(process: &Process, channel: &Channel) -> Result<(), CallError> {
    let Some(value) = process.oom_score_adj else { return Ok(()) };
    let path = "/proc/self/oom_score_adj";
    // One write: the kernel takes each for a whole number.
    let text = value.to_string();
    let written = OpenOptions::new().write(true).open(path).and_then(|mut file| file.write_all(text.as_bytes()));
    match written.call(|| format!("write({path:?}, \"{value}\")")) {
        Err(error) if error.errno == Errno::EACCES => {
            channel.warning(&format!("{error}: lowering it needs CAP_SYS_RESOURCE; it stays as it is"))
        }
        result => result,
    }
}

/// Files that take a label, most for execve, opened while the host's procfs is in reach (CVE-2019-16884).
pub(super) struct Labels(Vec<Label>);

type Label = (std::fs::File, String, String);

impl Labels {
    pub(super) fn prepare(process: &Process) -> Result<Self, CallError> {
        let mut labels = Vec::new();
        labels.extend(apparmor(process, "exec", "exec")?);
        if let Some(label) = &process.selinux {
            labels.push(selinux("/proc/self/attr/exec", label)?);
        }
        Ok(Self(labels))
    }

    /// Those of the process for one beside it that executes nothing.
    pub(super) fn beside(process: &Process) -> Result<Self, CallError> {
        let mut labels = Self::of_itself(process.selinux.as_deref())?;
        labels.0.extend(apparmor(process, "current", "changeprofile")?);
        Ok(labels)
    }

    /// The SELinux label of a process that executes nothing.
    pub(super) fn of_itself(label: Option<&str>) -> Result<Self, CallError> {
        let label = label.map(|label| selinux("/proc/self/attr/current", label)).transpose()?;
        Ok(Self(label.into_iter().collect()))
    }

    /// Nothing to be applied (any more).
    pub(super) fn none() -> Self {
        Self(Vec::new())
    }

    /// Sets the labels; a child inherits them until it executes a program.
    pub(super) fn apply(self) -> Result<(), CallError> {
        for (mut file, label, path) in self.0 {
            file.write_all(label.as_bytes()).call(|| format!("write({path:?}, {label:?})"))?;
        }
        Ok(())
    }
}

fn writable(path: &str, lsm: &str) -> Result<std::fs::File, CallError> {
    let file = OpenOptions::new().write(true).open(path);
    file.call(|| format!("open({path:?}): {lsm} is not active on this host"))
}

/// `verb` is what the file of this name takes, apparmor(7).
fn apparmor(process: &Process, name: &str, verb: &str) -> Result<Option<Label>, CallError> {
    let Some(profile) = process.apparmor.as_deref().filter(|profile| *profile != "unconfined") else { return Ok(None) };
    // KERNEL(5.1): a file of its own; before, all modules shared one.
    let own = format!("/proc/self/attr/apparmor/{name}");
    let file = match writable(&own, "AppArmor") {
        Err(error) if error.errno == Errno::ENOENT && Path::new("/sys/module/apparmor").is_dir() => {
            writable(&format!("/proc/self/attr/{name}"), "AppArmor")
        }
        result => result,
    }?;
    Ok(Some((file, format!("{verb} {profile}"), own)))
}

fn selinux(path: &str, label: &str) -> Result<Label, CallError> {
    if !Path::new("/sys/fs/selinux").is_dir() {
        return Err(Errno::ENOENT).call(|| "stat(\"/sys/fs/selinux\"): SELinux is not active on this host".to_owned());
    }
    Ok((writable(path, "SELinux")?, label.to_owned(), path.to_owned()))
}

/// Whose supplementary groups the new process begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Groups {
    /// Root's: they must go.
    OfRoot,
    /// An ordinary user's, who in a user namespace with a single id may not drop them (CVE-2014-8989).
    OfUser,
}

impl Groups {
    pub(crate) fn of_caller() -> Self {
        if crate::rootless::is_hosts_root() { Self::OfRoot } else { Self::OfUser }
    }
}

/// Becomes the process's user with its limits and capabilities, in its working directory.
pub(super) fn assume(
    process: &Process,
    labels: Labels,
    bounds: Bounds<'_>,
    groups: Groups,
) -> Result<Identity, Failure> {
    let Capabilities { bounding, effective, permitted, inheritable, ambient } = process.capabilities;
    limits(process).at(Step::Identity)?;
    scheduling::priorities(process).at(Step::Identity)?;
    let entered = enter_directory(&process.cwd);
    drop_bounding(bounding).at(Step::Identity)?;
    if process.uid != 0 {
        prctl::set_keepcaps(true).call(|| "prctl(PR_SET_KEEPCAPS, 1)".to_owned()).at(Step::Identity)?;
    }
    match set_groups(&process.groups) {
        Err(Errno::EPERM) if groups == Groups::OfUser && process.groups.is_empty() => {}
        result => result.call(|| format!("setgroups({:?})", process.groups)).at(Step::Identity)?,
    }
    let (uid, gid) = (process.uid, process.gid);
    set_ids(uid, gid).call(|| format!("setresuid({uid}), setresgid({gid})")).at(Step::Identity)?;
    let kept = match bounds {
        Bounds { filter: None, landlock: None } => CapSet::default(),
        Bounds { .. } if process.no_new_privileges => CapSet::default(),
        Bounds { .. } => CapSet::from_iter([Capability::CAP_SYS_ADMIN]).without(permitted),
    };
    let with_kept = |set: CapSet| CapSet(set.0 | kept.0);
    capset::set(with_kept(effective), with_kept(permitted), inheritable)
        .call(|| format!("capset(permitted {:#x})", with_kept(permitted).0))
        .at(Step::Identity)?;
    for number in (0..=LAST).filter(|number| ambient.0 & 1 << number != 0) {
        capset::raise_ambient(number).call(|| format!("prctl(PR_CAP_AMBIENT_RAISE, {number})")).at(Step::Identity)?;
    }
    match entered {
        // A directory that root may not enter but the user may: network file systems do that.
        Err(error) if error.errno == Errno::EACCES => enter_directory(&process.cwd).at(Step::Cwd)?,
        result => result.at(Step::Cwd)?,
    }
    umask(Mode::from_bits_truncate(process.umask));
    if process.no_new_privileges {
        prctl::set_no_new_privs().call(|| "prctl(PR_SET_NO_NEW_PRIVS)".to_owned()).at(Step::Identity)?;
    }
    labels.apply().at(Step::Label)?;
    Ok(Identity { capabilities: process.capabilities, kept, uid })
}

impl Identity {
    /// Gives up what was kept for loading the filter.
    pub(super) fn complete(&self) -> Result<(), CallError> {
        if self.kept == CapSet::default() {
            return Ok(());
        }
        let Capabilities { effective, permitted, inheritable, .. } = self.capabilities;
        capset::set(effective, permitted, inheritable).call(|| format!("capset(permitted {:#x})", permitted.0))
    }
}

fn limits(process: &Process) -> Result<(), CallError> {
    for limit in &process.rlimits {
        set_rlimit(limit.resource, limit.soft, limit.hard)
            .call(|| format!("prlimit({}, {}, {})", limit.resource, limit.soft, limit.hard))?;
    }
    Ok(())
}

/// There is no call for more than one at a time.
fn drop_bounding(bounding: CapSet) -> Result<(), CallError> {
    for number in (0..=LAST).filter(|number| bounding.0 & 1 << number == 0) {
        match capset::drop_bounding(number) {
            Ok(()) => {}
            Err(Errno::EINVAL) => break,
            Err(errno) => return Err(errno).call(|| format!("prctl(PR_CAPBSET_DROP, {number})")),
        }
    }
    Ok(())
}
