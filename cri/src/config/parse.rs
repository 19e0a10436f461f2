//! One file's text, laid over the values so far. Pure.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::key::{Key, Refused};
use super::keys::{Config, Handler};
use super::problem::{Place, Problem};

/// Most things that are said of one file.
const PROBLEMS: usize = 20;

/// The table of handlers.
const HANDLERS: &str = "handlers";

/// Longest name of a handler; RuntimeClass takes names of DNS labels.
const NAME: usize = 63;

/// Where each value that is no default comes from, by key with the names of its tables.
pub(super) type Places = BTreeMap<String, Place>;

/// Lays a file's values over `config`. The more important file comes later.
pub(super) fn lay(text: &str, file: &Path, config: &mut Config, places: &mut Places) -> Vec<Problem> {
    let line = |span: Range<usize>| {
        let before = text.get(..span.start).unwrap_or(text);
        Place::Line(file.to_owned(), before.bytes().filter(|byte| *byte == b'\n').count() + 1)
    };
    let (table, errors) = DeTable::parse_recoverable(text);
    let problem = |error: &toml::de::Error| {
        let place = error.span().map_or_else(|| Place::File(file.to_owned()), line);
        Problem { place, key: None, what: error.message().replace('\n', ", ") }
    };
    if !errors.is_empty() {
        return errors.iter().take(PROBLEMS).map(problem).collect();
    }
    let mut layer = Layer { config, places, problems: Vec::new(), line };
    layer.top(table.get_ref());
    layer.problems.truncate(PROBLEMS);
    layer.problems
}

struct Layer<'a, F> {
    config: &'a mut Config,
    places: &'a mut Places,
    problems: Vec<Problem>,
    line: F,
}

impl<F: Fn(Range<usize>) -> Place> Layer<'_, F> {
    fn top(&mut self, table: &DeTable<'_>) {
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            if name == HANDLERS {
                self.handlers(value);
                continue;
            }
            let place = (self.line)(key.span());
            let done = self.config.set(name, value.get_ref());
            self.note(name.to_owned(), place, done, Config::KEYS);
        }
    }

    fn handlers(&mut self, value: &Spanned<DeValue<'_>>) {
        let Some(table) = value.get_ref().as_table() else {
            let what = "allowed are tables [handlers.NAME]".to_owned();
            return self.problem((self.line)(value.span()), HANDLERS.to_owned(), what);
        };
        for (name, handler) in table {
            let place = (self.line)(name.span());
            let name = name.get_ref().as_ref();
            let key = format!("{HANDLERS}.{}", printable(name));
            let Some(table) = handler.get_ref().as_table() else {
                self.problem(place, key, "allowed is a table [handlers.NAME]".to_owned());
                continue;
            };
            if !is_name(name) {
                let what = format!("a name has up to {NAME} small letters, digits and - between them");
                self.problem(place, key, what);
                continue;
            }
            self.places.entry(key.clone()).or_insert(place);
            for (inner, value) in table {
                let place = (self.line)(inner.span());
                let inner = inner.get_ref().as_ref();
                let handler = self.config.handlers.entry(name.to_owned()).or_insert_with(Handler::defaults);
                let done = handler.set(inner, value.get_ref());
                self.note(format!("{key}.{}", printable(inner)), place, done, Handler::KEYS);
            }
            self.config.handlers.entry(name.to_owned()).or_insert_with(Handler::defaults);
        }
    }

    fn note(&mut self, key: String, place: Place, done: Result<(), Refused>, keys: &[Key]) {
        let name = key.rsplit('.').next().unwrap_or(&key);
        match done {
            Ok(()) => {
                self.places.insert(key, place);
            }
            Err(Refused::Unknown) => {
                let what = unknown(name, keys);
                self.problem(place, printable(&key), what);
            }
            Err(Refused::Value(value)) => {
                let allowed = keys.iter().find(|known| known.name == name).map(|known| (known.allowed)());
                let what = format!("{value} is not allowed; allowed is {}", allowed.unwrap_or_default());
                self.problem(place, key, what);
            }
        }
    }

    fn problem(&mut self, place: Place, key: String, what: String) {
        self.problems.push(Problem { place, key: Some(key), what });
    }
}

/// What is said of a key that is none.
pub(super) fn unknown(name: &str, keys: &[Key]) -> String {
    match nearest(name, keys) {
        Some(known) => format!("there is no such key; the nearest is {known}"),
        None => "there is no such key; `rtd config default` prints them all".to_owned(),
    }
}

/// The key that was probably meant: near enough to have been mistyped, or with all the words of what was typed.
fn nearest(name: &str, keys: &[Key]) -> Option<&'static str> {
    let typed: String = name.chars().take(64).flat_map(char::to_lowercase).collect();
    let typed = typed.replace('-', "_");
    let likeness = |key: &Key| {
        let near = strsim::normalized_damerau_levenshtein(&typed, key.name);
        let all = typed.len() >= 3 && typed.split('_').all(|word| key.name.split('_').any(|part| part == word));
        if all { near.max(0.9) } else { near }
    };
    let best = keys.iter().map(|key| (likeness(key), key.name)).max_by(|left, right| left.0.total_cmp(&right.0))?;
    (best.0 >= 0.6).then_some(best.1)
}

fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    (1..=NAME).contains(&name.len())
        && name.starts_with(plain)
        && name.ends_with(plain)
        && name.chars().all(|c| plain(c) || c == '-')
}

/// A key as a line of a log may have it.
fn printable(key: &str) -> String {
    key.chars().take(80).map(|c| if c.is_control() { '?' } else { c }).collect()
}
