//! Health checks: when the next one is due and what its result means. Docker's rules, without effects.
//!
//! A container is `starting` until a check succeeds or [`HealthCheck::retries`] in a row have failed; failures during the start
//! period do not count as long as it is `starting`. After that it is `healthy` or `unhealthy`.

use std::time::Duration;

use crate::layout::{CheckResult, Health, HealthCheck, HealthStatus, VERSION};

/// How many results are kept.
pub const RESULTS: usize = 5;

/// Most bytes of a check's output that are kept.
pub const OUTPUT_LIMIT: usize = 4096;

impl Default for Health {
    /// That of a container whose run has just begun.
    fn default() -> Self {
        Self { version: VERSION, status: HealthStatus::Starting, failing_streak: 0, results: Vec::new() }
    }
}

impl Health {
    /// Takes in the result of a check that began `since_start` after the container. The status, if it is another one now.
    pub fn take(&mut self, check: &HealthCheck, since_start: Duration, result: CheckResult) -> Option<HealthStatus> {
        let before = self.status;
        if result.exit_code == 0 {
            self.failing_streak = 0;
            self.status = HealthStatus::Healthy;
        } else if before != HealthStatus::Starting || since_start >= check.start_period {
            self.failing_streak = self.failing_streak.saturating_add(1);
            if self.failing_streak >= check.retries {
                self.status = HealthStatus::Unhealthy;
            }
        }
        self.results.push(result);
        if self.results.len() > RESULTS {
            self.results.remove(0);
        }
        (self.status != before).then_some(self.status)
    }

    /// How long to wait for the next check, `since_start` after the container's start.
    #[must_use]
    pub fn pause(&self, check: &HealthCheck, since_start: Duration) -> Duration {
        match self.status {
            HealthStatus::Starting if since_start < check.start_period => check.start_interval,
            HealthStatus::Starting | HealthStatus::Healthy | HealthStatus::Unhealthy => check.interval,
        }
    }
}

impl HealthStatus {
    /// Docker's word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// Output as text, shortened as docker does.
#[must_use]
pub fn text(output: &[u8]) -> String {
    let kept = &output[..output.len().min(OUTPUT_LIMIT)];
    let mut text = String::from_utf8_lossy(kept).into_owned();
    if kept.len() < output.len() {
        text.push_str("...");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::OnFailure;
    use HealthStatus::{Healthy, Starting, Unhealthy};

    const CHECK: HealthCheck = HealthCheck {
        command: Vec::new(),
        interval: Duration::from_secs(30),
        timeout: Duration::from_secs(30),
        start_period: Duration::from_secs(60),
        start_interval: Duration::from_secs(5),
        retries: 3,
        on_failure: OnFailure::None,
    };

    fn result(exit_code: i32) -> CheckResult {
        CheckResult { start: 1, end: 2, exit_code, output: String::new() }
    }

    #[test]
    fn as_docker_counts() {
        // (seconds after the start, exit code) and the status and streak after each.
        for (name, steps) in [
            ("plain", &[(70, 1, Starting, 1), (71, 1, Starting, 2), (72, 1, Unhealthy, 3), (73, 0, Healthy, 0)][..]),
            ("start period", &[(1, 1, Starting, 0), (2, 1, Starting, 0), (59, 1, Starting, 0), (60, 1, Starting, 1)]),
            (
                "success ends the start period",
                &[(1, 0, Healthy, 0), (2, 1, Healthy, 1), (3, 1, Healthy, 2), (4, -1, Unhealthy, 3)],
            ),
            (
                "a streak is broken",
                &[(70, 0, Healthy, 0), (71, 1, Healthy, 1), (72, 0, Healthy, 0), (73, 1, Healthy, 1)],
            ),
        ] {
            let mut health = Health::default();
            for (seconds, code, status, streak) in steps {
                let before = health.status;
                let changed = health.take(&CHECK, Duration::from_secs(*seconds), result(*code));
                assert_eq!((health.status, health.failing_streak), (*status, *streak), "{name} {seconds}");
                assert_eq!(changed, (before != *status).then_some(*status), "{name} {seconds}");
            }
        }
        let mut health = Health::default();
        health.take(&HealthCheck { retries: 1, start_period: Duration::ZERO, ..CHECK }, Duration::ZERO, result(2));
        assert_eq!(health.status, Unhealthy);
    }

    #[test]
    fn the_last_results_are_kept() {
        let mut health = Health::default();
        for code in 0..9 {
            health.take(&CHECK, Duration::ZERO, result(code));
        }
        let codes: Vec<i32> = health.results.iter().map(|result| result.exit_code).collect();
        assert_eq!(codes, [4, 5, 6, 7, 8]);
    }

    #[test]
    fn pauses() {
        for (status, seconds, expected) in
            [(Starting, 0, 5), (Starting, 59, 5), (Starting, 60, 30), (Healthy, 1, 30), (Unhealthy, 1, 30)]
        {
            let health = Health { status, ..Health::default() };
            assert_eq!(health.pause(&CHECK, Duration::from_secs(seconds)).as_secs(), expected, "{status:?} {seconds}");
        }
    }

    #[test]
    fn long_output_is_cut() {
        assert_eq!(text(b"ok\n\xff"), "ok\n\u{fffd}");
        assert_eq!(text(&[b'x'; OUTPUT_LIMIT]).len(), OUTPUT_LIMIT);
        assert_eq!(text(&[b'x'; OUTPUT_LIMIT + 1]), "x".repeat(OUTPUT_LIMIT) + "...");
    }
}
