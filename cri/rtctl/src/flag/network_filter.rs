//! `--filter` of networks.

use std::time::SystemTime;

use cri::network::{DEFAULT, Network};

use super::time;

/// One `--filter`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Filter {
    Name(String),
    Id(String),
    Driver(String),
    Scope(String),
    Label(String, Option<String>),
    NotLabel(String, Option<String>),
    /// Whether somebody uses it.
    Dangling(bool),
    Type(Type),
    /// Made before: nanoseconds since the epoch.
    Until(u64),
}

/// `type=`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    /// There without anybody's doing.
    Builtin,
    /// Made by a user.
    Custom,
}

/// What a filter looks at.
pub(crate) struct Subject<'a> {
    pub(crate) name: &'a str,
    pub(crate) id: &'a str,
    pub(crate) driver: &'a str,
    /// Absent for those that are no networks, none and host.
    pub(crate) network: Option<&'a Network>,
    pub(crate) used: bool,
}

/// Parses `--filter NAME=VALUE`.
pub(crate) fn filter(text: &str) -> Result<Filter, String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("{text:?}: write it as NAME=VALUE"))?;
    let pair = || match value.split_once('=') {
        Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
        None => (value.to_owned(), None),
    };
    Ok(match name {
        "name" => Filter::Name(value.to_owned()),
        "id" => Filter::Id(value.to_owned()),
        "driver" => Filter::Driver(value.to_owned()),
        "scope" => Filter::Scope(value.to_owned()),
        "label" => {
            let (name, value) = pair();
            Filter::Label(name, value)
        }
        "label!" => {
            let (name, value) = pair();
            Filter::NotLabel(name, value)
        }
        "dangling" => Filter::Dangling(match value {
            "true" | "1" => true,
            "false" | "0" => false,
            _ => return Err(format!("dangling {value:?}: must be true or false")),
        }),
        "type" => Filter::Type(match value {
            "builtin" => Type::Builtin,
            "custom" => Type::Custom,
            _ => return Err(format!("type {value:?}: must be builtin or custom")),
        }),
        "until" => Filter::Until(time::moment(value, SystemTime::now())?),
        _ => {
            let known = "name, id, driver, scope, label, label!, dangling, type or until";
            return Err(format!("unknown filter {name:?}: must be {known}"));
        }
    })
}

/// Whether a network passes: filters of the same kind are alternatives, but labels, which must all hold.
pub(crate) fn all_hold(filters: &[Filter], subject: &Subject<'_>) -> bool {
    filters.iter().all(|filter| {
        let each = matches!(filter, Filter::Label(..) | Filter::NotLabel(..) | Filter::Until(_));
        let kind = std::mem::discriminant(filter);
        let mut same = filters.iter().filter(|other| std::mem::discriminant(*other) == kind);
        if each { holds(filter, subject) } else { same.any(|filter| holds(filter, subject)) }
    })
}

fn holds(filter: &Filter, subject: &Subject<'_>) -> bool {
    let has = |name: &String, value: &Option<String>| {
        let found = subject.network.and_then(|network| network.labels.get(name));
        found.is_some_and(|found| value.as_ref().is_none_or(|value| value == found))
    };
    let builtin = subject.network.is_none_or(|network| network.name == DEFAULT);
    match filter {
        Filter::Name(part) => subject.name.contains(part.as_str()),
        Filter::Id(prefix) => subject.id.starts_with(prefix.as_str()),
        Filter::Driver(name) => subject.driver == name,
        Filter::Scope(name) => name == "local",
        Filter::Label(name, value) => has(name, value),
        Filter::NotLabel(name, value) => !has(name, value),
        Filter::Dangling(wanted) => (!builtin && !subject.used) == *wanted,
        Filter::Type(Type::Builtin) => builtin,
        Filter::Type(Type::Custom) => !builtin,
        Filter::Until(moment) => subject.network.is_some_and(|network| network.created < *moment),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parsed() {
        assert_eq!(filter("label!=a=b"), Ok(Filter::NotLabel("a".to_owned(), Some("b".to_owned()))));
        assert_eq!(filter("type=custom"), Ok(Filter::Type(Type::Custom)));
        for text in ["name", "type=odd", "dangling=maybe", "until=soon", "colour=red"] {
            assert!(filter(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_passes() {
        let subject = |name, driver| Subject { name, id: "0123", driver, network: None, used: false };
        let hold = |texts: &[&str], subject: &Subject<'_>| {
            let filters: Vec<Filter> = texts.iter().map(|text| filter(text).unwrap()).collect();
            all_hold(&filters, subject)
        };
        let host = subject("host", "host");
        for (texts, expected) in [
            (&[] as &[&str], true),
            (&["name=os"], true),
            (&["name=x", "name=ost"], true),
            (&["name=host", "driver=bridge"], false),
            (&["id=01"], true),
            (&["id=1"], false),
            (&["label=a"], false),
            (&["label!=a"], true),
            (&["type=builtin"], true),
            (&["type=custom"], false),
            (&["dangling=true"], false),
            (&["scope=local"], true),
        ] {
            assert_eq!(hold(texts, &host), expected, "{texts:?}");
        }
    }
}
