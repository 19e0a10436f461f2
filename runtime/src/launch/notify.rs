//! Who decides on the calls of a filter with `SCMP_ACT_NOTIFY`: the listener's descriptor is sent to a socket along with what is known
//! of the process (OCI runtime-spec config-linux.md, "The Container Process State").

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use serde::Serialize;

use super::error::{During, Error};
use super::sync::{Channel, send_fd};
use crate::hooks::State;
use crate::spec::{Seccomp, Spec};
use crate::sys::{Call, CallError};

/// Where a listener's descriptor goes, and what along with it.
pub struct Notify {
    path: String,
    message: Vec<u8>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ProcessState<'a> {
    oci_version: &'a str,
    fds: [&'a str; 1],
    pid: i32,
    #[serde(skip_serializing_if = "str::is_empty")]
    metadata: &'a str,
    state: &'a State<'a>,
}

impl Notify {
    /// Of the process `pid` of a container; `None`: its filter has no listener.
    #[must_use]
    pub fn new(spec: &Spec, state: &State<'_>, pid: i32) -> Option<Self> {
        let seccomp: &Seccomp = spec.linux.as_ref()?.seccomp.as_ref()?;
        let path = seccomp.listener_path.clone().filter(|path| !path.is_empty())?;
        let metadata = seccomp.listener_metadata.as_deref().unwrap_or_default();
        let state = ProcessState { oci_version: &spec.oci_version, fds: ["seccompFd"], pid, metadata, state };
        Some(Self { path, message: serde_json::to_vec(&state).expect("a state is plain data") })
    }

    fn send(&self, listener: &OwnedFd) -> Result<(), CallError> {
        let call = || format!("connect({:?})", self.path);
        let socket = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).call(call)?;
        let address = UnixAddr::new(self.path.as_str()).call(call)?;
        connect(socket.as_raw_fd(), &address).call(call)?;
        send_fd(socket.as_fd(), &self.message, listener.as_fd())
    }
}

/// Passes a listener on, and lets the process go on that waits for this.
pub(super) fn pass_on(notify: Option<&Notify>, listener: &OwnedFd, channel: &Channel) -> Result<(), Error> {
    let step = || "linux.seccomp.listenerPath".to_owned();
    notify.map_or(Ok(()), |notify| notify.send(listener)).during(step)?;
    channel.go().during(step)
}
