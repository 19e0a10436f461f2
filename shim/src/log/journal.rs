//! systemd's journal by its native protocol, with the fields that docker's `journald` driver writes.
//!
//! A record is a datagram of `NAME=value\n` lines; a value with a newline is `NAME\n`, its length (u64, little endian), the value
//! and `\n`. One that is too large for a datagram goes as a sealed memfd. See systemd's "Native Journal Protocol".
//!
//! What the journal does not take at once is kept, up to [`KEPT`] bytes, and sent when there is room; what is more is dropped
//! and counted.

use std::collections::{BTreeMap, VecDeque};
use std::io::IoSlice;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, connect, send, sendmsg, socket,
};
use nix::unistd::write;
use runtime::sys::{Call, CallError};

use super::line::{Stream, Tag};
use super::time::rfc3339;

/// Most bytes kept while the journal is behind.
const KEPT: usize = 256 << 10;

/// A connection to the journal.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    socket: OwnedFd,
    /// The fields that all records share, encoded.
    fields: Vec<u8>,
    waiting: VecDeque<Vec<u8>>,
    kept: usize,
    dropped: u64,
    problem: Option<CallError>,
    /// A buffer to work in.
    record: Vec<u8>,
}

impl Journal {
    /// # Errors
    /// connect(2)'s: no journal listens.
    pub(super) fn open(path: &Path, fields: &BTreeMap<String, String>) -> Result<Self, CallError> {
        let socket = connected(path)?;
        let mut encoded = Vec::new();
        for (name, value) in fields {
            field(&mut encoded, name, value.as_bytes());
        }
        Ok(Self {
            path: path.to_owned(),
            socket,
            fields: encoded,
            waiting: VecDeque::new(),
            kept: 0,
            dropped: 0,
            problem: None,
            record: Vec::new(),
        })
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    pub(super) fn problem(&self) -> Option<&CallError> {
        self.problem.as_ref()
    }

    pub(super) fn socket(&self) -> &OwnedFd {
        &self.socket
    }

    /// Whether records wait for room.
    pub(super) fn is_behind(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Sends a record, or keeps it.
    pub(super) fn send(&mut self, stream: Stream, now: u64, text: &[u8], tag: Tag) {
        let mut record = std::mem::take(&mut self.record);
        record.clear();
        encode(&mut record, stream, now, text, tag);
        record.extend_from_slice(&self.fields);
        if self.waiting.is_empty() && self.deliver(&record) != Delivery::Later {
            self.record = record;
        } else if self.kept + record.len() > KEPT {
            self.lose(record.len(), Errno::EAGAIN);
            self.record = record;
        } else {
            self.kept += record.len();
            self.waiting.push_back(record);
        }
    }

    /// Sends what waits, as far as there is room.
    pub(super) fn flush(&mut self) {
        while let Some(record) = self.waiting.pop_front() {
            if self.deliver(&record) == Delivery::Later {
                self.waiting.push_front(record);
                return;
            }
            self.kept -= record.len();
        }
        self.waiting = VecDeque::new();
    }

    /// Drops what waits.
    pub(super) fn abandon(&mut self) {
        let kept = std::mem::take(&mut self.kept);
        self.waiting = VecDeque::new();
        if kept > 0 {
            self.lose(kept, Errno::EAGAIN);
        }
    }

    fn deliver(&mut self, record: &[u8]) -> Delivery {
        let answer = match self.attempt(record) {
            // The journal was started again, and its socket made anew.
            Err(Errno::ECONNREFUSED | Errno::ENOTCONN | Errno::EPIPE) => match connected(&self.path) {
                Ok(socket) => {
                    self.socket = socket;
                    self.attempt(record)
                }
                Err(error) => Err(error.errno),
            },
            answer => answer,
        };
        match answer {
            Ok(()) => Delivery::Over,
            Err(Errno::EAGAIN | Errno::ENOBUFS) => Delivery::Later,
            Err(errno) => {
                self.lose(record.len(), errno);
                Delivery::Over
            }
        }
    }

    fn attempt(&self, record: &[u8]) -> Result<(), Errno> {
        loop {
            match send(self.socket.as_raw_fd(), record, MsgFlags::MSG_NOSIGNAL) {
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(Errno::EMSGSIZE) => return self.attempt_by_descriptor(record),
                Err(errno) => return Err(errno),
            }
        }
    }

    fn attempt_by_descriptor(&self, record: &[u8]) -> Result<(), Errno> {
        let file = memfd_create(c"journal", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
        let mut done = 0;
        while done < record.len() {
            done += write(&file, &record[done..])?;
        }
        let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_SEAL;
        fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
        let numbers = [file.as_raw_fd()];
        let rights = [ControlMessage::ScmRights(&numbers)];
        let nothing: [IoSlice<'_>; 0] = [];
        sendmsg::<()>(self.socket.as_raw_fd(), &nothing, &rights, MsgFlags::MSG_NOSIGNAL, None)?;
        Ok(())
    }

    fn lose(&mut self, size: usize, errno: Errno) {
        self.dropped += size as u64;
        let call = format!("send({:?})", self.path);
        self.problem.get_or_insert(CallError { call, errno });
    }
}

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Delivery {
    /// It was sent, or lost and counted.
    Over,
    /// There is no room now.
    Later,
}

fn connected(path: &Path) -> Result<OwnedFd, CallError> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Unix, SockType::Datagram, flags, None)
        .call(|| "socket(AF_UNIX, SOCK_DGRAM)".to_owned())?;
    let call = || format!("connect({path:?}), the journal's socket");
    let address = UnixAddr::new(path).call(call)?;
    connect(socket.as_raw_fd(), &address).call(call)?;
    Ok(socket)
}

fn encode(out: &mut Vec<u8>, stream: Stream, now: u64, text: &[u8], tag: Tag) {
    field(out, "MESSAGE", text);
    // Severities of syslog: informational, error.
    out.extend_from_slice(match stream {
        Stream::Stdout => b"PRIORITY=6\n",
        Stream::Stderr => b"PRIORITY=3\n",
    });
    if tag == Tag::Partial {
        out.extend_from_slice(b"CONTAINER_PARTIAL_MESSAGE=true\n");
    }
    field(out, "SYSLOG_TIMESTAMP", &rfc3339(now));
}

fn field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    if memchr::memchr(b'\n', value).is_none() {
        out.push(b'=');
    } else {
        out.push(b'\n');
        out.extend_from_slice(&(value.len() as u64).to_le_bytes());
    }
    out.extend_from_slice(value);
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{IoSliceMut, Read, Seek};
    use std::os::unix::net::UnixDatagram;

    use nix::sys::socket::{ControlMessageOwned, recvmsg, setsockopt, sockopt};

    use super::*;

    fn fields() -> BTreeMap<String, String> {
        [("CONTAINER_NAME".to_owned(), "web".to_owned()), ("NOTE".to_owned(), "a\nb".to_owned())].into()
    }

    struct Place {
        dir: tempfile::TempDir,
        listener: UnixDatagram,
    }

    impl Place {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let listener = UnixDatagram::bind(dir.path().join("socket")).unwrap();
            listener.set_nonblocking(true).unwrap();
            Self { dir, listener }
        }

        fn journal(&self, fields: &BTreeMap<String, String>) -> Journal {
            Journal::open(&self.dir.path().join("socket"), fields).unwrap()
        }

        fn received(&self) -> Vec<Vec<u8>> {
            let mut all = Vec::new();
            let mut buffer = vec![0; 1 << 20];
            while let Ok(size) = self.listener.recv(&mut buffer) {
                all.push(buffer[..size].to_vec());
            }
            all
        }
    }

    #[test]
    fn records_look_as_journald_wants_them() {
        let place = Place::new();
        let mut journal = place.journal(&fields());
        journal.send(Stream::Stdout, 1, b"hello", Tag::Full);
        journal.send(Stream::Stderr, 1, b"half", Tag::Partial);
        let rest =
            "SYSLOG_TIMESTAMP=1970-01-01T00:00:00.000000001Z\nCONTAINER_NAME=web\nNOTE\n\u{3}\0\0\0\0\0\0\0a\nb\n";
        let expected = [
            format!("MESSAGE=hello\nPRIORITY=6\n{rest}"),
            format!("MESSAGE=half\nPRIORITY=3\nCONTAINER_PARTIAL_MESSAGE=true\n{rest}"),
        ];
        let received: Vec<String> = place.received().into_iter().map(|text| String::from_utf8(text).unwrap()).collect();
        assert_eq!(received, expected);
    }

    #[test]
    fn what_is_too_large_comes_as_a_sealed_file() {
        let place = Place::new();
        let mut journal = place.journal(&fields());
        setsockopt(&journal.socket, sockopt::SndBuf, &4096).unwrap();
        let text = vec![b'x'; 16 << 10];
        journal.send(Stream::Stdout, 1, &text, Tag::Full);
        let mut buffer = [0; 10];
        let mut slices = [IoSliceMut::new(&mut buffer)];
        let mut space = nix::cmsg_space!([std::os::fd::RawFd; 1]);
        let message =
            recvmsg::<()>(place.listener.as_raw_fd(), &mut slices, Some(&mut space), MsgFlags::empty()).unwrap();
        assert_eq!(message.bytes, 0);
        let Some(ControlMessageOwned::ScmRights(fds)) = message.cmsgs().unwrap().next() else {
            panic!("no descriptor")
        };
        let mut file = File::open(format!("/proc/self/fd/{}", fds[0])).unwrap();
        file.rewind().unwrap();
        let mut record = String::new();
        file.read_to_string(&mut record).unwrap();
        assert!(record.starts_with("MESSAGE=xxx") && record.contains("CONTAINER_NAME=web"));
        let seals = fcntl(&file, FcntlArg::F_GET_SEALS).unwrap();
        assert_eq!(SealFlag::from_bits_truncate(seals), SealFlag::all().difference(SealFlag::F_SEAL_FUTURE_WRITE));
        nix::unistd::close(fds[0]).unwrap();
    }

    #[test]
    fn a_journal_that_is_behind_gets_what_fits() {
        let place = Place::new();
        let mut journal = place.journal(&BTreeMap::new());
        let text = [b'x'; 1000];
        let count = 3000;
        for _ in 0..count {
            journal.send(Stream::Stdout, 1, &text, Tag::Full);
        }
        assert!(journal.is_behind());
        assert!(journal.kept <= KEPT);
        let size = journal.waiting[0].len() as u64;
        let mut received = 0;
        while journal.is_behind() {
            received += place.received().len() as u64;
            journal.flush();
        }
        received += place.received().len() as u64;
        assert_eq!(received * size + journal.dropped(), count * size);
        assert!(journal.dropped() > 0);
        assert!(journal.problem().unwrap().to_string().contains("EAGAIN"));
        assert_eq!(journal.kept, 0);
    }

    #[test]
    fn a_journal_that_starts_again_is_found() {
        let place = Place::new();
        let mut journal = place.journal(&BTreeMap::new());
        let path = place.dir.path().join("socket");
        let Place { dir, listener } = place;
        drop(listener);
        journal.send(Stream::Stdout, 1, b"lost", Tag::Full);
        assert!(journal.dropped() > 0);
        std::fs::remove_file(&path).unwrap();
        let listener = UnixDatagram::bind(&path).unwrap();
        journal.send(Stream::Stdout, 1, b"found", Tag::Full);
        let mut buffer = [0; 100];
        let size = listener.recv(&mut buffer).unwrap();
        assert!(buffer[..size].starts_with(b"MESSAGE=found\n"));
        drop(dir);
    }

    #[test]
    fn a_missing_journal_is_named() {
        let error = Journal::open(Path::new("/nowhere/socket"), &BTreeMap::new()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "connect(\"/nowhere/socket\"), the journal's socket: ENOENT: No such file or directory"
        );
    }
}
