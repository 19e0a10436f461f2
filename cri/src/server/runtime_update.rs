//! UpdateRuntimeConfig.

use std::net::IpAddr;

use proto::v1::{UpdateRuntimeConfigRequest, UpdateRuntimeConfigResponse};
use tonic::Status;

use super::{Service, failure};
use crate::network::Subnet;

/// Takes notice of the node's range of pod addresses: pods on the built-in bridge get theirs out of it from then on, unless the
/// settings say otherwise. CNI plugins have their own configuration. CRI: UpdateRuntimeConfig
pub(super) async fn update_runtime_config(
    service: &Service,
    request: UpdateRuntimeConfigRequest,
) -> Result<UpdateRuntimeConfigResponse, Status> {
    let text = request.runtime_config.and_then(|config| config.network_config).unwrap_or_default().pod_cidr;
    let subnets = subnets(&text)
        .map_err(|problem| Status::invalid_argument(format!("runtime_config.network_config.pod_cidr: {problem}")))?;
    service.engine.note_subnets(subnets).await.map_err(|error| failure::pod(&error))?;
    Ok(UpdateRuntimeConfigResponse {})
}

/// Ranges with commas between them, one of a family at most. Before the node has one, the kubelet says nothing.
fn subnets(text: &str) -> Result<Vec<Subnet>, String> {
    let mut subnets: Vec<Subnet> = Vec::new();
    for range in text.split(',').filter(|_| !text.is_empty()) {
        let Some(subnet) = subnet(range) else {
            return Err(format!("{range:?} must be a range such as 10.0.0.0/24"));
        };
        if subnets.iter().any(|other| other.family() == subnet.family()) {
            return Err(format!("{text:?} has more than one {} range", subnet.family()));
        }
        subnets.push(subnet);
    }
    Ok(subnets)
}

/// A range; bits behind its prefix do not matter.
fn subnet(text: &str) -> Option<Subnet> {
    let (address, prefix) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let prefix = Some(prefix).filter(|prefix| prefix.bytes().all(|digit| digit.is_ascii_digit()))?;
    Subnet::new(address, prefix.parse().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        for (text, expected) in [
            ("", Some(vec![])),
            ("10.0.0.0/24", Some(vec!["10.0.0.0/24"])),
            ("10.0.0.7/24,fd00::/64", Some(vec!["10.0.0.0/24", "fd00::/64"])),
            ("10.0.0.0/24,10.1.0.0/24", None),
            ("10.0.0.0/24,", None),
            ("10.0.0.0", None),
            ("10.0.0.0/33", None),
            ("10.0.0.0/", None),
            ("10.0.0.0/+1", None),
            ("x/8", None),
        ] {
            let found = subnets(text).ok().map(|all| all.iter().map(ToString::to_string).collect::<Vec<_>>());
            assert_eq!(found, expected.map(|all| all.into_iter().map(str::to_owned).collect()), "{text}");
        }
    }
}
