//! Resource limits as people write them.

use runtime::spec::Rlimit;

/// Names of getrlimit(2) without their prefix, in small letters.
pub const ULIMITS: &[&str] = &[
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// Why a text is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoUlimit {
    /// It is not written as one.
    Form,
    /// The soft limit is above the hard one.
    Order,
}

/// `NAME=SOFT[:HARD]`, the name one of [`ULIMITS`]; -1 and `unlimited` mean no limit. docker run --ulimit
///
/// # Errors
/// [`NoUlimit`].
pub fn parse_ulimit(text: &str) -> Result<Rlimit, NoUlimit> {
    let (name, values) = text.split_once('=').ok_or(NoUlimit::Form)?;
    if !ULIMITS.contains(&name) {
        return Err(NoUlimit::Form);
    }
    let value = |part: &str| match part {
        "-1" | "unlimited" => Ok(u64::MAX),
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().map_err(|_| NoUlimit::Form),
        _ => Err(NoUlimit::Form),
    };
    let (soft, hard) = values.split_once(':').unwrap_or((values, values));
    let (soft, hard) = (value(soft)?, value(hard)?);
    if soft > hard {
        return Err(NoUlimit::Order);
    }
    Ok(Rlimit { kind: format!("RLIMIT_{}", name.to_ascii_uppercase()), soft, hard })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        for (text, expected) in [
            ("nofile=1024", Ok(("RLIMIT_NOFILE", 1024, 1024))),
            ("nofile=1024:2048", Ok(("RLIMIT_NOFILE", 1024, 2048))),
            ("core=-1", Ok(("RLIMIT_CORE", u64::MAX, u64::MAX))),
            ("core=0:unlimited", Ok(("RLIMIT_CORE", 0, u64::MAX))),
            ("nofile=2:1", Err(NoUlimit::Order)),
            ("nofile=-1:1", Err(NoUlimit::Order)),
            ("nofile", Err(NoUlimit::Form)),
            ("nofile=", Err(NoUlimit::Form)),
            ("nofile=1:", Err(NoUlimit::Form)),
            ("nofile=+1", Err(NoUlimit::Form)),
            ("NOFILE=1", Err(NoUlimit::Form)),
            ("bogus=1", Err(NoUlimit::Form)),
            ("nofile=-2", Err(NoUlimit::Form)),
        ] {
            let limit = parse_ulimit(text);
            let limit = limit.as_ref().map(|limit| (limit.kind.as_str(), limit.soft, limit.hard));
            assert_eq!(limit, expected.as_ref().map(|limit| *limit), "{text:?}");
        }
    }
}
