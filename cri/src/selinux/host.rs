//! What the host's policy says of containers.

use std::fs;
use std::io::Read;
use std::path::Path;

use runtime::sys::{Call, CallError};

use super::label::{self, Labels};

/// What the policy is called, and where policies are.
const CONFIG: &str = "/etc/selinux/config";

/// The labels of the host's policy for containers; `None`: it has none.
///
/// # Errors
/// The policy's files cannot be read.
pub fn policy() -> Result<Option<Labels>, CallError> {
    let config = fs::read_to_string(CONFIG).call(|| format!("read({CONFIG:?})"))?;
    let name = config.lines().find_map(|line| line.trim().strip_prefix("SELINUXTYPE=")).unwrap_or("targeted").trim();
    let path = Path::new("/etc/selinux").join(name).join("contexts/lxc_contexts");
    match fs::read_to_string(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        text => Ok(label::defaults(&text.call(|| format!("read({path:?})"))?)),
    }
}

/// A level that none of these has.
///
/// # Errors
/// There are no random numbers.
pub fn new_level<'a>(taken: impl Iterator<Item = &'a Labels> + Clone) -> Result<String, CallError> {
    label::new_level(taken, random).call(|| "read(\"/dev/urandom\")".to_owned())
}

fn random() -> std::io::Result<u32> {
    let mut bytes = [0; 4];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u32::from_ne_bytes(bytes))
}
