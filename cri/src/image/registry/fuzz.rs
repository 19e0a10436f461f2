//! Ways in for the fuzz targets, to what is nobody else's business.

use std::path::Path;

use super::{answer, challenge, hosts_toml};

/// Reads a `WWW-Authenticate` header; how many challenges it has.
pub fn challenges(header: &str) -> usize {
    challenge::parse(header).len()
}

/// Reads a `hosts.toml`; whether it is one.
pub fn hosts(text: &str) -> bool {
    hosts_toml::parse(text, Path::new("/folder")).is_ok()
}

/// What is shown of the body of a refusal.
pub fn refusal(body: &[u8]) -> String {
    answer::detail(body)
}
