//! Tests of `rtd` by its socket.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod images;
mod node;
mod pods;
mod restart;
mod stats;
