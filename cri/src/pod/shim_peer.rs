//! A pod's shim, as asynchronous code talks to it.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::path::Path;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use shim::client::{self, Connection};
use shim::protocol::{Reply, Request};
use tokio::io::unix::AsyncFd;

use super::engine::blocking;
use super::error::{Error, Io};

/// After this time without an answer a shim is asked whether it answers at all.
const SILENCE: Duration = Duration::from_secs(5);

/// A connection whose answers are awaited without a thread.
pub(super) struct Peer(AsyncFd<Descriptor>);

struct Descriptor(Connection);

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Peer {
    /// Connects to the shim whose socket is in `dir`. `None`: it has ended.
    pub(super) async fn connect(dir: &Path) -> Result<Option<Peer>, Error> {
        let dir = dir.to_owned();
        let connected = blocking(move || Ok(Connection::connect(&dir)?)).await?;
        connected.map(Peer::new).transpose()
    }

    /// For a connection that somebody else made.
    pub(super) fn new(connection: Connection) -> Result<Peer, Error> {
        #[expect(deprecated, reason = "the other one is unsafe; this descriptor is owned and closed by what it is in")]
        let watched = AsyncFd::new(Descriptor(connection));
        let watched = watched.io(|| "epoll_ctl(<shim>)".to_owned())?;
        Ok(Peer(watched))
    }

    /// Sends a request and waits for the answer.
    pub(super) async fn request(&self, request: &Request, fds: &[BorrowedFd<'_>]) -> Result<Reply, Error> {
        self.0.get_ref().0.send(request, fds)?;
        Ok(self.receive().await?)
    }

    /// Sends a request to the shim of `dir` and waits for the answer as long as that shim answers anybody.
    ///
    /// # Errors
    /// [`client::Error::Silent`]: it does not.
    pub(super) async fn ask(&self, dir: &Path, request: &Request) -> Result<Reply, Error> {
        let answer = self.request(request, &[]);
        tokio::pin!(answer);
        loop {
            tokio::select! {
                answer = &mut answer => return answer,
                () = tokio::time::sleep(SILENCE) => {}
            }
            tokio::select! {
                answer = &mut answer => return answer,
                other = Peer::connect(dir) => {
                    // Whatever else became of it, the connection that asks is told.
                    if let Err(error @ Error::Shim(client::Error::Silent)) = other {
                        return Err(error);
                    }
                }
            }
        }
    }

    /// Sends a request whose answer comes among others.
    pub(super) async fn send(&self, request: &Request) -> Result<(), Error> {
        Ok(self.0.get_ref().0.send(request, &[])?)
    }

    /// Waits for the next answer, or the end of the shim.
    pub(super) async fn receive(&self) -> Result<Reply, client::Error> {
        loop {
            let connection = &self.0.get_ref().0;
            let mut set = [PollFd::new(connection.as_fd(), PollFlags::POLLIN)];
            // Packets come whole: what is readable can be received without waiting.
            if poll(&mut set, PollTimeout::ZERO).is_ok_and(|ready| ready > 0) {
                return connection.receive();
            }
            let mut ready = self.0.readable().await.map_err(|_| client::Error::Gone)?;
            ready.clear_ready();
        }
    }
}
