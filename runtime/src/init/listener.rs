//! A filter whose calls somebody else decides on (`SCMP_ACT_NOTIFY`): its descriptor goes to the parent before the program runs.
//!
//! ```text
//!  child  ── clone(CLONE_FILES) ─▶ messenger: no filter, the same descriptors
//!  seccomp(NEW_LISTENER)            waits for the word
//!  word = LOADED + descriptor ────▶ sends it to the parent ─▶ "go on"
//!  waits for the word ◀──────────── word = DONE, ends
//!  execve
//! ```
//!
//! Once it has the filter, the child can make no call that the filter could not refuse or hold up: it waits by looking.

use std::sync::atomic::{AtomicU32, Ordering};

use nix::errno::Errno;

use super::identity;
use crate::launch::Channel;
use crate::seccomp::Program;
use crate::sys::process::exit_now;
use crate::sys::{Call, CallError, clone, seccomp, signals};

const WAITING: u32 = 0;
const DONE: u32 = 1;
const FAILED: u32 = 2;
const LOADED: u32 = 3;

/// How often the child looks: more than a minute.
const LOOKS: u64 = 1 << 33;

/// Loads the filter and has its descriptor sent by `channel`.
pub(super) fn load(filter: &Program, channel: &Channel) -> Result<(), CallError> {
    let word = seccomp::shared_word().call(|| "mmap(MAP_SHARED|MAP_ANONYMOUS)".to_owned())?;
    // The messenger must not be left to the program to reap; execve resets this.
    signals::forget_children();
    if clone::with_same_files().call(|| "clone(CLONE_FILES)".to_owned())? == clone::Same::Child {
        let answer = match carry(word, channel) {
            Ok(()) => DONE,
            Err(_) => FAILED,
        };
        word.store(answer, Ordering::Release);
        exit_now(0);
    }
    let loaded = seccomp::load(filter);
    let word_for_messenger = match &loaded {
        Ok(Some(listener)) => LOADED + listener.cast_unsigned(),
        Ok(None) | Err(_) => FAILED,
    };
    word.store(word_for_messenger, Ordering::Release);
    let none = || "seccomp(SECCOMP_SET_MODE_FILTER)".to_owned();
    loaded.call(none)?.ok_or(Errno::EBADF).call(none)?;
    for _ in 0..LOOKS {
        match word.load(Ordering::Acquire) {
            DONE => return Ok(()),
            FAILED => break,
            _ => std::hint::spin_loop(),
        }
    }
    Err(Errno::EPIPE).call(|| "sendmsg(<linux.seccomp.listenerPath>): nobody took the filter's descriptor".to_owned())
}

/// The messenger: waits for the descriptor, sends it, waits until it has arrived.
fn carry(word: &AtomicU32, channel: &Channel) -> Result<(), CallError> {
    identity::die_with_parent()?;
    loop {
        match word.load(Ordering::Acquire) {
            WAITING => std::thread::yield_now(),
            FAILED => return Ok(()),
            loaded => {
                let number = (loaded - LOADED).cast_signed();
                channel.listener(seccomp::borrow(number))?;
                return channel.wait();
            }
        }
    }
}
