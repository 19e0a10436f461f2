//! Streams of exec, attach and port-forward over HTTP connections.

pub mod spdy;
