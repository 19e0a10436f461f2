//! `--ulimit`.

use cri::spec::{NoUlimit, ULIMITS, parse_ulimit};
use runtime::spec::Rlimit;

/// `NAME=SOFT[:HARD]`; -1 means no limit.
pub(crate) fn parse(text: &str) -> Result<Rlimit, String> {
    parse_ulimit(text).map_err(|problem| match problem {
        NoUlimit::Form => format!("{text:?}: write it as NAME=SOFT[:HARD], with one of {}", ULIMITS.join(", ")),
        NoUlimit::Order => format!("{text:?}: the soft limit is above the hard limit"),
    })
}
