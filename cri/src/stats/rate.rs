//! How fast a counter grows.

use std::time::{Duration, Instant};

/// Shortest time between two figures that a rate is taken from: with less, the kernel's own delays show.
const SHORTEST: Duration = Duration::from_secs(1);

/// A counter that is looked at now and then.
///
/// The rate is that since the figure before the last one that counts. Figures count when they are at least a second apart, so
/// several callers with periods of their own do not spoil each other's: the rate is always taken over a second or more. Until there
/// are two, it is the average since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    base: Figure,
    last: Figure,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Figure {
    at: Instant,
    value: u64,
}

impl Rate {
    /// A counter that began with 0 the time `age` before `now`.
    pub fn since(now: Instant, age: Duration) -> Rate {
        let start = Figure { at: now.checked_sub(age).unwrap_or(now), value: 0 };
        Rate { base: start, last: start }
    }

    /// Takes a figure; returns how much the counter grows in a second.
    pub fn add(&mut self, at: Instant, value: u64) -> u64 {
        if at.duration_since(self.last.at) >= SHORTEST {
            self.base = self.last;
            self.last = Figure { at, value };
        }
        let time = at.duration_since(self.base.at).as_nanos();
        let growth = u128::from(value.saturating_sub(self.base.value));
        (growth * 1_000_000_000).checked_div(time).map_or(0, |rate| u64::try_from(rate).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates() {
        let start = Instant::now();
        let after = |ms| start + Duration::from_millis(ms);
        const MS: u64 = 1_000_000;
        // (milliseconds since the start, CPU time used by then in ms, nanoseconds in a second)
        let table = [
            (0, 0, 0),
            // Less than a second old: the average since the start.
            (500, 250, 500 * MS),
            (2000, 500, 250 * MS),
            // Too soon to count: still since the start, but with what was used.
            (2100, 600, 600 * MS / 21 * 10),
            (4000, 2500, 1000 * MS),
            // Busy with 2 CPUs for 10 seconds.
            (14_000, 22_500, 2000 * MS),
            (14_001, 22_502, (22_502 - 2500) * MS / 10_001 * 1000),
            (24_000, 22_502, 2 * MS / 10),
        ];
        let mut rate = Rate::since(start, Duration::ZERO);
        for (ms, used, expected) in table {
            let found = rate.add(after(ms), used * MS);
            assert!(found.abs_diff(expected) <= expected / 1000, "{ms}: {found}, not {expected}");
        }
        // Asked for the first time long after the start.
        let mut old = Rate::since(after(10_000), Duration::from_secs(10));
        assert_eq!(old.add(after(10_000), 5_000 * MS), 500 * MS);
        // A counter never goes back; if it does, nothing was used.
        assert_eq!(old.add(after(12_000), 4_000 * MS), 0);
    }
}
