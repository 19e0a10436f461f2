//! Columns: cells are separated by tabs, and wide enough for the widest of their column.
//!
//! Labels, arguments and names of processes come from images and containers: a control character in them would speak to the
//! terminal of whoever looks. They are shown escaped.

/// Spaces between columns.
const GAP: usize = 3;

/// Aligns lines. The last cell of a line is not padded.
pub(crate) fn align(text: &str) -> String {
    let text = &harmless(text);
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split('\t').collect()).collect();
    let mut widths: Vec<usize> = Vec::new();
    for row in &rows {
        for (column, cell) in row.iter().enumerate() {
            let width = cell.chars().count();
            match widths.get_mut(column) {
                Some(widest) => *widest = (*widest).max(width),
                None => widths.push(width),
            }
        }
    }
    let mut output = String::new();
    for row in &rows {
        for (column, cell) in row.iter().enumerate() {
            output.push_str(cell);
            if column + 1 < row.len() {
                output.push_str(&" ".repeat(widths[column] + GAP - cell.chars().count()));
            }
        }
        output.push('\n');
    }
    output
}

/// Cuts lines at a width; what is cut off is shown by an ellipsis.
pub(crate) fn fit(text: &str, width: usize) -> String {
    let mut output = String::with_capacity(text.len());
    for line in text.lines() {
        output.push_str(super::human::shorten(line, width).trim_end());
        output.push('\n');
    }
    output
}

/// The first line in bold, for terminals.
pub(crate) fn with_bold_heading(text: &str) -> String {
    match text.split_once('\n') {
        Some((heading, rest)) => format!("\u{1b}[1m{heading}\u{1b}[0m\n{rest}"),
        None => text.to_owned(),
    }
}

/// Escapes control characters but the two that make the table.
pub(crate) fn harmless(text: &str) -> String {
    let mut harmless = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\t' | '\n' => harmless.push(character),
            _ if character.is_control() => harmless.extend(character.escape_default()),
            _ => harmless.push(character),
        }
    }
    harmless
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_are_not_spoken_to() {
        assert_eq!(align("a\u{1b}[31m\tx\rz\u{9b}é\n"), "a\\u{1b}[31m   x\\rz\\u{9b}é\n");
    }

    #[test]
    fn cut_at_a_width() {
        assert_eq!(fit("ID   NAME\na    longer\n", 8), "ID   NA…\na    lo…\n");
        assert_eq!(fit("ID\n", 8), "ID\n");
        assert_eq!(with_bold_heading("ID\nx\n"), "\u{1b}[1mID\u{1b}[0m\nx\n");
    }

    #[test]
    fn aligned() {
        assert_eq!(align("ID\tNAME\tX\na\tlonger\t\n"), "ID   NAME     X\na    longer   \n");
        assert_eq!(align(""), "");
        assert_eq!(align("one\ntwo\tb"), "one\ntwo   b\n");
    }
}
