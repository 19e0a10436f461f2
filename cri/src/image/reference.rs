//! Image references in docker's normal form.
//!
//! ```text
//! busybox                   docker.io/library/busybox:latest
//! me/app:1                  docker.io/me/app:1
//! localhost:5000/app@sha256:…   (no tag is added to a digest)
//! ```
//!
//! Source: distribution/reference, reference grammar and `ParseDockerRef`.

use std::fmt;
use std::str::FromStr;

use super::digest::Digest;

const DEFAULT_DOMAIN: &str = "docker.io";
const LEGACY_DEFAULT_DOMAIN: &str = "index.docker.io";
const OFFICIAL: &str = "library/";
const DEFAULT_TAG: &str = "latest";
/// Longest name (domain and path) that is taken, as everywhere.
const NAME_MAX: usize = 255;
const TAG_MAX: usize = 128;

/// The name of an image: where it comes from, and a tag or a digest or both.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a text is no image reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("image reference {text:?}: {reason}")]
pub struct ReferenceError {
    text: String,
    reason: Reason,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Reason {
    #[error("is empty")]
    Empty,
    #[error("the name is longer than 255 bytes")]
    TooLong,
    #[error("the registry must be a host name, optionally with a port")]
    Domain,
    #[error("a name is made of lower-case letters, digits and single separators (. _ __ -) between them")]
    Path,
    #[error("a tag has up to 128 letters, digits, '_', '.' and '-' and starts with none of the last two")]
    Tag,
    #[error("a digest is sha256: and 64, or sha512: and 128 lower-case hex digits")]
    Digest,
    #[error("64 hex digits are an image id, not a name")]
    Id,
}

impl Reference {
    /// The registry, `docker.io` where none was named.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The repository within the registry, such as `library/busybox`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Registry and repository: `docker.io/library/busybox`.
    pub fn repository(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    /// The tag; `latest` where neither tag nor digest was given.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest of the manifest or index that is meant.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// The repository with that digest and without a tag.
    pub fn with_digest(&self, digest: &Digest) -> Reference {
        Reference { tag: None, digest: Some(digest.clone()), ..self.clone() }
    }

    /// The short form that people type: `busybox:latest`.
    pub fn familiar(&self) -> String {
        self.with_suffix(self.familiar_repository())
    }

    /// The short form without tag and digest: `busybox`.
    pub fn familiar_repository(&self) -> String {
        if self.domain != DEFAULT_DOMAIN {
            return self.repository();
        }
        match self.path.strip_prefix(OFFICIAL) {
            // `library/a/b` must stay as it is: `a/b` would be another repository.
            Some(rest) if !rest.contains('/') => rest.to_owned(),
            _ => self.path.clone(),
        }
    }

    fn with_suffix(&self, mut text: String) -> String {
        if let Some(tag) = &self.tag {
            text.push(':');
            text.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            text.push('@');
            text.push_str(&digest.to_string());
        }
        text
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.with_suffix(self.repository()))
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Reference, ReferenceError> {
        parse(text).map_err(|reason| ReferenceError { text: text.chars().take(300).collect(), reason })
    }
}

fn parse(text: &str) -> Result<Reference, Reason> {
    if text.is_empty() {
        return Err(Reason::Empty);
    }
    if text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(Reason::Id);
    }
    let (text, digest) = match text.split_once('@') {
        Some((text, digest)) => (text, Some(digest.parse::<Digest>().map_err(|_| Reason::Digest)?)),
        None => (text, None),
    };
    // A colon behind the last slash starts the tag; one before it is a port.
    let name_end = text.rfind('/').map_or(0, |slash| slash + 1);
    let (name, tag) = match text[name_end..].find(':') {
        Some(colon) => (&text[..name_end + colon], Some(&text[name_end + colon + 1..])),
        None => (text, None),
    };
    if tag.is_some_and(|tag| !is_tag(tag)) {
        return Err(Reason::Tag);
    }
    let (domain, path) = split_domain(name);
    if !is_domain(domain) {
        return Err(Reason::Domain);
    }
    if !path.split('/').all(is_component) {
        return Err(Reason::Path);
    }
    let path =
        if domain == DEFAULT_DOMAIN && !path.contains('/') { format!("{OFFICIAL}{path}") } else { path.to_owned() };
    if domain.len() + 1 + path.len() > NAME_MAX {
        return Err(Reason::TooLong);
    }
    let tag = match (tag, &digest) {
        (Some(tag), _) => Some(tag.to_owned()),
        (None, Some(_)) => None,
        (None, None) => Some(DEFAULT_TAG.to_owned()),
    };
    Ok(Reference { domain: domain.to_owned(), path, tag, digest })
}

/// The first component is a registry if it could not be a repository of docker's.
fn split_domain(name: &str) -> (&str, &str) {
    let Some((first, rest)) = name.split_once('/') else {
        return (DEFAULT_DOMAIN, name);
    };
    let names_host =
        first.contains(['.', ':']) || first == "localhost" || first.bytes().any(|byte| byte.is_ascii_uppercase());
    match first {
        LEGACY_DEFAULT_DOMAIN => (DEFAULT_DOMAIN, rest),
        _ if names_host => (first, rest),
        _ => (DEFAULT_DOMAIN, name),
    }
}

fn is_domain(domain: &str) -> bool {
    let (host, port) = match domain.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, after)) => {
                let valid = !address.is_empty() && address.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b':');
                if !valid {
                    return false;
                }
                match after.strip_prefix(':') {
                    Some(port) => (None, Some(port)),
                    None if after.is_empty() => (None, None),
                    None => return false,
                }
            }
            None => return false,
        },
        None => match domain.split_once(':') {
            Some((host, port)) => (Some(host), Some(port)),
            None => (Some(domain), None),
        },
    };
    let host_fits = host.is_none_or(|host| host.split('.').all(is_host_label));
    let port_fits = port.is_none_or(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()));
    host_fits && port_fits
}

fn is_host_label(label: &str) -> bool {
    let edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    edge(label.bytes().next())
        && edge(label.bytes().last())
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn is_component(component: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let mut separator = String::new();
    let mut before_word = true;
    for byte in component.bytes() {
        if word(byte) {
            let dashes = !separator.is_empty() && separator.bytes().all(|byte| byte == b'-');
            let fits = separator.is_empty() || dashes || matches!(separator.as_str(), "." | "_" | "__");
            if !fits || (before_word && !separator.is_empty()) {
                return false;
            }
            separator.clear();
            before_word = false;
        } else if matches!(byte, b'.' | b'_' | b'-') {
            separator.push(char::from(byte));
        } else {
            return false;
        }
    }
    !before_word && separator.is_empty()
}

fn is_tag(tag: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    tag.len() <= TAG_MAX
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|byte| word(byte) || matches!(byte, b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEX: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn normal_and_familiar_form() {
        let digest = format!("@sha256:{HEX}");
        let rows = [
            ("busybox", "docker.io/library/busybox:latest", "busybox:latest"),
            ("busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36"),
            ("docker.io/busybox", "docker.io/library/busybox:latest", "busybox:latest"),
            ("index.docker.io/library/busybox", "docker.io/library/busybox:latest", "busybox:latest"),
            ("library/busybox", "docker.io/library/busybox:latest", "busybox:latest"),
            ("docker.io/library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest"),
            ("me/app", "docker.io/me/app:latest", "me/app:latest"),
            ("localhost/app", "localhost/app:latest", "localhost/app:latest"),
            ("localhost:5000/app:v1", "localhost:5000/app:v1", "localhost:5000/app:v1"),
            ("app:5000", "docker.io/library/app:5000", "app:5000"),
            ("registry.k8s.io/pause:3.10", "registry.k8s.io/pause:3.10", "registry.k8s.io/pause:3.10"),
            ("Host/app", "Host/app:latest", "Host/app:latest"),
            ("[::1]:5000/app", "[::1]:5000/app:latest", "[::1]:5000/app:latest"),
            ("a__b/c-_d", "", ""),
            ("a__b/c---d.e", "docker.io/a__b/c---d.e:latest", "a__b/c---d.e:latest"),
        ];
        for (text, normal, familiar) in rows {
            match text.parse::<Reference>() {
                Ok(reference) => {
                    assert_eq!(reference.to_string(), normal, "{text}");
                    assert_eq!(reference.familiar(), familiar, "{text}");
                }
                Err(error) => assert_eq!(normal, "", "{error}"),
            }
        }
        let pinned: Reference = format!("busybox{digest}").parse().unwrap();
        assert_eq!((pinned.tag(), pinned.to_string()), (None, format!("docker.io/library/busybox{digest}")));
        let both: Reference = format!("busybox:1{digest}").parse().unwrap();
        assert_eq!(both.familiar(), format!("busybox:1{digest}"));
    }

    #[test]
    fn refuses_with_the_rule() {
        let long = "a".repeat(256);
        let rows = [
            ("", Reason::Empty),
            (HEX, Reason::Id),
            ("Busybox", Reason::Path),
            ("a//b", Reason::Path),
            ("/a", Reason::Path),
            ("a/", Reason::Path),
            ("a/../b", Reason::Path),
            ("-a", Reason::Path),
            ("a.", Reason::Path),
            ("a___b", Reason::Path),
            ("a:", Reason::Tag),
            ("a:-x", Reason::Tag),
            ("a:b:c", Reason::Tag),
            ("a b", Reason::Path),
            ("host.:1/a", Reason::Domain),
            ("host:/a", Reason::Domain),
            ("host:1x/a", Reason::Domain),
            ("[::1/a", Reason::Domain),
            ("a@sha256:12", Reason::Digest),
            (&long, Reason::TooLong),
        ];
        for (text, reason) in rows {
            assert_eq!(parse(text).map(|r| r.to_string()), Err(reason), "{text}");
        }
    }

    proptest! {
        #[test]
        fn never_panics_and_round_trips(text in "\\PC{0,40}|[a-zA-Z0-9.:/_@\\[\\]-]{0,60}|[a-z]{1,5}(/[a-z]{1,5}){0,3}(:[a-z0-9]{1,9})?") {
            if let Ok(reference) = text.parse::<Reference>() {
                prop_assert_eq!(&reference.to_string().parse::<Reference>().unwrap(), &reference);
                prop_assert_eq!(&reference.familiar().parse::<Reference>().unwrap(), &reference);
            }
        }
    }
}
