//! Ids of pods and containers: 64 hexadecimal digits.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};

use serde::{Deserialize, Serialize};

/// Length of an id.
const LENGTH: usize = 64;

/// The id of a pod or container.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Id(String);

impl Id {
    /// A new one, random(4).
    ///
    /// # Errors
    /// The kernel's answer.
    pub fn new() -> io::Result<Id> {
        let mut bytes = [0; LENGTH / 2];
        File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        Ok(Id(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    /// A whole id; `None` for any other text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Id> {
        (text.len() == LENGTH && is_prefix(text)).then(|| Id(text.to_owned()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether this can be the beginning of an id.
pub(super) fn is_prefix(text: &str) -> bool {
    !text.is_empty() && text.len() <= LENGTH && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Id {
    type Error = String;

    fn try_from(text: String) -> Result<Id, String> {
        Id::parse(&text).ok_or_else(|| format!("{text:.80?} is no id: {LENGTH} hexadecimal digits"))
    }
}

impl From<Id> for String {
    fn from(id: Id) -> String {
        id.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_ids() {
        let id = Id::new().unwrap();
        assert_eq!(Id::parse(id.as_str()), Some(id.clone()));
        assert_eq!(serde_json::from_str::<Id>(&serde_json::to_string(&id).unwrap()).unwrap(), id);
        for text in ["", "..", "abc", &"g".repeat(64), &"A".repeat(64), &"a".repeat(65)] {
            assert_eq!(Id::parse(text), None, "{text}");
        }
        assert!(is_prefix("0af") && !is_prefix("") && !is_prefix("../x"));
    }
}
