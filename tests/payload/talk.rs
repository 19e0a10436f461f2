//! The least that talks over a network: one side asks, the other answers with the address that it was asked from.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

/// How long an answer may take; what does not come by then was lost on the way.
const PATIENCE: Duration = Duration::from_secs(3);

/// Answers on a port of all addresses, for ever; says `ready` before.
pub(crate) fn answer(protocol: &str, port: u16) {
    let addresses = [SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)), SocketAddr::from(([0, 0, 0, 0], port))];
    match protocol {
        "tcp" => {
            let listener = TcpListener::bind(&addresses[..]).expect("a free port");
            crate::say("ready");
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { continue };
                let Ok(peer) = stream.peer_addr() else { continue };
                // Whoever asked may be gone.
                let _ = writeln!(stream, "{}", plain(peer.ip()));
            }
        }
        _ => {
            let socket = UdpSocket::bind(&addresses[..]).expect("a free port");
            crate::say("ready");
            let mut question = [0; 16];
            while let Ok((_, peer)) = socket.recv_from(&mut question) {
                let _ = socket.send_to(format!("{}\n", plain(peer.ip())).as_bytes(), peer);
            }
        }
    }
}

/// Asks, and prints the answer: `None` when none came.
pub(crate) fn ask(protocol: &str, host: &str, port: u16) -> Option<String> {
    let address = SocketAddr::new(host.parse().expect("an address"), port);
    match protocol {
        "tcp" => {
            let mut stream = TcpStream::connect_timeout(&address, PATIENCE).ok()?;
            stream.set_read_timeout(Some(PATIENCE)).ok()?;
            let mut text = String::new();
            stream.read_to_string(&mut text).ok()?;
            (!text.is_empty()).then_some(text)
        }
        _ => {
            let any: IpAddr = if address.is_ipv6() { Ipv6Addr::UNSPECIFIED.into() } else { [0, 0, 0, 0].into() };
            let socket = UdpSocket::bind((any, 0)).ok()?;
            socket.set_read_timeout(Some(PATIENCE)).ok()?;
            socket.connect(address).ok()?;
            socket.send(b"?").ok()?;
            let mut text = [0; 64];
            let length = socket.recv(&mut text).ok()?;
            Some(String::from_utf8_lossy(&text[..length]).into_owned())
        }
    }
}

/// An IPv4 address that a socket of both families shows as IPv6.
fn plain(address: IpAddr) -> IpAddr {
    address.to_canonical()
}
