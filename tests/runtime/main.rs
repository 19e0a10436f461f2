//! The OCI command line (runtime-spec, runtime.md and runc's command line) on a real kernel, driven from outside.
//!
//! `RT_RUNTIME` chooses the program: every test passes on ours, runc and crun, or says why one of them differs.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod at_once;
mod attacks;
mod bad_input;
mod capabilities;
mod cgroups;
mod clocks;
mod command_line;
mod damaged_state;
mod devices;
mod exec;
mod exit_codes;
mod hooks;
mod id_maps;
mod joins;
mod keyrings;
mod landlock;
mod lifecycle;
mod mount_options;
mod mounts;
mod namespaces;
mod net_devices;
mod notify;
mod oom;
mod paths;
mod podman;
mod process;
mod rootfs;
mod rootless;
mod scheduling;
mod seccomp;
mod selinux;
mod sockets;
mod sysctl;
mod systemd;
mod terminals;
mod update;
mod user;
mod user_namespaces;
mod user_systemd;
