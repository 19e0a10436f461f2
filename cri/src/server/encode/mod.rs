//! From the engine's types to the messages of the wire.

mod container;
mod pod;
mod resources;

pub(crate) use container::{container_metadata, image_spec, mount, stop_signal};
pub(crate) use pod::{namespace_options, pod_metadata};
pub(crate) use resources::resources;
