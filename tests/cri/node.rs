//! The runtime as a whole.

use proto::v1::{CgroupDriver, RuntimeConfigRequest, StatusRequest, VersionRequest};
use tests::rtd_test;

#[test]
fn version_is_what_a_kubelet_accepts() {
    rtd_test(async |rtd| {
        let answer = rtd.runtime.version(VersionRequest::default()).await.unwrap().into_inner();
        assert_eq!((answer.version.as_str(), answer.runtime_name.as_str()), ("0.1.0", "rtd"));
        assert_eq!(answer.runtime_api_version, "v1");
        assert_eq!(answer.runtime_version.split('.').count(), 3, "{}", answer.runtime_version);
    });
}

/// Without plugins there is the built-in bridge, so that pods can be made at once.
#[test]
fn a_bare_node_is_ready() {
    rtd_test(async |rtd| {
        let answer = rtd.runtime.status(StatusRequest { verbose: true }).await.unwrap().into_inner();
        let conditions = answer.status.unwrap().conditions;
        let kinds: Vec<_> = conditions.iter().map(|condition| (condition.r#type.as_str(), condition.status)).collect();
        assert_eq!(kinds, [("RuntimeReady", true), ("NetworkReady", true)], "{conditions:?}");
        let names: Vec<_> = answer.runtime_handlers.iter().map(|handler| handler.name.as_str()).collect();
        let other = tests::handler();
        let mut expected = vec!["", "rt"];
        expected.extend([other.as_str()].into_iter().filter(|name| !name.is_empty()));
        assert_eq!(names, expected);
        let config: serde_json::Value = serde_json::from_str(&answer.info["config"]).unwrap();
        assert_eq!(config["network"]["by"], "bridge");
        let config = rtd.runtime.runtime_config(RuntimeConfigRequest::default()).await.unwrap().into_inner();
        assert_eq!(config.linux.unwrap().cgroup_driver(), CgroupDriver::Cgroupfs);
    });
}
