//! Lists in the form that `--format` asks for.

use std::io::{IsTerminal, Write};

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::table;
use crate::template::{Context, Template};

/// How a list is printed.
pub(crate) struct Layout<'a> {
    /// `--format`; `None` or `table` for the table below.
    pub(crate) format: Option<&'a str>,
    /// Template of the table.
    pub(crate) table: &'a str,
    /// Names of the fields as headings.
    pub(crate) headings: &'a [(&'a str, &'a str)],
}

/// Prints a list. On a terminal the lines of a table are cut at its width.
pub(crate) fn print(layout: &Layout<'_>, items: &[Context]) -> Result<()> {
    let mut text = render(layout, items)?;
    if is_table(layout.format)
        && let Some(width) = terminal_width()
    {
        text = table::fit(&text, width);
    }
    write(&text, is_table(layout.format))
}

/// Prints a list, whatever the width (`--no-trunc`).
pub(crate) fn print_whole(layout: &Layout<'_>, items: &[Context]) -> Result<()> {
    write(&render(layout, items)?, is_table(layout.format))
}

fn write(text: &str, table: bool) -> Result<()> {
    let text = if table && colours() { table::with_bold_heading(text) } else { text.to_owned() };
    std::io::stdout().write_all(text.as_bytes()).context("write(stdout)")
}

fn is_table(format: Option<&str>) -> bool {
    match format {
        None | Some("" | "table") => true,
        Some(format) => format.starts_with("table "),
    }
}

/// Columns of the terminal that standard output is; `None` if it is none.
fn terminal_width() -> Option<usize> {
    let terminal = std::io::stdout().is_terminal();
    let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let columns = columns.or_else(|| crate::session::terminal::size().map(|size| usize::from(size.width)));
    columns.filter(|columns| terminal && *columns >= 20)
}

/// Whether to colour: on terminals, unless NO_COLOR says no. Source: no-color.org.
fn colours() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    !refused && !dumb && std::io::stdout().is_terminal()
}

fn render(layout: &Layout<'_>, items: &[Context]) -> Result<String> {
    let template = match layout.format {
        None | Some("" | "table") => Some(layout.table),
        Some("json") => return json(items),
        Some(format) => format.strip_prefix("table ").map(str::trim_start),
    };
    let Some(template) = template else {
        return lines(layout.format.unwrap_or_default(), items);
    };
    let headings =
        layout.headings.iter().map(|(field, heading)| ((*field).to_owned(), Value::from(*heading))).collect();
    let headings = Context { dot: Value::Object(headings), ..Context::default() };
    let template = Template::parse(template).context("--format")?;
    // A template that works on values (.Label "x") may not work on headings.
    let mut text = template.render(&headings).unwrap_or_default();
    text.push('\n');
    for item in items {
        text.push_str(&template.render(item).context("--format")?);
        text.push('\n');
    }
    Ok(table::align(&text))
}

fn lines(format: &str, items: &[Context]) -> Result<String> {
    let template = Template::parse(format).context("--format")?;
    let mut text = String::new();
    for item in items {
        text.push_str(&template.render(item).context("--format")?);
        text.push('\n');
    }
    Ok(text)
}

fn json(items: &[Context]) -> Result<String> {
    let mut text = String::new();
    for item in items {
        text.push_str(&serde_json::to_string(&item.dot)?);
        text.push('\n');
    }
    Ok(text)
}

/// Prints documents as `inspect` does: a JSON list, or a template for each.
pub(crate) fn documents(format: Option<&str>, documents: &[Value], pretty: &str) -> Result<()> {
    let text = match format {
        None | Some("") => format!("{pretty}\n"),
        Some("json") => format!("{}\n", serde_json::to_string(documents)?),
        Some(format) => {
            let items: Vec<Context> =
                documents.iter().map(|dot| Context { dot: dot.clone(), ..Context::default() }).collect();
            lines(format, &items)?
        }
    };
    std::io::stdout().write_all(text.as_bytes()).context("write(stdout)")
}

/// JSON with docker's indentation.
pub(crate) fn pretty(value: &impl serde::Serialize) -> Result<String> {
    let mut text = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut text, formatter))?;
    Ok(String::from_utf8(text)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shown(format: Option<&str>) -> String {
        let layout = Layout { format, table: "{{.ID}}\t{{.Name}}", headings: &[("ID", "ID"), ("Name", "NAME")] };
        let item = |id: &str, name: &str| Context { dot: json!({"ID": id, "Name": name}), ..Context::default() };
        render(&layout, &[item("a", "one"), item("bb", "two")]).unwrap()
    }

    #[test]
    fn formats() {
        assert_eq!(shown(None), "ID   NAME\na    one\nbb   two\n");
        assert_eq!(shown(Some("table")), shown(None));
        assert_eq!(shown(Some("table {{.Name}}\\t{{upper .ID}}")), "NAME   ID\none    A\ntwo    BB\n");
        assert_eq!(shown(Some("{{.Name}}={{.ID}}")), "one=a\ntwo=bb\n");
        assert_eq!(shown(Some("json")), "{\"ID\":\"a\",\"Name\":\"one\"}\n{\"ID\":\"bb\",\"Name\":\"two\"}\n");
        assert_eq!(pretty(&json!({"a": 1})).unwrap(), "{\n    \"a\": 1\n}");
    }
}
