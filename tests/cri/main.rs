//! Tests of `rtd` by its socket.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod config;
mod images;
mod node;
mod pods;
mod restart;
