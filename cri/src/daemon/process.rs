//! The process: descriptors, limits, modes of new files, and how soon the kernel kills it.

use std::sync::OnceLock;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::{Mode, umask};
use runtime::sys::process::{CloseRange, close_range};

/// As low as the kubelet's own, so that a pod goes first. Below -999 the kernel would kill nothing else at all.
const OOM_SCORE_ADJ: &str = "-999";

/// A resource limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Soft limit.
    pub soft: u64,
    /// Hard limit.
    pub hard: u64,
}

static NOFILE: OnceLock<Limit> = OnceLock::new();

/// RLIMIT_NOFILE as rtd was started with: what containers get that no setting says otherwise for. The daemon's own is higher.
///
/// # Errors
/// getrlimit(2)
pub fn inherited_nofile() -> Result<Limit, nix::errno::Errno> {
    match NOFILE.get() {
        Some(limit) => Ok(*limit),
        None => getrlimit(Resource::RLIMIT_NOFILE).map(|(soft, hard)| Limit { soft, hard }),
    }
}

/// Makes a daemon of the process: nothing that it was started with gets into its children, new files are nobody else's, descriptors
/// as many as allowed. To be called once, with one thread. Answers what this host does not let it have, for the log.
pub fn settle() -> Vec<String> {
    let mut notes = Vec::new();
    // KERNEL(5.11): CLOSE_RANGE_CLOEXEC
    if let Err(errno) = close_range(3, CloseRange::OnExec) {
        notes.push(format!("close_range(3, CLOSE_RANGE_CLOEXEC): {errno:?}: descriptors from outside reach children"));
    }
    umask(Mode::from_bits_truncate(0o077));
    match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((soft, hard)) => {
            NOFILE.get_or_init(|| Limit { soft, hard });
            if soft < hard
                && let Err(errno) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
            {
                notes.push(format!("setrlimit(RLIMIT_NOFILE, {hard}): {errno:?}"));
            }
        }
        Err(errno) => notes.push(format!("getrlimit(RLIMIT_NOFILE): {errno:?}")),
    }
    let file = "/proc/self/oom_score_adj";
    let score = std::fs::read_to_string(file).unwrap_or_default();
    if score.trim().parse::<i32>().is_ok_and(|score| score > -999)
        && let Err(error) = std::fs::write(file, OOM_SCORE_ADJ)
    {
        notes.push(format!("write({file:?}, {OOM_SCORE_ADJ:?}): {error}: the kernel may kill rtd before pods"));
    }
    notes
}
