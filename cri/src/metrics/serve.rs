//! The HTTP server of the metrics.

use std::convert::Infallible;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::registry::text;

/// OpenMetrics, version 1.0.
const FORMAT: HeaderValue = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// Most clients at a time; others wait.
const CLIENTS: usize = 8;

/// How long a client may take to ask, and to read the answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Answers `GET /metrics` until it is dropped.
pub async fn serve(listener: TcpListener) {
    let room = std::sync::Arc::new(Semaphore::new(CLIENTS));
    loop {
        // Never closed.
        let Ok(permit) = std::sync::Arc::clone(&room).acquire_owned().await else { return };
        let Ok((socket, _)) = listener.accept().await else {
            // No descriptors left, most likely: connections that end give some back.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        tokio::spawn(async move {
            let service = hyper::service::service_fn(async |request| Ok::<_, Infallible>(answer(&request)));
            let mut http = hyper::server::conn::http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(PATIENCE).keep_alive(false);
            // A client that breaks off, or that is slow, has its reasons.
            let _ = tokio::time::timeout(2 * PATIENCE, http.serve_connection(TokioIo::new(socket), service)).await;
            drop(permit);
        });
    }
}

fn answer(request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let refused = |status, text: &'static str| {
        let mut response = Response::new(Full::from(text));
        *response.status_mut() = status;
        response
    };
    if request.uri().path() != "/metrics" {
        return refused(StatusCode::NOT_FOUND, "metrics are at /metrics\n");
    }
    if request.method() != Method::GET {
        return refused(StatusCode::METHOD_NOT_ALLOWED, "GET is allowed\n");
    }
    let mut response = Response::new(Full::from(text()));
    response.headers_mut().insert(CONTENT_TYPE, FORMAT);
    response
}
