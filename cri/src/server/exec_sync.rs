//! ExecSync.

use std::time::Duration;

use proto::v1::{ExecSyncRequest, ExecSyncResponse};
use tonic::Status;

use super::{MESSAGE_LIMIT, Service, failure};

/// Bytes of an answer beside the output.
const OVERHEAD: usize = 64;

/// Runs a command and answers with what it wrote. CRI: ExecSync
pub(super) async fn exec_sync(service: &Service, request: ExecSyncRequest) -> Result<ExecSyncResponse, Status> {
    let ExecSyncRequest { container_id, cmd, timeout } = request;
    let id = failure::given("container_id", &container_id)?;
    if cmd.is_empty() {
        return Err(Status::invalid_argument("cmd: empty; a command is needed"));
    }
    let limit = match u64::try_from(timeout) {
        Ok(0) => None,
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => return Err(Status::invalid_argument(format!("timeout: {timeout}; 0, or some seconds are needed"))),
    };
    let executed = service.engine.exec_sync(id, cmd, limit).await.map_err(|error| failure::pod(&error))?;
    let (stdout, stderr) = fitting(executed.stdout, executed.stderr);
    Ok(ExecSyncResponse { stdout, stderr, exit_code: executed.code })
}

/// Both streams as far as they go into one message: clients take no larger one. The longer one gives way.
fn fitting(mut stdout: Vec<u8>, mut stderr: Vec<u8>) -> (Vec<u8>, Vec<u8>) {
    let room = MESSAGE_LIMIT - OVERHEAD;
    if stdout.len() + stderr.len() > room {
        let shorter = stdout.len().min(stderr.len()).min(room / 2);
        stdout.truncate(room - shorter.min(stderr.len()));
        stderr.truncate(room - stdout.len());
    }
    (stdout, stderr)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits() {
        let room = MESSAGE_LIMIT - OVERHEAD;
        for (stdout, stderr, expected) in [
            (3, 5, (3, 5)),
            (room, 0, (room, 0)),
            (16 << 20, 0, (room, 0)),
            (16 << 20, 10, (room - 10, 10)),
            (10, 16 << 20, (10, room - 10)),
            (16 << 20, 16 << 20, (room / 2, room / 2)),
        ] {
            let (out, err) = fitting(vec![0; stdout], vec![0; stderr]);
            assert_eq!((out.len(), err.len()), expected, "{stdout} {stderr}");
        }
    }
}
