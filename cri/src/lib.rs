//! Image store, container specs and pods.

pub mod image;
pub mod network;
pub mod spec;
