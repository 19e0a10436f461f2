//! What is said of each call: one span, one line in the log, one entry in the metrics.
//!
//! ```text
//!  request ─▶ span PullImage{image, …} ─▶ the service ─▶ response ─▶ its last frame says how it ended ─▶ line, metrics, end of the span
//!      └─ ids from the first bytes of the messages (fields.rs); nothing else of a message is ever shown
//! ```
//!
//! Messages hold credentials, environments and configurations of pods. So only ids and names come into the log, and texts of errors.

mod body;
mod end;
mod fields;
mod level;

use std::pin::Pin;
use std::task::{Context, Poll};

use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tonic::body::Body;
use tonic::codegen::http::{HeaderMap, Request, Response};
use tracing::{Instrument, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use body::{Requested, Responded};
use end::End;

/// Puts [`Observed`] around the services.
#[derive(Debug, Clone, Copy)]
pub(super) struct Observe;

impl<S> tower::Layer<S> for Observe {
    type Service = Observed<S>;

    fn layer(&self, inner: S) -> Observed<S> {
        Observed { inner }
    }
}

/// The services, observed.
#[derive(Debug, Clone)]
pub(super) struct Observed<S> {
    inner: S,
}

impl<S> tower::Service<Request<Body>> for Observed<S>
where
    S: tower::Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let method = level::method(request.uri().path());
        let span = span(method, request.headers());
        let end = End::begin(method, span.clone());
        let request = request.map(|body| Body::new(Requested::new(method, span.clone(), body)));
        let answer = span.in_scope(|| self.inner.call(request));
        let inside = span.clone();
        let work = async move {
            let response = answer.await?;
            if let Some(status) = end::status_of(&response) {
                end.end(&status);
                return Ok(response);
            }
            Ok(response.map(|body| Body::new(Responded::new(method, inside, end, body))))
        };
        Box::pin(work.instrument(span))
    }
}

/// The span of a call: a part of the caller's trace, if it says so.
fn span(method: &str, headers: &HeaderMap) -> Span {
    let span = level::span(method);
    if headers.contains_key("traceparent") {
        // There is no such layer without a collector of traces: then the kubelet's trace does not matter.
        let _ = span.set_parent(TraceContextPropagator::new().extract(&Headers(headers)));
    }
    span
}

/// The caller's place in its trace, W3C Trace Context.
struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(|name| name.as_str()).collect()
    }
}
