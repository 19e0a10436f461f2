//! Control groups.
use std::os::fd::{BorrowedFd, OwnedFd};
/// One group in every hierarchy.
pub struct Cgroup;
/// e
#[derive(Debug, thiserror::Error)]
#[error("x")]
pub struct Error;
/// h
pub struct Hierarchy<'a> {
    /// m
    pub mount_point: &'a std::path::Path,
    /// g
    pub group: BorrowedFd<'a>,
    /// u
    pub unified: bool,
}
impl Cgroup {
    /// x
    pub fn procs_files(&self) -> Result<Vec<OwnedFd>, Error> {
        Ok(vec![])
    }
    /// x
    pub fn clone_into(&self) -> Option<BorrowedFd<'_>> {
        None
    }
    /// x
    pub fn hierarchies(&self) -> Vec<Hierarchy<'_>> {
        vec![]
    }
}
