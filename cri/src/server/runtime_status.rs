//! Status.

use std::collections::HashMap;

use proto::v1::{RuntimeCondition, RuntimeStatus, StatusResponse};

/// Whether pods can be made. CRI: Status
pub(super) fn status() -> StatusResponse {
    let not_built = |kind: &str| RuntimeCondition {
        r#type: kind.into(),
        status: false,
        reason: "NotBuilt".into(),
        message: "this version keeps images only; it makes no pods yet".into(),
    };
    StatusResponse {
        status: Some(RuntimeStatus { conditions: vec![not_built("RuntimeReady"), not_built("NetworkReady")] }),
        info: HashMap::new(),
        runtime_handlers: Vec::new(),
        features: None,
    }
}
