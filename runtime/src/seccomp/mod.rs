//! System call filters.
/// p
pub struct Program;
/// e
#[derive(Debug, thiserror::Error)]
#[error("x")]
pub struct Error;
/// c
pub fn compile(_: &crate::spec::Seccomp) -> Result<Program, Error> {
    Ok(Program)
}
