//! Who may go on: one operation for each container at a time, different containers side by side, GC alone.
//!
//! Source: CNI specification, section 2 ("must not invoke parallel operations for the same container").

use std::collections::HashSet;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::error::Error;
use super::name::ContainerId;

/// The operations that go on.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    containers: HashSet<ContainerId>,
    /// A GC goes on, or waits for those that went on when it came; nobody else begins then.
    gc: bool,
}

/// The right to work on a container, until it is dropped.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    turns: &'a Turns,
    /// `None`: of a GC.
    container: Option<ContainerId>,
}

impl Turns {
    /// Waits for the turn of a container.
    pub(crate) fn container(&self, id: &ContainerId, deadline: Instant) -> Result<Turn<'_>, Error> {
        let what = || format!("container {id}");
        let mut state = self.wait(deadline, what, |state| !state.gc && !state.containers.contains(id))?;
        state.containers.insert(id.clone());
        Ok(Turn { turns: self, container: Some(id.clone()) })
    }

    /// Waits until nothing else goes on.
    pub(crate) fn gc(&self, deadline: Instant) -> Result<Turn<'_>, Error> {
        let what = || "GC".to_owned();
        let mut state = self.wait(deadline, what, |state| !state.gc)?;
        state.gc = true;
        drop(state);
        // From here on the flag falls with the turn, also when the others are not done in time.
        let turn = Turn { turns: self, container: None };
        drop(self.wait(deadline, what, |state| state.containers.is_empty())?);
        Ok(turn)
    }

    fn wait(
        &self,
        deadline: Instant,
        what: impl Fn() -> String,
        ready: impl Fn(&State) -> bool,
    ) -> Result<MutexGuard<'_, State>, Error> {
        let begin = Instant::now();
        let left = deadline.saturating_duration_since(begin);
        let state = self.lock();
        let waited = self.changed.wait_timeout_while(state, left, |state| !ready(state));
        let (state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        match timeout.timed_out() && !ready(&state) {
            true => Err(Error::Busy { what: what(), waited: begin.elapsed() }),
            false => Ok(state),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.turns.lock();
        match &self.container {
            Some(id) => drop(state.containers.remove(id)),
            None => state.gc = false,
        }
        self.turns.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(20)
    }

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[test]
    fn who_waits_for_whom() {
        let turns = Turns::default();
        let (one, two): (ContainerId, ContainerId) = ("one".parse().unwrap(), "two".parse().unwrap());
        let first = turns.container(&one, soon()).unwrap();
        let other = turns.container(&two, soon()).unwrap();
        let error = turns.container(&one, soon()).unwrap_err().to_string();
        assert!(error.starts_with("container one: another operation was still going on after 0.0 s"), "{error}");
        assert!(turns.gc(soon()).is_err());
        drop((first, other));
        let gc = turns.gc(soon()).unwrap();
        assert!(turns.gc(soon()).is_err());
        assert!(turns.container(&two, soon()).is_err());
        drop(gc);
        turns.container(&one, soon()).unwrap();
    }

    #[test]
    fn a_waiting_gc_is_not_overtaken_for_ever() {
        let turns = Turns::default();
        let (one, two): (ContainerId, ContainerId) = ("one".parse().unwrap(), "two".parse().unwrap());
        let first = turns.container(&one, soon()).unwrap();
        let (told, order) = channel();
        std::thread::scope(|scope| {
            let (turns, gc_told) = (&turns, told.clone());
            scope.spawn(move || {
                let turn = turns.gc(later()).unwrap();
                gc_told.send("gc").unwrap();
                drop(turn);
            });
            while !turns.lock().gc {
                std::thread::yield_now();
            }
            scope.spawn(move || {
                let _turn = turns.container(&two, later()).unwrap();
                told.send("two").unwrap();
            });
            drop(first);
            assert_eq!([order.recv().unwrap(), order.recv().unwrap()], ["gc", "two"]);
        });
    }
}
