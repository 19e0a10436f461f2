//! How a call ends.

use std::time::Instant;

use tonic::body::Body;
use tonic::codegen::http::{HeaderMap, Response};
use tonic::{Code, Status};
use tracing::{Level, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::level::{level, name};
use crate::metrics::{self, Rpc};

/// A call under way. Dropped, its client has gone before it was over.
#[derive(Debug)]
pub(super) struct End {
    method: &'static str,
    span: Span,
    began: Instant,
    rpc: Option<Rpc>,
}

impl End {
    pub(super) fn begin(method: &'static str, span: Span) -> End {
        End { method, span, began: Instant::now(), rpc: Some(metrics::rpc(method)) }
    }

    /// Notes the end.
    pub(super) fn end(mut self, status: &Status) {
        self.note(status);
    }

    fn note(&mut self, status: &Status) {
        let Some(rpc) = self.rpc.take() else { return };
        let code = name(status.code());
        rpc.end(code);
        self.span.record("code", code);
        if status.code() != Code::Ok {
            self.span.set_status(opentelemetry::trace::Status::error(code));
        }
        let _inside = self.span.enter();
        let ms = (self.began.elapsed().as_secs_f64() * 1e6).round() / 1000.0;
        let error = (status.code() != Code::Ok).then(|| chain(status));
        let error = error.as_deref();
        match level(self.method, status.code()) {
            Level::WARN => tracing::warn!(ms, error, "refused"),
            Level::INFO if error.is_none() => tracing::info!(ms, "done"),
            Level::INFO => tracing::info!(ms, error, "refused"),
            _ if error.is_none() => tracing::debug!(ms, "done"),
            _ => tracing::debug!(ms, error, "refused"),
        }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.note(&Status::cancelled("the client has gone"));
    }
}

/// An error and all that led to it, each said once.
fn chain(status: &Status) -> String {
    let mut text = status.message().to_owned();
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        let cause = error.to_string();
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
        source = error.source();
    }
    text
}

/// How a call ended that has no body.
pub(super) fn status_of(response: &Response<Body>) -> Option<Status> {
    response.extensions().get::<Status>().cloned().or_else(|| of_trailers(response.headers()))
}

/// How a call ended, from behind its last message.
pub(super) fn of_trailers(trailers: &HeaderMap) -> Option<Status> {
    Status::from_header_map(trailers)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Cause(&'static str, #[source] Option<Box<Cause>>);

    #[test]
    fn a_chain_says_everything_once() {
        let plain = Status::not_found("no pod x");
        assert_eq!(chain(&plain), "no pod x");
        let mut status = Status::unknown("network: plugin");
        status.set_source(Arc::new(Cause("plugin", Some(Box::new(Cause("ENOENT", None))))));
        assert_eq!(chain(&status), "network: plugin: ENOENT");
    }
}
