//! Filters of lists: what is empty fits everything.

use std::collections::{BTreeMap, HashMap};

use crate::pod::Id;

/// Whether an id is the wanted one, or begins so.
pub(super) fn id(wanted: &str, id: &Id) -> bool {
    id.as_str().starts_with(wanted)
}

/// Whether all wanted labels are there with the same values.
pub(super) fn labels(wanted: &HashMap<String, String>, labels: &BTreeMap<String, String>) -> bool {
    wanted.iter().all(|(name, value)| labels.get(name) == Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_labels_must_fit() {
        let own = BTreeMap::from([("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2".to_owned())]);
        for (wanted, expected) in [
            (&[][..], true),
            (&[("a", "1")], true),
            (&[("a", "1"), ("b", "2")], true),
            (&[("a", "2")], false),
            (&[("a", "1"), ("c", "")], false),
        ] {
            let wanted: HashMap<String, String> =
                wanted.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            assert_eq!(labels(&wanted, &own), expected, "{wanted:?}");
        }
    }

    #[test]
    fn an_id_may_be_short() {
        let own = Id::parse(&"ab".repeat(32)).unwrap();
        for (wanted, expected) in [("", true), ("aba", true), (own.as_str(), true), ("b", false)] {
            assert_eq!(id(wanted, &own), expected, "{wanted}");
        }
    }
}
