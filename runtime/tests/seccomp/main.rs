//! The seccomp compiler: its programs run in an interpreter, beside libseccomp's, and in the kernel.

mod interpreter;
mod kernel;
mod libseccomp;
mod policy;
mod property;
