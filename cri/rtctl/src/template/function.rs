//! Functions of templates.
//!
//! Go's: `and or not eq ne lt le gt ge index slice len print println printf`. Docker's: `json join split lower upper title
//! pad truncate`.

use std::cmp::Ordering;

use serde_json::Value;

/// How a value is printed, as Go's `%v`.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Null => "<no value>".to_owned(),
        Value::Bool(bool) => bool.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        Value::Array(list) => format!("[{}]", list.iter().map(text).collect::<Vec<_>>().join(" ")),
        Value::Object(map) => {
            let entries: Vec<String> = map.iter().map(|(key, value)| format!("{key}:{}", text(value))).collect();
            format!("map[{}]", entries.join(" "))
        }
    }
}

/// Whether a value counts as true: not the zero value of its type.
pub(super) fn truth(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(bool) => *bool,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

/// Calls a function; the error is without the function's name only when there is no such function.
pub(super) fn call(name: &str, arguments: Vec<Value>) -> Result<Value, String> {
    let result = match name {
        "json" => {
            one(&arguments).and_then(|value| serde_json::to_string(value).map_err(|e| e.to_string())).map(Value::from)
        }
        "join" => join(&arguments),
        "split" => split(&arguments),
        "lower" => string(&arguments).map(|text| text.to_lowercase().into()),
        "upper" => string(&arguments).map(|text| text.to_uppercase().into()),
        "title" => string(&arguments).map(|text| title(text).into()),
        "pad" => pad(&arguments),
        "truncate" => truncate(&arguments),
        "print" => Ok(print(&arguments).into()),
        "println" => Ok(println(&arguments).into()),
        "printf" => printf(&arguments).map(Value::from),
        "len" => len(&arguments),
        "index" => index(&arguments),
        "slice" => slice(&arguments),
        "not" => one(&arguments).map(|value| (!truth(value)).into()),
        "and" => decide(arguments, false),
        "or" => decide(arguments, true),
        "eq" => equal(&arguments).map(Value::from),
        "ne" => two(&arguments).map(|(left, right)| (!same(left, right)).into()),
        "lt" => order(&arguments).map(|order| order.is_lt().into()),
        "le" => order(&arguments).map(|order| order.is_le().into()),
        "gt" => order(&arguments).map(|order| order.is_gt().into()),
        "ge" => order(&arguments).map(|order| order.is_ge().into()),
        _ => return Err(format!("function {name:?} not defined")),
    };
    result.map_err(|problem| format!("{name}: {problem}"))
}

fn one(arguments: &[Value]) -> Result<&Value, String> {
    match arguments {
        [value] => Ok(value),
        _ => Err(format!("takes one argument, not {}", arguments.len())),
    }
}

fn two(arguments: &[Value]) -> Result<(&Value, &Value), String> {
    match arguments {
        [left, right] => Ok((left, right)),
        _ => Err(format!("takes two arguments, not {}", arguments.len())),
    }
}

fn string(arguments: &[Value]) -> Result<&str, String> {
    let value = one(arguments)?;
    value.as_str().ok_or_else(|| format!("takes a string, not {}", text(value)))
}

fn whole(value: &Value) -> Result<usize, String> {
    let number = value.as_u64().and_then(|number| usize::try_from(number).ok());
    number.ok_or_else(|| format!("takes a number from 0, not {}", text(value)))
}

/// `join LIST SEPARATOR`, also the other way round.
fn join(arguments: &[Value]) -> Result<Value, String> {
    match two(arguments)? {
        (Value::Array(list), Value::String(separator)) | (Value::String(separator), Value::Array(list)) => {
            Ok(list.iter().map(text).collect::<Vec<_>>().join(separator).into())
        }
        (Value::Null, Value::String(_)) | (Value::String(_), Value::Null) => Ok("".into()),
        (left, right) => Err(format!("takes a list and a separator, not {} and {}", text(left), text(right))),
    }
}

fn split(arguments: &[Value]) -> Result<Value, String> {
    match two(arguments)? {
        (Value::String(text), Value::String(separator)) => {
            Ok(text.split(separator.as_str()).collect::<Vec<_>>().into())
        }
        (left, right) => Err(format!("takes two strings, not {} and {}", text(left), text(right))),
    }
}

fn title(text: &str) -> String {
    let mut start = true;
    let mut upper = |c: char| -> String {
        let first = start;
        start = c.is_whitespace();
        if first { c.to_uppercase().collect() } else { c.to_string() }
    };
    text.chars().map(&mut upper).collect()
}

/// Widest padding and `printf` width that is made.
const WIDTH_LIMIT: usize = 4096;

/// `pad TEXT BEFORE AFTER`
fn pad(arguments: &[Value]) -> Result<Value, String> {
    match arguments {
        [Value::String(text), before, after] => {
            let (before, after) = (whole(before)?.min(WIDTH_LIMIT), whole(after)?.min(WIDTH_LIMIT));
            Ok(format!("{}{text}{}", " ".repeat(before), " ".repeat(after)).into())
        }
        _ => Err("takes a string and two numbers".to_owned()),
    }
}

fn truncate(arguments: &[Value]) -> Result<Value, String> {
    match two(arguments)? {
        (Value::String(text), length) => Ok(text.chars().take(whole(length)?).collect::<String>().into()),
        _ => Err("takes a string and a length".to_owned()),
    }
}

/// Space between operands where neither is a string.
fn print(arguments: &[Value]) -> String {
    let mut output = String::new();
    for (index, value) in arguments.iter().enumerate() {
        let both = index > 0 && !value.is_string() && !arguments[index - 1].is_string();
        output.push_str(if both { " " } else { "" });
        output.push_str(&text(value));
    }
    output
}

fn println(arguments: &[Value]) -> String {
    let mut output = arguments.iter().map(text).collect::<Vec<_>>().join(" ");
    output.push('\n');
    output
}

/// `%s %v %d %q %t %f %x %%`, with flags `-`, `0`, a width and a precision.
fn printf(arguments: &[Value]) -> Result<String, String> {
    let Some((Value::String(format), values)) = arguments.split_first() else {
        return Err("takes a format string".to_owned());
    };
    let mut values = values.iter();
    let mut output = String::new();
    let mut chars = format.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            output.push(c);
            continue;
        }
        let (mut left, mut zero, mut width, mut precision) = (false, false, 0_usize, None);
        while let Some(flag) = chars.next_if(|c| matches!(c, '-' | '0' | '+' | ' ' | '#')) {
            left |= flag == '-';
            zero |= flag == '0';
        }
        while let Some(digit) = chars.next_if(char::is_ascii_digit).and_then(|c| c.to_digit(10)) {
            width = (width * 10 + digit as usize).min(WIDTH_LIMIT);
        }
        if chars.next_if_eq(&'.').is_some() {
            let mut wanted = 0_usize;
            while let Some(digit) = chars.next_if(char::is_ascii_digit).and_then(|c| c.to_digit(10)) {
                wanted = (wanted * 10 + digit as usize).min(64);
            }
            precision = Some(wanted);
        }
        let Some(verb) = chars.next() else { return Err("the format ends in the middle of a verb".to_owned()) };
        if verb == '%' {
            output.push('%');
            continue;
        }
        let value = values.next().ok_or_else(|| format!("no value for %{verb}"))?;
        let shown = match (verb, precision) {
            ('s' | 'v', Some(length)) if value.is_string() => text(value).chars().take(length).collect(),
            ('s' | 'v' | 'd' | 't', _) => text(value),
            ('q', _) => format!("{:?}", text(value)),
            ('f', precision) => {
                let number = value.as_f64().ok_or_else(|| format!("%f takes a number, not {}", text(value)))?;
                format!("{number:.*}", precision.unwrap_or(6))
            }
            ('x', _) => match value {
                Value::Number(number) => {
                    let number = number.as_i64().ok_or_else(|| format!("%x takes a whole number, not {number}"))?;
                    format!("{number:x}")
                }
                other => text(other).bytes().map(|byte| format!("{byte:02x}")).collect(),
            },
            (other, _) => return Err(format!("%{other} is not supported")),
        };
        let missing = width.saturating_sub(shown.chars().count());
        if left {
            output.push_str(&shown);
            output.push_str(&" ".repeat(missing));
        } else {
            output.push_str(&(if zero { "0" } else { " " }).repeat(missing));
            output.push_str(&shown);
        }
    }
    Ok(output)
}

fn len(arguments: &[Value]) -> Result<Value, String> {
    match one(arguments)? {
        Value::String(text) => Ok(text.len().into()),
        Value::Array(list) => Ok(list.len().into()),
        Value::Object(map) => Ok(map.len().into()),
        Value::Null => Ok(0.into()),
        other => Err(format!("{} has no length", text(other))),
    }
}

/// `index VALUE KEY...`; a key that a map lacks gives nothing, as with Go's maps of strings.
fn index(arguments: &[Value]) -> Result<Value, String> {
    let Some((value, keys)) = arguments.split_first() else { return Err("takes a value and keys".to_owned()) };
    let mut current = value.clone();
    for key in keys {
        current = match (&current, key) {
            (Value::Object(map), Value::String(name)) => map.get(name).cloned().unwrap_or_else(|| "".into()),
            (Value::Array(list), position) => {
                let position = whole(position)?;
                let found = list.get(position).cloned();
                found.ok_or_else(|| format!("index {position} is out of range, the list has {}", list.len()))?
            }
            (Value::Null, _) => "".into(),
            (other, key) => return Err(format!("{} has no element {}", text(other), text(key))),
        };
    }
    Ok(current)
}

/// `slice VALUE FROM TO`
fn slice(arguments: &[Value]) -> Result<Value, String> {
    let Some((value, bounds)) = arguments.split_first() else { return Err("takes a value and bounds".to_owned()) };
    let length = match value {
        Value::String(text) => text.len(),
        Value::Array(list) => list.len(),
        other => return Err(format!("{} cannot be sliced", text(other))),
    };
    let (from, to) = match bounds {
        [] => (0, length),
        [from] => (whole(from)?, length),
        [from, to] => (whole(from)?, whole(to)?),
        _ => return Err("takes at most two bounds".to_owned()),
    };
    let range = || format!("{from}:{to} is out of range, the length is {length}");
    match value {
        Value::String(text) => text.get(from..to).map(Value::from).ok_or_else(range),
        Value::Array(list) => list.get(from..to).map(|part| part.to_vec().into()).ok_or_else(range),
        _ => Err(range()),
    }
}

fn decide(arguments: Vec<Value>, stop_at: bool) -> Result<Value, String> {
    let mut last = Err("missing operand".to_owned());
    for value in arguments {
        let stop = truth(&value) == stop_at;
        last = Ok(value);
        if stop {
            break;
        }
    }
    last
}

fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => left == right || left.as_f64() == right.as_f64(),
        (left, right) => left == right,
    }
}

/// Whether the first equals any of the others.
fn equal(arguments: &[Value]) -> Result<bool, String> {
    match arguments.split_first() {
        Some((first, rest)) if !rest.is_empty() => Ok(rest.iter().any(|value| same(first, value))),
        Some(_) | None => Err("takes at least two arguments".to_owned()),
    }
}

fn order(arguments: &[Value]) -> Result<Ordering, String> {
    let (left, right) = two(arguments)?;
    match (left, right) {
        (Value::String(left), Value::String(right)) => Ok(left.cmp(right)),
        (Value::Number(left), Value::Number(right)) => {
            let order = match (left.as_i64(), right.as_i64()) {
                (Some(left), Some(right)) => Some(left.cmp(&right)),
                _ => left.as_f64().partial_cmp(&right.as_f64()),
            };
            order.ok_or_else(|| format!("{left} and {right} have no order"))
        }
        _ => Err(format!("{} and {} are of different or unordered types", text(left), text(right))),
    }
}
