//! Ids: 64 hexadecimal digits, shown as the first 12.

use std::fs::File;
use std::io::Read;

use anyhow::{Context, Result};

/// Length of the short form.
pub(crate) const SHORT: usize = 12;

/// A new id. It is never all decimal digits in its short form, so that it cannot be taken for a number.
pub(crate) fn new() -> Result<String> {
    loop {
        let id = hex(&random::<32>()?);
        if id[..SHORT].bytes().any(|byte| !byte.is_ascii_digit()) {
            return Ok(id);
        }
    }
}

/// Random bytes, random(4).
pub(crate) fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    let read = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    read.context("read(/dev/urandom)")?;
    Ok(bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether this is a whole id: the name of a container's directory.
pub(crate) fn is_id(text: &str) -> bool {
    text.len() == 64 && is_prefix(text)
}

/// Whether this can be the beginning of an id.
pub(crate) fn is_prefix(text: &str) -> bool {
    !text.is_empty() && text.len() <= 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The short form.
pub(crate) fn short(id: &str) -> &str {
    id.get(..SHORT).unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let id = new().unwrap();
        assert!(is_id(&id));
        assert_eq!(short(&id).len(), 12);
        assert_ne!(id, new().unwrap());
        for (text, prefix) in [("a", true), ("0f", true), ("", false), ("A", false), ("g", false), ("../a", false)] {
            assert_eq!(is_prefix(text), prefix, "{text:?}");
        }
        assert!(!is_id("abc") && !is_prefix(&"a".repeat(65)));
        assert_eq!(short("abc"), "abc");
    }
}
