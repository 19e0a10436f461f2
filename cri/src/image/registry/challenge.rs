//! `WWW-Authenticate`: what a registry wants to see.
//!
//! Source: RFC 9110 section 11, "HTTP Authentication"; distribution-spec, token authentication.

/// One way in that the server offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// User and password with each request.
    Basic,
    /// A token from the server at `realm`.
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
    /// A scheme that we do not speak.
    Other(String),
}

/// Longest header that is looked at.
const HEADER_MAX: usize = 8 << 10;

/// All challenges of one header, in its order. What cannot be understood is left out.
pub(crate) fn parse(header: &str) -> Vec<Challenge> {
    let mut rest = Rest(header.get(..HEADER_MAX).unwrap_or(header));
    let mut challenges = Vec::new();
    loop {
        rest.skip(|byte| matches!(byte, b' ' | b'\t' | b','));
        let Some(scheme) = rest.token() else { return challenges };
        let mut parameters: Vec<(String, String)> = Vec::new();
        rest.skip(|byte| matches!(byte, b' ' | b'\t'));
        while let Some((name, value)) = rest.parameter() {
            parameters.push((name.to_ascii_lowercase(), value));
        }
        challenges.extend(challenge(scheme, &parameters));
    }
}

fn challenge(scheme: &str, parameters: &[(String, String)]) -> Option<Challenge> {
    let value = |wanted: &str| parameters.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone());
    if scheme.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Some(Challenge::Other(scheme.chars().take(40).collect()));
    }
    let full = |text: &String| !text.is_empty();
    Some(Challenge::Bearer {
        realm: value("realm")?,
        service: value("service").filter(full),
        scope: value("scope").filter(full),
    })
}

struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    fn skip(&mut self, unwanted: impl Fn(u8) -> bool) {
        self.0 = self.0.trim_start_matches(|letter: char| u8::try_from(letter).is_ok_and(&unwanted));
    }

    fn token(&mut self) -> Option<&'a str> {
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        let end = self.0.bytes().position(|byte| !is_token(byte)).unwrap_or(self.0.len());
        let (token, rest) = self.0.split_at(end);
        self.0 = rest;
        (!token.is_empty()).then_some(token)
    }

    /// `NAME = VALUE`, and the comma behind it; `None`: what follows is something else, such as the next scheme.
    fn parameter(&mut self) -> Option<(&'a str, String)> {
        let mut ahead = Rest(self.0);
        ahead.skip(|byte| matches!(byte, b' ' | b'\t' | b','));
        let name = ahead.token()?;
        ahead.skip(|byte| matches!(byte, b' ' | b'\t'));
        ahead.0 = ahead.0.strip_prefix('=')?;
        ahead.skip(|byte| matches!(byte, b' ' | b'\t'));
        let value = match ahead.0.strip_prefix('"') {
            Some(quoted) => {
                ahead.0 = quoted;
                ahead.quoted()?
            }
            None => ahead.plain()?.to_owned(),
        };
        self.0 = ahead.0;
        Some((name, value))
    }

    /// A value without quotes: taken more widely than a token, some servers send addresses so.
    fn plain(&mut self) -> Option<&'a str> {
        let end = self.0.find([',', ' ', '\t', '"']).unwrap_or(self.0.len());
        let (value, rest) = self.0.split_at(end);
        self.0 = rest;
        (!value.is_empty()).then_some(value)
    }

    fn quoted(&mut self) -> Option<String> {
        let mut value = String::new();
        let mut letters = self.0.char_indices();
        while let Some((at, letter)) = letters.next() {
            match letter {
                '"' => {
                    self.0 = &self.0[at + 1..];
                    return Some(value);
                }
                '\\' => value.push(letters.next()?.1),
                letter => value.push(letter),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Challenge {
        Challenge::Bearer { realm: realm.into(), service: service.map(Into::into), scope: scope.map(Into::into) }
    }

    #[test]
    fn what_registries_send() {
        let rows = [
            (
                r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/x:pull""#,
                vec![bearer(
                    "https://auth.docker.io/token",
                    Some("registry.docker.io"),
                    Some("repository:library/x:pull"),
                )],
            ),
            (r#"Basic realm="Registry Realm""#, vec![Challenge::Basic]),
            ("Basic", vec![Challenge::Basic]),
            (
                r#"Basic realm="a, Bearer realm=b", bearer realm = https://x/,scope="a,b""#,
                vec![Challenge::Basic, bearer("https://x/", None, Some("a,b"))],
            ),
            (
                r#"Negotiate, Bearer service="s", Basic realm=x"#,
                vec![Challenge::Other("Negotiate".into()), Challenge::Basic],
            ),
            (r#"Bearer realm="q\"uo\\te",service="",error="invalid_token""#, vec![bearer("q\"uo\\te", None, None)]),
            (r#"Bearer realm="never ends"#, vec![Challenge::Other("realm".into())]),
            ("", vec![]),
            (", ,", vec![]),
        ];
        for (header, expected) in rows {
            assert_eq!(parse(header), expected, "{header}");
        }
    }

    proptest! {
        #[test]
        fn never_panics_and_ends(header in "\\PC{0,80}|(Bearer|Basic|[a-z]{1,5}|[ ,=\"\\\\]|realm|scope){0,30}") {
            prop_assert!(parse(&header).len() <= header.len());
        }

        #[test]
        fn quoted_values_survive(realm in "\\PC{1,40}", service in "[a-z .:,=/]{1,20}") {
            let quote = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
            let header = format!("Bearer realm=\"{}\", service=\"{}\"", quote(&realm), quote(&service));
            prop_assert_eq!(parse(&header), vec![bearer(&realm, Some(&service), None)]);
        }
    }
}
