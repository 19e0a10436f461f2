//! Steps of operations.

use std::time::Instant;

use super::registry::METRICS;

/// A step under way; it ends when this is dropped. It is a span of the trace, too: a child of the one it began in.
#[derive(Debug)]
#[must_use = "the step ends when this is dropped"]
pub struct Phase {
    operation: &'static str,
    phase: &'static str,
    began: Instant,
    /// It is open as long as this is there; nothing is ever in it.
    _span: tracing::Span,
}

/// Begins a step of an operation: `let step = metrics::phase("run_pod_sandbox", "network");`. Both become labels.
pub fn phase(operation: &'static str, phase: &'static str) -> Phase {
    phase_in(&tracing::Span::current(), operation, phase)
}

/// [`phase`] below a span that is not that of this thread.
pub fn phase_in(parent: &tracing::Span, operation: &'static str, phase: &'static str) -> Phase {
    METRICS.phases_in_flight.get_or_create(&labels(operation, phase)).inc();
    let span = tracing::info_span!(parent: parent, "phase", otel.name = phase, operation, phase);
    Phase { operation, phase, began: Instant::now(), _span: span }
}

impl Drop for Phase {
    fn drop(&mut self) {
        let labels = labels(self.operation, self.phase);
        METRICS.phase_duration.get_or_create(&labels).observe(self.began.elapsed().as_secs_f64());
        METRICS.phases_in_flight.get_or_create(&labels).dec();
    }
}

fn labels(operation: &'static str, phase: &'static str) -> super::registry::Two {
    [("operation", operation), ("phase", phase)]
}
