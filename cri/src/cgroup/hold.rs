//! The process that keeps a new scope alive until the container is in it: systemd makes no scope without a process, and ends one that is empty.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::unistd::Pid;
use runtime::cgroup::{self, Cgroup, Host, Mode};

use super::{Error, Slice};

/// Where the placeholder waits: a group that has processes of its own cannot pass controllers on.
const START: &str = "start";

/// Room for a container.
#[derive(Debug, Default)]
#[must_use = "the scope ends with it"]
pub struct Placement {
    hold: Option<Hold>,
}

impl Placement {
    /// The container's init process is in its group: the placeholder may go.
    pub async fn settle(self) {
        if let Some(hold) = self.hold {
            // The end of a process is waited for.
            let _ = tokio::task::spawn_blocking(move || drop(hold)).await;
        }
    }
}

/// The placeholder. It ends when this is dropped, and when the daemon ends.
#[derive(Debug)]
pub(super) struct Hold {
    process: Child,
    /// Its group, once it is there.
    group: Option<cgroup::Path>,
}

impl Hold {
    /// Starts the placeholder: `rt-shim --hold`, which waits for the end of its input.
    pub(super) fn start(shim: &Path, scope: &str) -> Result<Hold, Error> {
        let mut command = Command::new(shim);
        command.arg("--hold").current_dir("/").env_clear();
        let process = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let process = process.map_err(|error| Error::Placeholder {
            program: shim.to_owned(),
            unit: scope.to_owned(),
            problem: format!("execve: {error}"),
        })?;
        Ok(Hold { process, group: None })
    }

    /// Its process id.
    pub(super) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Whether it is in a scope.
    pub(super) fn is_in(&self, scope: &str) -> bool {
        Host::detect().is_ok_and(|host| self.place(&host).is_some_and(|place| place.ends_with(&format!("/{scope}"))))
    }

    /// Leaves the scope's own group to systemd and goes to one below it.
    pub(super) fn settle_in(
        mut self,
        host: &Host,
        shim: &Path,
        slice: &Slice,
        scope: &str,
    ) -> Result<Placement, Error> {
        let place = format!("{}/{scope}", slice.path());
        let found = self.place(host);
        if found.as_ref() != Some(&place) {
            let problem = match found {
                None => "it has ended".to_owned(),
                Some(found) => format!("it is in {found} instead of {place}"),
            };
            return Err(Error::Placeholder { program: shim.to_owned(), unit: scope.to_owned(), problem });
        }
        let path: cgroup::Path = format!("{place}/{START}").parse()?;
        let group = Cgroup::create(host, &path)?;
        self.group = Some(path);
        group.add(Pid::from_raw(self.process.id().cast_signed()))?;
        Ok(Placement { hold: Some(self) })
    }

    /// The cgroup that systemd counts, as the kernel tells it; `None` if the process is gone.
    fn place(&self, host: &Host) -> Option<String> {
        let text = fs::read_to_string(format!("/proc/{}/cgroup", self.process.id())).ok()?;
        let wanted = match host.mode() {
            Mode::V2 => "",
            Mode::V1 | Mode::Hybrid => "name=systemd",
        };
        text.lines().find_map(|line| {
            let (_, line) = line.split_once(':')?;
            let (controllers, path) = line.split_once(':')?;
            (controllers == wanted).then(|| path.to_owned())
        })
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        // It has no children and no signal handlers: this takes no time.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let Some(path) = &self.group else { return };
        // What is left of it goes with the scope.
        let _ =
            Host::detect().and_then(|host| Cgroup::open(&host, path)).map(|group| group.map(|group| group.remove()));
    }
}
