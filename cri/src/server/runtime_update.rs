//! UpdateRuntimeConfig.

use std::net::IpAddr;

use proto::v1::{UpdateRuntimeConfigRequest, UpdateRuntimeConfigResponse};
use tonic::Status;

/// Takes notice of the node's range of pod addresses. Nothing follows from it: addresses are given by the CNI plugins, which have
/// their own configuration, or by the built-in bridge from its own range. CRI: UpdateRuntimeConfig
pub(super) fn update_runtime_config(
    request: UpdateRuntimeConfigRequest,
) -> Result<UpdateRuntimeConfigResponse, Status> {
    let ranges = request.runtime_config.and_then(|config| config.network_config).unwrap_or_default().pod_cidr;
    // Before the node has one, the kubelet says nothing.
    for range in ranges.split(',').filter(|_| !ranges.is_empty()) {
        if !is_range(range) {
            let problem =
                format!("runtime_config.network_config.pod_cidr: {range:?} must be a range such as 10.0.0.0/24");
            return Err(Status::invalid_argument(problem));
        }
    }
    Ok(UpdateRuntimeConfigResponse {})
}

fn is_range(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else { return false };
    let bits = match address.parse() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    length.bytes().all(|digit| digit.is_ascii_digit()) && length.parse::<u8>().is_ok_and(|length| length <= bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        for (text, good) in [
            ("10.0.0.0/24", true),
            ("fd00::/64", true),
            ("10.0.0.0", false),
            ("10.0.0.0/33", false),
            ("10.0.0.0/", false),
            ("10.0.0.0/+1", false),
            ("x/8", false),
        ] {
            assert_eq!(is_range(text), good, "{text}");
        }
    }
}
