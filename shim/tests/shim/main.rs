//! `rt-shim` driven from outside, with a busybox root file system. Needs root and /bin/busybox (static); cgroups are the host's.
//! `RT_SHIM` names another build of the program, such as the release one.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers included")]

mod budgets;
mod crash;
mod exec;
mod lifecycle;
mod log;
mod place;
mod pod;
mod removal;
mod restart;
mod sandbox;
mod stdio;
