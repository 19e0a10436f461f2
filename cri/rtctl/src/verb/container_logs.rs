//! `rtctl logs`

use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use shim::client::Connection;
use shim::protocol::Request;

use crate::flag::time;
use crate::logs::record::{Stream, parse};
use crate::logs::tail;
use crate::store::roots::Roots;
use crate::store::view::Container;

/// Show what a container's program wrote
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  rtctl logs --tail 20 -f web\n  rtctl logs -t --since 10m --until 5m web")]
pub(crate) struct Args {
    /// Go on with what it writes, until it ends
    #[arg(short, long)]
    follow: bool,
    /// Only from this moment on: 10m (ago), 2026-01-02T13:23:37Z, seconds since 1970
    #[arg(long, value_name = "MOMENT", value_parser = moment)]
    since: Option<u64>,
    /// Only before this moment
    #[arg(long, value_name = "MOMENT", value_parser = moment)]
    until: Option<u64>,
    /// Only so many lines from the end, or all
    #[arg(short = 'n', long, value_name = "LINES", default_value = "all", value_parser = lines)]
    tail: Tail,
    /// Show when each line was written
    #[arg(short, long)]
    timestamps: bool,
    /// Name or id
    container: String,
}

fn moment(text: &str) -> Result<u64, String> {
    time::moment(text, SystemTime::now())
}

/// `--tail`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tail {
    All,
    Last(u64),
}

fn lines(text: &str) -> Result<Tail, String> {
    match text {
        "all" | "-1" => Ok(Tail::All),
        text => text.parse().map(Tail::Last).map_err(|_| format!("{text:?}: must be a number or all")),
    }
}

impl Args {
    pub(crate) fn run(self, roots: &Roots) -> Result<u8> {
        let container = Container::find(roots, &self.container)?;
        let path =
            container.record()?.log.clone().with_context(|| format!("container {} has no log", container.shown()))?;
        // Watched before it is read: nothing is missed in between.
        let follow = if self.follow { Follow::new(&container, Path::new(&path))? } else { None };
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => match &follow {
                None => return Ok(0),
                Some(follow) => match follow.wait_for_file(&path)? {
                    Some(file) => file,
                    None => return Ok(0),
                },
            },
            Err(error) => return Err(error).context(path),
        };
        let mut start = 0;
        if let Tail::Last(lines) = self.tail {
            start = tail::offset(&file, lines).with_context(|| path.clone())?;
        }
        let mut reader = BufReader::with_capacity(64 << 10, file);
        reader.seek(SeekFrom::Start(start)).with_context(|| path.clone())?;
        let mut printer = Printer { args: &self, line: Vec::new(), middle: [false; 2] };
        loop {
            let more = printer.all(&mut reader)?;
            match &follow {
                Some(follow) if more == More::Perhaps => {
                    if follow.wait()? == Event::Ended {
                        printer.all(&mut reader)?;
                        return Ok(0);
                    }
                }
                Some(_) | None => return Ok(0),
            }
        }
    }
}

struct Printer<'a> {
    args: &'a Args,
    /// A record whose end has not been read yet.
    line: Vec<u8>,
    /// Whether the last record of stdout, stderr was a part of a line.
    middle: [bool; 2],
}

/// Whether there can be more to print.
#[derive(Debug, PartialEq, Eq)]
enum More {
    Perhaps,
    /// What follows is after `--until`.
    No,
}

impl Printer<'_> {
    /// Prints all records there are.
    fn all(&mut self, reader: &mut impl BufRead) -> Result<More> {
        let (mut stdout, mut stderr) = (std::io::stdout().lock(), std::io::stderr().lock());
        loop {
            let read = reader.read_until(b'\n', &mut self.line).context("read(<log>)")?;
            if read == 0 || self.line.last() != Some(&b'\n') {
                stdout.flush().context("write(stdout)")?;
                return Ok(More::Perhaps);
            }
            let line = std::mem::take(&mut self.line);
            if self.one(&line[..line.len() - 1], &mut stdout, &mut stderr)? == More::No {
                stdout.flush().context("write(stdout)")?;
                return Ok(More::No);
            }
        }
    }

    fn one(&mut self, line: &[u8], stdout: &mut impl Write, stderr: &mut impl Write) -> Result<More> {
        // What the shim did not write is not shown as the program's.
        let Some(record) = parse(line) else { return Ok(More::Perhaps) };
        let nanos = record.nanos().unwrap_or(0);
        if self.args.until.is_some_and(|until| nanos > until) {
            return Ok(More::No);
        }
        if self.args.since.is_some_and(|since| nanos < since) {
            return Ok(More::Perhaps);
        }
        let mut text = Vec::with_capacity(record.text.len() + 40);
        let middle = &mut self.middle[usize::from(record.stream == Stream::Stderr)];
        if self.args.timestamps && !*middle {
            text.extend_from_slice(record.time.as_bytes());
            text.push(b' ');
        }
        text.extend_from_slice(record.text);
        if record.full {
            text.push(b'\n');
        }
        *middle = !record.full;
        match record.stream {
            Stream::Stdout => stdout.write_all(&text).context("write(stdout)")?,
            Stream::Stderr => stderr.write_all(&text).context("write(stderr)")?,
        }
        Ok(More::Perhaps)
    }
}

/// Waits for more of a log.
struct Follow {
    inotify: Inotify,
    /// Tells when the container ends for good.
    shim: Connection,
}

#[derive(Debug, PartialEq, Eq)]
enum Event {
    /// Something was written.
    Changed,
    /// The container has ended and all is written.
    Ended,
}

impl Follow {
    /// `None` when the container does not run: then there is nothing to wait for.
    fn new(container: &Container, log: &Path) -> Result<Option<Follow>> {
        let Some(shim) = container.connect()? else { return Ok(None) };
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).context("inotify_init1")?;
        let dir = log.parent().unwrap_or(Path::new("/"));
        // The directory: the file may not be there yet.
        let flags = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO;
        inotify.add_watch(dir, flags).with_context(|| format!("inotify_add_watch({dir:?})"))?;
        match shim.send(&Request::Wait { container: container.id.clone() }, &[]) {
            Ok(()) => Ok(Some(Follow { inotify, shim })),
            Err(shim::client::Error::Gone) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn wait(&self) -> Result<Event> {
        let mut set =
            [PollFd::new(self.inotify.as_fd(), PollFlags::POLLIN), PollFd::new(self.shim.as_fd(), PollFlags::POLLIN)];
        loop {
            match poll(&mut set, PollTimeout::NONE) {
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno).context("poll"),
                Ok(_) if set[1].any() == Some(true) => return Ok(Event::Ended),
                Ok(_) => {
                    match self.inotify.read_events() {
                        Ok(_) | Err(Errno::EAGAIN) => {}
                        Err(errno) => return Err(errno).context("read(<inotify>)"),
                    }
                    return Ok(Event::Changed);
                }
            }
        }
    }

    fn wait_for_file(&self, path: &str) -> Result<Option<File>> {
        loop {
            let event = self.wait()?;
            match File::open(path) {
                Ok(file) => return Ok(Some(file)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound && event == Event::Changed => {}
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error).context(path.to_owned()),
            }
        }
    }
}
