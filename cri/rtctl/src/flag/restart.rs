//! `--restart`.

use shim::layout::RestartPolicy;

/// `no`, `on-failure[:N]`, `always`, `unless-stopped`.
pub(crate) fn parse(text: &str) -> Result<RestartPolicy, String> {
    let (name, count) = match text.split_once(':') {
        Some((name, count)) => (name, Some(count)),
        None => (text, None),
    };
    match (name, count) {
        ("no" | "", None) => Ok(RestartPolicy::No),
        ("always", None) => Ok(RestartPolicy::Always),
        ("unless-stopped", None) => Ok(RestartPolicy::UnlessStopped),
        ("on-failure", None) => Ok(RestartPolicy::OnFailure(None)),
        ("on-failure", Some(count)) => {
            let count: u32 =
                count.parse().map_err(|_| format!("{text:?}: the number of restarts must be 0 or more"))?;
            Ok(RestartPolicy::OnFailure((count > 0).then_some(count)))
        }
        ("no" | "always" | "unless-stopped", Some(_)) => Err(format!("{text:?}: only on-failure takes a number")),
        _ => Err(format!("{text:?}: must be no, on-failure[:N], always or unless-stopped")),
    }
}

/// Name and number as docker shows them.
pub(crate) fn show(policy: RestartPolicy) -> (&'static str, u32) {
    match policy {
        RestartPolicy::No => ("no", 0),
        RestartPolicy::OnFailure(count) => ("on-failure", count.unwrap_or(0)),
        RestartPolicy::Always => ("always", 0),
        RestartPolicy::UnlessStopped => ("unless-stopped", 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        for (text, expected) in [
            ("no", Some(RestartPolicy::No)),
            ("on-failure", Some(RestartPolicy::OnFailure(None))),
            ("on-failure:3", Some(RestartPolicy::OnFailure(Some(3)))),
            ("on-failure:0", Some(RestartPolicy::OnFailure(None))),
            ("always", Some(RestartPolicy::Always)),
            ("unless-stopped", Some(RestartPolicy::UnlessStopped)),
            ("always:3", None),
            ("on-failure:-1", None),
            ("on-failure:", None),
            ("never", None),
        ] {
            assert_eq!(parse(text).ok(), expected, "{text}");
        }
    }
}
