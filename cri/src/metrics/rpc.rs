//! Calls of the CRI.

use std::time::Instant;

use super::registry::METRICS;

/// A call under way; [`Rpc::end`] says how it ended, dropped before it counts as cancelled.
#[derive(Debug)]
pub struct Rpc {
    method: &'static str,
    began: Instant,
    ended: bool,
}

/// Begins a call. `method` is one of a fixed set: it becomes a label.
#[must_use]
pub fn rpc(method: &'static str) -> Rpc {
    METRICS.rpcs_in_flight.get_or_create(&[("method", method)]).inc();
    Rpc { method, began: Instant::now(), ended: false }
}

impl Rpc {
    /// Notes the end, with the name of the code.
    pub fn end(mut self, code: &'static str) {
        self.note(code);
    }

    fn note(&mut self, code: &'static str) {
        self.ended = true;
        let labels = [("method", self.method), ("code", code)];
        METRICS.rpc_duration.get_or_create(&labels).observe(self.began.elapsed().as_secs_f64());
        METRICS.rpcs_in_flight.get_or_create(&[("method", self.method)]).dec();
    }
}

impl Drop for Rpc {
    fn drop(&mut self) {
        if !self.ended {
            self.note("Cancelled");
        }
    }
}
