//! epoll(7) with tokens that name what a descriptor belongs to.
//!
//! Ids in tokens are never used again, so an event that was fetched together with the one that closed its descriptor finds
//! nothing.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::log::Stream;

/// What a descriptor belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    /// The listening socket.
    Listener,
    /// The signalfd of SIGCHLD.
    Children,
    /// A connection.
    Connection(u64),
    /// What a process writes.
    Output(u64, Stream),
    /// What a process reads.
    Input(u64),
    /// Where a client writes a process's input.
    Source(u64),
    /// Where a client reads a process's output.
    Sink(u64, Stream),
    /// The journal, which the log of a process's container waits for.
    Journal(u64),
    /// The memory of an init process's container.
    Memory(u64),
}

const KIND_BITS: u32 = 4;

impl Token {
    fn pack(self) -> u64 {
        let (kind, id) = match self {
            Self::Listener => (0, 0),
            Self::Children => (1, 0),
            Self::Connection(id) => (2, id),
            Self::Output(id, Stream::Stdout) => (3, id),
            Self::Output(id, Stream::Stderr) => (4, id),
            Self::Input(id) => (5, id),
            Self::Source(id) => (6, id),
            Self::Sink(id, Stream::Stdout) => (7, id),
            Self::Sink(id, Stream::Stderr) => (8, id),
            Self::Journal(id) => (9, id),
            Self::Memory(id) => (10, id),
        };
        id << KIND_BITS | kind
    }

    fn unpack(packed: u64) -> Self {
        let id = packed >> KIND_BITS;
        match packed & ((1 << KIND_BITS) - 1) {
            0 => Self::Listener,
            1 => Self::Children,
            2 => Self::Connection(id),
            3 => Self::Output(id, Stream::Stdout),
            4 => Self::Output(id, Stream::Stderr),
            5 => Self::Input(id),
            6 => Self::Source(id),
            7 => Self::Sink(id, Stream::Stdout),
            8 => Self::Sink(id, Stream::Stderr),
            9 => Self::Journal(id),
            _ => Self::Memory(id),
        }
    }
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Interest {
    /// Something to read, or the end.
    Read,
    /// Something to read that was not there before: for a terminal that nobody has open, which would always be "ready".
    ReadEdge,
    /// Room to write.
    Write,
    /// A change of a file of a cgroup.
    Change,
}

impl Interest {
    fn flags(self) -> EpollFlags {
        match self {
            Self::Read => EpollFlags::EPOLLIN,
            Self::ReadEdge => EpollFlags::EPOLLIN | EpollFlags::EPOLLET,
            Self::Write => EpollFlags::EPOLLOUT,
            Self::Change => EpollFlags::EPOLLPRI,
        }
    }
}

/// An epoll instance.
pub(super) struct Poller {
    epoll: Epoll,
}

impl Poller {
    pub(super) fn new() -> Result<Self, Errno> {
        Ok(Self { epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)? })
    }

    /// Watches a descriptor, or changes what it is watched for.
    pub(super) fn watch(&self, fd: impl AsFd, token: Token, interest: Interest) -> Result<(), Errno> {
        let mut event = EpollEvent::new(interest.flags(), token.pack());
        match self.epoll.add(&fd, event) {
            Err(Errno::EEXIST) => self.epoll.modify(&fd, &mut event),
            answer => answer,
        }
    }

    /// Stops watching a descriptor; one that is not watched is left alone.
    pub(super) fn ignore(&self, fd: impl AsFd) {
        // ENOENT, the only possible answer, is what is wanted.
        let _ = self.epoll.delete(fd);
    }

    /// Waits for events until `deadline` and appends their tokens.
    pub(super) fn wait(&self, deadline: Option<Instant>, tokens: &mut Vec<Token>) -> Result<(), Errno> {
        let timeout = match deadline {
            None => EpollTimeout::NONE,
            Some(deadline) => {
                // Rounded up, as a timer must not fire before its time.
                let left = deadline.saturating_duration_since(Instant::now()) + Duration::from_micros(999);
                EpollTimeout::try_from(left).unwrap_or(EpollTimeout::MAX)
            }
        };
        let mut events = [EpollEvent::empty(); 32];
        match self.epoll.wait(&mut events, timeout) {
            Ok(count) => tokens.extend(events[..count].iter().map(|event| Token::unpack(event.data()))),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_the_kernel() {
        for token in [
            Token::Listener,
            Token::Children,
            Token::Connection(1),
            Token::Output(2, Stream::Stdout),
            Token::Output(3, Stream::Stderr),
            Token::Input(4),
            Token::Source(5),
            Token::Sink(6, Stream::Stdout),
            Token::Sink(u64::MAX >> KIND_BITS, Stream::Stderr),
            Token::Journal(7),
            Token::Memory(8),
        ] {
            assert_eq!(Token::unpack(token.pack()), token);
        }
    }
}
