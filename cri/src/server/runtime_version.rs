//! Version.

use proto::v1;

/// The version of the kubelet's side of the interface; a kubelet refuses any other.
const KUBELET_API: &str = "0.1.0";

/// Name of this runtime.
const NAME: &str = "rtd";

/// Version of the interface.
const API: &str = "v1";

/// Who answers. CRI: Version
pub(super) fn version() -> v1::VersionResponse {
    v1::VersionResponse {
        version: KUBELET_API.into(),
        runtime_name: NAME.into(),
        runtime_version: env!("CARGO_PKG_VERSION").into(),
        runtime_api_version: API.into(),
    }
}
