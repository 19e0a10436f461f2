//! Parent of the containers of a pod: the shim's protocol and files, and what `rt-shim` does with them.

pub mod layout;
pub mod protocol;
