//! Bytes between processes and clients.
//!
//! ```text
//!  process ──output──▶ log (init processes)          client's pipe ──source──▶ input ──▶ process
//!                 └──▶ sink ▶ client's pipe, each
//! ```
//!
//! At most [`CHUNK`] bytes are read at a time. What a client does not take is kept for it, and until it has taken that, nothing
//! more is read from the process: at most one chunk per client is under way. Only what an ended process has left in its pipe is
//! read at once, and added.

use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::unistd::{read, write};

use super::attach::Sink;
use super::poller::{Interest, Poller, Token};
use super::process::{Input, Role};
use super::{Server, would_wait};
use crate::layout::Stdin;
use crate::log::{Log, Stream};
use crate::record;

/// Most bytes of output read at a time.
const CHUNK: usize = 64 << 10;

/// Most bytes of input read at a time.
const INPUT_CHUNK: usize = 16 << 10;

/// Most bytes read of an ended process: the largest pipe that an unprivileged process can have, and then some.
const DRAIN_BYTES: usize = 4 << 20;

/// What a read found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Bytes(usize),
    NothingNow,
    End,
}

/// What became of a write to a client or a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrote {
    All,
    Part(usize),
    Gone,
}

impl Server {
    /// A process has written something, or all ends of its pipe are closed.
    pub(super) fn output_ready(&mut self, number: u64, stream: Stream) {
        match self.relay_output(number, stream) {
            Found::Bytes(_) | Found::NothingNow => {}
            Found::End => self.end_output(number, stream),
        }
        if self.outputs_ended(number) {
            self.process_over(number);
        } else {
            self.hold(number, stream);
        }
    }

    /// Reads all that an ended process has left.
    pub(super) fn drain_stream(&mut self, number: u64, stream: Stream) {
        let mut total = 0;
        while total < DRAIN_BYTES {
            match self.relay_output(number, stream) {
                Found::Bytes(size) => total += size,
                Found::NothingNow => return,
                Found::End => return self.end_output(number, stream),
            }
        }
        self.end_output(number, stream);
    }

    /// Reads once and passes on.
    fn relay_output(&mut self, number: u64, stream: Stream) -> Found {
        let Some(process) = self.processes.get_mut(&number) else { return Found::NothingNow };
        let (ended, terminal) = (process.exit.is_some(), process.ends.terminal);
        let Some(output) = process.output(stream) else { return Found::NothingNow };
        self.scratch.resize(CHUNK, 0);
        let found = match read(&output.fd, &mut self.scratch) {
            Ok(0) => Found::End,
            Ok(size) => Found::Bytes(size),
            Err(errno) if would_wait(errno) => Found::NothingNow,
            Err(Errno::EIO) if terminal && !ended => {
                // Nobody has the terminal open now; the program may open it again, as init systems do.
                let _ = self.poller.watch(&output.fd, Token::Output(number, stream), Interest::ReadEdge);
                Found::NothingNow
            }
            Err(_) => Found::End,
        };
        if let Found::Bytes(size) = found {
            self.pass_on(number, stream, size);
        }
        found
    }

    /// Writes the first `size` bytes of the scratch buffer to the log and to all clients.
    fn pass_on(&mut self, number: u64, stream: Stream, size: usize) {
        let Some(process) = self.processes.get(&number) else { return };
        let data = &self.scratch[..size];
        let mut full = false;
        if let (Role::Init(_), Some(container)) = (&process.role, self.containers.get_mut(&process.container))
            && let Some(log) = &mut container.log
        {
            log.append(stream, data, record::now(), &mut self.gather);
            full = log.problem().is_some() && !container.log_problem_told;
            container.log_problem_told |= full;
            if log.is_behind() {
                watch_journal(&self.poller, log, number);
            }
        }
        let mut gone = Vec::new();
        for id in &process.attachments {
            let Some(sink) = self.attachments.get_mut(id).and_then(|it| it.sinks[stream as usize].as_mut()) else {
                continue;
            };
            let rest = if sink.backlog.is_empty() { send(sink, data) } else { Wrote::Part(0) };
            match rest {
                Wrote::All => {}
                Wrote::Part(done) => {
                    sink.backlog.extend_from_slice(&data[done..]);
                    let _ = self.poller.watch(&sink.fd, Token::Sink(*id, stream), Interest::Write);
                }
                Wrote::Gone => gone.push(*id),
            }
        }
        let container = full.then(|| process.container.clone());
        for id in gone {
            self.drop_sink(id, stream);
        }
        if let Some(container) = container {
            self.record_quietly(&container);
        }
    }

    /// The journal has room for what waits.
    pub(super) fn journal_ready(&mut self, number: u64) {
        let Some(process) = self.processes.get(&number) else { return };
        let ended = self.outputs_ended(number);
        let Some(log) = self.containers.get_mut(&process.container).and_then(|it| it.log.as_mut()) else { return };
        // A flush may replace the socket.
        if let Some(socket) = log.socket() {
            self.poller.ignore(socket);
        }
        log.flush();
        if log.is_behind() {
            watch_journal(&self.poller, log, number);
        } else if ended {
            self.process_over(number);
        }
    }

    /// Stops reading a process while a client is behind.
    fn hold(&mut self, number: u64, stream: Stream) {
        let behind = self.behind(number, stream);
        let Some(process) = self.processes.get_mut(&number) else { return };
        if let Some(output) = process.output(stream).filter(|output| behind && !output.held) {
            output.held = true;
            self.poller.ignore(&output.fd);
        }
    }

    /// Reads a process again when no client is behind any more.
    pub(super) fn release(&mut self, number: u64, stream: Stream) {
        let behind = self.behind(number, stream);
        let Some(process) = self.processes.get_mut(&number) else { return };
        if let Some(output) = process.output(stream).filter(|output| !behind && output.held) {
            output.held = false;
            let _ = self.poller.watch(&output.fd, Token::Output(number, stream), Interest::Read);
        }
    }

    fn behind(&self, number: u64, stream: Stream) -> bool {
        let attached = self.processes.get(&number).map_or(&[][..], |process| &process.attachments);
        attached
            .iter()
            .filter_map(|id| self.attachments.get(id))
            .any(|attachment| attachment.sinks[stream as usize].as_ref().is_some_and(|sink| !sink.backlog.is_empty()))
    }

    /// A process's stream has ended; its clients see the end when they have taken the rest.
    pub(super) fn end_output(&mut self, number: u64, stream: Stream) {
        let Some(process) = self.processes.get_mut(&number) else { return };
        let Some(output) = process.ends.outputs[stream as usize].take() else { return };
        self.poller.ignore(&output.fd);
        let attachments = process.attachments.clone();
        for attachment in attachments {
            self.end_sink(attachment, stream);
        }
    }

    /// A client has room for output.
    pub(super) fn sink_ready(&mut self, attachment: u64, stream: Stream) {
        let Some(attached) = self.attachments.get_mut(&attachment) else { return };
        let number = attached.process;
        let Some(sink) = &mut attached.sinks[stream as usize] else { return };
        let backlog = std::mem::take(&mut sink.backlog);
        match send(sink, &backlog) {
            Wrote::All => {
                self.poller.ignore(&sink.fd);
                if sink.ending {
                    self.drop_sink(attachment, stream);
                }
            }
            Wrote::Part(done) => {
                sink.backlog = backlog;
                sink.backlog.drain(..done);
                return;
            }
            Wrote::Gone => self.drop_sink(attachment, stream),
        }
        self.release(number, stream);
        self.tell_attached(attachment);
    }

    /// No more output for a client.
    pub(super) fn end_sink(&mut self, attachment: u64, stream: Stream) {
        let Some(attached) = self.attachments.get_mut(&attachment) else { return };
        let Some(sink) = &mut attached.sinks[stream as usize] else { return };
        sink.ending = true;
        if sink.backlog.is_empty() {
            self.drop_sink(attachment, stream);
        }
    }

    fn drop_sink(&mut self, attachment: u64, stream: Stream) {
        let Some(attached) = self.attachments.get_mut(&attachment) else { return };
        if let Some(sink) = attached.sinks[stream as usize].take() {
            self.poller.ignore(&sink.fd);
        }
    }

    /// A client has written input, or has closed its end.
    pub(super) fn source_ready(&mut self, attachment: u64) {
        let Some(attached) = self.attachments.get(&attachment) else { return };
        let number = attached.process;
        let Some(source) = &attached.source else { return };
        let input = self.processes.get_mut(&number).and_then(|process| process.ends.input.as_mut());
        let Some(input) = input else { return self.watch_source(attachment) };
        if !input.pending.is_empty() {
            return self.watch_source(attachment);
        }
        self.scratch.resize(CHUNK, 0);
        match read(source, &mut self.scratch[..INPUT_CHUNK]) {
            Ok(0) => self.source_ended(attachment),
            Ok(size) => {
                input.pending.extend_from_slice(&self.scratch[..size]);
                self.input_ready(number);
            }
            Err(errno) if would_wait(errno) => {}
            Err(_) => self.source_ended(attachment),
        }
    }

    /// A client's input has ended.
    pub(super) fn source_ended(&mut self, attachment: u64) {
        let Some(attached) = self.attachments.get_mut(&attachment) else { return };
        let number = attached.process;
        if let Some(source) = attached.source.take() {
            self.poller.ignore(&source);
        }
        let input = self.processes.get_mut(&number).and_then(|process| process.ends.input.as_mut());
        if let Some(input) = input.filter(|input| input.until == Stdin::Once) {
            input.ending = true;
            if input.pending.is_empty() {
                self.end_input(number);
            }
        }
    }

    /// A process has room for input.
    pub(super) fn input_ready(&mut self, number: u64) {
        let Some(process) = self.processes.get_mut(&number) else { return };
        let Some(input) = &mut process.ends.input else { return };
        match feed(input) {
            Wrote::All => {
                input.pending = Vec::new();
                self.poller.ignore(&input.fd);
                if input.ending {
                    return self.end_input(number);
                }
            }
            Wrote::Part(done) => {
                input.pending.drain(..done);
                let _ = self.poller.watch(&input.fd, Token::Input(number), Interest::Write);
            }
            Wrote::Gone => return self.end_input(number),
        }
        let attachments = process.attachments.clone();
        for attachment in attachments {
            self.watch_source(attachment);
        }
    }

    /// The process gets no more input: it sees the end, and clients that still write get EPIPE.
    pub(super) fn end_input(&mut self, number: u64) {
        let Some(process) = self.processes.get_mut(&number) else { return };
        if let Some(input) = process.ends.input.take() {
            self.poller.ignore(&input.fd);
        }
        let attachments = process.attachments.clone();
        for attachment in attachments {
            self.watch_source(attachment);
        }
    }
}

/// Waits for room in the journal.
pub(super) fn watch_journal(poller: &Poller, log: &Log, number: u64) {
    if let Some(socket) = log.socket() {
        // epoll_ctl(2) fails only for lack of memory; what waits is then sent along with what comes next.
        let _ = poller.watch(socket, Token::Journal(number), Interest::Write);
    }
}

/// Writes to a client what it takes.
fn send(sink: &Sink, data: &[u8]) -> Wrote {
    write_some(&sink.fd, data)
}

/// Writes to a process what it takes.
fn feed(input: &Input) -> Wrote {
    write_some(&input.fd, &input.pending)
}

fn write_some(fd: impl AsFd, data: &[u8]) -> Wrote {
    let mut done = 0;
    while done < data.len() {
        match write(&fd, &data[done..]) {
            Ok(size) => done += size,
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => return Wrote::Part(done),
            Err(_) => return Wrote::Gone,
        }
    }
    Wrote::All
}
