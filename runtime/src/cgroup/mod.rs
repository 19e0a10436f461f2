//! Control groups: v1, hybrid and v2, by the file system.
//!
//! ```text
//!  Host::detect ──▶ Cgroup::create ──▶ apply ──▶ clone_into + procs_files ──▶ freeze, signal, stats, oom_fd ... ──▶ kill, remove
//!    where is what     mkdir, enable    limits     the child is born inside
//! ```
//!
//! * On v2 a group is one directory. On v1 it is a directory of the same name in each hierarchy, and on a hybrid host also in
//!   the cgroup2 mount, which has no limits there but atomic kill, freezer and "is it empty" events: those are used.
//! * A process must be in *all* of them: give [`Cgroup::clone_into`] to clone3(2), and let the child write `0` to each of
//!   [`Cgroup::procs_files`].
//! * Everything of `linux.resources` is checked before the first write; what the host cannot do is an error that names the
//!   JSON path and the controller, never ignored.
//! * Waiting is done on kernel events (`cgroup.events`, pidfds) and always has an end.

mod apply;
mod below;
mod controller;
mod device_program;
mod devices;
mod dir;
mod error;
mod freeze;
mod group;
mod host;
mod inside;
mod kill;
mod limits;
mod mountinfo;
mod oom;
mod path;
mod pressure;
mod stats;
mod wait;

pub use below::Below;
pub use controller::Controller;
pub use devices::allow_list as device_allow_list;
pub use error::Error;
pub use group::{Cgroup, Hierarchy};
pub use host::{Host, Mode};
pub use limits::{cpu_weight, weight_of_io as io_weight};
pub use oom::OomFd;
pub use path::Path;
pub use pressure::{Pressure, Pressures, Stall};
pub use stats::{CpuStats, HugetlbStats, IoStats, MemoryStats, PidsStats, Stats};
