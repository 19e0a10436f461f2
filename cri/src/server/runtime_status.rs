//! Status.

use std::collections::HashMap;

use proto::v1::{
    RuntimeCondition, RuntimeFeatures, RuntimeHandler, RuntimeHandlerFeatures, RuntimeStatus, StatusRequest,
    StatusResponse,
};
use serde_json::json;

use super::Service;
use crate::pod;

/// Whether pods can be made, and what handlers and features there are. CRI: Status
pub(super) async fn status(service: &Service, request: StatusRequest) -> StatusResponse {
    let readiness = service.engine.readiness().await;
    let condition = |kind: &str, reason: &str, state: Result<(), String>| RuntimeCondition {
        r#type: kind.to_owned(),
        status: state.is_ok(),
        reason: if state.is_ok() { String::new() } else { reason.to_owned() },
        message: state.err().unwrap_or_default(),
    };
    let conditions = vec![
        condition("RuntimeReady", "ShimMissing", readiness.runtime),
        condition("NetworkReady", "NetworkPluginNotReady", readiness.network),
    ];
    let settings = service.engine.settings();
    let mut runtime_handlers = Vec::new();
    for name in service.engine.handler_names() {
        let pod::Features { recursive_read_only_mounts, user_namespaces } = service.engine.features(&name).await;
        let features = Some(RuntimeHandlerFeatures { recursive_read_only_mounts, user_namespaces });
        runtime_handlers.push(RuntimeHandler { name, features });
    }
    let info = match request.verbose {
        false => HashMap::new(),
        true => {
            let config = json!({
                "root": settings.root,
                "state": settings.state,
                "shim": settings.shim,
                "network": service.engine.describe_network(),
                "toUndo": service.engine.describe_undo(),
            });
            HashMap::from([("config".to_owned(), config.to_string())])
        }
    };
    StatusResponse {
        status: Some(RuntimeStatus { conditions }),
        info,
        runtime_handlers,
        features: Some(RuntimeFeatures {
            supplemental_groups_policy: true,
            user_namespaces_host_network: settings.features.user_namespaces,
            mount_options: true,
        }),
    }
}
