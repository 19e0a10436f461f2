//! Where a registry is reached.

use std::net::IpAddr;

use reqwest::header::HeaderMap;
use reqwest::{Client, Url};

use super::hosts_toml::Capabilities;

/// The registry of names without one.
const DOCKER_HUB: &str = "docker.io";
/// Where that one is.
const DOCKER_HUB_HOST: &str = "registry-1.docker.io";

/// One place to ask.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    /// Everything lies below it; ends in `/`.
    pub(crate) base: Url,
    /// The host whose credentials are meant; `docker.io` for its registry.
    pub(crate) host: String,
    /// The registry that it is a mirror of.
    pub(crate) namespace: Option<String>,
    pub(crate) capabilities: Capabilities,
    /// For the origin of `base`.
    pub(crate) client: Client,
    /// For other origins: without a client certificate.
    pub(crate) other: Client,
    /// Sent to the origin of `base` only.
    pub(crate) headers: HeaderMap,
}

/// What an endpoint is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Content by digest.
    Pull,
    /// What a tag means.
    Resolve,
    Push,
}

impl Wish {
    pub(crate) fn is_granted(self, capabilities: Capabilities) -> bool {
        match self {
            Wish::Pull => capabilities.pull,
            Wish::Resolve => capabilities.resolve,
            Wish::Push => capabilities.push,
        }
    }
}

impl Endpoint {
    /// The address of `PATH/KIND/NAME`.
    pub(crate) fn url(&self, path: &str, kind: &str, name: &str) -> Url {
        let mut url = self.base.clone();
        // Names of images, tags and digests hold nothing that has a meaning in an address.
        url.set_path(&format!("{}{path}/{kind}/{name}", self.base.path()));
        if let Some(namespace) = &self.namespace {
            url.query_pairs_mut().append_pair("ns", namespace);
        }
        url
    }
}

/// The address of the registry of that domain, unless something else was configured.
///
/// # Errors
/// Such a host cannot be, for example because its port is too large.
pub(crate) fn default_base(domain: &str) -> Result<Url, String> {
    let host = if domain == DOCKER_HUB { DOCKER_HUB_HOST } else { domain };
    let scheme = if is_loopback(domain) { "http" } else { "https" };
    let url = Url::parse(&format!("{scheme}://{host}/v2/"));
    url.map_err(|error| format!("{domain:?} is not the name of a host: {error}"))
}

/// Whether the host, with or without a port, is this machine by its very name.
pub(crate) fn is_loopback(domain: &str) -> bool {
    let host = match domain.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => domain.split(':').next().unwrap_or(domain),
    };
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The same for an address.
pub(crate) fn is_loopback_url(url: &Url) -> bool {
    url.host_str().is_some_and(is_loopback)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_this_machine_only() {
        let rows = [
            ("docker.io", "https://registry-1.docker.io/v2/"),
            ("quay.io", "https://quay.io/v2/"),
            ("localhost:5000", "http://localhost:5000/v2/"),
            ("localhost", "http://localhost/v2/"),
            ("127.0.0.5:5000", "http://127.0.0.5:5000/v2/"),
            ("[::1]:5000", "http://[::1]:5000/v2/"),
            ("localhost.example:5000", "https://localhost.example:5000/v2/"),
            ("10.0.0.1:5000", "https://10.0.0.1:5000/v2/"),
        ];
        for (domain, expected) in rows {
            assert_eq!(default_base(domain).unwrap().as_str(), expected);
        }
    }
}
