//! `rtctl run`

use anyhow::{Context, Result, bail};

use crate::flag::create::{CreateFlags, Stream};
use crate::output::say;
use crate::session::detach::DetachKeys;
use crate::session::foreground::{Attached, Foreground, attach};
use crate::session::relay::PassSignals;
use crate::session::terminal;
use crate::store::create::{Attachment, Created, create};
use crate::store::pod;
use crate::store::roots::Roots;
use crate::store::start;
use crate::store::view::Container;

/// Make a container and start it
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true, override_usage = "rtctl run [OPTIONS] IMAGE [COMMAND [ARG...]]\n       rtctl run [OPTIONS] --rootfs DIR[:O] [COMMAND [ARG...]]", after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Leave it in the background and print its id
    #[arg(short, long)]
    detach: bool,
    /// Keys that leave it running, such as ctrl-p,ctrl-q
    #[arg(long, value_name = "KEYS", value_parser = DetachKeys::parse)]
    detach_keys: Option<DetachKeys>,
    /// Pass signals on to the program
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "true", default_missing_value = "true")]
    #[arg(action = clap::ArgAction::Set)]
    sig_proxy: bool,
    #[command(flatten)]
    flags: CreateFlags,
    /// Print help
    #[arg(long, action = clap::ArgAction::HelpLong)]
    help: Option<bool>,
}

const EXAMPLES: &str = "\
Flags come before the image; everything after it goes to the container.
Without --network it is on the network bridge, with an address and a way out.

Examples:
  rtctl run --rm busybox echo hello
  rtctl run --rm -it busybox sh
  rtctl run -d --name web -p 8080:80 -m 64m --cpus 0.5 --restart on-failure:3 busybox httpd -f
  rtctl run --rm --network none busybox ip link
  rtctl run --rm -v /srv/data:/data:ro -v cache:/cache --tmpfs /tmp busybox ls /data
  rtctl run --rm --rootfs /:O -it sh            the host's files, changes thrown away";

impl Args {
    pub(crate) fn run(mut self, roots: &Roots) -> Result<u8> {
        let flags = &self.flags;
        if self.detach && !flags.attach.is_empty() {
            bail!("--detach and --attach exclude each other");
        }
        if flags.tty && flags.interactive && !self.detach && !terminal::stdin_is_terminal() {
            bail!("the input is not a terminal; leave out -t, or -i");
        }
        let attachment = if self.detach { Attachment::Background } else { Attachment::Foreground };
        let new_pod = pod::join::join(roots, &mut self.flags)?;
        let flags = &self.flags;
        let created = create(roots, flags, attachment)?;
        // The container is in it now, and whoever removes that looks after it.
        if let Some(pod) = new_pod {
            pod.keep();
        }
        let container = Container::load(roots, &created.id)?.context("the container that was just made is gone")?;
        let started = match self.detach {
            true => self.start(roots, &container, &created),
            false => self.start_attached(roots, &container, &created),
        };
        // As docker: one that cannot start stays, unless --rm is given, so that inspect can tell why.
        if started.is_ok() || !flags.rm {
            // If it runs, it may be changed by others from now on, and it stays whatever happens to us.
            drop(created.draft.keep());
        }
        match started? {
            None => {
                say(&container.id)?;
                Ok(0)
            }
            Some(attached) => attached.relay(),
        }
    }

    fn start(&self, roots: &Roots, container: &Container, created: &Created) -> Result<Option<Attached>> {
        start::prepare(roots, container, created.draft.lock())?.start()?;
        Ok(None)
    }

    fn start_attached(&self, roots: &Roots, container: &Container, created: &Created) -> Result<Option<Attached>> {
        let flags = &self.flags;
        let ready = start::prepare(roots, container, created.draft.lock())?;
        let wants = |stream| flags.attach.is_empty() || flags.attach.contains(&stream);
        let streams = shim::protocol::Streams {
            stdin: flags.interactive && wants(Stream::Stdin),
            stdout: wants(Stream::Stdout),
            stderr: wants(Stream::Stderr) && !flags.tty,
        };
        let foreground = Foreground {
            streams,
            terminal: flags.tty,
            detach: self.detach_keys.clone().unwrap_or_default(),
            signals: if self.sig_proxy { PassSignals::Yes } else { PassSignals::No },
            auto_remove: flags.rm,
        };
        let attached = attach(container, foreground)?;
        ready.start()?;
        Ok(Some(attached))
    }
}
