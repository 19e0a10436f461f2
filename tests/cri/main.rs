//! Tests of `rtd` by its socket.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod attach;
mod attacks;
mod budgets;
mod client;
mod cni;
mod config;
#[cfg(target_arch = "x86_64")]
mod crash;
#[cfg(target_arch = "x86_64")]
mod crash_pull;
mod daemon;
mod exec;
mod exec_sync;
mod handlers;
mod images;
mod lab;
mod mounts;
mod node;
mod observe;
mod pods;
mod port_forward;
mod program;
mod reboot;
mod restart;
mod retries;
mod security;
mod selinux;
mod settings;
mod stats;
mod streams;
mod stuck;
mod systemd;
mod update;
