//! What plugins and the host's files give.

use cri::network::cni;
use cri::spec::{Families, ResolvConf};

pub(crate) fn cni_config(data: &[u8]) {
    for network in [cni::parse_list(data), cni::parse_single(data)].into_iter().flatten() {
        assert!(!network.versions.is_empty());
        assert!(network.plugins.iter().all(|plugin| !plugin.kind.as_str().contains('/')));
    }
}

pub(crate) fn cni_result(data: &[u8]) {
    cni::fuzz::result(data);
}

pub(crate) fn resolv_conf(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let conf = ResolvConf::parse(text);
    let again = ResolvConf::parse(&conf.to_string());
    assert_eq!(again, conf);
    for families in [Families::Ipv4, Families::Both] {
        conf.clone().retain_reachable(families);
    }
}
