//! Attach.

use proto::v1::{AttachRequest, AttachResponse};
use tonic::Status;

use super::{Service, failure, streams};
use crate::streaming::{Command, Subject, Wanted};

/// An address that leads to a container's own process. CRI: Attach
pub(super) fn attach(service: &Service, request: AttachRequest) -> Result<AttachResponse, Status> {
    let AttachRequest { container_id, stdin, tty, stdout, stderr } = request;
    let wanted = streams::wanted(Wanted { stdin, stdout, stderr, tty })?;
    let id = failure::given("container_id", &container_id)?;
    let container = service.engine.running_container(id).map_err(|error| failure::pod(&error))?;
    if container.record.config.tty != tty {
        let has = if container.record.config.tty { "a" } else { "no" };
        return Err(Status::invalid_argument(format!("tty: {tty}; the container has {has} terminal")));
    }
    let subject = Subject {
        pod: container.record.pod.to_string(),
        container: Some(container.record.id.to_string()),
        command: Vec::new(),
    };
    let (engine, id) = (service.engine.clone(), container.record.id.clone());
    let run = Box::new(move |ends| -> crate::streaming::Running {
        Box::pin(async move { engine.attach(id.as_str(), ends).await.map_err(|error| error.to_string()) })
    });
    let url = service.streams.attach(Command { wanted, run, subject }).map_err(streams::full)?;
    Ok(AttachResponse { url })
}
