//! What is due later.

use std::collections::BTreeMap;
use std::time::Instant;

/// Something that is due at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Timer {
    /// The grace period of a container's Stop is over.
    Stop(String),
    /// A container is started again.
    Restart(String),
    /// The output of an ended process has been waited for long enough.
    Drain(u64),
    /// A container's health is checked.
    Health(String),
    /// A health check takes too long.
    Check(u64),
    /// An exec session takes too long.
    ExecLimit(u64),
    /// A container that others could trace has waited for its start for too long.
    Entering,
    /// What is left of a sandbox that is being stopped is killed.
    StopSandbox,
    /// `on_exit` of the sandbox has taken too long.
    OnExit,
}

/// Timers in the order in which they are due.
#[derive(Debug, Default)]
pub(super) struct Timers {
    due: BTreeMap<(Instant, u64), Timer>,
    next: u64,
}

impl Timers {
    /// Sets a timer; one that is set already is moved.
    pub(super) fn set(&mut self, at: Instant, timer: Timer) {
        self.cancel(&timer);
        self.next += 1;
        self.due.insert((at, self.next), timer);
    }

    pub(super) fn cancel(&mut self, timer: &Timer) {
        self.due.retain(|_, other| other != timer);
    }

    /// When a timer goes off.
    pub(super) fn at(&self, timer: &Timer) -> Option<Instant> {
        self.due.iter().find(|(_, other)| *other == timer).map(|((at, _), _)| *at)
    }

    /// When the first one goes off.
    pub(super) fn next(&self) -> Option<Instant> {
        self.due.keys().next().map(|(at, _)| *at)
    }

    /// Takes the first timer that is due at `now`.
    pub(super) fn take(&mut self, now: Instant) -> Option<Timer> {
        let first = self.due.first_entry().filter(|entry| entry.key().0 <= now)?;
        Some(first.remove())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_first_due_comes_first_and_each_once() {
        let now = Instant::now();
        let later = |seconds| now + Duration::from_secs(seconds);
        let mut timers = Timers::default();
        timers.set(later(3), Timer::Drain(1));
        timers.set(later(1), Timer::Drain(2));
        timers.set(later(1), Timer::Stop("a".into()));
        timers.set(later(9), Timer::Stop("a".into()));
        timers.set(later(2), Timer::Restart("a".into()));
        timers.cancel(&Timer::Restart("a".into()));
        assert_eq!(timers.next(), Some(later(1)));
        assert_eq!(timers.at(&Timer::Stop("a".into())), Some(later(9)));
        assert_eq!(timers.take(now), None);
        assert_eq!(timers.take(later(5)), Some(Timer::Drain(2)));
        assert_eq!(timers.take(later(5)), Some(Timer::Drain(1)));
        assert_eq!(timers.take(later(5)), None);
        assert_eq!(timers.take(later(9)), Some(Timer::Stop("a".into())));
        assert_eq!(timers.next(), None);
    }
}
