//! A request for an address: what is asked for, which protocol, and the answer before the streams.

use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use bytes::BytesMut;
use http_body_util::Full as Body;
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;

use super::audit::{Audit, Outcome};
use super::spdy::Connection;
use super::status::Version;
use super::token::Tokens;
use super::websocket::{self, Protocol};
use super::{Command, Kind, Ports, Subject, Target, port_forward, remote_command};

/// Names of versions that a SPDY client offers, and the one that is taken.
const OFFERED: HeaderName = HeaderName::from_static("x-stream-protocol-version");

/// What is offered instead.
const ACCEPTED: HeaderName = HeaderName::from_static("x-accepted-stream-protocol-versions");

/// What goes on after the answer.
pub(super) type Session = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A session that is served: how it ends.
type Serving = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// What a client wants to speak.
enum Wire {
    Spdy,
    /// With the answer to its key.
    WebSocket(HeaderValue),
}

/// A protocol that both sides speak, and what then goes on.
struct Agreed {
    /// Its name, for the header that offered it.
    name: Option<&'static str>,
    serve: Box<dyn FnOnce(Upgraded) -> Serving + Send>,
}

/// The answer to a request, and what follows it on the connection.
pub(super) fn answer(
    mut request: Request<Incoming>,
    peer: SocketAddr,
    tokens: &Tokens<Target>,
    idle: Duration,
) -> (Response<Body<Bytes>>, Option<Session>) {
    match agree(&request, tokens, idle) {
        Ok((kind, subject, wire, agreed)) => {
            let upgrade = hyper::upgrade::on(&mut request);
            let response = switching(&wire, agreed.name);
            (response, Some(Box::pin(session(kind, subject, peer, upgrade, agreed))))
        }
        Err(refusal) => (*refusal, None),
    }
}

async fn session(kind: Kind, subject: Subject, peer: SocketAddr, upgrade: OnUpgrade, agreed: Agreed) {
    // A client that left before it was served.
    let Ok(upgraded) = upgrade.await else { return };
    let audit = Audit::begin(kind, subject, peer);
    audit.end((agreed.serve)(upgraded).await);
}

type Refusal = Box<Response<Body<Bytes>>>;

fn agree(
    request: &Request<Incoming>,
    tokens: &Tokens<Target>,
    idle: Duration,
) -> Result<(Kind, Subject, Wire, Agreed), Refusal> {
    if request.method() != Method::GET && request.method() != Method::POST {
        let mut response = refusal(StatusCode::METHOD_NOT_ALLOWED, "GET and POST are allowed");
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, POST"));
        return Err(response);
    }
    let target = token(request.uri().path())
        .and_then(|(kind, token)| tokens.take(token).filter(|target| target.kind().name() == kind));
    let Some(target) = target else {
        return Err(refusal(StatusCode::NOT_FOUND, "no such address; each one is good once, for a minute"));
    };
    let kind = target.kind();
    let headers = request.headers();
    let wire = wire(request.method(), headers)?;
    let (subject, agreed) = match (target, &wire) {
        (Target::Exec(command) | Target::Attach(command), Wire::Spdy) => {
            (command.subject.clone(), spdy_command(headers, command, idle)?)
        }
        (Target::Exec(command) | Target::Attach(command), Wire::WebSocket(_)) => {
            (command.subject.clone(), websocket_command(headers, command, idle)?)
        }
        (Target::Ports(ports), Wire::Spdy) => (ports.subject.clone(), spdy_ports(headers, ports, idle)?),
        (Target::Ports(ports), Wire::WebSocket(_)) => (ports.subject.clone(), websocket_ports(headers, ports, idle)?),
    };
    Ok((kind, subject, wire, agreed))
}

fn spdy(upgraded: Upgraded) -> Connection {
    Connection::start(TokioIo::new(upgraded), BytesMut::new())
}

fn spdy_command(headers: &HeaderMap, command: Command, idle: Duration) -> Result<Agreed, Refusal> {
    needs_version(headers)?;
    let Some(version) = Version::choose(list(headers, OFFERED)) else {
        return Err(no_version(&Version::ALL.map(Version::name), ACCEPTED));
    };
    let serve = Box::new(move |upgraded| -> Serving {
        Box::pin(remote_command::serve(spdy(upgraded), version, command, idle))
    });
    Ok(Agreed { name: Some(version.name()), serve })
}

fn spdy_ports(headers: &HeaderMap, ports: Ports, idle: Duration) -> Result<Agreed, Refusal> {
    needs_version(headers)?;
    if !list(headers, OFFERED).any(|name| name == port_forward::PROTOCOL) {
        return Err(no_version(&[port_forward::PROTOCOL], ACCEPTED));
    }
    let serve =
        Box::new(move |upgraded| -> Serving { Box::pin(port_forward::serve(spdy(upgraded), ports.dial, idle)) });
    Ok(Agreed { name: Some(port_forward::PROTOCOL), serve })
}

fn websocket_command(headers: &HeaderMap, command: Command, idle: Duration) -> Result<Agreed, Refusal> {
    let Some(protocol) = Protocol::choose(list(headers, websocket::PROTOCOL)) else {
        return Err(no_version(&Protocol::NAMES, websocket::PROTOCOL));
    };
    let serve = Box::new(move |upgraded| -> Serving {
        Box::pin(async move {
            let socket = websocket::socket(upgraded).await;
            remote_command::serve_websocket(socket, protocol, command, idle).await
        })
    });
    Ok(Agreed { name: protocol.name, serve })
}

fn websocket_ports(headers: &HeaderMap, ports: Ports, idle: Duration) -> Result<Agreed, Refusal> {
    if list(headers, websocket::PROTOCOL).any(|name| name == port_forward::TUNNEL) {
        let serve = Box::new(move |upgraded| -> Serving {
            Box::pin(async move {
                let tunnel = websocket::tunnel(websocket::socket(upgraded).await);
                port_forward::serve(Connection::start(tunnel, BytesMut::new()), ports.dial, idle).await
            })
        });
        return Ok(Agreed { name: Some(port_forward::TUNNEL), serve });
    }
    let Some(protocol) = Protocol::choose_ports(list(headers, websocket::PROTOCOL)) else {
        let names = [port_forward::TUNNEL, "v4.channel.k8s.io", "v4.base64.channel.k8s.io"];
        return Err(no_version(&names, websocket::PROTOCOL));
    };
    if !(1..=port_forward::NAMED_LIMIT).contains(&ports.named.len()) {
        return Err(refusal(StatusCode::BAD_REQUEST, "this protocol needs the ports in the PortForward call, 1 to 64"));
    }
    let serve = Box::new(move |upgraded| -> Serving {
        Box::pin(async move {
            let socket = websocket::socket(upgraded).await;
            port_forward::serve_websocket(socket, protocol, ports, idle).await
        })
    });
    Ok(Agreed { name: protocol.name, serve })
}

/// `/exec/TOKEN` in its two parts.
fn token(path: &str) -> Option<(&str, &str)> {
    let (kind, token) = path.strip_prefix('/')?.split_once('/')?;
    (!token.contains('/')).then_some((kind, token))
}

/// All values of a header that is a list, whether it comes once or several times.
fn list(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|value| !value.is_empty())
}

fn wire(method: &Method, headers: &HeaderMap) -> Result<Wire, Refusal> {
    let has = |name, wanted: &str| list(headers, name).any(|value| value.eq_ignore_ascii_case(wanted));
    if !has(header::CONNECTION, "upgrade") {
        return Err(refusal(StatusCode::BAD_REQUEST, "an upgrade to SPDY/3.1 or websocket is needed"));
    }
    if has(header::UPGRADE, "spdy/3.1") {
        return Ok(Wire::Spdy);
    }
    if !has(header::UPGRADE, "websocket") {
        return Err(refusal(StatusCode::BAD_REQUEST, "an upgrade to SPDY/3.1 or websocket is needed"));
    }
    match websocket::accept(headers).filter(|_| method == Method::GET) {
        Some(accept) => Ok(Wire::WebSocket(accept)),
        None => {
            let message = "websocket needs GET, Sec-WebSocket-Key and Sec-WebSocket-Version: 13";
            let mut response = refusal(StatusCode::BAD_REQUEST, message);
            response.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            Err(response)
        }
    }
}

fn switching(wire: &Wire, name: Option<&'static str>) -> Response<Body<Bytes>> {
    let mut response = Response::new(Body::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    let named = match wire {
        Wire::Spdy => {
            headers.insert(header::UPGRADE, HeaderValue::from_static("SPDY/3.1"));
            OFFERED
        }
        Wire::WebSocket(accept) => {
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept.clone());
            websocket::PROTOCOL
        }
    };
    if let Some(name) = name {
        headers.insert(named, HeaderValue::from_static(name));
    }
    response
}

fn needs_version(headers: &HeaderMap) -> Result<(), Refusal> {
    match list(headers, OFFERED).next() {
        Some(_) => Ok(()),
        None => Err(refusal(StatusCode::BAD_REQUEST, "header X-Stream-Protocol-Version is missing")),
    }
}

fn refusal(status: StatusCode, message: &str) -> Refusal {
    let mut response = Response::new(Body::from(format!("{message}\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    Box::new(response)
}

fn no_version(accepted: &[&'static str], name: HeaderName) -> Refusal {
    let mut response = refusal(StatusCode::FORBIDDEN, "none of the offered protocol versions is spoken here");
    for version in accepted {
        response.headers_mut().append(name.clone(), HeaderValue::from_static(version));
    }
    response
}
