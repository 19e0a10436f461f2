//! `rtctl logs`

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use shim::client::Connection;
use shim::layout::{LogFile, LogTarget};
use shim::protocol::Request;

use crate::flag::time;
use crate::logs::files::{self, Part};
use crate::logs::journal::{self, Query, Reader};
use crate::logs::record::{Format, Record, Stream};
use crate::logs::tail::Count;
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
    /// Show the labels and variables that --log-opt chose
    #[arg(long)]
    details: bool,
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
        container.record()?;
        let mut printer = Printer { args: &self, line: Vec::new(), middle: [false; 2] };
        match container.task()?.log {
            Some(LogTarget::K8sFile(file)) => self.files(&container, &file, Format::Cri, &mut printer)?,
            Some(LogTarget::JsonFile { file, .. }) => self.files(&container, &file, Format::Docker, &mut printer)?,
            Some(LogTarget::Journald { .. }) => self.journal(&container, &mut printer)?,
            None => bail!("container {} has no log: it was made with --log-driver none", container.shown()),
        }
        Ok(0)
    }

    fn files(&self, container: &Container, log: &LogFile, format: Format, printer: &mut Printer<'_>) -> Result<()> {
        let shown = || log.path.display().to_string();
        // Watched before it is read: nothing is missed in between.
        let follow = if self.follow { Follow::new(container, Some(&log.path))? } else { None };
        let mut parts = files::open(log).with_context(shown)?;
        if let Tail::Last(lines) = self.tail {
            skip(&mut parts, format, lines).with_context(shown)?;
        }
        let mut last = None;
        loop {
            if printer.parts(&mut last, parts, format)?.is_break() {
                return Ok(());
            }
            let Some(follow) = &follow else { return Ok(()) };
            let event = follow.wait()?;
            // What was written before a rotation comes first.
            if let Some(part) = &last
                && printer.part(part, format)?.is_break()
            {
                return Ok(());
            }
            parts = files::newer(log, last.as_ref()).with_context(shown)?;
            if !parts.is_empty()
                && let Some(part) = &last
                && printer.part(part, format)?.is_break()
            {
                return Ok(());
            }
            if event == Event::Ended {
                return printer.parts(&mut last, parts, format).map(drop);
            }
        }
    }

    fn journal(&self, container: &Container, printer: &mut Printer<'_>) -> Result<()> {
        let follow = if self.follow { Follow::new(container, None)? } else { None };
        let last = match self.tail {
            Tail::All => None,
            Tail::Last(count) => Some(count),
        };
        let query = Query { id: &container.id, last, since: self.since, follow: follow.is_some(), after: None };
        let (reader, mut output) = Reader::start(&query)?;
        let mut cursor = None;
        let mut buffer = vec![0; 64 << 10];
        loop {
            if let Some(follow) = &follow
                && follow.wait_for(Some(output.as_fd()))? == Event::Ended
            {
                break;
            }
            let size = output.read(&mut buffer).context("read(<journalctl>)")?;
            if size == 0 || printer.entries(&buffer[..size], &mut cursor)?.is_break() {
                return Ok(());
            }
        }
        // All has been sent to the journal: whatever the first reader did not get before it was ended.
        drop(reader);
        printer.line.clear();
        let after = cursor.clone();
        let query = Query { id: &container.id, since: self.since, after: after.as_deref(), ..Query::default() };
        let (_reader, mut output) = Reader::start(&query)?;
        let mut rest = Vec::new();
        output.read_to_end(&mut rest).context("read(<journalctl>)")?;
        printer.entries(&rest, &mut cursor).map(drop)
    }
}

/// Drops what is before the last `lines` lines: whole files, and the beginning of one.
fn skip(parts: &mut Vec<Part>, format: Format, lines: u64) -> std::io::Result<()> {
    let mut count = Count::new(format, lines);
    for place in (0..parts.len()).rev() {
        if let Some(offset) = count.offset(&parts[place].file)? {
            (&parts[place].file).seek(SeekFrom::Start(offset))?;
            parts.drain(..place);
            return Ok(());
        }
    }
    Ok(())
}

struct Printer<'a> {
    args: &'a Args,
    /// A record whose end has not been read yet.
    line: Vec<u8>,
    /// Whether the last record of stdout, stderr was a part of a line.
    middle: [bool; 2],
}

impl Printer<'_> {
    /// Prints files to their ends, one after the other; `last` becomes the last of them.
    fn parts(&mut self, last: &mut Option<Part>, parts: Vec<Part>, format: Format) -> Result<ControlFlow<()>> {
        for part in parts {
            // What a shim that was killed did not finish stays so.
            self.line.clear();
            let more = self.part(&part, format)?;
            *last = Some(part);
            if more.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Prints all records that there are from where the file was last read.
    fn part(&mut self, part: &Part, format: Format) -> Result<ControlFlow<()>> {
        let (mut stdout, mut stderr) = (std::io::stdout().lock(), std::io::stderr().lock());
        let mut held = std::mem::take(&mut self.line);
        let read = files::read_lines(part, &mut held, |line| match format.parse(line) {
            Some(record) => self.one(&record, &mut stdout, &mut stderr),
            // What the shim did not write is not shown as the program's.
            None => Ok(ControlFlow::Continue(())),
        });
        self.line = held;
        stdout.flush().context("write(stdout)")?;
        read
    }

    /// Prints journalctl's lines; `cursor` becomes that of the last.
    fn entries(&mut self, text: &[u8], cursor: &mut Option<String>) -> Result<ControlFlow<()>> {
        let (mut stdout, mut stderr) = (std::io::stdout().lock(), std::io::stderr().lock());
        let mut more = ControlFlow::Continue(());
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(line);
            if line.last() != Some(&b'\n') || more.is_break() {
                continue;
            }
            let line = std::mem::take(&mut self.line);
            if let Some((record, place)) = journal::parse(&line) {
                *cursor = Some(place);
                more = self.one(&record, &mut stdout, &mut stderr)?;
            }
        }
        stdout.flush().context("write(stdout)")?;
        Ok(more)
    }

    fn one(
        &mut self,
        record: &Record<'_>,
        stdout: &mut impl Write,
        stderr: &mut impl Write,
    ) -> Result<ControlFlow<()>> {
        let nanos = record.nanos().unwrap_or(0);
        if self.args.until.is_some_and(|until| nanos > until) {
            return Ok(ControlFlow::Break(()));
        }
        if self.args.since.is_some_and(|since| nanos < since) {
            return Ok(ControlFlow::Continue(()));
        }
        let mut text = Vec::with_capacity(record.text.len() + 40);
        let middle = &mut self.middle[usize::from(record.stream == Stream::Stderr)];
        if self.args.timestamps && !*middle {
            text.extend_from_slice(record.time.as_bytes());
            text.push(b' ');
        }
        if self.args.details && !*middle {
            text.extend_from_slice(details(&record.attributes).as_bytes());
        }
        text.extend_from_slice(&record.text);
        if record.full {
            text.push(b'\n');
        }
        *middle = !record.full;
        match record.stream {
            Stream::Stdout => stdout.write_all(&text).context("write(stdout)")?,
            Stream::Stderr => stderr.write_all(&text).context("write(stderr)")?,
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// `a=1,b=2 `, as docker shows them.
fn details(attributes: &BTreeMap<String, String>) -> String {
    let pairs: Vec<String> = attributes.iter().map(|(name, value)| format!("{name}={value}")).collect();
    format!("{} ", pairs.join(","))
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
    fn new(container: &Container, log: Option<&Path>) -> Result<Option<Follow>> {
        let Some(shim) = container.connect()? else { return Ok(None) };
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).context("inotify_init1")?;
        if let Some(log) = log {
            let dir = log.parent().unwrap_or(Path::new("/"));
            // The directory: the file may not be there yet, and it is replaced when it is full.
            let flags = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO;
            inotify.add_watch(dir, flags).with_context(|| format!("inotify_add_watch({dir:?})"))?;
        }
        match shim.send(&Request::Wait { container: container.id.clone() }, &[]) {
            Ok(()) => Ok(Some(Follow { inotify, shim })),
            Err(shim::client::Error::Gone) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn wait(&self) -> Result<Event> {
        self.wait_for(None)
    }

    /// Waits for the file, the end, or `other` to be readable.
    fn wait_for(&self, other: Option<BorrowedFd<'_>>) -> Result<Event> {
        let mut set = vec![
            PollFd::new(self.shim.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.inotify.as_fd(), PollFlags::POLLIN),
        ];
        set.extend(other.map(|other| PollFd::new(other, PollFlags::POLLIN)));
        loop {
            match poll(&mut set, PollTimeout::NONE) {
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno).context("poll"),
                Ok(_) if set[0].any() == Some(true) => return Ok(Event::Ended),
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
}
