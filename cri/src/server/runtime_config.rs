//! RuntimeConfig.

use proto::v1::{CgroupDriver, LinuxRuntimeConfiguration, RuntimeConfigResponse};

/// How cgroups are driven: by their file system. CRI: RuntimeConfig
pub(super) fn runtime_config() -> RuntimeConfigResponse {
    RuntimeConfigResponse { linux: Some(LinuxRuntimeConfiguration { cgroup_driver: CgroupDriver::Cgroupfs.into() }) }
}
