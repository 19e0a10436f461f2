//! Carrying out a tree over JSON.

use serde_json::Value;

use super::function;
use super::parse::{Base, BranchKind, Node, Operand, Pipeline};
use super::{Context, Error};

/// Carries out a whole template.
pub(super) fn render(nodes: &[Node], context: &Context) -> Result<String, Error> {
    let variables = vec![(String::new(), context.dot.clone())];
    let mut machine = Machine { context, variables, output: String::new() };
    machine.nodes(nodes, &context.dot)?;
    Ok(machine.output)
}

struct Machine<'a> {
    context: &'a Context,
    /// Innermost last; the first is `$`, the whole document.
    variables: Vec<(String, Value)>,
    output: String,
}

impl Machine<'_> {
    fn nodes(&mut self, nodes: &[Node], dot: &Value) -> Result<(), Error> {
        let scope = self.variables.len();
        for node in nodes {
            match node {
                Node::Text(text) => self.output.push_str(text),
                Node::Action(pipeline) => {
                    let value = self.pipeline(pipeline, dot)?;
                    if pipeline.variables.is_empty() {
                        self.output.push_str(&function::text(&value));
                    }
                }
                Node::Branch { kind, condition, body, otherwise } => {
                    let inner = self.variables.len();
                    let value = self.pipeline(condition, dot)?;
                    if !function::truth(&value) {
                        self.nodes(otherwise, dot)?;
                    } else if *kind == BranchKind::With {
                        self.nodes(body, &value)?;
                    } else {
                        self.nodes(body, dot)?;
                    }
                    self.variables.truncate(inner);
                }
                Node::Range { over, body, otherwise } => self.range(over, body, otherwise, dot)?,
            }
        }
        self.variables.truncate(scope);
        Ok(())
    }

    fn range(&mut self, over: &Pipeline, body: &[Node], otherwise: &[Node], dot: &Value) -> Result<(), Error> {
        let value = self.commands(over, dot)?;
        let elements: Vec<(Value, Value)> = match value {
            Value::Array(list) => list.into_iter().enumerate().map(|(index, value)| (index.into(), value)).collect(),
            Value::Object(map) => map.into_iter().map(|(key, value)| (key.into(), value)).collect(),
            Value::Null => Vec::new(),
            Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                return Err(Error {
                    line: over.line,
                    problem: format!("range cannot go over {}", function::text(&value)),
                });
            }
        };
        if elements.is_empty() {
            return self.nodes(otherwise, dot);
        }
        for (key, element) in elements {
            let scope = self.variables.len();
            match over.variables.as_slice() {
                [] => {}
                [value] => self.variables.push((value.clone(), element.clone())),
                [index, value, ..] => {
                    self.variables.push((index.clone(), key));
                    self.variables.push((value.clone(), element.clone()));
                }
            }
            self.nodes(body, &element)?;
            self.variables.truncate(scope);
        }
        Ok(())
    }

    fn pipeline(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Value, Error> {
        let value = self.commands(pipeline, dot)?;
        for name in &pipeline.variables {
            let known = self.variables.iter_mut().rev().find(|(old, _)| old == name);
            match known {
                Some((_, old)) if !pipeline.declares => *old = value.clone(),
                None if !pipeline.declares => {
                    return Err(Error { line: pipeline.line, problem: format!("undefined variable ${name}") });
                }
                Some(_) | None => self.variables.push((name.clone(), value.clone())),
            }
        }
        Ok(value)
    }

    fn commands(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Value, Error> {
        let mut value = None;
        for command in &pipeline.commands {
            let result = self.command(command, value.take(), dot, pipeline.line);
            value = Some(result?);
        }
        Ok(value.unwrap_or(Value::Null))
    }

    fn command(&mut self, command: &[Operand], piped: Option<Value>, dot: &Value, line: usize) -> Result<Value, Error> {
        let error = |problem: String| Error { line, problem };
        let Some((first, rest)) = command.split_first() else { return Ok(Value::Null) };
        if let Base::Function(name) = &first.base {
            // `and` and `or` stop at the first operand that decides.
            if piped.is_none() && (name == "and" || name == "or") {
                return self.shortcut(name == "or", rest, dot, line);
            }
            let mut arguments = Vec::with_capacity(rest.len() + 1);
            for operand in rest {
                arguments.push(self.operand(operand, dot, line)?);
            }
            arguments.extend(piped);
            let value = function::call(name, arguments).map_err(error)?;
            return select(value, &first.fields).map_err(error);
        }
        if rest.is_empty() && piped.is_none() {
            return self.operand(first, dot, line);
        }
        let mut arguments = Vec::with_capacity(rest.len() + 1);
        for operand in rest {
            arguments.push(self.operand(operand, dot, line)?);
        }
        arguments.extend(piped);
        self.method(first, &arguments).map_err(error)
    }

    /// `.Label "name"`.
    fn method(&self, operand: &Operand, arguments: &[Value]) -> Result<Value, String> {
        let map = match (&operand.base, operand.fields.as_slice()) {
            (Base::Dot, [name]) => self.context.methods.get(name.as_str()),
            _ => None,
        };
        let map = map.ok_or_else(|| "only functions take arguments".to_owned())?;
        match arguments {
            [Value::String(name)] => Ok(map.get(name).cloned().unwrap_or_else(|| Value::String(String::new()))),
            _ => Err(format!(".{} takes one string", operand.fields.join("."))),
        }
    }

    fn shortcut(&mut self, stop_at: bool, operands: &[Operand], dot: &Value, line: usize) -> Result<Value, Error> {
        let mut last = None;
        for operand in operands {
            let value = self.operand(operand, dot, line)?;
            if function::truth(&value) == stop_at {
                return Ok(value);
            }
            last = Some(value);
        }
        last.ok_or_else(|| Error { line, problem: "and, or: missing operand".to_owned() })
    }

    fn operand(&mut self, operand: &Operand, dot: &Value, line: usize) -> Result<Value, Error> {
        let error = |problem: String| Error { line, problem };
        match &operand.base {
            // Only what is selected is copied, not the whole document.
            Base::Dot => find(dot, &operand.fields).cloned().map_err(error),
            Base::Variable(name) => {
                let found = self.variables.iter().rev().find(|(known, _)| known == name);
                let (_, value) = found.ok_or_else(|| error(format!("undefined variable ${name}")))?;
                find(value, &operand.fields).cloned().map_err(error)
            }
            Base::Literal(value) => Ok(value.clone()),
            Base::Function(name) => {
                let value = function::call(name, Vec::new()).map_err(error)?;
                select(value, &operand.fields).map_err(error)
            }
            Base::Parentheses(inner) => {
                let value = self.pipeline(inner, dot)?;
                select(value, &operand.fields).map_err(error)
            }
        }
    }
}

fn select(value: Value, fields: &[String]) -> Result<Value, String> {
    if fields.is_empty() { Ok(value) } else { find(&value, fields).cloned() }
}

fn find<'a>(value: &'a Value, fields: &[String]) -> Result<&'a Value, String> {
    let mut current = value;
    for field in fields {
        current = match current {
            Value::Object(map) => map.get(field).ok_or_else(|| missing(field, map))?,
            Value::Null => return Err(format!("no field .{field}: there is nothing to select it from")),
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                return Err(format!("no field .{field} in {}", function::text(current)));
            }
        };
    }
    Ok(current)
}

fn missing(field: &str, map: &serde_json::Map<String, Value>) -> String {
    let known: Vec<&str> = map.keys().take(40).map(String::as_str).collect();
    format!("no field .{field}; there are {}", known.join(", "))
}
