//! Members that few documents have: read where they are needed, without types of their own, which would cost each program more
//! than the reading does.

use serde_json::Value;

/// A member that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// JSON path.
    pub at: String,
    /// The rule.
    pub problem: String,
}

/// An object and its JSON path.
pub struct Member<'a> {
    value: &'a Value,
    at: String,
}

impl<'a> Member<'a> {
    /// An object at a JSON path.
    ///
    /// # Errors
    /// It is something else.
    pub fn new(value: &'a Value, at: impl Into<String>) -> Result<Self, Wrong> {
        let member = Self { value, at: at.into() };
        if value.is_object() { Ok(member) } else { Err(member.own("must be an object")) }
    }

    /// Its JSON path.
    #[must_use]
    pub fn at(&self) -> &str {
        &self.at
    }

    /// What is wrong with the object itself.
    pub fn own(&self, problem: impl Into<String>) -> Wrong {
        Wrong { at: self.at.clone(), problem: problem.into() }
    }

    /// What is wrong with a member.
    pub fn wrong(&self, name: &str, problem: impl Into<String>) -> Wrong {
        Wrong { at: format!("{}.{name}", self.at), problem: problem.into() }
    }

    fn get(&self, name: &str) -> Option<&'a Value> {
        self.value.get(name).filter(|value| !value.is_null())
    }

    /// A whole number in a range.
    ///
    /// # Errors
    /// It is something else.
    pub fn number(&self, name: &str, least: i64, most: i64) -> Result<Option<i64>, Wrong> {
        let Some(value) = self.get(name) else { return Ok(None) };
        match value.as_i64().filter(|number| (least..=most).contains(number)) {
            Some(number) => Ok(Some(number)),
            None => Err(self.wrong(name, format!("{value} is not a whole number from {least} to {most}"))),
        }
    }

    /// A text; absent is empty.
    ///
    /// # Errors
    /// It is something else, or has a NUL byte.
    pub fn text(&self, name: &str) -> Result<&'a str, Wrong> {
        let Some(value) = self.get(name) else { return Ok("") };
        value.as_str().filter(|text| !text.contains('\0')).ok_or_else(|| self.wrong(name, "must be a text without NUL"))
    }

    /// The number of a word.
    ///
    /// # Errors
    /// It is missing or is none of `words`.
    pub fn word(&self, name: &str, words: &[(&str, u32)]) -> Result<u32, Wrong> {
        let text = self.text(name)?;
        number_of(text, words).ok_or_else(|| self.wrong(name, unknown(text, words)))
    }

    /// The sum of the bits of a list of words; absent is 0.
    ///
    /// # Errors
    /// One is none of `words`.
    pub fn bits(&self, name: &str, words: &[(&str, u32)]) -> Result<u32, Wrong> {
        let mut bits = 0;
        for (index, value) in self.list(name)?.iter().enumerate() {
            let text = value.as_str().unwrap_or_default();
            bits |= number_of(text, words)
                .ok_or_else(|| self.wrong(&format!("{name}[{index}]"), unknown(&value.to_string(), words)))?;
        }
        Ok(bits)
    }

    /// A list; absent is empty.
    ///
    /// # Errors
    /// It is something else.
    pub fn list(&self, name: &str) -> Result<&'a [Value], Wrong> {
        match self.get(name) {
            None => Ok(&[]),
            Some(Value::Array(list)) => Ok(list),
            Some(_) => Err(self.wrong(name, "must be a list")),
        }
    }

    /// A list of objects; absent is empty.
    ///
    /// # Errors
    /// It, or one of it, is something else.
    pub fn members(&self, name: &str) -> Result<Vec<Member<'a>>, Wrong> {
        let list = self.list(name)?.iter().enumerate();
        list.map(|(index, value)| Member::new(value, format!("{}.{name}[{index}]", self.at))).collect()
    }

    /// All members, which are objects themselves; `at` shows a name in a JSON path.
    ///
    /// # Errors
    /// One is something else.
    pub fn named(&self) -> Result<Vec<(&'a str, Member<'a>)>, Wrong> {
        let entries = self.value.as_object().into_iter().flatten();
        entries
            .map(|(name, value)| Ok((name.as_str(), Member::new(value, format!("{}[{name:?}]", self.at))?)))
            .collect()
    }
}

fn number_of(text: &str, words: &[(&str, u32)]) -> Option<u32> {
    words.iter().find(|(word, _)| *word == text).map(|(_, number)| *number)
}

fn unknown(text: &str, words: &[(&str, u32)]) -> String {
    let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    format!("{text:?} is none of {}", words.join(", "))
}

/// The members of a list such as `0-3,7` (cpuset(7), "List format") as bits; `None` for anything else, and for numbers from 8192.
#[must_use]
pub fn number_set(text: &str) -> Option<Vec<u64>> {
    let number = |text: &str| text.trim().parse::<usize>().ok().filter(|number| *number < 8192);
    let mut bits = Vec::new();
    for part in text.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return None;
        }
        if bits.len() <= last / 64 {
            bits.resize(last / 64 + 1, 0);
        }
        (first..=last).for_each(|number| bits[number / 64] |= 1 << (number % 64));
    }
    Some(bits)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn sets_of_numbers() {
        for (text, bits) in [
            ("0", Some(vec![1])),
            ("0-3,7", Some(vec![0x8f])),
            (" 1, 64 ", Some(vec![2, 1])),
            ("", None),
            ("3-1", None),
            ("-1", None),
            ("a", None),
            ("1,", None),
            ("9999999999", None),
            ("8192", None),
        ] {
            assert_eq!(number_set(text), bits, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        const WORDS: &[(&str, u32)] = &[("A", 1), ("B", 2)];
        let value = json!({"number": "7", "text": 7, "list": {}, "bits": ["A", "C"], "objects": [1], "word": "x"});
        let member = Member::new(&value, "linux.x").map_err(|_| ()).unwrap();
        let path = |wrong: Wrong| wrong.at;
        assert_eq!(member.number("number", 0, 9).map_err(path).unwrap_err(), "linux.x.number");
        assert_eq!(member.text("text").map_err(path).unwrap_err(), "linux.x.text");
        assert_eq!(member.list("list").map_err(path).unwrap_err(), "linux.x.list");
        assert_eq!(member.bits("bits", WORDS).map_err(path).unwrap_err(), "linux.x.bits[1]");
        assert_eq!(member.members("objects").map(|_| ()).map_err(path).unwrap_err(), "linux.x.objects[0]");
        assert_eq!(member.word("word", WORDS).unwrap_err().problem, "\"x\" is none of A, B");
        assert_eq!(member.number("absent", 0, 9).unwrap(), None);
        assert!(Member::new(&json!([]), "x").is_err());
    }
}
