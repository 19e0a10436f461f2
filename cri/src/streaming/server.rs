//! The server behind the addresses: connections, with TLS or without.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::request::answer;
use super::token::{Full, Tokens};
use super::{Command, Ports, Target, tls};

/// Most connections at a time.
const CONNECTIONS: usize = 1024;

/// How long a client may take to greet (TLS), and to send its request's headers.
const HEADERS: Duration = Duration::from_secs(10);

/// How long nothing may move on a connection, if nothing else is said; the kubelet's own limit.
const IDLE: Duration = Duration::from_secs(4 * 60 * 60);

/// How the server is set up.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where it listens; port 0 takes any free one.
    pub address: SocketAddr,
    /// How long nothing may move on a connection.
    pub idle: Duration,
    /// Certificate and key; without them there is no TLS.
    pub tls: Option<tls::Files>,
}

impl Config {
    /// As the daemon's configuration has it.
    #[must_use]
    pub fn of(config: &crate::config::Config) -> Config {
        let idle = config.stream_idle_timeout.get();
        let tls = match (&config.stream_tls_cert, &config.stream_tls_key) {
            (Some(certificate), Some(key)) => Some(tls::Files {
                certificate: certificate.clone(),
                key: key.clone(),
                client_ca: config.stream_tls_client_ca.clone(),
            }),
            // A configuration with one of them is refused.
            (None, _) | (_, None) => None,
        };
        Config {
            address: (config.stream_address, config.stream_port).into(),
            idle: if idle.is_zero() { Duration::MAX } else { idle },
            tls,
        }
    }
}

impl Default for Config {
    fn default() -> Config {
        Config { address: (Ipv4Addr::LOCALHOST, 0).into(), idle: IDLE, tls: None }
    }
}

/// Why a server cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address is taken or is none of this host.
    #[error("bind({address}): {source}")]
    Address {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// Certificate or key cannot be used.
    #[error(transparent)]
    Tls(#[from] tls::Error),
}

/// Serves the streams that it gives addresses for.
pub struct Server {
    listener: TcpListener,
    shared: Arc<Shared>,
    address: Address,
}

/// What all connections share.
struct Shared {
    tokens: Arc<Tokens<Target>>,
    idle: Duration,
    tls: Option<tls::Reloading>,
}

/// Gives addresses.
#[derive(Clone)]
pub struct Address {
    tokens: Arc<Tokens<Target>>,
    /// As in `http://127.0.0.1:4321`.
    base: String,
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Address").field("base", &self.base).finish_non_exhaustive()
    }
}

impl Address {
    /// The address of a process to be run.
    ///
    /// # Errors
    /// Too many addresses wait for their clients.
    pub fn exec(&self, command: Command) -> Result<String, Full> {
        self.issue(Target::Exec(command))
    }

    /// The address of a process that runs.
    ///
    /// # Errors
    /// As [`Address::exec`].
    pub fn attach(&self, command: Command) -> Result<String, Full> {
        self.issue(Target::Attach(command))
    }

    /// The address of a pod's ports.
    ///
    /// # Errors
    /// As [`Address::exec`].
    pub fn port_forward(&self, ports: Ports) -> Result<String, Full> {
        self.issue(Target::Ports(ports))
    }

    fn issue(&self, target: Target) -> Result<String, Full> {
        let kind = target.kind().name();
        Ok(format!("{}/{kind}/{}", self.base, self.tokens.issue(target)?))
    }
}

impl Server {
    /// Starts to listen.
    ///
    /// # Errors
    /// [`BindError`].
    pub async fn bind(config: &Config) -> Result<Server, BindError> {
        let failed = |source| BindError::Address { address: config.address, source };
        let tls = config.tls.clone().map(tls::Reloading::open).transpose()?;
        let listener = TcpListener::bind(config.address).await.map_err(failed)?;
        let local = reachable(listener.local_addr().map_err(failed)?);
        let scheme = if tls.is_some() { "https" } else { "http" };
        let tokens = Arc::new(Tokens::new());
        let address = Address { tokens: Arc::clone(&tokens), base: format!("{scheme}://{local}") };
        Ok(Server { listener, shared: Arc::new(Shared { tokens, idle: config.idle, tls }), address })
    }

    /// What gives addresses of this server.
    pub fn address(&self) -> Address {
        self.address.clone()
    }

    /// Serves until it is dropped.
    pub async fn run(self) {
        let room = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            // Never closed.
            let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
            let Ok((socket, peer)) = self.listener.accept().await else {
                // No descriptors left, most likely: connections that end give some back.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            // Keys that are typed must not wait for more; only speed is lost where that fails.
            let _ = socket.set_nodelay(true);
            let shared = Arc::clone(&self.shared);
            let Some(tls) = &self.shared.tls else {
                tokio::spawn(serve(socket, peer, shared, permit));
                continue;
            };
            let (config, error) = tls.config();
            if let Some(error) = error {
                tracing::warn!("the streaming server goes on with the certificate that it has: {error}");
            }
            tokio::spawn(async move {
                // A client that does not greet in time, or does not trust us, goes away.
                if let Ok(Ok(socket)) = timeout(HEADERS, TlsAcceptor::from(config).accept(socket)).await {
                    serve(socket, peer, shared, permit).await;
                }
            });
        }
    }
}

/// One connection: a request, and the session that follows it.
async fn serve<S>(socket: S, peer: SocketAddr, shared: Arc<Shared>, permit: OwnedSemaphorePermit)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let permit = Arc::new(permit);
    let service = hyper::service::service_fn(|request| {
        let (shared, permit) = (Arc::clone(&shared), Arc::clone(&permit));
        async move {
            let (response, session) = answer(request, peer, &shared.tokens, shared.idle);
            if let Some(session) = session {
                // It goes on when this connection is no HTTP any more.
                tokio::spawn(async move {
                    session.await;
                    drop(permit);
                });
            }
            Ok::<_, std::convert::Infallible>(response)
        }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADERS).max_buf_size(64 << 10);
    // A client that breaks off has its reasons.
    let _ = http.serve_connection(TokioIo::new(socket), service).with_upgrades().await;
}

/// An address of this host by which a server that listens on all of them is reached.
fn reachable(local: SocketAddr) -> SocketAddr {
    let ip = match local.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, local.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_can_be_reached() {
        for (local, expected) in [
            ("0.0.0.0:80", "127.0.0.1:80"),
            ("[::]:80", "[::1]:80"),
            ("10.0.0.1:80", "10.0.0.1:80"),
            ("127.0.0.1:0", "127.0.0.1:0"),
        ] {
            assert_eq!(reachable(local.parse().unwrap()).to_string(), expected);
        }
    }
}
