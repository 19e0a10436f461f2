//! Ends an operation from outside: at a signal, when the caller went away, when another part of it failed.

use tokio_util::sync::CancellationToken;

/// Asks an operation, and everything that belongs to it, to stop. Clones are the same request.
#[derive(Clone, Debug, Default)]
pub struct Cancel(CancellationToken);

impl Cancel {
    /// A request that was not made yet.
    pub fn new() -> Cancel {
        Cancel::default()
    }

    /// Makes the request. Who waits wakes up; the operation ends with [`Error::Cancelled`](super::Error::Cancelled).
    pub fn cancel(&self) {
        self.0.cancel();
    }

    /// Whether the request was made.
    pub fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Waits for the request.
    pub(crate) async fn cancelled(&self) {
        self.0.cancelled().await;
    }
}
