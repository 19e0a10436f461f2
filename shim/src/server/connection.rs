//! Connections: packets in, replies out. A client that does not read its replies is not listened to.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{getsockopt, sockopt};
use nix::unistd::geteuid;
use runtime::sys::packet;

use super::poller::{Interest, Token};
use super::{Failure, Server};
use crate::codec;
use crate::protocol::{FailureKind, Reply, Request};

/// Connections beside those that wait for something: a container with all the sessions that it can have is still stopped and
/// removed. More wait in the socket's queue.
pub(super) const SPARE_CONNECTIONS: usize = 16;

/// A client.
pub(super) struct Connection {
    socket: OwnedFd,
    /// Replies that the socket did not take yet.
    replies: VecDeque<(Vec<u8>, Option<OwnedFd>)>,
    /// What the client still waits for.
    pub(super) session: Option<Session>,
}

/// What a client waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Session {
    /// The end of the process that this attachment is of.
    Attached(u64),
    /// The end of a container for good.
    Wait(String),
    /// The same, after a Stop.
    Stop(String),
    /// The same, then the removal.
    Remove(String),
    /// The end of the sandbox.
    StopSandbox,
    /// The same, then its removal.
    RemoveSandbox,
}

impl Server {
    /// Takes in those who knock.
    pub(super) fn accept(&mut self) {
        while self.connections.len() < self.sessions_limit + SPARE_CONNECTIONS {
            match packet::accept(&self.listener) {
                Ok(socket) => {
                    let ours = getsockopt(&socket, sockopt::PeerCredentials)
                        .is_ok_and(|peer| peer.uid() == geteuid().as_raw());
                    if ours {
                        self.add_connection(socket);
                    }
                }
                Err(Errno::EAGAIN) => return,
                Err(Errno::EINTR | Errno::ECONNABORTED) => {}
                // No descriptors left: until a client goes.
                Err(_) => break,
            }
        }
        self.poller.ignore(&self.listener);
    }

    /// Serves a connected, non-blocking socket.
    pub(super) fn add_connection(&mut self, socket: OwnedFd) {
        let id = self.next_id();
        if self.poller.watch(&socket, Token::Connection(id), Interest::Read).is_ok() {
            self.connections.insert(id, Connection { socket, replies: VecDeque::new(), session: None });
            self.reply(id, &Reply::Ready { pid: self.identity.0 });
        }
    }

    /// Ends a connection and its session, and nothing else.
    pub(super) fn close_connection(&mut self, id: u64) {
        let Some(connection) = self.connections.remove(&id) else { return };
        if let Some(Session::Attached(attachment)) = connection.session {
            self.detach(attachment);
        }
        drop(connection);
        // There may be room for another one now.
        let _ = self.poller.watch(&self.listener, Token::Listener, Interest::Read);
    }

    /// A connection has a packet, room for a reply, or has ended.
    pub(super) fn connection_ready(&mut self, id: u64) {
        let Some(connection) = self.connections.get(&id) else { return };
        if !connection.replies.is_empty() {
            return self.send_replies(id);
        }
        let request = match codec::receive(&connection.socket) {
            Ok(None) => return self.close_connection(id),
            Ok(Some(packet)) => codec::decode::<Request>("request", &packet.text).map(|request| (request, packet.fds)),
            Err(error) => Err(error),
        };
        let answer = match request {
            Ok((request, fds)) => self.handle(id, request, fds),
            Err(error) if error.would_block() => return,
            Err(codec::Error::Call(_)) => return self.close_connection(id),
            Err(error) => Err(Failure::new(FailureKind::Invalid, error.to_string())),
        };
        match answer {
            Ok(Some(reply)) => self.reply(id, &reply),
            Ok(None) => {}
            Err(Failure { kind, message }) => self.reply(id, &Reply::Failed { kind, message }),
        }
    }

    /// Sends a reply, or queues it; a client that is gone does not matter.
    pub(super) fn reply(&mut self, id: u64, reply: &Reply) {
        self.reply_with(id, reply, None);
    }

    /// As [`Server::reply`], with a descriptor.
    pub(super) fn reply_with(&mut self, id: u64, reply: &Reply, fd: Option<OwnedFd>) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let text = codec::encode(reply).unwrap_or_else(|error| {
            // A message that repeats a long text of the request.
            let message = format!("the answer cannot be sent: {error}");
            codec::encode(&Reply::Failed { kind: FailureKind::Internal, message }).unwrap_or_default()
        });
        connection.replies.push_back((text, fd));
        self.send_replies(id);
    }

    fn send_replies(&mut self, id: u64) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        while let Some((text, fd)) = connection.replies.front() {
            let fds: Vec<BorrowedFd<'_>> = fd.iter().map(AsFd::as_fd).collect();
            match codec::send(&connection.socket, text, &fds) {
                Ok(()) => {
                    connection.replies.pop_front();
                }
                Err(error) if error.would_block() => {
                    // One thing at a time: nothing is read from it until it has taken this.
                    let _ = self.poller.watch(&connection.socket, Token::Connection(id), Interest::Write);
                    return;
                }
                Err(_) => return self.close_connection(id),
            }
        }
        let _ = self.poller.watch(&connection.socket, Token::Connection(id), Interest::Read);
    }

    /// Notes what a client waits for.
    pub(super) fn set_session(&mut self, id: u64, session: Session) -> Result<(), Failure> {
        let many = matches!(session, Session::Attached(_) | Session::Wait(_));
        self.check_session_free(id, if many { self.sessions_limit } else { usize::MAX })?;
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.session = Some(session);
        }
        Ok(())
    }

    /// Checks that a connection can have a session, if there are fewer than `limit`.
    ///
    /// # Errors
    /// It has one; there are too many.
    pub(super) fn check_session_free(&self, id: u64, limit: usize) -> Result<(), Failure> {
        match self.connections.get(&id) {
            Some(connection) if connection.session.is_none() => {}
            Some(_) => {
                let message = "this connection waits for something already; use another one";
                return Err(Failure::new(FailureKind::Invalid, message));
            }
            None => return Err(Failure::new(FailureKind::Internal, "the connection is gone")),
        }
        let count = self.connections.values().filter(|connection| connection.session.is_some()).count();
        if count < limit {
            return Ok(());
        }
        let message = format!("{count} sessions wait for this container already: as many as there can be");
        Err(Failure::new(FailureKind::WrongState, message))
    }

    /// The connections whose session is `wanted`, which ends.
    pub(super) fn end_sessions(&mut self, wanted: &Session) -> Vec<u64> {
        let mut ended = Vec::new();
        for (id, connection) in &mut self.connections {
            if connection.session.as_ref() == Some(wanted) {
                connection.session = None;
                ended.push(*id);
            }
        }
        ended
    }
}
