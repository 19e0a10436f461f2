//! Names, or beginnings of names.

use toml::de::DeValue;

use super::value::{Setting, quote, shown};
use crate::image::Reference;

/// A name of an image, or the beginning of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImagePattern {
    /// This one.
    Name(Reference),
    /// All whose names begin so, in the short or the long form.
    Beginning(String),
}

impl ImagePattern {
    /// Whether it means an image of this name.
    #[must_use]
    pub fn matches(&self, name: &Reference) -> bool {
        match self {
            ImagePattern::Name(wanted) => wanted == name,
            ImagePattern::Beginning(text) => name.familiar().starts_with(text) || name.to_string().starts_with(text),
        }
    }
}

impl Setting for ImagePattern {
    fn allowed() -> String {
        "a name such as \"registry.k8s.io/pause:3.9\" or \"registry.k8s.io/*\"".to_owned()
    }

    fn read(value: &DeValue<'_>) -> Result<ImagePattern, String> {
        let wrong = || shown(value);
        let text = value.as_str().ok_or_else(wrong)?;
        match text.strip_suffix('*') {
            Some(beginning) if beginning.contains('*') || beginning.contains(char::is_whitespace) => Err(wrong()),
            Some(beginning) => Ok(ImagePattern::Beginning(beginning.to_owned())),
            None => text.parse().map(ImagePattern::Name).map_err(|_| wrong()),
        }
    }

    fn write(&self) -> String {
        match self {
            ImagePattern::Name(name) => quote(&name.familiar()),
            ImagePattern::Beginning(text) => quote(&format!("{text}*")),
        }
    }
}

/// A name of an annotation, or the beginning of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnnotationPattern {
    text: String,
    rest: bool,
}

impl AnnotationPattern {
    /// Whether it means an annotation of this name.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        if self.rest { name.starts_with(&self.text) } else { name == self.text }
    }
}

impl Setting for AnnotationPattern {
    fn allowed() -> String {
        "a name such as \"example.com/cpu\" or \"example.com/*\"".to_owned()
    }

    fn read(value: &DeValue<'_>) -> Result<AnnotationPattern, String> {
        let wrong = || shown(value);
        let text = value.as_str().ok_or_else(wrong)?;
        let name = text.strip_suffix('*').unwrap_or(text);
        if text.is_empty() || name.contains('*') || name.contains(char::is_whitespace) {
            return Err(wrong());
        }
        Ok(AnnotationPattern { text: name.to_owned(), rest: text.ends_with('*') })
    }

    fn write(&self) -> String {
        quote(&format!("{}{}", self.text, if self.rest { "*" } else { "" }))
    }
}
