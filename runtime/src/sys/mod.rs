//! System calls that nix does not have, each a thin safe wrapper with its man page.
//!
//! The only place with unsafe code in the workspace. Descriptors are `OwnedFd` and `BorrowedFd`, always close-on-exec.
#![allow(unsafe_code, reason = "raw system calls; every block says why it is sound")]

pub mod xattr;
