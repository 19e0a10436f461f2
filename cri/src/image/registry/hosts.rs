//! The places where a registry is reached: `hosts.toml`, docker's folder of certificates, or the registry itself.
//!
//! ```text
//!  HOSTS_DIR/HOST_PORT_/  HOSTS_DIR/HOST:PORT/  HOSTS_DIR/_default/    the first that exists
//!    hosts.toml           or *.crt (trusted), NAME.cert with NAME.key (ours)
//! ```
//!
//! Read anew for each pull and push: what was changed counts at once.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Certificate, Client, Identity, Url};

use super::super::dir::read_bounded;
use super::super::error::Error;
use super::Inner;
use super::endpoint::{Endpoint, default_base, is_loopback, is_loopback_url};
use super::fault::Fault;
use super::hosts_toml::{self, BasePath, Host, Hosts, Verify};

const HOSTS_TOML: &str = "hosts.toml";
/// More is no configuration.
const FILE_MAX: u64 = 1 << 20;

/// What makes two connections differ.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct ClientKey {
    ca: Vec<Vec<u8>>,
    identity: Option<Vec<u8>>,
    verify: Verify,
    connect_timeout: Duration,
    direct: Direct,
}

/// Whether a proxy is asked.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Direct {
    /// This machine is reached without one.
    Yes,
    /// By `HTTPS_PROXY` and the like.
    ByEnvironment,
}

impl Inner {
    /// The places to ask, in order, each with what it may be asked for.
    ///
    /// # Errors
    /// The configuration of the registry cannot be read, or leaves no place to ask.
    pub(crate) fn endpoints(&self, domain: &str) -> Result<Vec<Endpoint>, Error> {
        let (folder, hosts) = self.hosts(domain)?;
        let what = folder.map_or(domain.to_owned(), |folder| folder.join(HOSTS_TOML).display().to_string());
        let rule = |reason| Error::Document { what: what.clone(), reason };
        let all = hosts.mirrors.iter().chain([&hosts.server]);
        all.map(|host| self.endpoint(domain, host).map_err(rule)).collect()
    }

    fn hosts(&self, domain: &str) -> Result<(Option<PathBuf>, Hosts), Error> {
        let own = domain.rsplit_once(':').map(|(host, port)| format!("{host}_{port}_"));
        let names = own.into_iter().chain([domain.to_owned()]).chain(["_default".to_owned()]);
        for name in names {
            for root in &self.config.hosts_dirs {
                let folder = root.join(&name);
                if let Some(hosts) = read_folder(&folder)? {
                    return Ok((Some(folder), hosts));
                }
            }
        }
        Ok((None, Hosts { mirrors: Vec::new(), server: Host::default() }))
    }

    fn endpoint(&self, domain: &str, host: &Host) -> Result<Endpoint, String> {
        let base = base(domain, host)?;
        let own = default_base(domain)?;
        let mirror = (base.host_str(), base.port_or_known_default()) != (own.host_str(), own.port_or_known_default());
        let address = match (base.host_str(), base.port()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (host, _) => host.unwrap_or_default().to_owned(),
        };
        let ca = host.ca.iter().map(|path| read(path)).collect::<Result<Vec<_>, _>>()?;
        let identity = host.client.iter().map(|path| read(path)).collect::<Result<Vec<_>, _>>()?;
        let direct = if is_loopback_url(&base) { Direct::Yes } else { Direct::ByEnvironment };
        let connect_timeout = host.dial_timeout.unwrap_or(self.config.connect_timeout);
        let identity = (!identity.is_empty()).then(|| identity.join(&b'\n'));
        let key = ClientKey { ca, identity, verify: host.verify, connect_timeout, direct };
        let client = self.client(&key)?;
        let other = self.client(&ClientKey { identity: None, direct: Direct::ByEnvironment, ..key })?;
        let mut headers = HeaderMap::new();
        for (name, value) in &host.headers {
            let valid = name.parse::<HeaderName>().ok().zip(HeaderValue::from_str(value).ok());
            let (key, mut value) = valid.ok_or_else(|| format!("header.{name:?}: cannot be sent"))?;
            value.set_sensitive(true);
            headers.append(key, value);
        }
        Ok(Endpoint {
            base,
            host: if mirror { address } else { domain.to_owned() },
            capabilities: host.capabilities,
            namespace: mirror.then(|| domain.to_owned()),
            client,
            other,
            headers,
        })
    }

    /// Connections are shared by all that reach servers in the same way.
    fn client(&self, key: &ClientKey) -> Result<Client, String> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(key) {
            return Ok(client.clone());
        }
        let client = self.new_client(key)?;
        // Certificates that change often must not pile up.
        if clients.len() >= 64 {
            clients.clear();
        }
        clients.insert(key.clone(), client.clone());
        Ok(client)
    }

    fn new_client(&self, key: &ClientKey) -> Result<Client, String> {
        let mut builder = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("rt/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(key.connect_timeout)
            .read_timeout(self.config.idle_timeout)
            .http2_adaptive_window(true)
            .retry(reqwest::retry::never())
            .tls_danger_accept_invalid_certs(key.verify == Verify::Nothing);
        if key.direct == Direct::Yes {
            builder = builder.no_proxy();
        }
        let told = |error: &reqwest::Error| match Fault::transport("", error) {
            Fault::Transport { cause, .. } => cause,
            other => other.to_string(),
        };
        for pem in &key.ca {
            let all = Certificate::from_pem_bundle(pem).map_err(|error| format!("ca: {}", told(&error)))?;
            if all.is_empty() {
                return Err("ca: a file without a certificate in PEM form".into());
            }
            builder = builder.tls_certs_merge(all);
        }
        if let Some(pem) = &key.identity {
            let reason = |error: reqwest::Error| format!("client: certificate and key in PEM form: {}", told(&error));
            builder = builder.identity(Identity::from_pem(pem).map_err(reason)?);
        }
        builder.build().map_err(|error| format!("TLS: {}", told(&error)))
    }
}

/// The address below which everything lies.
fn base(domain: &str, host: &Host) -> Result<Url, String> {
    let Some(text) = &host.url else { return default_base(domain) };
    let has_scheme = text.starts_with("http://") || text.starts_with("https://");
    let full = match has_scheme {
        true => text.clone(),
        false if text.contains("://") => return Err(format!("{text:?}: allowed are http:// and https://")),
        false if is_loopback(text) => format!("http://{text}"),
        false => format!("https://{text}"),
    };
    let invalid = || format!("{text:?} is no address; expected https://HOST or http://HOST:PORT");
    let mut url = Url::parse(&full).map_err(|_| invalid())?;
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.host_str().is_none() {
        return Err(invalid());
    }
    let path = url.path().trim_end_matches('/').to_owned();
    let path = match host.path {
        BasePath::Root if !path.ends_with("/v2") => format!("{path}/v2/"),
        BasePath::Root | BasePath::Api => format!("{path}/"),
    };
    url.set_path(&path);
    Ok(url)
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let what = || path.display().to_string();
    let file = File::open(path).map_err(|error| format!("{}: {error}", what()))?;
    read_bounded(file, FILE_MAX, what).map_err(|error| error.to_string())
}

/// What a folder says; `None`: it is not there.
fn read_folder(folder: &Path) -> Result<Option<Hosts>, Error> {
    let failed = |source: io::Error| Error::Io { what: folder.display().to_string(), source };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry.map_err(failed)?.file_name().into_string());
    }
    names.sort();
    let path = folder.join(HOSTS_TOML);
    if names.iter().any(|name| name == HOSTS_TOML) {
        let what = path.display().to_string();
        let rule = |reason| Error::Document { what: what.clone(), reason };
        let text = String::from_utf8(read(&path).map_err(rule)?).map_err(|_| rule("is not UTF-8".into()))?;
        return hosts_toml::parse(&text, folder).map_err(rule).map(Some);
    }
    let mut server = Host::default();
    for name in &names {
        if name.ends_with(".crt") {
            server.ca.push(folder.join(name));
        }
        if let Some(stem) = name.strip_suffix(".cert") {
            let key = format!("{stem}.key");
            if !names.contains(&key) {
                let reason = format!("{name} has no {key} beside it; a certificate to trust is named *.crt");
                return Err(Error::Document { what: folder.display().to_string(), reason });
            }
            server.client.extend([folder.join(name), folder.join(key)]);
        }
    }
    Ok(Some(Hosts { mirrors: Vec::new(), server }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let rows = [
            (None, BasePath::Root, "https://registry-1.docker.io/v2/"),
            (Some("https://m.example"), BasePath::Root, "https://m.example/v2/"),
            (Some("https://m.example/v2"), BasePath::Root, "https://m.example/v2/"),
            (Some("https://m.example/v2/proxy/"), BasePath::Root, "https://m.example/v2/proxy/v2/"),
            (Some("https://m.example/v2/proxy"), BasePath::Api, "https://m.example/v2/proxy/"),
            (Some("m.example:5000"), BasePath::Root, "https://m.example:5000/v2/"),
            (Some("localhost:5000"), BasePath::Root, "http://localhost:5000/v2/"),
            (Some("http://10.0.0.1"), BasePath::Root, "http://10.0.0.1/v2/"),
        ];
        for (url, path, expected) in rows {
            let host = Host { url: url.map(Into::into), path, ..Host::default() };
            assert_eq!(base("docker.io", &host).unwrap().as_str(), expected);
        }
        for wrong in ["https://", "https://u:p@h", "ftp://x/", "https://h/?a=b", "a b"] {
            let host = Host { url: Some(wrong.into()), ..Host::default() };
            assert!(base("docker.io", &host).is_err(), "{wrong}");
        }
    }

    #[test]
    fn folders() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("x");
        assert_eq!(read_folder(&folder).unwrap(), None);
        fs::create_dir(&folder).unwrap();
        for name in ["b.crt", "a.crt", "me.cert", "me.key", "notes.txt"] {
            fs::write(folder.join(name), "").unwrap();
        }
        let hosts = read_folder(&folder).unwrap().unwrap();
        assert_eq!(hosts.server.ca, [folder.join("a.crt"), folder.join("b.crt")]);
        assert_eq!(hosts.server.client, [folder.join("me.cert"), folder.join("me.key")]);
        fs::remove_file(folder.join("me.key")).unwrap();
        assert!(read_folder(&folder).unwrap_err().to_string().contains("me.cert has no me.key"));
        fs::write(folder.join(HOSTS_TOML), "servr = 1").unwrap();
        assert!(read_folder(&folder).unwrap_err().to_string().contains("servr"));
    }
}
