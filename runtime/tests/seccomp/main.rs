//! The seccomp compiler: its programs run in an interpreter, beside libseccomp's, and in the kernel.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod interpreter;
mod kernel;
mod libseccomp;
mod policy;
mod property;
