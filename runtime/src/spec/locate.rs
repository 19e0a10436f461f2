//! The JSON path of a position in a document.
//!
//! The parser says only line and column of what it did not like. A second look at the text up to there tells the path; that is
//! a fraction of the code that tracking the path while parsing takes.

/// A container that is open at the position.
enum Open {
    /// An object, with the key whose value comes or came last.
    Object(String),
    /// An array, with the number of elements before the last.
    Array(usize),
}

/// The path of the value that ends, or begins, at a position: 1-based line, and column in bytes. `.` for the whole document.
pub(super) fn path_at(text: &[u8], line: usize, column: usize) -> String {
    let start =
        text.split_inclusive(|byte| *byte == b'\n').take(line.saturating_sub(1)).map(<[u8]>::len).sum::<usize>();
    let end = text.len().min(start + column);
    let mut open: Vec<Open> = Vec::new();
    let mut at = 0;
    let mut is_key = false;
    while at < end {
        let byte = text[at];
        at += 1;
        match byte {
            b'{' => {
                open.push(Open::Object(String::new()));
                is_key = true;
            }
            b'[' => open.push(Open::Array(0)),
            b'}' | b']' => {
                open.pop();
                is_key = false;
            }
            b',' => match open.last_mut() {
                Some(Open::Object(_)) => is_key = true,
                Some(Open::Array(index)) => *index += 1,
                None => {}
            },
            b':' => is_key = false,
            b'"' => {
                let string = string_end(text, at);
                if let (true, Some(Open::Object(key))) = (is_key, open.last_mut()) {
                    *key = String::from_utf8_lossy(&text[at..string.min(text.len())]).into_owned();
                }
                at = string + 1;
            }
            _ => {}
        }
    }
    let path = render(&open);
    if path.is_empty() { ".".to_owned() } else { path }
}

/// Index of the quote that ends a string.
fn string_end(text: &[u8], mut at: usize) -> usize {
    while at < text.len() && text[at] != b'"' {
        at += if text[at] == b'\\' { 2 } else { 1 };
    }
    at
}

/// Longest path in bytes that is said; what is deeper is not of a document that means anything.
const LONGEST: usize = 500;

fn render(open: &[Open]) -> String {
    let mut path = String::new();
    for container in open {
        if path.len() > LONGEST {
            path.truncate(path.floor_char_boundary(LONGEST));
            return path + "...";
        }
        match container {
            Open::Object(key) if key.is_empty() => {}
            Open::Object(key) => {
                if !path.is_empty() {
                    path.push('.');
                }
                path += key;
            }
            Open::Array(index) => path += &format!("[{index}]"),
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::path_at;

    #[test]
    fn paths() {
        let text = br#"{
  "a": 1, "b": {"c": [true, {"d\"": "x, }"}], "e": {}}
}"#;
        let column = |needle: &str| {
            let line = text.split(|byte| *byte == b'\n').nth(1).unwrap();
            let line = std::str::from_utf8(line).unwrap();
            line.find(needle).unwrap() + needle.len()
        };
        for (needle, path) in [
            ("1", "a"),
            ("true", "b.c[0]"),
            ("x, }\"", "b.c[1].d\\\""),
            ("}\"}", "b.c[1]"),
            ("]", "b.c"),
            ("{}", "b.e"),
            ("{}}", "b"),
        ] {
            assert_eq!(path_at(text, 2, column(needle)), path, "{needle}");
        }
        assert_eq!(path_at(text, 3, 1), ".");
        assert_eq!(path_at(b"", 1, 0), ".");
    }

    /// Whoever writes a document does not decide on the time and the length of the answer.
    #[test]
    fn paths_of_any_depth() {
        let text = "[".repeat(1 << 20);
        assert_eq!(path_at(text.as_bytes(), 1, text.len()), format!("{}[0...", "[0]".repeat(166)));
        let text = format!("{{\"{}\":{{\"b\":1", "ä".repeat(1 << 20));
        assert_eq!(path_at(text.as_bytes(), 1, text.len()), format!("{}...", "ä".repeat(250)));
    }

    proptest! {
        #[test]
        fn never_panics(text in proptest::collection::vec(prop_oneof![Just(b'{'), Just(b'}'), Just(b'['), Just(b']'), Just(b'"'), Just(b'\\'), Just(b','), Just(b':'), Just(b'\n'), any::<u8>()], 0..64), line in 0usize..8, column in 0usize..80) {
            path_at(&text, line, column);
        }
    }
}
