//! `--ulimit`.

use runtime::spec::Rlimit;

/// Names of getrlimit(2) without their prefix.
const NAMES: &[&str] = &[
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

/// `NAME=SOFT[:HARD]`; -1 means no limit.
pub(crate) fn parse(text: &str) -> Result<Rlimit, String> {
    let wrong = || format!("{text:?}: write it as NAME=SOFT[:HARD], with one of {}", NAMES.join(", "));
    let (name, values) = text.split_once('=').ok_or_else(wrong)?;
    if !NAMES.contains(&name) {
        return Err(wrong());
    }
    let value = |part: &str| match part {
        "-1" | "unlimited" => Ok(u64::MAX),
        part => part.parse::<u64>().map_err(|_| wrong()),
    };
    let (soft, hard) = match values.split_once(':') {
        Some((soft, hard)) => (value(soft)?, value(hard)?),
        None => (value(values)?, value(values)?),
    };
    if soft > hard {
        return Err(format!("{text:?}: the soft limit is above the hard limit"));
    }
    Ok(Rlimit { kind: format!("RLIMIT_{}", name.to_ascii_uppercase()), soft, hard })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        for (text, expected) in [
            ("nofile=1024", Some(("RLIMIT_NOFILE", 1024, 1024))),
            ("nofile=1024:2048", Some(("RLIMIT_NOFILE", 1024, 2048))),
            ("core=-1", Some(("RLIMIT_CORE", u64::MAX, u64::MAX))),
            ("core=0:-1", Some(("RLIMIT_CORE", 0, u64::MAX))),
            ("nofile=2:1", None),
            ("nofile=-1:1", None),
            ("nofile", None),
            ("nofile=", None),
            ("nofile=1:", None),
            ("NOFILE=1", None),
            ("bogus=1", None),
            ("nofile=-2", None),
        ] {
            let limit = parse(text).ok();
            let limit = limit.as_ref().map(|limit| (limit.kind.as_str(), limit.soft, limit.hard));
            assert_eq!(limit, expected, "{text:?}");
        }
    }
}
