//! Tests of `rtd` by its socket.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod attach;
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
mod settings;
mod stats;
mod stuck;
mod systemd;
mod update;
