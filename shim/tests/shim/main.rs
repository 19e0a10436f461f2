//! `rt-shim` driven from outside, with a busybox root file system. Needs root and /bin/busybox (static); cgroups are the host's.

mod budgets;
mod crash;
mod exec;
mod lifecycle;
mod log;
mod place;
mod removal;
mod restart;
mod stdio;
