//! Creates containers.
//!
//! ```text
//!  config.json ──spec──▶ Spec ──plan──▶ Plan ──launch──▶ clone3 ──init──▶ execve
//!     bytes               type          data    effect    child: an ordered list of steps
//! ```
//!
//! Parsing and policy (`spec`, `plan`, `seccomp`, the tables of `cgroup`) are pure and tested without root. Effects are
//! thin. Unsafe code lives in [`sys`] alone. The programs that clone have one thread: see `launch`.

pub mod cgroup;
pub mod hooks;
mod init;
pub mod json;
pub mod launch;
pub mod overlay;
pub mod plan;
pub mod root;
pub mod rooted;
pub mod rootless;
pub mod seccomp;
pub mod spec;
pub mod state;
pub mod sys;
pub mod systemd;
