//! Short-lived processes that do what this one cannot: be in other namespaces, have other ids.

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use super::sync::{Message, pair};
use crate::init::{At, Failure, Step};
use crate::sys::clone::{Clone3, Parent, clone3};
use crate::sys::process::{Block, exit_now, wait};
use crate::sys::{Call, CallError};

/// Sends a process to do `work`; it hands over the descriptor that comes of it, and ends.
pub(super) fn errand(work: impl FnOnce() -> Result<OwnedFd, CallError>) -> Result<OwnedFd, CallError> {
    let (ours, theirs) = pair()?;
    let messenger = match clone3(0, None, Parent::Caller).call(|| "clone3()".to_owned())? {
        Clone3::Parent(_, messenger) => messenger,
        Clone3::Child => match work().and_then(|fd| theirs.born(fd.as_fd())) {
            Ok(()) => exit_now(0),
            Err(error) => {
                let call = error.call.clone();
                let failed: Result<(), Failure> = Err(error).at(Step::Mounts);
                if let Err(failure) = failed {
                    theirs.failed(&Failure { text: call, ..failure });
                }
                exit_now(1)
            }
        },
    };
    drop(theirs);
    let message = ours.next();
    wait(&messenger, Block::Yes).call(|| "waitid(<messenger>)".to_owned())?;
    match message? {
        Message::Born(fd) => Ok(fd),
        Message::Failed(Failure { errno, text, .. }) => Err(CallError { call: text, errno }),
        Message::Ended
        | Message::Namespaces
        | Message::Console(_)
        | Message::Warning(_)
        | Message::Listener(_)
        | Message::Created => Err(Errno::EIO).call(|| "<messenger>: ended early".to_owned()),
    }
}

/// A mount namespace of its own for the calling process, of which nothing is seen outside.
pub(super) fn own_mounts() -> Result<(), CallError> {
    unshare(CloneFlags::CLONE_NEWNS).call(|| "unshare(CLONE_NEWNS)".to_owned())?;
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
        .call(|| "mount(\"/\", MS_REC|MS_PRIVATE)".to_owned())
}
