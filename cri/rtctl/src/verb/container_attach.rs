//! `rtctl attach`

use anyhow::Result;
use shim::protocol::Streams;

use crate::session::detach::DetachKeys;
use crate::session::foreground::{Foreground, attach};
use crate::session::relay::PassSignals;
use crate::store::roots::Roots;
use crate::store::view::Container;

/// Connect to the streams of a running container's program
#[derive(Debug, clap::Args)]
#[command(after_help = "Leave it running with ctrl-p,ctrl-q where it has a terminal.\n\nExample:\n  rtctl attach web")]
pub(crate) struct Args {
    /// Keys that leave it running
    #[arg(long, value_name = "KEYS", value_parser = DetachKeys::parse)]
    detach_keys: Option<DetachKeys>,
    /// Do not attach input
    #[arg(long)]
    no_stdin: bool,
    /// Pass signals on to the program
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "true", default_missing_value = "true")]
    #[arg(action = clap::ArgAction::Set)]
    sig_proxy: bool,
    /// Name or id
    container: String,
}

impl Args {
    pub(crate) fn run(self, roots: &Roots) -> Result<u8> {
        let container = Container::find(roots, &self.container)?;
        container.require_running()?;
        let record = container.record()?;
        let (terminal, auto_remove) = (record.config.tty, record.host.auto_remove);
        let stdin = record.config.open_stdin && !self.no_stdin;
        let foreground = Foreground {
            streams: Streams { stdin, stdout: true, stderr: !terminal },
            terminal,
            detach: self.detach_keys.unwrap_or_default(),
            signals: if self.sig_proxy { PassSignals::Yes } else { PassSignals::No },
            auto_remove,
        };
        attach(&container, foreground)?.relay()
    }
}
