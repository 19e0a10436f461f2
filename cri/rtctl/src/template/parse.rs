//! Tokens to a tree.

use serde_json::Value;

use super::lex::{Kind, Token};
use super::{DEPTH_LIMIT, Error};

/// A piece of a template.
#[derive(Debug)]
pub(super) enum Node {
    /// Copied to the output.
    Text(String),
    /// `{{pipeline}}`
    Action(Pipeline),
    /// `{{if}}` and `{{with}}`: the first branch that is true.
    Branch { kind: BranchKind, condition: Pipeline, body: Vec<Node>, otherwise: Vec<Node> },
    /// `{{range}}`
    Range { over: Pipeline, body: Vec<Node>, otherwise: Vec<Node> },
}

/// Whether a branch changes the dot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BranchKind {
    If,
    With,
}

/// `command | command`, perhaps assigned to variables.
#[derive(Debug)]
pub(super) struct Pipeline {
    pub(super) line: usize,
    /// Variables that get the value, and whether they are new.
    pub(super) variables: Vec<String>,
    pub(super) declares: bool,
    pub(super) commands: Vec<Vec<Operand>>,
}

/// A value and the fields selected from it.
#[derive(Debug)]
pub(super) struct Operand {
    pub(super) base: Base,
    pub(super) fields: Vec<String>,
}

/// Where a value comes from.
#[derive(Debug)]
pub(super) enum Base {
    Dot,
    Variable(String),
    Literal(Value),
    Function(String),
    Parentheses(Box<Pipeline>),
}

/// Parses all of a template.
pub(super) fn parse(tokens: &[Token]) -> Result<Vec<Node>, Error> {
    let mut parser = Parser { tokens, at: 0, depth: 0 };
    let (nodes, end) = parser.nodes()?;
    match end {
        Stop::Template => Ok(nodes),
        Stop::End => parser.error("unexpected {{end}}"),
        Stop::Else => parser.error("unexpected {{else}}"),
    }
}

/// What a list of nodes ended with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stop {
    Template,
    End,
    /// After the word `else`, before what follows it.
    Else,
}

struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn error<T>(&self, problem: impl Into<String>) -> Result<T, Error> {
        let token = self.tokens.get(self.at).or(self.tokens.last());
        Err(Error { line: token.map_or(1, |token| token.line), problem: problem.into() })
    }

    fn peek(&self) -> Option<&'a Kind> {
        self.tokens.get(self.at).map(|token| &token.kind)
    }

    fn word(&self) -> Option<&'a str> {
        match self.peek() {
            Some(Kind::Word(word)) => Some(word),
            _ => None,
        }
    }

    fn expect_close(&mut self) -> Result<(), Error> {
        if self.peek() == Some(&Kind::Close) {
            self.at += 1;
            return Ok(());
        }
        self.error("unexpected words at the end of an action")
    }

    fn deeper<T>(&mut self, inner: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        self.depth += 1;
        if self.depth > DEPTH_LIMIT {
            return self.error(format!("nested more than {DEPTH_LIMIT} deep"));
        }
        let result = inner(self);
        self.depth -= 1;
        result
    }

    fn nodes(&mut self) -> Result<(Vec<Node>, Stop), Error> {
        let mut nodes = Vec::new();
        while let Some(kind) = self.peek() {
            self.at += 1;
            if let Kind::Text(text) = kind {
                nodes.push(Node::Text(text.clone()));
                continue;
            }
            // Only text and `{{` stand outside of actions.
            match self.word() {
                Some("end") => {
                    self.at += 1;
                    self.expect_close()?;
                    return Ok((nodes, Stop::End));
                }
                Some("else") => {
                    self.at += 1;
                    return Ok((nodes, Stop::Else));
                }
                Some("if") => {
                    self.at += 1;
                    nodes.push(self.deeper(|parser| parser.branch(BranchKind::If))?);
                }
                Some("with") => {
                    self.at += 1;
                    nodes.push(self.deeper(|parser| parser.branch(BranchKind::With))?);
                }
                Some("range") => {
                    self.at += 1;
                    nodes.push(self.deeper(Self::range)?);
                }
                Some(word @ ("define" | "template" | "block" | "break" | "continue")) => {
                    return self.error(format!("{{{{{word}}}}} is not supported"));
                }
                Some(_) | None => {
                    nodes.push(Node::Action(self.pipeline()?));
                    self.expect_close()?;
                }
            }
        }
        Ok((nodes, Stop::Template))
    }

    fn branch(&mut self, kind: BranchKind) -> Result<Node, Error> {
        let condition = self.pipeline()?;
        self.expect_close()?;
        let (body, end) = self.nodes()?;
        let otherwise = self.otherwise(end, Some(kind))?;
        Ok(Node::Branch { kind, condition, body, otherwise })
    }

    fn range(&mut self) -> Result<Node, Error> {
        let over = self.pipeline()?;
        self.expect_close()?;
        let (body, end) = self.nodes()?;
        let otherwise = self.otherwise(end, None)?;
        Ok(Node::Range { over, body, otherwise })
    }

    /// What follows a body: `{{end}}`, `{{else}}` or `{{else if}}`.
    fn otherwise(&mut self, end: Stop, chain: Option<BranchKind>) -> Result<Vec<Node>, Error> {
        match end {
            Stop::Template => return self.error("unexpected end of the template, {{end}} is missing"),
            Stop::End => return Ok(Vec::new()),
            Stop::Else => {}
        }
        let next = match (self.word(), chain) {
            (Some("if"), Some(BranchKind::If)) => Some(BranchKind::If),
            (Some("with"), Some(BranchKind::With)) => Some(BranchKind::With),
            _ => None,
        };
        if let Some(kind) = next {
            self.at += 1;
            return Ok(vec![self.deeper(|parser| parser.branch(kind))?]);
        }
        self.expect_close()?;
        match self.nodes()? {
            (nodes, Stop::End) => Ok(nodes),
            (_, Stop::Else) => self.error("a second {{else}}"),
            (_, Stop::Template) => self.error("unexpected end of the template, {{end}} is missing"),
        }
    }

    fn pipeline(&mut self) -> Result<Pipeline, Error> {
        let line = self.tokens.get(self.at).map_or(1, |token| token.line);
        let (variables, declares) = self.assignment();
        let mut commands = Vec::new();
        loop {
            let mut command: Vec<Operand> = Vec::new();
            while let Some(operand) = self.operand(&mut command)? {
                command.push(operand);
            }
            if command.is_empty() {
                return self.error("missing value in an action");
            }
            commands.push(command);
            if self.peek() == Some(&Kind::Pipe) {
                self.at += 1;
            } else {
                return Ok(Pipeline { line, variables, declares, commands });
            }
        }
    }

    /// `$x :=`, `$k, $v :=` or `$x =`; nothing is taken when it is none of them.
    fn assignment(&mut self) -> (Vec<String>, bool) {
        let mut variables = Vec::new();
        let mut at = self.at;
        while let Some(Kind::Variable(name)) = self.tokens.get(at).map(|token| &token.kind) {
            variables.push(name.clone());
            match self.tokens.get(at + 1).map(|token| &token.kind) {
                Some(Kind::Comma) if variables.len() == 1 => at += 2,
                Some(kind @ (Kind::Declare | Kind::Assign)) => {
                    self.at = at + 2;
                    return (variables, *kind == Kind::Declare);
                }
                _ => break,
            }
        }
        (Vec::new(), false)
    }

    /// The next operand; a joined field is added to the last one of `command` instead.
    fn operand(&mut self, command: &mut [Operand]) -> Result<Option<Operand>, Error> {
        loop {
            let Some(kind) = self.peek() else { return self.error("unclosed action") };
            let base = match kind {
                Kind::Field { name, joined } => {
                    self.at += 1;
                    if *joined && let Some(last) = command.last_mut() {
                        last.fields.push(name.clone());
                        continue;
                    }
                    return Ok(Some(Operand { base: Base::Dot, fields: vec![name.clone()] }));
                }
                Kind::Dot => Base::Dot,
                Kind::Variable(name) => Base::Variable(name.clone()),
                Kind::Literal(text) => Base::Literal(Value::String(text.clone())),
                Kind::Number(number) => Base::Literal(Value::Number(number.clone())),
                Kind::Word(word) => match word.as_str() {
                    "true" => Base::Literal(Value::Bool(true)),
                    "false" => Base::Literal(Value::Bool(false)),
                    "nil" => Base::Literal(Value::Null),
                    _ => Base::Function(word.clone()),
                },
                Kind::Left => {
                    self.at += 1;
                    let inner = self.deeper(Self::pipeline)?;
                    if self.peek() != Some(&Kind::Right) {
                        return self.error("missing )");
                    }
                    Base::Parentheses(Box::new(inner))
                }
                Kind::Close | Kind::Pipe | Kind::Right => return Ok(None),
                Kind::Text(_) | Kind::Open | Kind::Declare | Kind::Assign | Kind::Comma => {
                    return self.error("unexpected symbol in an action");
                }
            };
            self.at += 1;
            return Ok(Some(Operand { base, fields: Vec::new() }));
        }
    }
}
