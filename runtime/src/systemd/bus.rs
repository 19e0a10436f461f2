//! A connection to the bus of systemd or of a user's systemd: a call at a time.
//!
//! Source: D-Bus Specification, "Authentication Protocol"; org.freedesktop.systemd1(5).

use std::io::{Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::Error;
use super::wire::{self, Call, FIXED, Message, Reader, Writer};
use crate::sys::{self, CallError};

const SYSTEMD: &str = "org.freedesktop.systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
const DBUS: &str = "org.freedesktop.DBus";

/// How long a call with its job may take. systemd answers late where very many units come and go.
const PATIENCE: Duration = Duration::from_secs(30);

/// Which systemd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Instance {
    /// The host's.
    System,
    /// The one of this user.
    User,
}

/// A connection.
pub(super) struct Bus {
    stream: UnixStream,
    socket: String,
    serial: u32,
    /// What is being done, for messages.
    what: String,
    deadline: Instant,
    /// Jobs that have ended, with their results.
    ended: Vec<(String, String)>,
}

impl Bus {
    /// Connects, for a call on `unit`.
    pub(super) fn connect(instance: Instance, unit: &str) -> Result<Self, Error> {
        let what = format!("Hello({unit})");
        let told = told(instance);
        let mut socket = told.clone().unwrap_or_else(|| usual(instance));
        let mut direct = false;
        let stream = open(&socket).or_else(|error| {
            // Where there is no bus, systemd itself can be talked to, as systemctl(1) does.
            let own = private(instance);
            match UnixStream::connect(&own) {
                Ok(stream) if told.is_none() => {
                    (socket, direct) = (own, true);
                    Ok(stream)
                }
                Ok(_) | Err(_) => Err(error),
            }
        });
        let stream = stream.map_err(|error| Error::Bus {
            call: what.clone(),
            source: call_error(format!("connect({socket:?})"), &error),
        })?;
        let deadline = Instant::now() + PATIENCE;
        let mut bus = Self { stream, socket, serial: 0, what, deadline, ended: Vec::new() };
        bus.authenticate()?;
        if direct {
            // It sends all its signals.
            return Ok(bus);
        }
        bus.send(DBUS, "/org/freedesktop/DBus", DBUS, "Hello", "", &[], false)?;
        let mut rule = Writer::default();
        // The bus sees to it that only systemd is heard: anybody may send signals of any name.
        rule.string(&format!(
            "type='signal',sender='{SYSTEMD}',path='{MANAGER_PATH}',interface='{MANAGER}',member='JobRemoved'"
        ));
        bus.send(DBUS, "/org/freedesktop/DBus", DBUS, "AddMatch", "s", &rule.0, false)?;
        Ok(bus)
    }

    /// Who asks is what the kernel says of the connection: in a user namespace one does not know one's number outside.
    fn authenticate(&mut self) -> Result<(), Error> {
        // All in one, as systemd's own programs do: a call that comes along with BEGIN is not read by systemd until another one comes.
        self.write(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n")?;
        for expected in ["DATA", "OK "] {
            let line = self.line()?;
            if !line.starts_with(expected) {
                return Err(self.wrong(format!("refuses this user: {line:?}")));
            }
        }
        Ok(())
    }

    /// A call on the manager; gives the body of the answer.
    pub(super) fn call(&mut self, member: &str, unit: &str, signature: &str, body: &Writer) -> Result<Vec<u8>, Error> {
        self.what = format!("{member}({unit})");
        self.deadline = Instant::now() + PATIENCE;
        let serial = self.send(SYSTEMD, MANAGER_PATH, MANAGER, member, signature, &body.0, true)?;
        loop {
            let message = self.next()?;
            if message.reply_to != Some(serial) {
                continue;
            }
            let Some(name) = message.error else { return Ok(message.body) };
            let text = Reader { bytes: &message.body, at: 0 }.string().unwrap_or_default().to_owned();
            return Err(Error::Refused { call: self.what.clone(), name, message: text });
        }
    }

    /// Waits until the job that a call answered with has ended.
    pub(super) fn job_end(&mut self, unit: &str, answer: &[u8]) -> Result<(), Error> {
        let job = Reader { bytes: answer, at: 0 }.string().map(str::to_owned);
        let job = job.ok_or_else(|| self.wrong("gave no job".to_owned()))?;
        loop {
            if let Some((_, result)) = self.ended.iter().find(|(ended, _)| *ended == job) {
                let (call, unit, result) = (self.what.clone(), unit.to_owned(), result.clone());
                return if result == "done" { Ok(()) } else { Err(Error::Job { call, unit, result }) };
            }
            self.next()?;
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one message")]
    fn send(
        &mut self,
        destination: &str,
        path: &str,
        interface: &str,
        member: &str,
        signature: &str,
        body: &[u8],
        answered: bool,
    ) -> Result<u32, Error> {
        self.serial += 1;
        let call = Call { destination, path, interface, member, signature, body, answered };
        let bytes = wire::call(self.serial, &call);
        self.write(&bytes)?;
        Ok(self.serial)
    }

    /// The next message; the end of a job is remembered.
    fn next(&mut self) -> Result<Message, Error> {
        let mut fixed = [0; FIXED];
        self.read(&mut fixed)?;
        let length = wire::length(&fixed).ok_or_else(|| self.wrong("sent no message".to_owned()))?;
        let mut bytes = vec![0; length];
        bytes[..FIXED].copy_from_slice(&fixed);
        self.read(&mut bytes[FIXED..])?;
        let message = wire::message(&bytes).ok_or_else(|| self.wrong("sent a malformed message".to_owned()))?;
        if message.signal.as_deref() == Some("JobRemoved") {
            // JobRemoved(u id, o job, s unit, s result)
            let mut reader = Reader { bytes: &message.body, at: 0 };
            reader.u32();
            if let (Some(job), Some(_), Some(result)) = (reader.string(), reader.string(), reader.string()) {
                self.ended.push((job.to_owned(), result.to_owned()));
            }
        }
        Ok(message)
    }

    fn line(&mut self) -> Result<String, Error> {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            self.read(&mut byte)?;
            line.push(byte[0]);
            if line.len() > 1024 {
                return Err(self.wrong("sent a line without an end".to_owned()));
            }
        }
        Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<(), Error> {
        let mut have = 0;
        while have < buffer.len() {
            let left = self.deadline.saturating_duration_since(Instant::now());
            let result = match left.is_zero() {
                true => Err(std::io::ErrorKind::WouldBlock.into()),
                false => self.stream.set_read_timeout(Some(left)).and_then(|()| self.stream.read(&mut buffer[have..])),
            };
            match result {
                Ok(0) => return Err(self.wrong("closed the connection".to_owned())),
                Ok(count) => have += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    return Err(self.wrong(format!("did not answer within {} s", PATIENCE.as_secs())));
                }
                Err(error) => return Err(self.failed("read", &error)),
            }
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.stream.write_all(bytes).map_err(|error| self.failed("write", &error))
    }

    fn failed(&self, name: &str, error: &std::io::Error) -> Error {
        Error::Bus { call: self.what.clone(), source: call_error(format!("{name}({:?})", self.socket), error) }
    }

    fn wrong(&self, problem: String) -> Error {
        Error::Protocol { call: self.what.clone(), socket: self.socket.clone(), problem }
    }
}

fn call_error(call: String, error: &std::io::Error) -> CallError {
    sys::CallError { call, errno: Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)) }
}

fn open(socket: &str) -> std::io::Result<UnixStream> {
    match socket.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name).and_then(|address| UnixStream::connect_addr(&address)),
        None => UnixStream::connect(socket),
    }
}

/// systemd's own socket.
fn private(instance: Instance) -> String {
    match instance {
        Instance::System => "/run/systemd/private".to_owned(),
        Instance::User => format!("{}/systemd/private", runtime_directory()),
    }
}

fn runtime_directory() -> String {
    std::env::var("XDG_RUNTIME_DIR").unwrap_or_else(|_| format!("/run/user/{}", nix::unistd::getuid()))
}

/// The socket of a bus that the environment names; one with an abstract name begins with `@`.
fn told(instance: Instance) -> Option<String> {
    let variable = match instance {
        Instance::System => "DBUS_SYSTEM_BUS_ADDRESS",
        Instance::User => "DBUS_SESSION_BUS_ADDRESS",
    };
    std::env::var(variable).ok().and_then(|addresses| socket_of(&addresses))
}

/// The socket of a bus.
fn usual(instance: Instance) -> String {
    match instance {
        Instance::System => "/run/dbus/system_bus_socket".to_owned(),
        Instance::User => format!("{}/bus", runtime_directory()),
    }
}

/// The first unix socket of a list of server addresses.
fn socket_of(addresses: &str) -> Option<String> {
    addresses.split(';').find_map(|address| {
        let keys = address.strip_prefix("unix:")?;
        keys.split(',').find_map(|key| match key.split_once('=')? {
            ("path", path) => Some(path.to_owned()),
            ("abstract", name) => Some(format!("@{name}")),
            _ => None,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (addresses, socket) in [
            ("unix:path=/run/user/1000/bus", Some("/run/user/1000/bus")),
            ("tcp:host=x;unix:guid=1,path=/a", Some("/a")),
            ("unix:abstract=/tmp/dbus-1,guid=2", Some("@/tmp/dbus-1")),
            ("autolaunch:", None),
            ("", None),
        ] {
            assert_eq!(socket_of(addresses).as_deref(), socket, "{addresses}");
        }
    }
}
