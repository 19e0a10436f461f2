//! Versions of the CNI specification, and which of those that a configuration offers is used.

use std::fmt;
use std::str::FromStr;

/// A version of the specification that this client speaks, oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// 0.3.1: chains of plugins.
    V0_3_1,
    /// 0.4.0: CHECK, and DEL with the result of ADD.
    V0_4_0,
    /// 1.0.0: lists only.
    V1_0_0,
    /// 1.1.0: GC and STATUS.
    V1_1_0,
}

/// A version that this client does not speak.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("CNI version {0:?} is not supported; supported are 0.3.1, 0.4.0, 1.0.0 and 1.1.0")]
pub struct VersionError(pub String);

impl Version {
    /// All of them, oldest first.
    pub const ALL: [Self; 4] = [Self::V0_3_1, Self::V0_4_0, Self::V1_0_0, Self::V1_1_0];

    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V0_3_1 => "0.3.1",
            Self::V0_4_0 => "0.4.0",
            Self::V1_0_0 => "1.0.0",
            Self::V1_1_0 => "1.1.0",
        }
    }

    /// Whether there is CHECK, and DEL gets the result of ADD.
    #[must_use]
    pub fn has_check(self) -> bool {
        self >= Self::V0_4_0
    }

    /// Whether there are GC and STATUS.
    #[must_use]
    pub fn has_gc_and_status(self) -> bool {
        self >= Self::V1_1_0
    }

    /// Whether addresses of a result say of which IP version they are.
    pub(crate) fn has_address_version(self) -> bool {
        self < Self::V1_0_0
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for Version {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        let known = Self::ALL.into_iter().find(|version| version.as_str() == text);
        known.ok_or_else(|| VersionError(text.to_owned()))
    }
}

/// Those of the offered versions that this client speaks, oldest first, each once.
pub(crate) fn common<'a>(offered: impl Iterator<Item = &'a str>) -> Vec<Version> {
    let mut versions: Vec<Version> = offered.filter_map(|text| text.parse().ok()).collect();
    versions.sort_unstable();
    versions.dedup();
    versions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_common() {
        let highest = |offered: &[&str]| common(offered.iter().copied()).last().copied();
        assert_eq!(highest(&["0.4.0"]), Some(Version::V0_4_0));
        assert_eq!(highest(&["1.1.0", "0.3.1", "1.0.0"]), Some(Version::V1_1_0));
        assert_eq!(highest(&["0.3.1", "2.0.0", "1.2.0"]), Some(Version::V0_3_1));
        assert_eq!(highest(&["0.3.0", "0.2.0", "1.1", "v1.1.0", ""]), None);
        assert_eq!(common(["1.0.0", "0.4.0", "1.0.0"].into_iter()), [Version::V0_4_0, Version::V1_0_0]);
    }

    #[test]
    fn names_round_trip() {
        for version in Version::ALL {
            assert_eq!(version.to_string().parse(), Ok(version));
        }
    }
}
