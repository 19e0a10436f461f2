//! The runtime as a whole.

use proto::v1::{CgroupDriver, ListPodSandboxRequest, RuntimeConfigRequest, StatusRequest, VersionRequest};
use tests::rtd_test;
use tonic::Code;

#[test]
fn version_is_what_a_kubelet_accepts() {
    rtd_test(async |rtd| {
        let answer = rtd.runtime.version(VersionRequest::default()).await.unwrap().into_inner();
        assert_eq!((answer.version.as_str(), answer.runtime_name.as_str()), ("0.1.0", "rtd"));
        assert_eq!(answer.runtime_api_version, "v1");
        assert_eq!(answer.runtime_version.split('.').count(), 3, "{}", answer.runtime_version);
    });
}

/// A node without pods says so; it does not pretend.
#[test]
fn nothing_is_ready_that_is_not_built() {
    rtd_test(async |rtd| {
        let status = rtd.runtime.status(StatusRequest::default()).await.unwrap().into_inner().status.unwrap();
        let mut kinds: Vec<_> = status.conditions.iter().map(|condition| condition.r#type.as_str()).collect();
        kinds.sort_unstable();
        assert_eq!(kinds, ["NetworkReady", "RuntimeReady"]);
        assert!(status.conditions.iter().all(|condition| !condition.status && !condition.message.is_empty()));
        let config = rtd.runtime.runtime_config(RuntimeConfigRequest::default()).await.unwrap().into_inner();
        assert_eq!(config.linux.unwrap().cgroup_driver(), CgroupDriver::Cgroupfs);
        let pods = rtd.runtime.list_pod_sandbox(ListPodSandboxRequest::default()).await.unwrap_err();
        assert_eq!(pods.code(), Code::Unimplemented);
    });
}
