//! Exec.

use proto::v1::{ExecRequest, ExecResponse};
use tonic::Status;

use super::{Service, failure, streams};
use crate::streaming::{Command, Subject, Wanted};

/// An address at which a command is run. CRI: Exec
pub(super) fn exec(service: &Service, request: ExecRequest) -> Result<ExecResponse, Status> {
    let ExecRequest { container_id, cmd, tty, stdin, stdout, stderr } = request;
    let wanted = streams::wanted(Wanted { stdin, stdout, stderr, tty })?;
    let id = failure::given("container_id", &container_id)?;
    if cmd.is_empty() {
        return Err(Status::invalid_argument("cmd: empty; a command is needed"));
    }
    let container = service.engine.running_container(id).map_err(|error| failure::pod(&error))?;
    let subject = Subject {
        pod: container.record.pod.to_string(),
        container: Some(container.record.id.to_string()),
        command: cmd.clone(),
    };
    let (engine, id) = (service.engine.clone(), container.record.id.clone());
    let run = Box::new(move |ends| -> crate::streaming::Running {
        Box::pin(async move { engine.exec(id.as_str(), cmd, wanted, ends).await.map_err(|error| error.to_string()) })
    });
    let url = service.streams.exec(Command { wanted, run, subject }).map_err(streams::full)?;
    Ok(ExecResponse { url })
}
