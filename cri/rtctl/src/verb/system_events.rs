//! `rtctl events`

use std::io::Write;
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use shim::layout::LogFile;

use crate::events::Told;
use crate::flag::time;
use crate::logs::files::{self, Part};
use crate::store::roots::Roots;
use crate::template::{Context, Template};

/// Show what happens to containers, images, volumes, networks and pods
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Begin with what has happened from this moment on: 10m (ago), 2026-01-02T13:23:37Z, seconds since 1970
    #[arg(long, value_name = "MOMENT", value_parser = since)]
    since: Option<u64>,
    /// End at this moment: 10m (ago), 2026-01-02T13:23:37Z, seconds since 1970
    #[arg(long, value_name = "MOMENT", value_parser = since)]
    until: Option<u64>,
    /// Only those that match: type, event, container, image, volume, network, pod, label
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = filter)]
    filter: Vec<Filter>,
    /// json, or a Go template
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Do not wait for more
    #[arg(long)]
    no_stream: bool,
    /// Wait for more
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "true", default_missing_value = "true")]
    #[arg(action = clap::ArgAction::Set, hide = true)]
    stream: bool,
}

const EXAMPLES: &str = "\
Without --since it begins with what comes; with --no-stream, or an --until that is over, with the oldest that is kept.

Examples:
  rtctl events --since 1h --filter type=container --filter event=die
  rtctl events --no-stream --format '{{.Action}} {{.Actor.Attributes.name}}'
  rtctl events --filter label=tier=web --format json";

fn since(text: &str) -> Result<u64, String> {
    time::moment(text, SystemTime::now())
}

/// One `--filter`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Filter {
    name: &'static str,
    value: String,
}

/// Names of filters.
const FILTERS: [&str; 8] = ["type", "event", "container", "image", "volume", "network", "pod", "label"];

fn filter(text: &str) -> Result<Filter, String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("{text:?}: write it as NAME=VALUE"))?;
    if ["daemon", "plugin", "scope", "node", "service", "secret", "config"].contains(&name) {
        return Err(format!("filter {name} is not built: there is no daemon and no cluster"));
    }
    let known = FILTERS.iter().find(|known| **known == name);
    let name = known.ok_or_else(|| format!("unknown filter {name:?}; there are {}", FILTERS.join(", ")))?;
    Ok(Filter { name, value: value.to_owned() })
}

impl Filter {
    fn holds(&self, told: &Told) -> bool {
        let value = self.value.as_str();
        let is = |kind: &str| {
            told.kind() == kind
                && (told.attribute("name") == Some(value) || (!value.is_empty() && told.id().starts_with(value)))
        };
        match self.name {
            "type" => told.kind() == value,
            // exec_create: sh -c date
            "event" => told.action() == value || told.action().split(": ").next() == Some(value),
            "container" => is("container") || told.attribute("container").is_some_and(|id| id.starts_with(value)),
            "image" => {
                let same = |image: &str| image == value || image.strip_suffix(":latest") == Some(value);
                is("image") || told.attribute("image").is_some_and(same) || (told.kind() == "image" && same(told.id()))
            }
            "label" => match value.split_once('=') {
                Some((name, value)) => told.attribute(name) == Some(value),
                None => told.attribute(value).is_some(),
            },
            kind => is(kind),
        }
    }
}

/// Filters of one kind are alternatives, except labels; those of different kinds must all hold.
fn matches(filters: &[Filter], told: &Told) -> bool {
    FILTERS.iter().all(|name| {
        let mut members = filters.iter().filter(|filter| filter.name == *name).peekable();
        match *name {
            "label" => members.all(|filter| filter.holds(told)),
            _ => members.peek().is_none() || members.any(|filter| filter.holds(told)),
        }
    })
}

impl Args {
    pub(crate) fn run(self, roots: &Roots) -> Result<u8> {
        let template = match self.format.as_deref() {
            None | Some("" | "json") => None,
            Some(format) => Some(Template::parse(format).context("--format")?),
        };
        roots.prepare()?;
        let now = time::since_epoch(SystemTime::now());
        let stream = self.stream && !self.no_stream && self.until.is_none_or(|until| until > now);
        let log = LogFile {
            path: roots.state.join(shim::events::NAME),
            max_size: None,
            max_files: 2,
            max_line: None,
            within: None,
        };
        // Watched before it is read: nothing is missed in between.
        let watch = if stream { Some(Watch::new(roots)?) } else { None };
        let mut show = |line: &[u8]| {
            let Some(told) = Told::parse(line) else { return Ok(ControlFlow::Continue(())) };
            if self.until.is_some_and(|until| told.nanos() > until) {
                return Ok(ControlFlow::Break(()));
            }
            let first = self.since.unwrap_or(if stream { now } else { 0 });
            if told.nanos() >= first && matches(&self.filter, &told) {
                self.print(template.as_ref(), &told)?;
            }
            Ok(ControlFlow::Continue(()))
        };
        let mut reading = Reading { parts: files::open(&log)?, last: None, held: Vec::new() };
        loop {
            if reading.all(&mut show)?.is_break() {
                return Ok(0);
            }
            let Some(watch) = &watch else { return Ok(0) };
            if !watch.wait(self.until)? {
                return Ok(0);
            }
            reading.go_on(&log, &mut show)?;
        }
    }

    fn print(&self, template: Option<&Template>, told: &Told) -> Result<()> {
        let text = match template {
            Some(template) => {
                template.render(&Context { dot: told.dot(), ..Context::default() }).context("--format")?
            }
            None if self.format.as_deref() == Some("json") => told.document(),
            None => told.line(),
        };
        let mut stdout = std::io::stdout().lock();
        writeln!(stdout, "{text}").and_then(|()| stdout.flush()).context("write(stdout)")
    }
}

/// Where reading is.
struct Reading {
    /// Files that have not been read yet.
    parts: Vec<Part>,
    last: Option<Part>,
    /// A line whose end has not been read yet.
    held: Vec<u8>,
}

impl Reading {
    /// Hands out what is in the files that have not been read yet.
    fn all(&mut self, show: &mut impl FnMut(&[u8]) -> Result<ControlFlow<()>>) -> Result<ControlFlow<()>> {
        for part in std::mem::take(&mut self.parts) {
            self.held.clear();
            let flow = files::read_lines(&part, &mut self.held, &mut *show)?;
            self.last = Some(part);
            if flow.is_break() {
                return Ok(flow);
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Hands out what has come since, and finds newer files.
    fn go_on(&mut self, log: &LogFile, show: &mut impl FnMut(&[u8]) -> Result<ControlFlow<()>>) -> Result<()> {
        let newer = files::newer(log, self.last.as_ref())?;
        if let Some(part) = &self.last
            && files::read_lines(part, &mut self.held, show)?.is_break()
        {
            return Ok(());
        }
        self.parts = newer;
        Ok(())
    }
}

/// Waits for events.
struct Watch(Inotify);

impl Watch {
    fn new(roots: &Roots) -> Result<Watch> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).context("inotify_init1")?;
        let flags = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO;
        inotify.add_watch(&roots.state, flags).with_context(|| format!("inotify_add_watch({:?})", roots.state))?;
        Ok(Watch(inotify))
    }

    /// Waits for a change; `false` when `until` has come.
    fn wait(&self, until: Option<u64>) -> Result<bool> {
        loop {
            let timeout = match until {
                None => PollTimeout::NONE,
                Some(until) => {
                    let left = until.saturating_sub(time::since_epoch(SystemTime::now()));
                    let left = Duration::from_nanos(left) + Duration::from_millis(1);
                    PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
                }
            };
            match poll(&mut [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)], timeout) {
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno).context("poll"),
                Ok(0) if until.is_some_and(|until| until > time::since_epoch(SystemTime::now())) => {}
                Ok(0) => return Ok(false),
                Ok(_) => {
                    return match self.0.read_events() {
                        Ok(_) | Err(Errno::EAGAIN) => Ok(true),
                        Err(errno) => Err(errno).context("read(<inotify>)"),
                    };
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use shim::events::Event;

    use super::*;

    fn told(kind: &str, action: &str, id: &str, attributes: &[(&str, &str)]) -> Told {
        let attributes = attributes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let event = Event { kind, action, id, attributes: &attributes, time: 1 };
        Told::parse(event.encode().trim_ascii_end()).unwrap()
    }

    #[test]
    fn filters() {
        let web = told(
            "container",
            "exec_create: sh -c x",
            "0123abc",
            &[("name", "web"), ("image", "busybox:latest"), ("tier", "a")],
        );
        let network = told("network", "connect", "n1", &[("name", "bridge"), ("container", "0123abc")]);
        let image = told("image", "pull", "busybox", &[]);
        for (texts, expected) in [
            (&[][..], [true, true, true]),
            (&["type=container"], [true, false, false]),
            (&["type=container", "type=image"], [true, false, true]),
            (&["event=exec_create"], [true, false, false]),
            (&["event=connect", "event=pull"], [false, true, true]),
            (&["container=web"], [true, false, false]),
            (&["container=0123"], [true, true, false]),
            (&["image=busybox"], [true, false, true]),
            (&["image=busybox", "type=image"], [false, false, true]),
            (&["network=bridge"], [false, true, false]),
            (&["label=tier"], [true, false, false]),
            (&["label=tier=a", "label=none"], [false, false, false]),
            (&["label=tier=b"], [false, false, false]),
        ] {
            let filters: Vec<Filter> = texts.iter().map(|text| filter(text).unwrap()).collect();
            assert_eq!([&web, &network, &image].map(|told| matches(&filters, told)), expected, "{texts:?}");
        }
        assert!(filter("nope=1").unwrap_err().contains("there are type, event"));
        assert!(filter("scope=local").is_err() && filter("type").is_err());
    }
}
