//! What the tests on a real kernel share.
//!
//! ```text
//!  test(|t| …)  one at a time: own mount and network namespace, own folder, own cgroup, snapshot ─▶ body ─▶ snapshot: nothing may be left
//!    t.bundle() ─▶ Bundle  (a spec as JSON, a root file system of busybox and the payload)
//!    t.create(&bundle) ─▶ Container  (start, state, kill, exec, wait, delete)
//! ```
//!
//! Environment: `RT_RUNTIME` is the OCI command line under test (default: the built `rt-runtime`), `RT_HANDLER` one that makes the
//! containers of pods (default: the shim); `RT_TEST_SKIPS` a file to
//! which every test that could not run appends its name and the reason; `RT_TEST_TIMEOUT` seconds that one test may take.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod bundle;
mod cgroup;
mod container;
mod fuse;
#[cfg(target_arch = "x86_64")]
mod killer;
mod leak;
mod network;
mod output;
mod outside;
pub mod pods;
mod programs;
mod proxy;
mod registry;
mod rtctl;
mod rtd;
mod terminal;
mod test;

pub use bundle::{Bundle, has_capability};
pub use cgroup::Cgroups;
pub use container::{Container, Exit};
pub use fuse::Fuse;
#[cfg(target_arch = "x86_64")]
pub use killer::Killer;
pub use network::{Host, ask, has_networks, links};
pub use output::Output;
pub use outside::untouched;
pub use programs::{Kind, calls, handler, handler_name, handler_settings, kind, payload, program, small};
pub use proxy::{Proxy, Rule};
pub use registry::{RegistryOptions, RegistryServer};
pub use rtctl::{Rtctl, Session, rtctl_test};
pub use rtd::{Rtd, connect, pod_test, rtd_test};
pub use terminal::{Console, ConsoleSocket};
pub use test::{Test, maps_ids, test};

/// Ends the test as skipped unless the condition holds; the reason is shown and counted.
#[macro_export]
macro_rules! needs {
    ($test:expr, $condition:expr, $reason:expr) => {
        if !$condition {
            $test.skip($reason);
            return;
        }
    };
}

/// Ends the test as skipped where `RT_HANDLER` has another runtime make the containers, which is known to differ:
/// `handler_differs!(t, "why")`.
#[macro_export]
macro_rules! handler_differs {
    ($test:expr, $why:expr) => {
        if !$crate::handler().is_empty() {
            $test.skip(&format!("{} differs: {}", $crate::handler(), $why));
            return;
        }
    };
}

/// Ends the test as skipped on a runtime that is known to differ: `differs!(t, Kind::Crun, "why")`.
#[macro_export]
macro_rules! differs {
    ($test:expr, $kind:expr, $why:expr) => {
        if $crate::kind() == $kind {
            $test.skip(&format!("{:?} differs: {}", $kind, $why));
            return;
        }
    };
}
