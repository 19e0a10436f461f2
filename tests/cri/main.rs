//! Tests of `rtd` by its socket.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod attach;
mod attacks;
mod budgets;
mod client;
mod cni;
mod config;
mod exec;
mod exec_sync;
mod images;
mod lab;
mod mounts;
mod node;
mod pods;
mod port_forward;
mod program;
mod reboot;
mod restart;
mod retries;
mod security;
mod stats;
mod systemd;
mod update;
