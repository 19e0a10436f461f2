//! Remove, and `auto_remove`.

use std::os::fd::AsFd;

use super::connection::Session;
use super::container::{Container, Home, Phase};
use super::event;
use super::{Failure, Server};
use crate::layout::{State, Task};
use crate::protocol::Reply;
use crate::verbs::Verb;
use crate::{local, record};

impl Server {
    /// Remove: kills the container if it must and may, and removes it once it has ended.
    pub(super) fn remove(&mut self, connection: u64, id: &str, force: bool) -> Result<Option<Reply>, Failure> {
        let container = self.container(id, Verb::Remove { force })?;
        let phase = container.phase;
        if phase == Phase::Exited {
            self.remove_container(id)?;
            return Ok(Some(Reply::Done));
        }
        container.stopped = true;
        self.set_session(connection, Session::Remove(id.to_owned()))?;
        match phase {
            Phase::Restarting(_) => self.settle(id),
            Phase::Created(_) | Phase::Running(_) | Phase::Paused(_) => self.kill_all(id),
            Phase::Creating | Phase::Ending(_) | Phase::Releasing | Phase::Exited => {}
        }
        Ok(None)
    }

    /// Removes a container that has ended, if somebody asked for it or it is to be removed by itself: in the latter case only when
    /// every client has got its output.
    pub(super) fn remove_if_due(&mut self, id: &str) {
        let Some(container) = self.containers.get(id) else { return };
        let over = container.phase == Phase::Exited && !self.processes.values().any(|process| process.container == id);
        let session = Session::Remove(id.to_owned());
        let asked = self.connections.values().any(|connection| connection.session.as_ref() == Some(&session));
        let told = !self.attachments.values().any(|attachment| attachment.container == id);
        if !over || !(asked || (container.task.auto_remove && told)) {
            return;
        }
        // With nobody to tell, the record has the error, and removal by hand tries again.
        let removed = self.remove_container(id);
        if removed.is_err() && self.containers.get(id).is_some_and(|container| container.home == Home::Shim) {
            // There is nothing more to be done: whoever waits for the removal sees the shim's end, and then the record.
            self.removed = true;
        }
        for connection in self.end_sessions(&session) {
            let reply = match &removed {
                Ok(()) => Reply::Done,
                Err(Failure { kind, message }) => Reply::Failed { kind: *kind, message: message.clone() },
            };
            self.reply(connection, &reply);
        }
    }

    /// Removes a container that has ended: for a standalone one all that it has, after which the shim ends.
    pub(super) fn remove_container(&mut self, id: &str) -> Result<(), Failure> {
        // Out of the map first: what is done for its last clients must not begin this again.
        let Some(mut container) = self.containers.remove(id) else { return Ok(()) };
        let left: Vec<u64> =
            self.attachments.iter().filter(|(_, attachment)| attachment.container == id).map(|(id, _)| *id).collect();
        for attachment in left {
            self.cut_off(attachment);
        }
        let removed = self.remove_parts(&mut container);
        if removed.is_err() {
            self.containers.insert(id.to_owned(), container);
        }
        removed
    }

    fn remove_parts(&mut self, container: &mut Container) -> Result<(), Failure> {
        let mut status = self.status(container);
        status.state = State::Removing;
        if let Some(cgroup) = &container.cgroup {
            if let Err(error) = cgroup.kill().and_then(|()| cgroup.remove()) {
                status.error = Some(error.to_string());
                if container.home != Home::Below {
                    let _ = record::write(&container.dir, &status);
                }
                return Err(Failure::internal(error));
            }
            container.cgroup = None;
        }
        if container.home == Home::Below {
            return Ok(());
        }
        // A full disk is no reason to keep it: `remove_files` makes it a remnant first of all.
        let _ = record::write(&container.dir, &status);
        let name = container.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // Whoever asks for the removal may have given it more to take along (`local::Directory::own`).
        if let Ok(Some(task)) = record::read::<Task>(&container.dir) {
            container.task.owned = task.owned;
        }
        let attributes = event::attributes(container);
        if let Err(error) = local::remove_files(container.dir.as_fd(), &name, Some(&container.task)) {
            status.error = Some(error.to_string());
            // The directory may be half gone; then the error below is all there is.
            let _ = record::write(&container.dir, &status);
            return Err(Failure::internal(error));
        }
        self.removed |= container.home == Home::Shim;
        event::tell_with(container, &name, "destroy", attributes);
        Ok(())
    }
}
