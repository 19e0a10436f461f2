//! `--publish` and `--expose`: ports in docker's short form. The text is kept as the user wrote it, and read again at each start.

use cri::network::{Protocol, Publish};

/// A port of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Port {
    /// 1 to 65535.
    pub(crate) number: u16,
    pub(crate) protocol: Protocol,
}

impl std::fmt::Display for Port {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.number, self.protocol)
    }
}

/// `--publish`, checked, as text.
pub(crate) fn publish(text: &str) -> Result<String, String> {
    read(text).map(|_| text.to_owned())
}

/// What a text that [`publish`] checked says.
pub(crate) fn read(text: &str) -> Result<Publish, String> {
    text.parse().map_err(|error: cri::network::Error| error.to_string())
}

/// The container's ports of one publication.
pub(crate) fn ports(publish: &Publish) -> impl Iterator<Item = Port> {
    let protocol = publish.protocol;
    publish.container_ports.iter().map(move |number| Port { number, protocol })
}

/// `--expose`, checked, as text.
pub(crate) fn expose(text: &str) -> Result<String, String> {
    exposed(text).map(|_| text.to_owned())
}

/// The ports of `--expose`, and of `ExposedPorts` of an image: `PORT[-LAST][/PROTOCOL]`.
pub(crate) fn exposed(text: &str) -> Result<Vec<Port>, String> {
    if text.contains(':') {
        return Err(format!("{text:?}: only a port of the container, such as 80 or 53/udp; --publish has the host's"));
    }
    Ok(ports(&read(text)?).collect())
}

/// A port as `rtctl port` takes it: `PORT[/PROTOCOL]`.
pub(crate) fn one(text: &str) -> Result<Port, String> {
    match exposed(text)?.as_slice() {
        [port] => Ok(*port),
        _ => Err(format!("{text:?}: must be one port, such as 80 or 53/udp")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn exposed_ports() {
        let show = |text| exposed(text).map(|ports| ports.iter().map(Port::to_string).collect::<Vec<_>>().join(" "));
        assert_eq!(show("80"), Ok("80/tcp".to_owned()));
        assert_eq!(show("53-54/udp"), Ok("53/udp 54/udp".to_owned()));
        for text in ["", "80:80", "80/x", "5-4", "127.0.0.1", "0", "65536", "+80"] {
            assert!(expose(text).is_err(), "{text}");
        }
        assert_eq!(one("9/SCTP").map(|port| port.to_string()), Ok("9/sctp".to_owned()));
        assert!(one("1-2").is_err());
    }

    #[test]
    fn published_ports() {
        for text in ["80", "8080:80", "127.0.0.1::53/udp", "[::1]:8000-8002:80-82", "8000-8010:80"] {
            assert_eq!(publish(text), Ok(text.to_owned()));
        }
        assert_eq!(ports(&read("8000-8002:80-82").unwrap()).count(), 3);
        for text in ["", "localhost:80:80", "80:80-81", "80/icmp", "80:"] {
            assert!(publish(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text(text in "\\PC{0,40}") {
            let _ = publish(&text);
            let _ = expose(&text);
        }
    }
}
