//! What a registry says when it refuses, made fit to be shown.
//!
//! Source: distribution-spec 1.1, "Error Codes".

use runtime::json;
use serde::Deserialize;

/// Most letters of one answer that are shown.
const SHOWN: usize = 400;

#[derive(Deserialize)]
struct Errors {
    errors: Vec<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    code: Option<String>,
    message: Option<String>,
}

/// Token servers have their own shapes.
#[derive(Deserialize)]
struct Loose {
    error: Option<String>,
    error_description: Option<String>,
    details: Option<String>,
    message: Option<String>,
}

/// What the body of a refusal says: `: CODE: message`; empty if it says nothing that can be shown.
pub(crate) fn detail(body: &[u8]) -> String {
    let mut texts: Vec<String> = Vec::new();
    if let Ok(errors) = json::from_slice::<Errors>(body) {
        for Refusal { code, message } in errors.errors.into_iter().take(5) {
            let parts = [code, message].into_iter().flatten().filter(|text| !text.is_empty());
            texts.push(parts.collect::<Vec<_>>().join(": "));
        }
    } else if let Ok(Loose { error, error_description, details, message }) = json::from_slice(body) {
        let parts = [error, error_description, details, message].into_iter().flatten().filter(|text| !text.is_empty());
        texts.push(parts.collect::<Vec<_>>().join(": "));
    }
    texts.retain(|text| !text.is_empty());
    match texts.is_empty() {
        true => String::new(),
        false => format!(": {}", printable(&texts.join("; "))),
    }
}

/// At most [`SHOWN`] letters, and none that a terminal obeys.
pub(crate) fn printable(text: &str) -> String {
    let clean = |letter: char| {
        let obeyed = letter.is_control() || matches!(letter, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if obeyed { ' ' } else { letter }
    };
    let mut shown: String = text.chars().take(SHOWN).map(clean).collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn shapes() {
        let rows = [
            (
                r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{"Tag":"x"}}]}"#,
                ": MANIFEST_UNKNOWN: manifest unknown",
            ),
            (r#"{"errors":[{"code":"A"},{"message":"b"}]}"#, ": A; b"),
            (r#"{"errors":[]}"#, ""),
            (r#"{"details":"incorrect username or password"}"#, ": incorrect username or password"),
            (r#"{"error":"invalid_grant","error_description":"expired\u001b[31m"}"#, ": invalid_grant: expired [31m"),
            ("<html>no</html>", ""),
            ("", ""),
        ];
        for (body, expected) in rows {
            assert_eq!(detail(body.as_bytes()), expected);
        }
    }

    proptest! {
        #[test]
        fn nothing_speaks_to_the_terminal(message in "\\PC{0,30}|[\\x00-\\x7f\u{202e}]{0,600}") {
            let body = serde_json::json!({"errors": [{"code": "X", "message": message}]}).to_string();
            let shown = detail(body.as_bytes());
            prop_assert!(!shown.chars().any(char::is_control));
            prop_assert!(shown.chars().count() <= SHOWN + 3);
        }
    }
}
