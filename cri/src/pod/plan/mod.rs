//! What a pod and a container come to: what the shim is told, and the container's OCI runtime configuration. Nothing is read here; what
//! had to be read is an input.
//!
//! ```text
//!  PodConfig ────────────────────────▶ sandbox ───▶ sandbox.json: namespaces that the pod's containers share
//!  ContainerConfig, image, host, … ──▶ container ─▶ config.json: the program and what it sees
//!                                                └▶ shim.json: layers, log, streams, namespaces of the sandbox
//! ```

mod container;
mod defaults;
mod mounts;
mod refusal;
mod resources;
mod runner;
mod sandbox;
mod security;
mod stop_signal;

#[cfg(test)]
mod tests;

pub(super) use container::{ContainerInput, container};
pub use defaults::Defaults;
pub(super) use mounts::{ResolvedMount, volumes};
pub(super) use resources::resources;
pub(super) use runner::Runner;
pub(super) use sandbox::sandbox;
