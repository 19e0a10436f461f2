//! Where a registry is reached.

use std::net::IpAddr;

use reqwest::Url;

/// The registry of names without one.
const DOCKER_HUB: &str = "docker.io";
/// Where that one is.
const DOCKER_HUB_HOST: &str = "registry-1.docker.io";

/// One place to ask.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    /// Everything lies below it; ends in `/`.
    pub(crate) base: Url,
}

impl Endpoint {
    /// The address of `PATH/KIND/NAME`.
    pub(crate) fn url(&self, path: &str, kind: &str, name: &str) -> Url {
        self.base.join(&format!("{path}/{kind}/{name}")).expect("names of images are parts of addresses")
    }
}

/// Where the registry of that domain is, unless something else was configured.
pub(crate) fn default_endpoint(domain: &str) -> Endpoint {
    let host = if domain == DOCKER_HUB { DOCKER_HUB_HOST } else { domain };
    let scheme = if is_loopback(domain) { "http" } else { "https" };
    let base = Url::parse(&format!("{scheme}://{host}/v2/")).expect("the domain of a reference is a host and a port");
    Endpoint { base }
}

/// Whether the host, with or without a port, is this machine by its very name.
pub(crate) fn is_loopback(domain: &str) -> bool {
    let host = match domain.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => domain.split(':').next().unwrap_or(domain),
    };
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
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
            assert_eq!(default_endpoint(domain).base.as_str(), expected);
        }
    }
}
