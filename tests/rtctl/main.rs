//! `rtctl` as a person uses it, on a real kernel, driven from outside. Where docker and podman agree, so does this.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod apparmor;
mod attach;
mod attacks;
mod cdi;
mod changes;
mod copy;
mod crash;
mod damaged;
mod disk_usage;
mod events;
mod exec;
mod exit_codes;
mod full_disk;
mod health;
mod host;
mod image_mounts;
mod images;
mod init;
mod inspect;
mod life;
mod limits;
mod listing;
mod log_drivers;
mod logs;
mod many;
mod mounts;
mod namespaces;
mod network;
mod network_life;
mod networks;
mod pods;
mod refused;
mod registry;
mod restart;
mod run;
mod security;
mod selinux;
mod systemd;
mod user_namespaces;
mod volumes;
