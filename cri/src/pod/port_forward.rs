//! Connections to ports of a pod.
//!
//! A socket belongs to the network namespace in which it was made: a short-lived thread goes there and makes it, and it is connected
//! from here. No process enters the pod, and no program is needed in it.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use runtime::sys::{Call, CallError};
use shim::client::Connection;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::engine::{Engine, blocking};
use super::error::{Error, Io};
use super::record::NetworkKind;

/// How long a connection within a host may take.
const PATIENCE: Duration = Duration::from_secs(10);

impl Engine {
    /// Connects to a port of a pod by its loopback: 127.0.0.1, then ::1. CRI: PortForward
    ///
    /// # Errors
    /// [`Error::NotReady`]; [`Error::Connect`]: nobody listens.
    pub async fn connect_port(&self, id: &str, port: u16) -> Result<TcpStream, Error> {
        let pod = self.pod(id)?;
        let not_ready = || Error::NotReady { id: pod.record.id.clone() };
        if !pod.ready {
            return Err(not_ready());
        }
        let namespace = match pod.record.network {
            NetworkKind::Node => None,
            NetworkKind::Cni | NetworkKind::Bridge => {
                let dir = pod.dir.clone();
                let shim = blocking(move || Ok(Connection::connect(&dir)?.map(|shim| shim.sandbox()).transpose()?));
                Some(shim.await?.and_then(|sandbox| sandbox.network).ok_or_else(not_ready)?)
            }
        };
        let mut problems = Vec::new();
        for (family, address) in [
            (AddressFamily::Inet, SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
            (AddressFamily::Inet6, SocketAddr::from((Ipv6Addr::LOCALHOST, port))),
        ] {
            match connect(namespace.as_ref(), family, address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => problems.push(error.to_string()),
            }
        }
        Err(Error::Connect { port, problems: problems.join("; ") })
    }
}

async fn connect(namespace: Option<&OwnedFd>, family: AddressFamily, address: SocketAddr) -> Result<TcpStream, Error> {
    let namespace =
        namespace.map(|fd| fd.as_fd().try_clone_to_owned()).transpose().io(|| "fcntl(F_DUPFD)".to_owned())?;
    let made = blocking(move || Ok(make(namespace.as_ref().map(AsFd::as_fd), family)?)).await?;
    let call = || format!("connect({address})");
    let connecting = TcpSocket::from_std_stream(made.into()).connect(address);
    match timeout(PATIENCE, connecting).await {
        Ok(connected) => {
            let stream = connected.io(call)?;
            // Only speed is lost where that fails.
            let _ = stream.set_nodelay(true);
            Ok(stream)
        }
        Err(_) => Err(std::io::Error::from(std::io::ErrorKind::TimedOut)).io(call),
    }
}

/// A socket of a network namespace, or of our own.
fn make(namespace: Option<BorrowedFd<'_>>, family: AddressFamily) -> Result<OwnedFd, CallError> {
    let make = || {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        socket(family, SockType::Stream, flags, None).call(|| format!("socket({family:?}, SOCK_STREAM)"))
    };
    let Some(namespace) = namespace else { return make() };
    // A thread of its own goes there and ends: none that anybody uses is ever in another namespace.
    std::thread::scope(|scope| {
        let inside = || {
            setns(namespace, CloneFlags::CLONE_NEWNET)
                .call(|| "setns(<network namespace>, CLONE_NEWNET)".to_owned())?;
            make()
        };
        let thread = std::thread::Builder::new().name("port-forward".to_owned()).spawn_scoped(scope, inside);
        let thread = thread.call(|| "clone(CLONE_THREAD)".to_owned())?;
        thread.join().unwrap_or(Err(CallError { call: "port-forward thread".to_owned(), errno: Errno::EIO }))
    })
}
