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
    fn aligned() {
        assert_eq!(align("ID\tNAME\tX\na\tlonger\t\n"), "ID   NAME     X\na    longer   \n");
        assert_eq!(align(""), "");
        assert_eq!(align("one\ntwo\tb"), "one\ntwo   b\n");
    }
}
