//! `--filter` of volumes.

use std::time::SystemTime;

use super::time;
use crate::store::volume::Volume;
use crate::store::volume::users::Users;

/// One `--filter`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Filter {
    Name(String),
    Label(String, Option<String>),
    NotLabel(String, Option<String>),
    Dangling(bool),
    Driver(String),
    Anonymous(bool),
    Option(String, Option<String>),
    /// Made before: nanoseconds since the epoch.
    Until(u64),
}

/// Parses `--filter NAME=VALUE`.
pub(crate) fn filter(text: &str) -> Result<Filter, String> {
    // label!=x is "label!" and "x".
    let (name, value) = text.split_once('=').ok_or_else(|| format!("{text:?}: write it as NAME=VALUE"))?;
    let pair = |value: &str| match value.split_once('=') {
        Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
        None => (value.to_owned(), None),
    };
    let boolean = || match value {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(format!("{name} {value:?}: must be true or false")),
    };
    Ok(match name {
        "name" => Filter::Name(value.to_owned()),
        "label" => {
            let (name, value) = pair(value);
            Filter::Label(name, value)
        }
        "label!" => {
            let (name, value) = pair(value);
            Filter::NotLabel(name, value)
        }
        "dangling" => Filter::Dangling(boolean()?),
        "driver" => Filter::Driver(value.to_owned()),
        "anonymous" => Filter::Anonymous(boolean()?),
        "opt" => {
            let (name, value) = pair(value);
            Filter::Option(name, value)
        }
        "until" => Filter::Until(time::moment(value, SystemTime::now())?),
        _ => {
            return Err(format!(
                "unknown filter {name:?}: must be name, label, label!, dangling, driver, anonymous, opt or until"
            ));
        }
    })
}

/// Whether a volume passes: filters of name and driver are alternatives among themselves, all others must hold.
pub(crate) fn all_hold(filters: &[Filter], volume: &Volume, users: &Users) -> bool {
    let alternatives: [fn(&Filter) -> bool; 2] =
        [|filter| matches!(filter, Filter::Name(_)), |filter| matches!(filter, Filter::Driver(_))];
    let any = alternatives.iter().all(|group| {
        let mut members = filters.iter().filter(|filter| group(filter)).peekable();
        members.peek().is_none() || members.any(|filter| holds(filter, volume, users))
    });
    let rest = filters.iter().filter(|filter| !alternatives.iter().any(|group| group(filter)));
    any && rest.into_iter().all(|filter| holds(filter, volume, users))
}

fn holds(filter: &Filter, volume: &Volume, users: &Users) -> bool {
    let record = volume.record.as_ref().ok();
    let has = |map: Option<&std::collections::BTreeMap<String, String>>, name: &str, value: &Option<String>| {
        let found = map.and_then(|map| map.get(name));
        found.is_some_and(|found| value.as_ref().is_none_or(|value| value == found))
    };
    match filter {
        Filter::Name(part) => volume.name.contains(part.as_str()),
        Filter::Label(name, value) => has(record.map(|record| &record.labels), name, value),
        Filter::NotLabel(name, value) => record.is_some_and(|record| !has(Some(&record.labels), name, value)),
        Filter::Dangling(wanted) => users.of(&volume.name).is_empty() == *wanted,
        Filter::Driver(name) => name == "local",
        Filter::Anonymous(wanted) => volume.is_anonymous() == *wanted,
        Filter::Option(name, value) => has(record.map(|record| &record.options), name, value),
        Filter::Until(moment) => record.is_some_and(|record| record.created < *moment),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters() {
        assert_eq!(filter("label!=a=b"), Ok(Filter::NotLabel("a".to_owned(), Some("b".to_owned()))));
        assert_eq!(filter("label=a"), Ok(Filter::Label("a".to_owned(), None)));
        assert_eq!(filter("dangling=1"), Ok(Filter::Dangling(true)));
        for text in ["dangling", "dangling=x", "colour=red", "until=soon"] {
            assert!(filter(text).is_err(), "{text}");
        }
    }
}
