//! `hosts.toml`: where a registry and its mirrors are reached, and how. Pure: text in, what it says out.
//!
//! Source: containerd, docs/hosts.md.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

/// What a file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hosts {
    /// Tried in this order.
    pub(crate) mirrors: Vec<Host>,
    /// Tried at last; no `url`: the registry's own.
    pub(crate) server: Host,
}

/// One place and how it is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Host {
    pub(crate) url: Option<String>,
    pub(crate) capabilities: Capabilities,
    /// PEM files of certificates that are trusted.
    pub(crate) ca: Vec<PathBuf>,
    /// PEM files, one after the other, with certificates and keys that identify us.
    pub(crate) client: Vec<PathBuf>,
    pub(crate) verify: Verify,
    pub(crate) path: BasePath,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) dial_timeout: Option<Duration>,
}

/// What a place may be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Capabilities {
    /// Content by digest.
    pub(crate) pull: bool,
    /// What a tag means.
    pub(crate) resolve: bool,
    pub(crate) push: bool,
}

impl Default for Capabilities {
    fn default() -> Capabilities {
        Capabilities { pull: true, resolve: true, push: true }
    }
}

/// Whether the certificate of a server counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Verify {
    #[default]
    Certificate,
    /// `skip_verify = true`.
    Nothing,
}

/// What the path of an address means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum BasePath {
    /// `/v2` lies below it.
    #[default]
    Root,
    /// It is all, `override_path = true`.
    Api,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    server: Option<String>,
    host: Option<Tables>,
    capabilities: Option<Vec<Capability>>,
    ca: Option<OneOrMore>,
    client: Option<Client>,
    #[serde(default)]
    skip_verify: bool,
    #[serde(default)]
    override_path: bool,
    header: Option<Headers>,
    dial_timeout: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    capabilities: Option<Vec<Capability>>,
    ca: Option<OneOrMore>,
    client: Option<Client>,
    #[serde(default)]
    skip_verify: bool,
    #[serde(default)]
    override_path: bool,
    header: Option<Headers>,
    dial_timeout: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Capability {
    Pull,
    Resolve,
    Push,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "a string or a list of strings")]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "a file, or a list of files or of pairs of files")]
enum Client {
    One(String),
    More(Vec<OneOrPair>),
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "a file or a pair of files: certificate and key")]
enum OneOrPair {
    One(String),
    Pair([String; 2]),
}

/// Tables in the order of the file.
struct Tables(Vec<(String, Table)>);
struct Headers(Vec<(String, OneOrMore)>);

impl<'de> Deserialize<'de> for Tables {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Tables, D::Error> {
        deserializer.deserialize_map(Ordered(std::marker::PhantomData)).map(Tables)
    }
}

impl<'de> Deserialize<'de> for Headers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Headers, D::Error> {
        deserializer.deserialize_map(Ordered(std::marker::PhantomData)).map(Headers)
    }
}

struct Ordered<T>(std::marker::PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Ordered<T> {
    type Value = Vec<(String, T)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(entries)
    }
}

/// Reads a file; relative paths are meant from `folder`.
///
/// # Errors
/// The line and the key that is wrong, and what is allowed.
pub(crate) fn parse(text: &str, folder: &Path) -> Result<Hosts, String> {
    let file: File = toml::from_str(text).map_err(|error| error.to_string().trim_end().replace('\n', " "))?;
    let own = Table {
        capabilities: file.capabilities,
        ca: file.ca,
        client: file.client,
        skip_verify: file.skip_verify,
        override_path: file.override_path,
        header: file.header,
        dial_timeout: file.dial_timeout,
    };
    let server = file.server.filter(|server| !server.is_empty());
    let server = host(own, server, folder)?;
    let mut mirrors = Vec::new();
    for (url, table) in file.host.map_or_else(Vec::new, |tables| tables.0) {
        if url.is_empty() {
            return Err("host: an address is missing, such as [host.\"https://mirror.example\"]".into());
        }
        let name = format!("host.{url:?}");
        mirrors.push(host(table, Some(url), folder).map_err(|reason| format!("{name}: {reason}"))?);
    }
    Ok(Hosts { mirrors, server })
}

fn host(table: Table, url: Option<String>, folder: &Path) -> Result<Host, String> {
    let absolute = |path: String| folder.join(path);
    let list = |paths: OneOrMore| match paths {
        OneOrMore::One(path) => vec![path],
        OneOrMore::More(paths) => paths,
    };
    let client = match table.client {
        None => Vec::new(),
        Some(Client::One(path)) => vec![path],
        Some(Client::More(entries)) => entries.into_iter().flat_map(OneOrPair::paths).collect(),
    };
    let mut headers = Vec::new();
    for (name, values) in table.header.map_or_else(Vec::new, |headers| headers.0) {
        headers.extend(list(values).into_iter().map(|value| (name.clone(), value)));
    }
    let capabilities = table.capabilities.filter(|list| !list.is_empty()).map_or_else(Capabilities::default, |list| {
        let has = |wanted| list.contains(&wanted);
        Capabilities { pull: has(Capability::Pull), resolve: has(Capability::Resolve), push: has(Capability::Push) }
    });
    let dial_timeout = match table.dial_timeout {
        Some(text) => Some(duration(&text).ok_or_else(|| {
            format!("dial_timeout: {text:?} is no duration; expected a number and a unit, such as \"3s\" or \"1m30s\"")
        })?),
        None => None,
    };
    Ok(Host {
        url,
        capabilities,
        ca: table.ca.map_or_else(Vec::new, list).into_iter().map(absolute).collect(),
        client: client.into_iter().map(absolute).collect(),
        verify: if table.skip_verify { Verify::Nothing } else { Verify::Certificate },
        path: if table.override_path { BasePath::Api } else { BasePath::Root },
        headers,
        dial_timeout,
    })
}

impl OneOrPair {
    fn paths(self) -> Vec<String> {
        let all = match self {
            OneOrPair::One(path) => vec![path],
            OneOrPair::Pair(pair) => pair.into(),
        };
        all.into_iter().filter(|path| !path.is_empty()).collect()
    }
}

/// A duration as Go writes it: `3s`, `1m30s`, `500ms`, `1.5s`.
fn duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let end = rest.bytes().position(|byte| !byte.is_ascii_digit() && byte != b'.')?;
        let (number, after) = rest.split_at(end);
        let end = after.bytes().position(|byte| byte.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let seconds = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        let more = Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()?;
        sum = sum.checked_add(more)?;
        rest = after;
    }
    (!sum.is_zero()).then_some(sum)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<Hosts, String> {
        parse(text, Path::new("/certs/x"))
    }

    #[test]
    fn all_that_containerd_knows() {
        let hosts = read(
            r#"
            server = "https://registry-1.docker.io"
            ca = "upstream.crt"

            [host."https://z.example:5000/path"]
              capabilities = ["pull", "resolve"]
              ca = ["/a.crt", "b.crt"]
              client = [["c.cert", "c.key"], ["d.pem", ""]]
              skip_verify = true
              override_path = true
              dial_timeout = "1m1.5s"
              [host."https://z.example:5000/path".header]
                x-b = "1"
                x-a = ["2", "3"]

            [host."http://a.example"]
              client = "one.pem"
            "#,
        )
        .unwrap();
        let path = |text: &str| PathBuf::from(text);
        assert_eq!(hosts.server.url.as_deref(), Some("https://registry-1.docker.io"));
        assert_eq!(hosts.server.ca, [path("/certs/x/upstream.crt")]);
        let [first, second] = hosts.mirrors.as_slice() else { panic!("two mirrors") };
        assert_eq!(first.url.as_deref(), Some("https://z.example:5000/path"), "the order of the file counts");
        assert_eq!(first.capabilities, Capabilities { pull: true, resolve: true, push: false });
        assert_eq!(first.ca, [path("/a.crt"), path("/certs/x/b.crt")]);
        assert_eq!(first.client, [path("/certs/x/c.cert"), path("/certs/x/c.key"), path("/certs/x/d.pem")]);
        assert_eq!((first.verify, first.path), (Verify::Nothing, BasePath::Api));
        assert_eq!(first.dial_timeout, Some(Duration::from_millis(61_500)));
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(first.headers, [header("x-b", "1"), header("x-a", "2"), header("x-a", "3")]);
        assert_eq!(second.client, [path("/certs/x/one.pem")]);
        assert_eq!(second.capabilities, Capabilities::default());
        assert_eq!(read("").unwrap(), Hosts { mirrors: vec![], server: Host::default() });
    }

    #[test]
    fn what_is_wrong_is_named() {
        let rows = [
            ("servr = \"x\"", "servr"),
            ("[host.\"https://x\"]\nskip_verfy = true", "skip_verfy"),
            ("[host.\"https://x\"]\ncapabilities = [\"pul\"]", "pul"),
            ("[host.\"https://x\"]\nca = 1", "a string or a list of strings"),
            ("[host.\"https://x\"]\nclient = [[\"a\"]]", "a file, or a list"),
            ("[host.\"https://x\"]\ndial_timeout = \"3\"", "dial_timeout"),
            ("[host.\"\"]", "an address is missing"),
            ("server = ", "line 1"),
        ];
        for (text, expected) in rows {
            let error = read(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,60}|(\\[|\\]|host|\"|=|[a-z.]{1,4}|\n){0,30}", time in "[0-9.smh]{0,8}") {
            let _ = read(&text);
            let _ = duration(&time);
        }
    }
}
