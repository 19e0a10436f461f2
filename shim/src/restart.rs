//! Whether and when a container starts again: docker's rules as a pure function.

use std::time::Duration;

use crate::layout::{RESTART_BACKOFF, RESTART_BACKOFF_LIMIT, RESTART_RESET, RestartPolicy};

/// A run that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// Its exit code.
    pub code: i32,
    /// How long it took.
    pub lasted: Duration,
    /// Whether someone stopped the container by hand.
    pub stopped: bool,
    /// How many times the policy has started the container again before.
    pub restarts: u32,
    /// The pause before this run, if the policy started it.
    pub pause: Option<Duration>,
}

/// How long to wait before the next start; `None`: it has ended for good.
///
/// The pause is doubled after each run shorter than [`RESTART_RESET`], up to [`RESTART_BACKOFF_LIMIT`]. `Always` and
/// `UnlessStopped` differ only when the host starts.
#[must_use]
pub fn pause(policy: RestartPolicy, run: Run) -> Option<Duration> {
    let again = !run.stopped
        && match policy {
            RestartPolicy::No => false,
            RestartPolicy::OnFailure(limit) => run.code != 0 && limit.is_none_or(|limit| run.restarts < limit),
            RestartPolicy::Always | RestartPolicy::UnlessStopped => true,
        };
    let next = match run.pause {
        Some(pause) if run.lasted < RESTART_RESET => (pause * 2).min(RESTART_BACKOFF_LIMIT),
        Some(_) | None => RESTART_BACKOFF,
    };
    again.then_some(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(5);

    fn run(code: i32, restarts: u32) -> Run {
        Run { code, lasted: SHORT, stopped: false, restarts, pause: None }
    }

    #[test]
    fn policies() {
        use RestartPolicy::{Always, No, OnFailure, UnlessStopped};
        let first = Some(RESTART_BACKOFF);
        for (policy, run, expected) in [
            (No, run(1, 0), None),
            (Always, run(0, 0), first),
            (Always, run(1, 1000), first),
            (Always, Run { stopped: true, ..run(0, 0) }, None),
            (UnlessStopped, run(0, 0), first),
            (UnlessStopped, Run { stopped: true, ..run(137, 0) }, None),
            (OnFailure(None), run(0, 0), None),
            (OnFailure(None), run(1, 1000), first),
            (OnFailure(None), Run { stopped: true, ..run(143, 0) }, None),
            (OnFailure(Some(2)), run(1, 0), first),
            (OnFailure(Some(2)), run(1, 1), first),
            (OnFailure(Some(2)), run(1, 2), None),
            (OnFailure(Some(0)), run(1, 0), None),
        ] {
            assert_eq!(pause(policy, run), expected, "{policy:?} {run:?}");
        }
    }

    #[test]
    fn pauses_double_up_to_a_minute_and_start_anew_after_a_long_run() {
        let mut last = None;
        let mut pauses = Vec::new();
        for _ in 0..12 {
            last = pause(RestartPolicy::Always, Run { pause: last, ..run(0, 0) });
            pauses.push(last.unwrap().as_millis());
        }
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000, 60000]);
        let long = Run { pause: last, lasted: RESTART_RESET, ..run(0, 0) };
        assert_eq!(pause(RestartPolicy::Always, long), Some(RESTART_BACKOFF));
    }
}
