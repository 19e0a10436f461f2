//! Progress of a transfer: a live line for each layer on a terminal, a line for each step elsewhere.

use std::collections::HashMap;
use std::io::{IsTerminal, Write};

use cri::image::{Digest, Progress};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

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
}

/// How far a layer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Announced,
    Waiting,
    Downloading,
    Unpacking,
    Done,
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
            Progress::Bytes { layer, done, total } => self.advance(layer, Step::Unpacking, *done, *total),
            Progress::Unpacked { layer } => self.finish(layer, "Pull complete"),
            Progress::Syncing => {
                if self.live.is_some() {
                    self.say("Writing to the disk");
                }
            }
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

    fn line(&mut self, layer: &Digest) -> &mut Line {
        let (live, stream) = (&self.live, self.stream);
        self.lines.entry(layer.clone()).or_insert_with(|| {
            let bar = live.as_ref().map(|live| {
                let bar = live.add(ProgressBar::no_length());
                bar.set_style(plain());
                bar.set_prefix(layer.short().to_owned());
                bar
            });
            if bar.is_none() {
                write(stream, layer, "Pulling fs layer");
            }
            Line { bar, step: Step::Announced }
        })
    }

    fn advance(&mut self, layer: &Digest, step: Step, done: u64, total: u64) {
        let stream = self.stream;
        let line = self.line(layer);
        if line.step > step {
            return;
        }
        let begins = line.step < step;
        line.step = step;
        let Some(bar) = &line.bar else {
            if begins && step == Step::Unpacking {
                write(stream, layer, "Extracting");
            }
            return;
        };
        if begins {
            bar.set_style(moving());
            bar.set_length(total);
            bar.reset_eta();
            bar.set_message(match step {
                Step::Unpacking => "Extracting",
                Step::Announced | Step::Waiting | Step::Downloading | Step::Done => "Downloading",
            });
        }
        bar.set_position(done);
    }

    fn finish(&mut self, layer: &Digest, text: &'static str) {
        let stream = self.stream;
        let known = self.lines.contains_key(layer) || self.live.is_some();
        if !known {
            // What is there already was never pulled.
            self.lines.insert(layer.clone(), Line { bar: None, step: Step::Done });
            return write(stream, layer, text);
        }
        let line = self.line(layer);
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
