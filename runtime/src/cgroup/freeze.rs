//! Freezing: `cgroup.freeze` where there is a cgroup2 directory (hybrid hosts too: its frozen processes can be killed, those
//! of v1 cannot), else the v1 freezer.

use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::controller::Controller;
use super::dir::Dir;
use super::{Cgroup, Error, wait};

/// How long a group may take to come to rest.
const PATIENCE: Duration = Duration::from_secs(10);

impl Cgroup {
    /// Stops all processes in the group and below it, and returns when they have stopped.
    ///
    /// # Errors
    /// [`Error::Freezer`] when one of them does not stop in time (it stays asked to); [`Error::Missing`] on a v1 host
    /// without a freezer.
    pub fn freeze(&self) -> Result<(), Error> {
        self.freeze_until(Instant::now() + PATIENCE)
    }

    /// Lets all processes run again, and returns when they do.
    ///
    /// # Errors
    /// [`Error::Freezer`] when a group above is frozen; [`Error::Missing`] on a v1 host without a freezer.
    pub fn thaw(&self) -> Result<(), Error> {
        self.thaw_until(Instant::now() + PATIENCE)
    }

    pub(super) fn thaw_until(&self, deadline: Instant) -> Result<(), Error> {
        if let Some(dir) = self.freezer2()? {
            return switch2(dir, false, deadline);
        }
        switch1(self.freezer1()?, State::Thawed, deadline)
    }

    /// Whether all processes are stopped.
    ///
    /// # Errors
    /// [`Error::System`]; [`Error::Missing`] on a v1 host without a freezer.
    pub fn frozen(&self) -> Result<bool, Error> {
        if let Some(dir) = self.freezer2()? {
            let text = dir.read("cgroup.events")?;
            let malformed = || Error::Malformed { path: dir.path().join("cgroup.events"), content: text.clone() };
            return wait::value(&text, "frozen").map(|value| value != 0).ok_or_else(malformed);
        }
        Ok(state(self.freezer1()?)? == State::Frozen)
    }

    pub(super) fn freeze_until(&self, deadline: Instant) -> Result<(), Error> {
        if let Some(dir) = self.freezer2()? {
            return switch2(dir, true, deadline);
        }
        switch1(self.freezer1()?, State::Frozen, deadline)
    }

    /// The cgroup2 directory if it can freeze: KERNEL(5.2), and the v1 freezer is the fallback where there is one.
    fn freezer2(&self) -> Result<Option<&Dir>, Error> {
        let Some(v2) = &self.v2 else { return Ok(None) };
        if self.v1_of(Controller::Freezer).is_none() || v2.dir.read_if_there("cgroup.freeze")?.is_some() {
            return Ok(Some(&v2.dir));
        }
        Ok(None)
    }

    fn freezer1(&self) -> Result<&Dir, Error> {
        let controller = Controller::Freezer;
        let reason = "is not mounted on this host".to_owned();
        self.v1_of(controller).ok_or_else(|| Error::Missing { controller, field: "freeze".to_owned(), reason })
    }
}

/// Sets `cgroup.freeze` and waits for the event.
fn switch2(dir: &Dir, frozen: bool, deadline: Instant) -> Result<(), Error> {
    let (value, wanted) = if frozen { ("1", "frozen") } else { ("0", "thawed") };
    dir.write("cgroup.freeze", value)?;
    if wait::event(dir, "frozen", frozen, deadline)? {
        return Ok(());
    }
    Err(Error::Freezer { path: dir.path().to_owned(), wanted })
}

/// `freezer.state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Thawed,
    Freezing,
    Frozen,
}

fn state(dir: &Dir) -> Result<State, Error> {
    match dir.read("freezer.state")?.trim() {
        "THAWED" => Ok(State::Thawed),
        "FREEZING" => Ok(State::Freezing),
        "FROZEN" => Ok(State::Frozen),
        other => Err(Error::Malformed { path: dir.path().join("freezer.state"), content: other.to_owned() }),
    }
}

/// Sets `freezer.state` until it is so. The kernel announces it by no event, and a process that forks meanwhile can hold it
/// up: asking again helps, and now and then letting go for a moment (kernel, cgroup-v1/freezer-subsystem.rst).
fn switch1(dir: &Dir, wanted: State, deadline: Instant) -> Result<(), Error> {
    let name = if wanted == State::Thawed { "THAWED" } else { "FROZEN" };
    let mut pause = wait::Pause::default();
    for turn in 1_u32.. {
        match dir.write("freezer.state", name) {
            Err(error) if matches!(error.errno(), Some(Errno::ENOENT | Errno::ENODEV)) => return Ok(()),
            written => written?,
        }
        if state(dir)? == wanted {
            return Ok(());
        }
        if Instant::now() >= deadline {
            break;
        }
        if turn % 32 == 0 {
            dir.write("freezer.state", "THAWED")?;
        }
        pause.rest();
    }
    let wanted = if wanted == State::Thawed { "thawed" } else { "frozen" };
    Err(Error::Freezer { path: dir.path().to_owned(), wanted })
}
