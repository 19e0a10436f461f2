//! `rtctl start`

use anyhow::{Result, bail};
use shim::local::Wait;

use crate::session::detach::DetachKeys;
use crate::session::foreground::{Foreground, attach};
use crate::session::relay::PassSignals;
use crate::store::roots::Roots;
use crate::store::start;
use crate::store::view::{Container, Phase};

/// Start containers that do not run
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  rtctl start web db\n  rtctl start -ai shell")]
pub(crate) struct Args {
    /// Attach output and pass signals on
    #[arg(short, long)]
    attach: bool,
    /// Attach input
    #[arg(short, long)]
    interactive: bool,
    /// Keys that leave it running
    #[arg(long, value_name = "KEYS", value_parser = DetachKeys::parse)]
    detach_keys: Option<DetachKeys>,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Args {
    /// Whether the exit code is that of the container's program.
    pub(crate) fn attaches(&self) -> bool {
        self.attach || self.interactive
    }

    pub(crate) fn run(self, roots: &Roots) -> Result<u8> {
        if !self.attaches() {
            return Ok(super::each(&self.containers, |query| background(roots, query)));
        }
        let [query] = self.containers.as_slice() else {
            bail!("only one container can be attached");
        };
        let container = Container::find(roots, query)?;
        let record = container.record()?;
        let (terminal, open_stdin, auto_remove) =
            (record.config.tty, record.config.open_stdin, record.host.auto_remove);
        let lock = container.directory()?.lock(Wait::Yes)?;
        // It may have changed while we waited.
        let container = Container::find(roots, &container.id)?;
        let ready = start::prepare(roots, &container, &lock)?;
        let streams =
            shim::protocol::Streams { stdin: self.interactive && open_stdin, stdout: true, stderr: !terminal };
        let foreground = Foreground {
            streams,
            terminal,
            detach: self.detach_keys.unwrap_or_default(),
            signals: PassSignals::Yes,
            auto_remove,
        };
        let attached = attach(&container, foreground)?;
        drop(ready.start()?);
        drop(lock);
        attached.relay()
    }
}

/// Starts a container and lets it be; one that runs is fine.
pub(super) fn background(roots: &Roots, query: &str) -> Result<()> {
    let container = Container::find(roots, query)?;
    let lock = container.directory()?.lock(Wait::Yes)?;
    let container = Container::find(roots, &container.id)?;
    match container.phase() {
        Phase::Running => return Ok(()),
        // Now, and not when its pause is over.
        Phase::Restarting => {
            let request = shim::protocol::Request::Start { container: container.id.clone() };
            super::connect(&container)?.request(&request, &[])?;
            return Ok(());
        }
        Phase::Created | Phase::Exited | Phase::Paused | Phase::Removing | Phase::Dead => {}
    }
    start::prepare(roots, &container, &lock)?.start()?;
    Ok(())
}
