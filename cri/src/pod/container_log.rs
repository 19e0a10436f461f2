//! Beginning a new log file.

use shim::protocol::Request;

use super::engine::Engine;
use super::error::Error;
use super::shim_peer::Peer;
use super::state::ContainerState;

impl Engine {
    /// Makes the shim of a running container begin a new log file, after the old one was renamed. CRI: ReopenContainerLog
    ///
    /// # Errors
    /// [`Error::WrongState`]: it does not run, and no file is made.
    pub async fn reopen_log(&self, id: &str) -> Result<(), Error> {
        let container = self.find_container(id)?;
        let state = container.state();
        let not_running = || Error::WrongState { id: container.id().clone(), state: state.word(), wanted: "running" };
        match state {
            ContainerState::Running { .. } => {}
            ContainerState::Created | ContainerState::Exited(_) => return Err(not_running()),
        }
        let shim = Peer::connect(&container.dir).await?.ok_or_else(not_running)?;
        shim.request(&Request::ReopenLog { container: container.id().to_string() }, &[]).await?;
        Ok(())
    }
}
