//! Hosts and containers of the network tests: network namespaces that exist as long as somebody holds them. A test's thread is
//! its host, so tests run beside each other.
#![allow(dead_code, reason = "not every test file uses everything")]
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use cri::network::{Attach, Networks, Publish};
use nix::sched::{CloneFlags, setns, unshare};

/// A host: the thread's own network namespace, and folders.
pub(crate) struct Host {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) networks: Networks,
}

impl Host {
    /// Makes the calling thread a host of its own. `None`, with the reason told: not root.
    pub(crate) fn new() -> Option<Host> {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("skipped: needs root");
            return None;
        }
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        run("ip link set lo up");
        let folder = tempfile::tempdir().unwrap();
        let networks = open(folder.path());
        Some(Host { folder, networks })
    }
}

/// Another host, joined to the calling one by a cable: `192.0.2.1` here and `2001:db8::1`, `192.0.2.2` there.
pub(crate) fn neighbour() -> File {
    let other = netns();
    run(&format!("ip link add up0 type veth peer name up0 netns {}", path(&other)));
    let plug = |n: u8| {
        run(&format!("ip address add 192.0.2.{n}/24 dev up0"));
        run(&format!("ip address add 2001:db8::{n}/64 dev up0 nodad"));
        run("ip link set up0 up");
    };
    plug(1);
    inside(&other, || {
        run("ip link set lo up");
        plug(2);
    });
    other
}

/// A path to a network namespace for other programs.
pub(crate) fn path(netns: &File) -> String {
    format!("/proc/{}/fd/{}", std::process::id(), netns.as_raw_fd())
}

/// How long a packet may take that should not arrive at all.
const LOST: Duration = Duration::from_millis(300);

/// A program of a network namespace that answers who asked.
pub(crate) fn tcp_server(netns: &File, address: &str) {
    let server = inside(netns, || TcpListener::bind(address).unwrap());
    thread::spawn(move || {
        for stream in server.incoming() {
            let mut stream = stream.unwrap();
            let peer = stream.peer_addr().unwrap().ip();
            let _ = stream.write_all(peer.to_string().as_bytes());
        }
    });
}

/// The same by UDP.
pub(crate) fn udp_server(netns: &File, address: &str) {
    let server = inside(netns, || UdpSocket::bind(address).unwrap());
    thread::spawn(move || {
        loop {
            let (_, peer) = server.recv_from(&mut [0; 16]).unwrap();
            server.send_to(peer.ip().to_string().as_bytes(), peer).unwrap();
        }
    });
}

/// As whom a [`tcp_server`] sees us; the error's kind when it does not.
pub(crate) fn tcp(address: &str) -> Result<String, ErrorKind> {
    let mut stream = TcpStream::connect_timeout(&address.parse().unwrap(), LOST).map_err(|error| error.kind())?;
    let mut text = String::new();
    stream.read_to_string(&mut text).map_err(|error| error.kind())?;
    Ok(text)
}

/// As whom a [`udp_server`] sees us.
pub(crate) fn udp(address: &str) -> Result<String, ErrorKind> {
    let any = if address.starts_with('[') { "[::]:0" } else { "0.0.0.0:0" };
    let socket = UdpSocket::bind(any).unwrap();
    socket.set_read_timeout(Some(LOST)).unwrap();
    let mut bytes = [0; 64];
    let mut exchange = || {
        socket.connect(address)?;
        socket.send(b"?")?;
        socket.recv(&mut bytes)
    };
    let length = exchange().map_err(|error| error.kind())?;
    Ok(String::from_utf8_lossy(&bytes[..length]).into_owned())
}

pub(crate) fn open(folder: &Path) -> Networks {
    Networks::open(&folder.join("root"), &folder.join("state")).unwrap()
}

/// A new, empty network namespace.
pub(crate) fn netns() -> File {
    let make = || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        File::open("/proc/thread-self/ns/net").unwrap()
    };
    thread::spawn(make).join().unwrap()
}

/// Runs something inside of a network namespace.
pub(crate) fn inside<T: Send>(netns: &File, work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let enter = || {
            setns(netns, CloneFlags::CLONE_NEWNET).unwrap();
            work()
        };
        scope.spawn(enter).join().unwrap()
    })
}

/// Runs a program, whose words have no blanks; returns what it printed.
#[track_caller]
pub(crate) fn run(line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    let output = Command::new(words[0]).args(&words[1..]).output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What to attach, with nothing special about it.
pub(crate) fn plain<'a>(container: &'a str, netns: &'a File, network: &'a str) -> Attach<'a> {
    Attach {
        container,
        netns: netns.as_fd(),
        network,
        interface: None,
        ip: None,
        ip6: None,
        mac: None,
        gw_priority: 0,
        names: &[],
        ports: &[],
    }
}

pub(crate) fn ports(texts: &[&str]) -> Vec<Publish> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}
