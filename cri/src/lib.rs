//! Image store, container specs and pods.

pub mod image;
pub mod spec;
pub mod streaming;
