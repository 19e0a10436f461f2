//! Networks of containers.

pub mod cni;
