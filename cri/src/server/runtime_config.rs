//! RuntimeConfig.

use proto::v1::{CgroupDriver, LinuxRuntimeConfiguration, RuntimeConfigResponse};

use crate::cgroup;

/// Who makes cgroups. CRI: RuntimeConfig
pub(super) fn runtime_config(driver: &cgroup::CgroupDriver) -> RuntimeConfigResponse {
    let driver = match driver {
        cgroup::CgroupDriver::Cgroupfs => CgroupDriver::Cgroupfs,
        cgroup::CgroupDriver::Systemd(_) => CgroupDriver::Systemd,
    };
    RuntimeConfigResponse { linux: Some(LinuxRuntimeConfiguration { cgroup_driver: driver.into() }) }
}
