//! PortForward.

use proto::v1::{PortForwardRequest, PortForwardResponse};
use tonic::Status;

use super::{Service, failure, streams};
use crate::pod;
use crate::streaming::{Ports, Subject};

/// An address that leads to the ports of a pod. CRI: PortForward
pub(super) fn port_forward(service: &Service, request: PortForwardRequest) -> Result<PortForwardResponse, Status> {
    let PortForwardRequest { pod_sandbox_id, port } = request;
    let id = failure::given("pod_sandbox_id", &pod_sandbox_id)?;
    let named = port.into_iter().map(|port| {
        let number = u16::try_from(port).ok().filter(|port| *port > 0);
        number.ok_or_else(|| Status::invalid_argument(format!("port: {port}; numbers from 1 to 65535 are needed")))
    });
    let named = named.collect::<Result<Vec<_>, _>>()?;
    let sandbox = service.engine.pod(id).map_err(|error| failure::pod(&error))?;
    if !sandbox.ready {
        return Err(failure::pod(&pod::Error::NotReady { id: sandbox.record.id.clone() }));
    }
    let subject = Subject { pod: sandbox.record.id.to_string(), ..Subject::default() };
    let (engine, id) = (service.engine.clone(), sandbox.record.id.clone());
    let dial = Box::new(move |port| -> crate::streaming::Dialling {
        let (engine, id) = (engine.clone(), id.clone());
        Box::pin(async move { engine.connect_port(id.as_str(), port).await.map_err(|error| error.to_string()) })
    });
    let url = service.streams.port_forward(Ports { named, dial, subject }).map_err(streams::full)?;
    Ok(PortForwardResponse { url })
}
