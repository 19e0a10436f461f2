//! Console sockets (runc's docs/terminals.md, "detached"): the runtime sends the master end of a new terminal.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::termios::Winsize;

/// A listening console socket.
#[derive(Debug)]
pub struct ConsoleSocket {
    /// Its path, for `--console-socket`.
    pub path: PathBuf,
    listener: UnixListener,
}

/// The master end of a container's terminal.
#[derive(Debug)]
pub struct Console(BufReader<File>);

impl ConsoleSocket {
    /// Listens in the folder.
    pub fn listen(folder: &Path) -> Self {
        let path = folder.join("console.sock");
        Self { listener: UnixListener::bind(&path).unwrap(), path }
    }

    /// Waits for the runtime to connect and to send one descriptor.
    pub fn accept(self) -> Console {
        let (stream, _) = self.listener.accept().unwrap();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut name = [0; 4096];
        recvmsg(&stream, &mut [IoSliceMut::new(&mut name)], &mut control, RecvFlags::CMSG_CLOEXEC).unwrap();
        let mut fds: Vec<OwnedFd> = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                fds.extend(rights);
            }
        }
        assert_eq!(fds.len(), 1, "one descriptor is sent");
        std::fs::remove_file(&self.path).unwrap();
        Console(BufReader::new(File::from(fds.remove(0))))
    }
}

impl Console {
    /// Types text.
    pub fn write(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).unwrap();
    }

    /// The next line on the screen, without its end.
    pub fn line(&mut self) -> String {
        let mut line = Vec::new();
        self.0.read_until(b'\n', &mut line).unwrap();
        String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned()
    }

    /// The rest of what is shown, until the last process has closed the terminal.
    pub fn rest(&mut self) -> String {
        let mut text = Vec::new();
        match self.0.read_to_end(&mut text) {
            // What Linux answers once the other end is closed.
            Err(error) if error.raw_os_error() == Some(nix::errno::Errno::EIO as i32) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => panic!("{error}"),
            result => drop(result.unwrap()),
        }
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Changes the size.
    pub fn resize(&self, rows: u16, columns: u16) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(self.0.get_ref(), size).unwrap();
    }
}
