//! The part of Go's text/template that users of `--format` know.
//!
//! ```text
//!  text ──lex──▶ tokens ──parse──▶ Node tree ──eval over JSON──▶ text
//! ```
//!
//! Built: fields, variables, pipes, parentheses, literals, `if`/`else if`/`with`/`range`/`end`, trimming, comments and the
//! functions of [`function`]. Not built: `define`, `template`, `block`, methods other than those of [`Context`]. A template
//! is the user's own, but it may come from a script: nothing here panics, recursion is bounded by [`DEPTH_LIMIT`].

mod eval;
mod function;
mod lex;
mod parse;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde_json::Value;

/// Deepest nesting of blocks and parentheses.
const DEPTH_LIMIT: usize = 64;

/// A parsed template.
#[derive(Debug)]
pub(crate) struct Template {
    nodes: Vec<parse::Node>,
}

/// What a template sees.
#[derive(Debug, Default)]
pub(crate) struct Context {
    /// `.`
    pub(crate) dot: Value,
    /// Fields that are called with one argument, as `.Label "name"`: maps to look it up in.
    pub(crate) methods: BTreeMap<&'static str, Value>,
}

/// Why a template could not be used.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Error {
    /// Line of the template, from 1.
    line: usize,
    /// What is wrong.
    problem: String,
}

impl std::fmt::Display for Error {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "template: line {}: {}", self.line, self.problem)
    }
}

impl std::error::Error for Error {}

impl Template {
    /// Parses a template; `\t` and `\n` outside of actions stand for tab and newline.
    pub(crate) fn parse(text: &str) -> Result<Template, Error> {
        let tokens = lex::lex(text)?;
        Ok(Template { nodes: parse::parse(&tokens)? })
    }

    /// Carries it out.
    pub(crate) fn render(&self, context: &Context) -> Result<String, Error> {
        eval::render(&self.nodes, context)
    }
}
