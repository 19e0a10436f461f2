//! `--filter` of image prune and system prune: which images go.

use std::time::SystemTime;

use cri::image::Image;

use super::time;

/// One `--filter`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Filter {
    /// Made before: nanoseconds since the epoch.
    Until(u64),
    Label(String, Option<String>),
    NotLabel(String, Option<String>),
    Dangling(bool),
}

/// Parses `--filter NAME=VALUE`.
pub(crate) fn filter(text: &str) -> Result<Filter, String> {
    let pair = |value: &str| match value.split_once('=') {
        Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
        None => (value.to_owned(), None),
    };
    // label!=x is "label!" and "x".
    match text.split_once('=') {
        Some(("until", value)) => Ok(Filter::Until(time::moment(value, SystemTime::now())?)),
        Some(("label", value)) => {
            let (name, value) = pair(value);
            Ok(Filter::Label(name, value))
        }
        Some(("label!", value)) => {
            let (name, value) = pair(value);
            Ok(Filter::NotLabel(name, value))
        }
        Some(("dangling", "true" | "1")) => Ok(Filter::Dangling(true)),
        Some(("dangling", "false" | "0")) => Ok(Filter::Dangling(false)),
        Some(_) | None => {
            Err(format!("{text:?}: must be until=TIME, label=NAME[=VALUE], label!=NAME[=VALUE] or dangling=true|false"))
        }
    }
}

/// Whether an image passes all filters. One that does not say when it was made is older than any time.
pub(crate) fn all_hold(filters: &[Filter], image: &Image) -> bool {
    let has = |name: &str, value: &Option<String>| {
        let found = image.config.labels.get(name);
        found.is_some_and(|found| value.as_ref().is_none_or(|value| value == found))
    };
    filters.iter().all(|filter| match filter {
        Filter::Until(moment) => {
            image.config.created.as_deref().and_then(time::date).is_none_or(|created| created < *moment)
        }
        Filter::Label(name, value) => has(name, value),
        Filter::NotLabel(name, value) => !has(name, value),
        Filter::Dangling(dangling) => image.names.is_empty() == *dangling,
    })
}

/// Whether images with names may go: `--all`, or the filter that says so.
pub(crate) fn takes_named(all: bool, filters: &[Filter]) -> bool {
    match filters.iter().rev().find(|filter| matches!(filter, Filter::Dangling(_))) {
        Some(filter) => *filter == Filter::Dangling(false),
        None => all,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parsed() {
        assert_eq!(filter("label=a=b"), Ok(Filter::Label("a".into(), Some("b".into()))));
        assert_eq!(filter("label!=a"), Ok(Filter::NotLabel("a".into(), None)));
        assert_eq!(filter("dangling=false"), Ok(Filter::Dangling(false)));
        assert_eq!(filter("until=1970-01-02"), Ok(Filter::Until(86_400_000_000_000)));
        for text in ["until=never", "since=x", "label", "dangling=maybe", ""] {
            assert!(filter(text).is_err(), "{text}");
        }
    }

    #[test]
    fn named_images_go_only_when_asked_for() {
        assert!(!takes_named(false, &[]));
        assert!(takes_named(true, &[]));
        assert!(takes_named(false, &[Filter::Dangling(false)]));
        assert!(!takes_named(true, &[Filter::Dangling(true)]));
    }
}
