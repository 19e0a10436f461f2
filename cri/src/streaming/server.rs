//! The HTTP server behind the addresses.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use http_body_util::Full as Body;
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::spdy::Connection;
use super::status::Version;
use super::token::{Full, Tokens};
use super::{Command, Dial, Target, port_forward, remote_command};

/// Names of versions that a client offers, and the one that is taken.
const OFFERED: &str = "x-stream-protocol-version";

/// What is offered instead.
const ACCEPTED: &str = "x-accepted-stream-protocol-versions";

/// Most connections at a time.
const CONNECTIONS: usize = 1024;

/// How long a client may take to send its request's headers.
const HEADERS: Duration = Duration::from_secs(10);

/// How the server is set up.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where it listens; port 0 takes any free one.
    pub address: SocketAddr,
    /// How long nothing may move on a connection.
    pub idle: Duration,
}

/// Serves the streams that it gives addresses for.
pub struct Server {
    listener: TcpListener,
    idle: Duration,
    address: Address,
}

/// Gives addresses.
#[derive(Clone)]
pub struct Address {
    tokens: Arc<Tokens<Target>>,
    local: SocketAddr,
}

impl Address {
    /// The address of a process to be run.
    ///
    /// # Errors
    /// Too many addresses wait for their clients.
    pub fn exec(&self, command: Command) -> Result<String, Full> {
        self.issue("exec", Target::Command(command))
    }

    /// The address of a process that runs.
    ///
    /// # Errors
    /// As [`Address::exec`].
    pub fn attach(&self, command: Command) -> Result<String, Full> {
        self.issue("attach", Target::Command(command))
    }

    /// The address of a pod's ports.
    ///
    /// # Errors
    /// As [`Address::exec`].
    pub fn port_forward(&self, dial: Dial) -> Result<String, Full> {
        self.issue("portforward", Target::Ports(dial))
    }

    fn issue(&self, kind: &str, target: Target) -> Result<String, Full> {
        Ok(format!("http://{}/{kind}/{}", self.local, self.tokens.issue(target)?))
    }
}

impl Server {
    /// Starts to listen.
    ///
    /// # Errors
    /// The address is taken or is none of this host.
    pub async fn bind(config: &Config) -> std::io::Result<Server> {
        let listener = TcpListener::bind(config.address).await?;
        let address = Address { tokens: Arc::new(Tokens::new()), local: listener.local_addr()? };
        Ok(Server { listener, idle: config.idle, address })
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
            let Ok((socket, _)) = self.listener.accept().await else {
                // No descriptors left, most likely: connections that end give some back.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            // Keys that are typed must not wait for more; only speed is lost where that fails.
            let _ = socket.set_nodelay(true);
            let (tokens, idle) = (Arc::clone(&self.address.tokens), self.idle);
            tokio::spawn(async move {
                let permit = Arc::new(permit);
                let service = hyper::service::service_fn(|request| {
                    let (tokens, permit) = (Arc::clone(&tokens), Arc::clone(&permit));
                    async move {
                        let (response, session) = answer(request, &tokens, idle);
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
                http.timer(TokioTimer::new()).header_read_timeout(HEADERS).max_buf_size(64 << 10).keep_alive(false);
                // A client that breaks off has its reasons.
                let _ = http.serve_connection(TokioIo::new(socket), service).with_upgrades().await;
            });
        }
    }
}

type Session = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

/// The answer to a request, and what follows it on the connection.
fn answer(
    mut request: Request<Incoming>,
    tokens: &Tokens<Target>,
    idle: Duration,
) -> (Response<Body<Bytes>>, Option<Session>) {
    if request.method() != Method::GET && request.method() != Method::POST {
        return (refusal(StatusCode::METHOD_NOT_ALLOWED, "GET and POST are allowed"), None);
    }
    let target = token(request.uri().path()).and_then(|(kind, token)| {
        let target = tokens.take(token)?;
        matches!((kind, &target), ("exec" | "attach", Target::Command(_)) | ("portforward", Target::Ports(_)))
            .then_some(target)
    });
    let Some(target) = target else {
        return (refusal(StatusCode::NOT_FOUND, "no such address; each one is good once, for a minute"), None);
    };
    let headers = request.headers();
    if !wants_spdy(headers) {
        return (refusal(StatusCode::BAD_REQUEST, "an upgrade to SPDY/3.1 is needed"), None);
    }
    let offered: Vec<String> = offered(headers).map(str::to_owned).collect();
    if offered.is_empty() {
        return (refusal(StatusCode::BAD_REQUEST, "header X-Stream-Protocol-Version is missing"), None);
    }
    let offered = || offered.iter().map(String::as_str);
    let upgrade = hyper::upgrade::on(&mut request);
    let connection = async move {
        // A client that left before it was served.
        let socket = upgrade.await.ok()?;
        Some(Connection::start(TokioIo::new(socket), BytesMut::new()))
    };
    let (name, session): (&str, Session) = match target {
        Target::Command(command) => {
            let Some(version) = Version::choose(offered()) else {
                return (
                    no_version(&["v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io"]),
                    None,
                );
            };
            let session = async move {
                if let Some(connection) = connection.await {
                    remote_command::serve(connection, version, command, idle).await;
                }
            };
            (version.name(), Box::pin(session))
        }
        Target::Ports(dial) => {
            if !offered().any(|name| name == port_forward::PROTOCOL) {
                return (no_version(&[port_forward::PROTOCOL]), None);
            }
            let session = async move {
                if let Some(connection) = connection.await {
                    port_forward::serve(connection, dial, idle).await;
                }
            };
            (port_forward::PROTOCOL, Box::pin(session))
        }
    };
    let mut response = Response::new(Body::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("SPDY/3.1"));
    headers.insert(OFFERED, HeaderValue::from_str(name).expect("names of versions are plain"));
    (response, Some(session))
}

/// `/exec/TOKEN` in its two parts.
fn token(path: &str) -> Option<(&str, &str)> {
    let (kind, token) = path.strip_prefix('/')?.split_once('/')?;
    (!token.contains('/')).then_some((kind, token))
}

/// All values of a header that is a list, whether it comes once or several times.
fn list<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|value| !value.is_empty())
}

fn offered(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    list(headers, OFFERED)
}

fn wants_spdy(headers: &HeaderMap) -> bool {
    list(headers, "connection").any(|value| value.eq_ignore_ascii_case("upgrade"))
        && list(headers, "upgrade").any(|value| value.eq_ignore_ascii_case("spdy/3.1"))
}

fn refusal(status: StatusCode, message: &str) -> Response<Body<Bytes>> {
    let mut response = Response::new(Body::from(format!("{message}\n")));
    *response.status_mut() = status;
    response
}

fn no_version(accepted: &[&'static str]) -> Response<Body<Bytes>> {
    let mut response = refusal(StatusCode::FORBIDDEN, "none of the offered protocol versions is spoken here");
    for name in accepted {
        response.headers_mut().append(ACCEPTED, HeaderValue::from_static(name));
    }
    response
}
