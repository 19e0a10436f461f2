//! Progress of a transfer: a live line for each layer on a terminal, a line for each step elsewhere.

use std::collections::HashMap;
use std::io::{IsTerminal, Write};

use cri::image::{Digest, Progress, Sent};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::human;

/// Where progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    /// As `docker pull` does.
    Stdout,
    /// As `docker run` does: its output is the container's.
    Stderr,
    /// Nowhere.
    Quiet,
}

/// What is shown of a transfer.
pub(crate) struct Display {
    stream: Stream,
    live: Option<MultiProgress>,
    lines: HashMap<Digest, Line>,
}

struct Line {
    bar: Option<ProgressBar>,
    step: Step,
    /// Bytes that were downloaded.
    arrived: u64,
}

/// How far a layer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Announced,
    Downloading,
    Unpacking,
    Pushing,
    Done,
}

impl Step {
    fn text(self) -> &'static str {
        match self {
            Step::Announced => "Preparing",
            Step::Downloading => "Downloading",
            Step::Unpacking => "Extracting",
            Step::Pushing => "Pushing",
            Step::Done => "Done",
        }
    }
}

impl Display {
    /// Live if the stream is a terminal.
    pub(crate) fn new(stream: Stream) -> Display {
        let target = match stream {
            Stream::Stdout if std::io::stdout().is_terminal() => Some(ProgressDrawTarget::stdout()),
            Stream::Stderr if std::io::stderr().is_terminal() => Some(ProgressDrawTarget::stderr()),
            Stream::Stdout | Stream::Stderr | Stream::Quiet => None,
        };
        Display { stream, live: target.map(MultiProgress::with_draw_target), lines: HashMap::new() }
    }

    /// Shows a line of its own.
    pub(crate) fn say(&self, line: &str) {
        match (&self.live, self.stream) {
            // Nobody is hurt by progress that cannot be shown.
            (Some(live), _) => drop(live.println(line)),
            (None, Stream::Stdout) => drop(writeln!(std::io::stdout(), "{line}")),
            (None, Stream::Stderr) => drop(writeln!(std::io::stderr(), "{line}")),
            (None, Stream::Quiet) => {}
        }
    }

    /// Takes in a step.
    pub(crate) fn show(&mut self, progress: &Progress) {
        if self.stream == Stream::Quiet {
            return;
        }
        match progress {
            Progress::Exists { layer } => self.finish(layer, "Already exists"),
            Progress::Waiting { layer } => self.tell(layer, "Waiting for another pull of it"),
            Progress::Resumed { layer, at } => {
                self.tell(layer, &format!("Resuming at {}", human::decimal_size(*at)));
            }
            Progress::Retrying { layer, why } => self.tell(layer, &format!("Trying again: {why}")),
            Progress::Downloading { layer, done, total } => self.advance(layer, Step::Downloading, *done, *total),
            Progress::Bytes { layer, done, total } => self.unpacked(layer, *done, *total),
            Progress::Unpacked { layer } => self.finish(layer, "Pull complete"),
            Progress::Pushing { blob, done, total } => self.advance(blob, Step::Pushing, *done, *total),
            Progress::Pushed { blob, how } => self.finish(
                blob,
                match how {
                    Sent::There => "Layer already exists",
                    Sent::Mounted => "Mounted from another repository",
                    Sent::Sent => "Pushed",
                },
            ),
            Progress::Syncing => {}
        }
    }

    /// Leaves what is shown as it is.
    pub(crate) fn end(&mut self) {
        for line in self.lines.values().filter(|line| line.step != Step::Done) {
            if let Some(bar) = &line.bar {
                bar.abandon();
            }
        }
        self.lines.clear();
    }

    /// The line of a layer; `first` begins it where there is no bar.
    fn line(&mut self, layer: &Digest, first: &'static str) -> &mut Line {
        let (live, stream) = (&self.live, self.stream);
        self.lines.entry(layer.clone()).or_insert_with(|| {
            let bar = live.as_ref().map(|live| {
                let bar = live.add(ProgressBar::no_length());
                bar.set_style(plain());
                bar.set_prefix(layer.short().to_owned());
                bar
            });
            if bar.is_none() {
                write(stream, layer, first);
            }
            Line { bar, step: Step::Announced, arrived: 0 }
        })
    }

    /// Says something about a layer without getting on with it.
    fn tell(&mut self, layer: &Digest, text: &str) {
        let stream = self.stream;
        match &self.line(layer, "Pulling fs layer").bar {
            Some(bar) => {
                bar.set_style(plain());
                bar.set_message(text.to_owned());
            }
            None => write(stream, layer, text),
        }
        // The next step shows its bar again.
        if let Some(line) = self.lines.get_mut(layer) {
            line.step = Step::Announced;
        }
    }

    /// Unpacking goes along with the download; it is shown once that is done.
    fn unpacked(&mut self, layer: &Digest, done: u64, total: u64) {
        let downloading =
            self.lines.get(layer).is_some_and(|line| line.step == Step::Downloading && line.arrived < total);
        if !downloading {
            self.advance(layer, Step::Unpacking, done, total);
        }
    }

    fn advance(&mut self, layer: &Digest, step: Step, done: u64, total: u64) {
        let stream = self.stream;
        let line = self.line(layer, if step == Step::Pushing { "Preparing" } else { "Pulling fs layer" });
        if line.step > step {
            return;
        }
        let begins = line.step < step;
        line.step = step;
        if step == Step::Downloading {
            line.arrived = done;
        }
        let Some(bar) = &line.bar else {
            match step {
                Step::Downloading if done == total => write(stream, layer, "Download complete"),
                Step::Announced | Step::Downloading | Step::Unpacking | Step::Pushing | Step::Done => {}
            }
            return;
        };
        if begins {
            bar.set_style(moving());
            bar.set_length(total);
            bar.reset_eta();
            bar.set_message(step.text());
        }
        bar.set_position(done);
    }

    fn finish(&mut self, layer: &Digest, text: &'static str) {
        let stream = self.stream;
        let known = self.lines.contains_key(layer) || self.live.is_some();
        if !known {
            // What is there already was never pulled.
            self.lines.insert(layer.clone(), Line { bar: None, step: Step::Done, arrived: 0 });
            return write(stream, layer, text);
        }
        let line = self.line(layer, text);
        line.step = Step::Done;
        match &line.bar {
            Some(bar) => {
                bar.set_style(plain());
                bar.finish_with_message(text);
            }
            None => write(stream, layer, text),
        }
    }
}

fn write(stream: Stream, layer: &Digest, text: &str) {
    let line = format!("{}: {text}", layer.short());
    match stream {
        Stream::Stdout => drop(writeln!(std::io::stdout(), "{line}")),
        Stream::Stderr => drop(writeln!(std::io::stderr(), "{line}")),
        Stream::Quiet => {}
    }
}

/// A line without a bar.
fn plain() -> ProgressStyle {
    ProgressStyle::with_template("{prefix}: {msg}").expect("the template is right")
}

fn moving() -> ProgressStyle {
    let template = "{prefix}: {msg:<11} [{bar:30}] {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec}";
    ProgressStyle::with_template(template).expect("the template is right").progress_chars("=> ")
}
