//! The process in which a sandbox's namespaces are made, and which is process 1 of its pid namespace, if there is one.
//!
//! ```text
//!  ids ▸ session ▸ loopback ▸ host name ▸ sysctls ▸ [root] ▸ [privileges] ▸ created … the parent opens the namespaces ▸ ends
//!                                                                                     or [label] ▸ reaps until its parent ends
//! ```
//!
//! Containers see a process 1, and one that may trace other processes reaches into it: it has an empty, read-only root, no
//! descriptors, no capabilities, and may make no system call but the one it waits with.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::mount::{MsFlags, mount};
use nix::unistd::setsid;

use super::{At, Failure, Step, close_others, identity, mounts, pivot, write_below};
use crate::launch::Channel;
use crate::plan::{Parameter, SandboxPlan};
use crate::root::Root;
use crate::seccomp;
use crate::spec::NamespaceKind;
use crate::sys::caps::{self, CapSet};
use crate::sys::entry::replace_arguments;
use crate::sys::mount::{attr, move_mount_to_root};
use crate::sys::process::{close_all_but, exit_now, ignore_signal, set_ids};
use crate::sys::{Call, CallError, network};

/// The child of clone3(2).
pub(crate) struct Sandbox<'a> {
    pub plan: &'a SandboxPlan,
    pub channel: Channel,
    /// The host's procfs, which shows each process the parameters of its own namespaces.
    pub proc: Option<OwnedFd>,
    /// What process 1 may do.
    pub filter: Option<&'a seccomp::Program>,
}

impl Sandbox<'_> {
    /// All that the parent opened for the child.
    pub(crate) fn into_descriptors(self) -> Vec<OwnedFd> {
        let mut all = vec![OwnedFd::from(self.channel)];
        all.extend(self.proc);
        all
    }

    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let mut all = vec![self.channel.as_fd()];
        all.extend(self.proc.as_ref().map(AsFd::as_fd));
        all
    }

    /// Makes the namespaces into the sandbox's.
    pub(crate) fn run(self) -> ! {
        match self.steps() {
            Ok(()) => exit_now(0),
            Err(failure) => {
                self.channel.failed(&failure);
                exit_now(super::FAILED)
            }
        }
    }

    fn steps(&self) -> Result<(), Failure> {
        let plan = self.plan;
        close_others(&self.descriptors(), 0).at(Step::Session)?;
        identity::die_with_parent().at(Step::Session)?;
        if plan.namespaces.makes(NamespaceKind::User) {
            self.channel.wait().at(Step::UserNamespace)?;
            set_ids(0, 0).call(|| "setresuid(0, 0, 0)".to_owned()).at(Step::UserNamespace)?;
            // The change of user has cleared it.
            identity::die_with_parent().at(Step::Session)?;
        }
        if plan.namespaces.makes(NamespaceKind::Network) {
            network::loopback_up().call(|| "ioctl(lo, SIOCSIFFLAGS, IFF_UP)".to_owned()).at(Step::Network)?;
        }
        super::names(plan.hostname.as_deref(), plan.domainname.as_deref()).at(Step::Hostname)?;
        for sysctl in &plan.sysctls {
            let proc = self.proc.as_ref().expect("the parent opened procfs for the parameters");
            write_below(proc, &sysctl.path, sysctl.value.as_bytes()).at(Step::Sysctl)?;
        }
        if !plan.namespaces.makes(NamespaceKind::Pid) {
            self.channel.created().at(Step::Start)?;
            // The end of file, once the parent has opened the namespaces or has gone itself: both mean the end.
            let _ = self.channel.wait();
            return Ok(());
        }
        setsid().call(|| "setsid()".to_owned()).at(Step::Session)?;
        identity::hide_keyring().at(Step::Session)?;
        let label = identity::Labels::of_itself(plan.process_label.as_deref()).at(Step::Label)?;
        empty_root(plan.mount_label.as_deref()).at(Step::Root)?;
        // Children that are not its own are reaped by the kernel when nobody waits for them, wait(2).
        ignore_signal(libc::SIGCHLD, true).call(|| "sigaction(SIGCHLD, SIG_IGN)".to_owned()).at(Step::Session)?;
        replace_arguments("init");
        nix::sys::prctl::set_name(c"init").call(|| "prctl(PR_SET_NAME)".to_owned()).at(Step::Session)?;
        drop_privileges().at(Step::Identity)?;
        self.channel.created().at(Step::Start)?;
        label.apply().at(Step::Label)?;
        close_all_but(Vec::new(), 0).call(|| "close_range()".to_owned()).at(Step::Session)?;
        // Before this it could not have told, and after it nothing can go wrong that it could tell.
        if let Some(filter) = self.filter
            && crate::sys::seccomp::load(filter).is_err()
        {
            exit_now(super::FAILED);
        }
        loop {
            nix::unistd::pause();
        }
    }
}

/// An empty directory that nobody can write to instead of the host's.
fn empty_root(context: Option<&CStr>) -> Result<(), CallError> {
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
        .call(|| "mount(\"/\", MS_REC|MS_PRIVATE)".to_owned())?;
    let mut parameters = vec![Parameter::Value(c"mode".into(), c"555".into())];
    parameters.extend(context.map(|context| Parameter::Value(c"context".into(), context.into())));
    let attributes = attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC;
    let tmpfs = mounts::new_mount(c"tmpfs", c"init", &parameters, attributes)?;
    move_mount_to_root(&tmpfs).call(|| "move_mount(<tmpfs>, \"/\")".to_owned())?;
    pivot(&Root::new(tmpfs))
}

/// No capabilities, now or ever.
fn drop_privileges() -> Result<(), CallError> {
    nix::sys::prctl::set_no_new_privs().call(|| "prctl(PR_SET_NO_NEW_PRIVS)".to_owned())?;
    let none = CapSet::default();
    caps::set(none, none, none).call(|| "capset(0, 0, 0)".to_owned())
}
