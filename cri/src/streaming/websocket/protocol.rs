//! Which protocol is spoken on a WebSocket, and the answer to a client's first request.

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::message::{Encoding, HalfClose};
use crate::streaming::status::Version;

/// The names that a client offers, and the one that is taken.
pub(in super::super) const PROTOCOL: HeaderName = header::SEC_WEBSOCKET_PROTOCOL;

/// A protocol of channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Protocol {
    /// Its name; a client may offer none.
    pub(in super::super) name: Option<&'static str>,
    /// How bytes are put into messages.
    pub(in super::super) encoding: Encoding,
    /// How the end is told.
    pub(in super::super) version: Version,
    /// Whether the client can end its input.
    pub(in super::super) half_close: HalfClose,
}

const fn protocol(name: &'static str, encoding: Encoding, version: Version, half_close: HalfClose) -> Protocol {
    Protocol { name: Some(name), encoding, version, half_close }
}

/// All of them.
const KNOWN: [Protocol; 5] = [
    protocol(Protocol::NAMES[0], Encoding::Binary, Version::V4, HalfClose::Message),
    protocol(Protocol::NAMES[1], Encoding::Binary, Version::V4, HalfClose::Never),
    protocol(Protocol::NAMES[2], Encoding::Base64, Version::V4, HalfClose::Never),
    protocol(Protocol::NAMES[3], Encoding::Binary, Version::V1, HalfClose::Never),
    protocol(Protocol::NAMES[4], Encoding::Base64, Version::V1, HalfClose::Never),
];

impl Protocol {
    /// Names of those for exec and attach.
    pub(in super::super) const NAMES: [&'static str; 5] = [
        "v5.channel.k8s.io",
        "v4.channel.k8s.io",
        "v4.base64.channel.k8s.io",
        "channel.k8s.io",
        "base64.channel.k8s.io",
    ];

    /// The one for exec and attach: the first that the client offers and we speak.
    pub(in super::super) fn choose<'a>(offered: impl Iterator<Item = &'a str>) -> Option<Protocol> {
        Protocol::choose_of(&KNOWN, offered, Version::V1)
    }

    /// The one for ports.
    pub(in super::super) fn choose_ports<'a>(offered: impl Iterator<Item = &'a str>) -> Option<Protocol> {
        // As Kubernetes' library: without a name it is that of version 4.
        Protocol::choose_of(&KNOWN[1..3], offered, Version::V4)
    }

    fn choose_of<'a>(
        known: &[Protocol],
        offered: impl Iterator<Item = &'a str>,
        unversioned: Version,
    ) -> Option<Protocol> {
        let mut offered = offered.peekable();
        if offered.peek().is_none() {
            let (encoding, half_close) = (Encoding::Binary, HalfClose::Never);
            return Some(Protocol { name: None, encoding, version: unversioned, half_close });
        }
        offered.find_map(|name| known.iter().find(|protocol| protocol.name == Some(name)).copied())
    }
}

/// What answers a client that wants WebSocket; `None`: it does not say what it must.
pub(in super::super) fn accept(headers: &HeaderMap) -> Option<HeaderValue> {
    let key = headers.get(header::SEC_WEBSOCKET_KEY)?;
    let version = headers.get(header::SEC_WEBSOCKET_VERSION)?;
    if version != "13" {
        return None;
    }
    HeaderValue::from_str(&derive_accept_key(key.as_bytes())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_is_known() {
        let exec = |offered: &[&str]| Protocol::choose(offered.iter().copied()).map(|protocol| protocol.name);
        let ports = |offered: &[&str]| Protocol::choose_ports(offered.iter().copied()).map(|protocol| protocol.name);
        assert_eq!(exec(&["v5.channel.k8s.io"]), Some(Some("v5.channel.k8s.io")));
        assert_eq!(exec(&["v9.channel.k8s.io", "base64.channel.k8s.io"]), Some(Some("base64.channel.k8s.io")));
        assert_eq!(exec(&[]), Some(None));
        assert_eq!(exec(&["v9.channel.k8s.io"]), None);
        assert_eq!(ports(&["v5.channel.k8s.io", "v4.channel.k8s.io"]), Some(Some("v4.channel.k8s.io")));
        assert_eq!(ports(&["channel.k8s.io"]), None);
        assert_eq!(ports(&[]), Some(None));
    }

    /// The example of RFC 6455, section 1.3.
    #[test]
    fn accepting() {
        let mut headers = HeaderMap::new();
        headers.insert("sec-websocket-key", HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ=="));
        assert_eq!(accept(&headers), None);
        headers.insert("sec-websocket-version", HeaderValue::from_static("13"));
        assert_eq!(accept(&headers).unwrap(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
