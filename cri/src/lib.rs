//! Image store, networks, container specs and pods.

pub mod cgroup;
pub mod config;
pub mod copy;
pub mod daemon;
pub mod disk;
pub mod image;
pub mod metrics;
pub mod network;
pub mod pod;
pub mod selinux;
pub mod server;
pub mod spec;
pub mod stats;
pub mod streaming;
