//! Text to tokens.

use super::Error;

/// A token and the line it is on.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) line: usize,
}

/// Kinds of tokens; all but `Text` are from inside of `{{ }}`.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    /// Copied to the output.
    Text(String),
    /// `{{`
    Open,
    /// `}}`
    Close,
    /// `.Name`, directly after what it selects from when `joined`.
    Field { name: String, joined: bool },
    /// `.`
    Dot,
    /// `$` or `$name`
    Variable(String),
    /// A function or keyword.
    Word(String),
    /// A string.
    Literal(String),
    /// A number.
    Number(serde_json::Number),
    /// `|`
    Pipe,
    /// `(`
    Left,
    /// `)`, directly followed by a field when that field is `joined`.
    Right,
    /// `:=`
    Declare,
    /// `=`
    Assign,
    /// `,`
    Comma,
}

/// Splits a template.
pub(super) fn lex(text: &str) -> Result<Vec<Token>, Error> {
    let mut tokens = Vec::new();
    let mut rest = text;
    let mut line = 1;
    let mut trim_next = false;
    loop {
        let (plain, action) = match rest.split_once("{{") {
            Some((plain, action)) => (plain, Some(action)),
            None => (rest, None),
        };
        let mut shown = if trim_next { plain.trim_start() } else { plain };
        let trim_this = action.is_some_and(|action| action.starts_with('-') && action[1..].starts_with(WHITE));
        if trim_this {
            shown = shown.trim_end();
        }
        if !shown.is_empty() {
            let shown = shown.replace("\\t", "\t").replace("\\n", "\n");
            tokens.push(Token { kind: Kind::Text(shown), line });
        }
        line += plain.matches('\n').count();
        let Some(mut action) = action else { return Ok(tokens) };
        if trim_this {
            action = &action[1..];
        }
        (rest, trim_next) = match comment(action) {
            Some(result) => result,
            None => {
                let mut lexer = Lexer { rest: action, line, tokens };
                lexer.push(Kind::Open);
                let trim = lexer.action()?;
                lexer.push(Kind::Close);
                tokens = lexer.tokens;
                (lexer.rest, trim)
            }
        };
        line += action[..action.len() - rest.len()].matches('\n').count();
    }
}

const WHITE: [char; 4] = [' ', '\t', '\r', '\n'];

/// `/* text */`, alone in its braces: what follows, and whether white space after it is dropped.
fn comment(action: &str) -> Option<(&str, bool)> {
    let (_, after) = action.trim_start_matches(WHITE).strip_prefix("/*")?.split_once("*/")?;
    if let Some(rest) = after.strip_prefix("}}") {
        return Some((rest, false));
    }
    let rest = after.strip_prefix(WHITE)?.trim_start_matches(WHITE).strip_prefix("-}}")?;
    Some((rest, true))
}

struct Lexer<'a> {
    rest: &'a str,
    line: usize,
    tokens: Vec<Token>,
}

impl<'a> Lexer<'a> {
    fn push(&mut self, kind: Kind) {
        self.tokens.push(Token { kind, line: self.line });
    }

    fn error<T>(&self, problem: impl Into<String>) -> Result<T, Error> {
        Err(Error { line: self.line, problem: problem.into() })
    }

    /// The inside of braces up to `}}`; whether white space after it is dropped.
    fn action(&mut self) -> Result<bool, Error> {
        loop {
            let blank = self.rest.len();
            self.rest = self.rest.trim_start_matches(WHITE);
            let spaced = self.rest.len() < blank;
            if let Some(rest) = self.rest.strip_prefix("}}") {
                self.rest = rest;
                return Ok(false);
            }
            if spaced && let Some(rest) = self.rest.strip_prefix("-}}") {
                self.rest = rest;
                return Ok(true);
            }
            let Some(first) = self.rest.chars().next() else { return self.error("unclosed action") };
            match first {
                '|' => self.symbol(Kind::Pipe, 1),
                '(' => self.symbol(Kind::Left, 1),
                ')' => self.symbol(Kind::Right, 1),
                ',' => self.symbol(Kind::Comma, 1),
                ':' if self.rest.starts_with(":=") => self.symbol(Kind::Declare, 2),
                '=' => self.symbol(Kind::Assign, 1),
                '"' => self.quoted()?,
                '`' => self.raw()?,
                '$' => {
                    self.rest = &self.rest[1..];
                    let name = self.word().to_owned();
                    self.push(Kind::Variable(name));
                }
                '.' => {
                    let joined = !spaced
                        && matches!(self.tokens.last().map(|token| &token.kind), Some(kind) if selectable(kind));
                    self.rest = &self.rest[1..];
                    let name = self.word().to_owned();
                    if name.is_empty() {
                        self.push(Kind::Dot);
                    } else {
                        self.push(Kind::Field { name, joined });
                    }
                }
                '0'..='9' | '-' | '+' => self.number()?,
                _ if first == '_' || first.is_alphabetic() => {
                    let word = self.word().to_owned();
                    self.push(Kind::Word(word));
                }
                _ => return self.error(format!("unexpected {first:?} in an action")),
            }
        }
    }

    fn symbol(&mut self, kind: Kind, length: usize) {
        self.rest = &self.rest[length..];
        self.push(kind);
    }

    fn word(&mut self) -> &'a str {
        let end = self.rest.find(|c: char| c != '_' && !c.is_alphanumeric()).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn number(&mut self) -> Result<(), Error> {
        let end =
            self.rest[1..].find(|c: char| c != '.' && !c.is_alphanumeric()).map_or(self.rest.len(), |end| end + 1);
        let (text, rest) = self.rest.split_at(end);
        let number = match text.parse::<i64>() {
            Ok(whole) => Some(whole.into()),
            Err(_) => text.parse::<f64>().ok().and_then(serde_json::Number::from_f64),
        };
        let Some(number) = number else { return self.error(format!("bad number {text:?}")) };
        self.rest = rest;
        self.push(Kind::Number(number));
        Ok(())
    }

    fn raw(&mut self) -> Result<(), Error> {
        let Some((text, rest)) = self.rest[1..].split_once('`') else { return self.error("unterminated raw string") };
        self.rest = rest;
        self.push(Kind::Literal(text.to_owned()));
        Ok(())
    }

    fn quoted(&mut self) -> Result<(), Error> {
        let mut text = String::new();
        let mut chars = self.rest.char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.rest = &self.rest[at + 1..];
                    self.push(Kind::Literal(text));
                    return Ok(());
                }
                '\n' => break,
                '\\' => match chars.next().map(|(_, escaped)| escaped) {
                    Some('n') => text.push('\n'),
                    Some('t') => text.push('\t'),
                    Some('r') => text.push('\r'),
                    Some(same @ ('\\' | '"' | '\'')) => text.push(same),
                    Some(other) => return self.error(format!("unknown escape \\{other} in a string")),
                    None => break,
                },
                _ => text.push(c),
            }
        }
        self.error("unterminated string")
    }
}

/// Whether a `.Name` that follows at once selects from it.
fn selectable(kind: &Kind) -> bool {
    match kind {
        Kind::Field { .. } | Kind::Variable(_) | Kind::Right => true,
        Kind::Text(_)
        | Kind::Open
        | Kind::Close
        | Kind::Dot
        | Kind::Word(_)
        | Kind::Literal(_)
        | Kind::Number(_)
        | Kind::Pipe
        | Kind::Left
        | Kind::Declare
        | Kind::Assign
        | Kind::Comma => false,
    }
}
