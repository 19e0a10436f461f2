//! A new time namespace, time_namespaces(7).

use std::fs::OpenOptions;
use std::io::Write;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::stat::Mode;

use crate::plan::namespaces::flag;
use crate::spec::NamespaceKind;
use crate::sys::{Call, CallError};

/// Makes one with these offsets and enters it, while the host's procfs is in reach. KERNEL(5.6)
pub(super) fn enter(offsets: &str) -> Result<(), CallError> {
    let kind = CloneFlags::from_bits_retain(i32::try_from(flag(NamespaceKind::Time)).expect("a small bit"));
    match unshare(kind) {
        Err(Errno::EINVAL) => {
            return Err(Errno::EINVAL).call(|| "unshare(CLONE_NEWTIME): this kernel has no time namespaces".to_owned());
        }
        result => result.call(|| "unshare(CLONE_NEWTIME)".to_owned())?,
    }
    if !offsets.is_empty() {
        let path = "/proc/self/timens_offsets";
        let call = || format!("write({path:?}, {offsets:?}): linux.timeOffsets");
        let mut file = OpenOptions::new().write(true).open(path).call(call)?;
        // One write: the kernel takes each for the whole list.
        file.write_all(offsets.as_bytes()).call(call)?;
    }
    let path = "/proc/self/ns/time_for_children";
    let namespace =
        openat(AT_FDCWD, path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).call(|| format!("open({path:?})"))?;
    setns(namespace, kind).call(|| "setns(<time namespace>)".to_owned())
}
