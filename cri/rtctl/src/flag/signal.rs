//! Signals by name or number.

/// Number of a signal: `TERM`, `SIGTERM`, `15`, `RTMIN+3`, `RTMAX-1`; signal(7).
pub(crate) fn parse(text: &str) -> Result<i32, String> {
    let wrong = || format!("{text:?} is no signal; kill -l lists them");
    if let Ok(number) = text.parse::<i32>() {
        return if (1..=64).contains(&number) { Ok(number) } else { Err(wrong()) };
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let offset = |rest: &str, sign: char| -> Option<i32> {
        if rest.is_empty() { Some(0) } else { rest.strip_prefix(sign)?.parse().ok().filter(|n| (0..=30).contains(n)) }
    };
    // The C library keeps the first two real-time signals to itself.
    if let Some(rest) = name.strip_prefix("RTMIN") {
        return offset(rest, '+').map(|n| 34 + n).ok_or_else(wrong);
    }
    if let Some(rest) = name.strip_prefix("RTMAX") {
        return offset(rest, '-').map(|n| 64 - n).ok_or_else(wrong);
    }
    let full = match name {
        "IOT" => "SIGABRT".to_owned(),
        "POLL" => "SIGIO".to_owned(),
        "CLD" => "SIGCHLD".to_owned(),
        name => format!("SIG{name}"),
    };
    full.parse::<nix::sys::signal::Signal>().map(|signal| signal as i32).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        for (text, expected) in [
            ("TERM", Some(15)),
            ("SIGTERM", Some(15)),
            ("sigkill", Some(9)),
            ("9", Some(9)),
            ("RTMIN", Some(34)),
            ("SIGRTMIN+3", Some(37)),
            ("RTMAX-1", Some(63)),
            ("RTMAX", Some(64)),
            ("64", Some(64)),
            ("IOT", Some(6)),
            ("0", None),
            ("65", None),
            ("-9", None),
            ("RTMIN+31", None),
            ("RTMIN3", None),
            ("", None),
            ("SIG", None),
            ("NOPE", None),
        ] {
            assert_eq!(parse(text).ok(), expected, "{text:?}");
        }
    }
}
