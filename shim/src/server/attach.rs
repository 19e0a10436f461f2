//! Clients that are connected to a process's streams.

use std::os::fd::{AsFd, OwnedFd};

use nix::sys::stat::{SFlag, fstat};
use runtime::sys::{Call, packet};

use super::connection::Session;
use super::container::not_found;
use super::poller::{Interest, Token};
use super::{Failure, Server};
use crate::layout::Exit;
use crate::log::Stream;
use crate::protocol::{FailureKind, Reply, Streams};
use crate::verbs::Verb;

/// A client and the process that it is connected to.
pub(super) struct Attachment {
    pub(super) container: String,
    pub(super) process: u64,
    pub(super) connection: u64,
    /// Where the client writes input.
    pub(super) source: Option<OwnedFd>,
    /// Where the client reads output.
    pub(super) sinks: [Option<Sink>; 2],
    /// The process has ended; told once the client has taken all output.
    pub(super) exit: Option<Exit>,
}

/// Where a client reads output.
pub(super) struct Sink {
    pub(super) fd: OwnedFd,
    /// Output that the client has not taken yet.
    pub(super) backlog: Vec<u8>,
    /// There will be no more.
    pub(super) ending: bool,
}

/// A client's ends, checked.
pub(super) struct Clients {
    source: Option<OwnedFd>,
    sinks: [Option<Sink>; 2],
}

/// Takes a client's descriptors: pipes or sockets, as many as it says, and makes them non-blocking.
///
/// # Errors
/// They are something else.
pub(super) fn check(streams: Streams, fds: Vec<OwnedFd>) -> Result<Clients, Failure> {
    let invalid = |message: String| Failure::new(FailureKind::Invalid, message);
    let wanted = [streams.stdin, streams.stdout, streams.stderr];
    let count = wanted.iter().filter(|wanted| **wanted).count();
    if fds.len() != count {
        return Err(invalid(format!("{} descriptors came for {count} streams", fds.len())));
    }
    for fd in &fds {
        let mode = fstat(fd).call(|| "fstat(<stream>)".to_owned()).map_err(Failure::internal)?.st_mode;
        let kind = SFlag::from_bits_truncate(mode) & SFlag::S_IFMT;
        if kind != SFlag::S_IFIFO && kind != SFlag::S_IFSOCK {
            return Err(invalid("a stream must be a pipe or a socket that the client relays".to_owned()));
        }
        packet::set_nonblocking(fd).call(|| "fcntl(<stream>, O_NONBLOCK)".to_owned()).map_err(Failure::internal)?;
    }
    let mut fds = fds.into_iter();
    let mut take = |wanted: bool| if wanted { fds.next() } else { None };
    let sink = |fd: Option<OwnedFd>| fd.map(|fd| Sink { fd, backlog: Vec::new(), ending: false });
    let source = take(streams.stdin);
    Ok(Clients { source, sinks: [sink(take(streams.stdout)), sink(take(streams.stderr))] })
}

impl Server {
    /// Attach: connects a client to the streams of the init process.
    pub(super) fn attach(
        &mut self,
        connection: u64,
        id: &str,
        streams: Streams,
        fds: Vec<OwnedFd>,
    ) -> Result<Reply, Failure> {
        let phase = self.container(id, Verb::Attach)?.phase;
        let clients = check(streams, fds)?;
        let number = phase.init().ok_or_else(|| not_found(id))?;
        self.add_attachment(connection, id, number, clients)?;
        self.event(id, "attach", &[]);
        Ok(Reply::Done)
    }

    /// Connects a client's ends to a process.
    pub(super) fn add_attachment(
        &mut self,
        connection: u64,
        id: &str,
        number: u64,
        clients: Clients,
    ) -> Result<(), Failure> {
        let attachment = self.next_id();
        self.set_session(connection, Session::Attached(attachment))?;
        let Clients { source, sinks } = clients;
        let (container, process) = (id.to_owned(), number);
        self.attachments.insert(attachment, Attachment { container, process, connection, source, sinks, exit: None });
        if let Some(process) = self.processes.get_mut(&number) {
            process.attachments.push(attachment);
        }
        for stream in [Stream::Stdout, Stream::Stderr] {
            let output = self.processes.get_mut(&number).and_then(|process| process.output(stream));
            if output.is_none() {
                self.end_sink(attachment, stream);
            }
        }
        self.watch_source(attachment);
        Ok(())
    }

    /// A client has gone: its input has ended, its output goes nowhere, the process goes on.
    pub(super) fn detach(&mut self, attachment: u64) {
        if self.attachments.get(&attachment).is_some_and(|it| it.source.is_some()) {
            self.source_ended(attachment);
        }
        self.drop_attachment(attachment);
    }

    /// Closes a client's ends.
    pub(super) fn drop_attachment(&mut self, attachment: u64) {
        let Some(gone) = self.attachments.remove(&attachment) else { return };
        if let Some(connection) = self.connections.get_mut(&gone.connection)
            && connection.session == Some(Session::Attached(attachment))
        {
            connection.session = None;
        }
        let (process, container) = (gone.process, gone.container.clone());
        // Closed before the process is read again.
        drop(gone);
        if let Some(process) = self.processes.get_mut(&process) {
            process.attachments.retain(|other| *other != attachment);
        }
        self.release(process, Stream::Stdout);
        self.release(process, Stream::Stderr);
        self.remove_if_due(&container);
    }

    /// The process has ended and its output has been read: the client is told once it has taken all of it.
    pub(super) fn farewell(&mut self, attachment: u64, exit: &Exit) {
        if let Some(leaving) = self.attachments.get_mut(&attachment) {
            if let Some(source) = leaving.source.take() {
                self.poller.ignore(&source);
            }
            leaving.exit = Some(exit.clone());
        }
        self.end_sink(attachment, Stream::Stdout);
        self.end_sink(attachment, Stream::Stderr);
        self.tell_attached(attachment);
    }

    /// Tells a client of the end now, whether or not it has taken all output.
    pub(super) fn cut_off(&mut self, attachment: u64) {
        if let Some(leaving) = self.attachments.get_mut(&attachment) {
            leaving.sinks = [None, None];
        }
        self.tell_attached(attachment);
    }

    /// Ends an attachment of an ended process, if the client has taken all output.
    pub(super) fn tell_attached(&mut self, attachment: u64) {
        let Some(leaving) = self.attachments.get(&attachment) else { return };
        let (Some(exit), [None, None]) = (&leaving.exit, &leaving.sinks) else { return };
        let (connection, exit) = (leaving.connection, exit.clone());
        if let Some(connection) = self.connections.get_mut(&connection) {
            connection.session = None;
        }
        self.reply(connection, &Reply::Exited { exit });
        self.drop_attachment(attachment);
    }

    /// Watches a client's input, if the process can take any.
    pub(super) fn watch_source(&mut self, attachment: u64) {
        let Some(attached) = self.attachments.get_mut(&attachment) else { return };
        let input = self.processes.get(&attached.process).and_then(|process| process.ends.input.as_ref());
        let Some(source) = &attached.source else { return };
        match input {
            Some(input) if input.pending.is_empty() => {
                let _ = self.poller.watch(source.as_fd(), Token::Source(attachment), Interest::Read);
            }
            Some(_) => self.poller.ignore(source),
            // The process takes no input: the client learns it by EPIPE.
            None => {
                self.poller.ignore(source);
                attached.source = None;
            }
        }
    }
}
