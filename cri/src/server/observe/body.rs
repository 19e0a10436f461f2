//! The messages as they pass.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::body::{Bytes, Frame, SizeHint};
use tonic::body::Body;
use tonic::{Code, Status};
use tracing::Span;

use super::end::{End, of_trailers};
use super::fields;

/// Fields that are still to be found.
struct Sought {
    span: Span,
    fields: &'static [(&'static str, &'static [u32])],
}

impl Sought {
    /// Looks into the first frame; what is not in it is not found.
    fn look(&mut self, frame: &Frame<Bytes>) {
        let fields = std::mem::take(&mut self.fields);
        let Some(data) = frame.data_ref() else { return };
        for (name, path) in fields {
            if let Some(text) = fields::text(data, path) {
                self.span.record(*name, text);
            }
        }
    }
}

/// A request.
pub(super) struct Requested {
    inner: Body,
    sought: Sought,
}

impl Requested {
    pub(super) fn new(method: &str, span: Span, inner: Body) -> Requested {
        Requested { inner, sought: Sought { span, fields: fields::of_request(method) } }
    }
}

impl hyper::body::Body for Requested {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
        if let Some(Ok(frame)) = &frame {
            self.sought.look(frame);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// A response; its end is the call's.
pub(super) struct Responded {
    inner: Body,
    sought: Sought,
    end: Option<End>,
}

impl Responded {
    pub(super) fn new(method: &str, span: Span, end: End, inner: Body) -> Responded {
        Responded { inner, sought: Sought { span, fields: fields::of_response(method) }, end: Some(end) }
    }
}

impl hyper::body::Body for Responded {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
        let ended = match &frame {
            Some(Ok(frame)) => {
                self.sought.look(frame);
                frame.trailers_ref().map(|trailers| {
                    of_trailers(trailers).unwrap_or_else(|| Status::new(Code::Unknown, "no status behind the answer"))
                })
            }
            Some(Err(status)) => Some(status.clone()),
            None => None,
        };
        if let Some(status) = ended
            && let Some(end) = self.end.take()
        {
            end.end(&status);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
