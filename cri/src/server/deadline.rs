//! The end of the time that a caller gives its call: DEADLINE_EXCEEDED. tonic by itself would answer CANCELLED, which means that the caller did it.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use tokio::time::{Instant, sleep_until};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};

use super::patience;

/// Puts [`Timed`] around the services.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline;

impl<S> tower::Layer<S> for Deadline {
    type Service = Timed<S>;

    fn layer(&self, inner: S) -> Timed<S> {
        Timed { inner }
    }
}

/// The services; a call that is late is dropped.
#[derive(Debug, Clone)]
pub(super) struct Timed<S> {
    inner: S,
}

impl<S> tower::Service<Request<Body>> for Timed<S>
where
    S: tower::Service<Request<Body>, Response = Response<Body>>,
    S::Error: 'static,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        // Before tonic's own, whose time begins when this returns.
        let deadline = patience::timeout(request.headers()).and_then(|timeout| Instant::now().checked_add(timeout));
        let answer = self.inner.call(request);
        match deadline {
            None => Box::pin(answer),
            Some(deadline) => Box::pin(until(deadline, answer)),
        }
    }
}

/// The answer, or that it is too late for it.
async fn until<E>(
    deadline: Instant,
    answer: impl Future<Output = Result<Response<Body>, E>>,
) -> Result<Response<Body>, E> {
    let (mut answer, mut late) = (pin!(answer), pin!(sleep_until(deadline)));
    poll_fn(|context| {
        if let Poll::Ready(answer) = answer.as_mut().poll(context) {
            return Poll::Ready(answer);
        }
        // Not the timer alone: when tonic's was told first, it polls this one once more before it answers.
        if late.as_mut().poll(context).is_ready() || deadline <= Instant::now() {
            return Poll::Ready(Ok(Status::deadline_exceeded("the time that the caller gave is over").into_http()));
        }
        Poll::Pending
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::{pending, ready};
    use std::time::Duration;

    use tonic::Code;
    use tower::{Layer, Service};

    use super::*;

    fn request(timeout: &str) -> Request<Body> {
        Request::builder().header("grpc-timeout", timeout).body(Body::default()).unwrap()
    }

    #[tokio::test]
    async fn a_late_call_is_told_so() {
        let never = tower::service_fn(|_: Request<Body>| pending::<Result<Response<Body>, Infallible>>());
        let response = Deadline.layer(never).call(request("1n")).await.unwrap();
        assert_eq!(Status::from_header_map(response.headers()).unwrap().code(), Code::DeadlineExceeded);
    }

    #[tokio::test]
    async fn an_answer_in_time_is_passed_on() {
        let at_once = tower::service_fn(|_: Request<Body>| {
            ready(Ok::<_, Infallible>(Status::not_found("a").into_http::<Body>()))
        });
        for timeout in ["1n", "99999999H", "no number"] {
            let response = Deadline.layer(at_once).call(request(timeout)).await.unwrap();
            assert_eq!(Status::from_header_map(response.headers()).unwrap().code(), Code::NotFound, "{timeout}");
        }
    }

    /// tonic's timer may be the one that is told: then this is polled after the deadline without having been woken.
    #[tokio::test]
    async fn the_clock_counts_when_the_timer_is_late() {
        let deadline = Instant::now().checked_sub(Duration::from_millis(1)).unwrap();
        let response = until(deadline, pending::<Result<Response<Body>, Infallible>>()).await.unwrap();
        assert_eq!(Status::from_header_map(response.headers()).unwrap().code(), Code::DeadlineExceeded);
    }
}
