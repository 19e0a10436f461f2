//! Rules by table, and arbitrary messages.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proto::v1::{self, NamespaceMode, security_profile::ProfileType};
use runtime::spec::IdMapping;

use super::*;
use crate::pod::config::*;
use crate::selinux::Context;
use crate::server::encode;

fn pod_message() -> v1::PodSandboxConfig {
    let metadata =
        v1::PodSandboxMetadata { name: "web".into(), uid: "u1".into(), namespace: "default".into(), attempt: 2 };
    v1::PodSandboxConfig { metadata: Some(metadata), ..Default::default() }
}

fn container_message() -> v1::ContainerConfig {
    v1::ContainerConfig {
        metadata: Some(v1::ContainerMetadata { name: "app".into(), attempt: 1 }),
        image: Some(v1::ImageSpec { image: "busybox".into(), ..Default::default() }),
        ..Default::default()
    }
}

fn a_pod(change: impl FnOnce(&mut v1::PodSandboxConfig)) -> Result<PodConfig, Invalid> {
    let mut message = pod_message();
    change(&mut message);
    pod(message, String::new())
}

fn linux_pod(
    change: impl FnOnce(&mut v1::LinuxPodSandboxConfig, &mut v1::LinuxSandboxSecurityContext),
) -> Result<PodConfig, Invalid> {
    let (mut linux, mut security) = (v1::LinuxPodSandboxConfig::default(), v1::LinuxSandboxSecurityContext::default());
    change(&mut linux, &mut security);
    linux.security_context = Some(security);
    a_pod(|pod| pod.linux = Some(linux))
}

fn pod_in(options: v1::NamespaceOption) -> Result<PodConfig, Invalid> {
    linux_pod(|_, security| security.namespace_options = Some(options))
}

fn a_container(change: impl FnOnce(&mut v1::ContainerConfig)) -> Result<ContainerConfig, Invalid> {
    let mut message = container_message();
    change(&mut message);
    container(message, &pod(pod_message(), String::new())?)
}

fn secured_in(
    pod: &PodConfig,
    change: impl FnOnce(&mut v1::LinuxContainerSecurityContext),
) -> Result<ContainerConfig, Invalid> {
    let mut security = v1::LinuxContainerSecurityContext::default();
    change(&mut security);
    let linux = v1::LinuxContainerConfig { security_context: Some(security), resources: None };
    container(v1::ContainerConfig { linux: Some(linux), ..container_message() }, pod)
}

fn secured(change: impl FnOnce(&mut v1::LinuxContainerSecurityContext)) -> Result<ContainerConfig, Invalid> {
    secured_in(&pod(pod_message(), String::new())?, change)
}

fn field<T: std::fmt::Debug>(result: Result<T, Invalid>) -> String {
    result.expect_err("this must be refused").field
}

fn map<const N: usize>(pairs: [(&str, &str); N]) -> std::collections::HashMap<String, String> {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[test]
fn absent_parts_have_their_defaults() {
    let config = pod(pod_message(), "fast".to_owned()).expect("a name is enough");
    assert_eq!(config.handler, "fast");
    assert_eq!(config.metadata.attempt, 2);
    let namespaces = Namespaces { network: Scope::Pod, pid: PidScope::Pod, ipc: Scope::Pod, user: None };
    assert_eq!(config.namespaces, namespaces);
    assert_eq!((config.seccomp, config.apparmor, config.selinux, config.dns), (None, None, None, None));
    assert_eq!((config.log_directory, config.resources, config.overhead), (None, None, None));
    let full = linux_pod(|_, security| security.namespace_options = Some(v1::NamespaceOption::default()));
    assert_eq!(full.expect("empty messages").namespaces, namespaces);

    let config = a_container(|_| {}).expect("a name and an image are enough");
    assert_eq!(config.namespaces, None);
    assert_eq!(config.user, User::Image);
    assert_eq!((config.seccomp, config.apparmor, config.stop_signal, config.log_path), (None, None, None, None));
    assert_eq!(config.supplemental_groups_policy, GroupsPolicy::Merge);
    assert_eq!(config.resources, Resources::default());
    assert_eq!(config.capabilities, Capabilities::default());
}

#[test]
fn names_must_be_given() {
    assert_eq!(field(a_pod(|pod| pod.metadata = None)), "config.metadata");
    for (index, name) in ["name", "uid", "namespace"].into_iter().enumerate() {
        let result = a_pod(|pod| {
            let metadata = pod.metadata.as_mut().expect("given above");
            [&mut metadata.name, &mut metadata.uid, &mut metadata.namespace][index].clear();
        });
        assert_eq!(field(result), format!("config.metadata.{name}"));
    }
    assert_eq!(field(a_container(|c| c.metadata = None)), "config.metadata");
    assert_eq!(field(a_container(|c| c.metadata = Some(Default::default()))), "config.metadata.name");
    assert_eq!(field(a_container(|c| c.image = None)), "config.image");
    assert_eq!(field(a_container(|c| c.image = Some(Default::default()))), "config.image.image");
}

#[test]
fn host_names() {
    for (name, good) in [
        ("", true),
        ("web-0.example", true),
        (&*"a".repeat(64), true),
        (&*"a".repeat(65), false),
        ("a b", false),
        ("a\nb", false),
        ("a/b", false),
    ] {
        assert_eq!(a_pod(|pod| pod.hostname = name.into()).is_ok(), good, "{name:?}");
    }
}

#[test]
fn directories_and_files_of_logs() {
    let directory = |path: &str| a_pod(|pod| pod.log_directory = path.into()).map(|pod| pod.log_directory);
    assert_eq!(directory("/var/log/pods/x"), Ok(Some("/var/log/pods/x".into())));
    assert_eq!(directory(""), Ok(None));
    for wrong in ["logs", "/var/log/../../etc", "/a\0b", &format!("/{}", "a".repeat(256)), &"/a".repeat(2048)] {
        assert_eq!(field(directory(wrong)), "config.log_directory", "{wrong:?}");
    }
    let file = |path: &str| a_container(|c| c.log_path = path.into()).map(|c| c.log_path);
    assert_eq!(file("app/0.log"), Ok(Some("app/0.log".into())));
    assert_eq!(file("./0.log"), Ok(Some("./0.log".into())));
    for wrong in ["/etc/passwd", "../0.log", "app/../../0.log", ".", "a\0b"] {
        assert_eq!(field(file(wrong)), "config.log_path", "{wrong:?}");
    }
}

#[test]
fn resolvers() {
    let dns = |servers: &[&str]| {
        let servers = servers.iter().map(ToString::to_string).collect();
        a_pod(|pod| pod.dns_config = Some(v1::DnsConfig { servers, ..Default::default() })).map(|pod| pod.dns)
    };
    assert_eq!(dns(&[]), Ok(None));
    assert_eq!(dns(&["10.0.0.10"]).unwrap().unwrap().servers, ["10.0.0.10"]);
    assert_eq!(field(dns(&["10.0.0.10", "1.1.1.1\nsearch evil"])), "config.dns_config.servers[1]");
    assert_eq!(field(dns(&[""])), "config.dns_config.servers[0]");
}

#[test]
fn ports() {
    let port = |protocol, container_port, host_port, host_ip: &str| {
        let port = v1::PortMapping { protocol, container_port, host_port, host_ip: host_ip.into() };
        a_pod(|pod| pod.port_mappings = vec![port]).map(|pod| pod.ports[0].clone())
    };
    let expected = Port {
        protocol: Protocol::Udp,
        container_port: 53,
        host_port: Some(65535),
        host_ip: Some("::1".parse().expect("an address")),
    };
    assert_eq!(port(1, 53, 65535, "::1"), Ok(expected));
    let plain = Port { protocol: Protocol::Tcp, container_port: 80, host_port: None, host_ip: None };
    assert_eq!(port(0, 80, 0, ""), Ok(plain));
    let wrong = [
        (3, 80, 0, "", "protocol"),
        (0, 0, 0, "", "container_port"),
        (0, -1, 0, "", "container_port"),
        (0, 65536, 0, "", "container_port"),
        (0, 80, 65536, "", "host_port"),
        (0, 80, -80, "", "host_port"),
        (0, 80, 80, "localhost", "host_ip"),
    ];
    for (protocol, container_port, host_port, host_ip, name) in wrong {
        let refused = field(port(protocol, container_port, host_port, host_ip));
        assert_eq!(refused, format!("config.port_mappings[0].{name}"));
    }
}

#[test]
fn parents_of_cgroups() {
    for (parent, good) in [
        ("", true),
        ("/kubepods/burstable/pod1", true),
        ("/kubepods.slice/kubepods-pod1.slice", true),
        ("test.slice", true),
        (".slice", false),
        ("kubepods", false),
        ("a/b.slice", false),
        ("/a/../b", false),
        ("/a/./b", false),
        ("/a\0", false),
    ] {
        let result = linux_pod(|linux, _| linux.cgroup_parent = parent.into());
        assert_eq!(result.is_ok(), good, "{parent:?}");
        if !good {
            assert_eq!(field(result), "config.linux.cgroup_parent");
        }
    }
}

#[test]
fn kernel_parameters() {
    let sysctls = |pairs: &[(&str, &str)]| {
        let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        linux_pod(|linux, _| linux.sysctls = pairs).map(|pod| pod.sysctls.into_keys().collect::<Vec<_>>())
    };
    assert_eq!(sysctls(&[("kernel.shm_rmid_forced", "1")]), Ok(vec!["kernel.shm_rmid_forced".to_owned()]));
    assert_eq!(sysctls(&[("kernel/shm_rmid_forced", "1")]), Ok(vec!["kernel.shm_rmid_forced".to_owned()]));
    let dotted_link = Ok(vec!["net.ipv4.conf.eth0/1.forwarding".to_owned()]);
    assert_eq!(sysctls(&[("net/ipv4/conf/eth0.1/forwarding", "1")]), dotted_link);
    assert_eq!(sysctls(&[("net.ipv4.conf.eth0/1.forwarding", "1")]), dotted_link);
    for wrong in ["", "net", "net..ipv4", ".net", "net.", "net/../kernel/core_pattern", "net.ipv4/", "a.b\n"] {
        assert_eq!(field(sysctls(&[(wrong, "1")])), format!("config.linux.sysctls[{wrong:?}]"));
    }
    assert!(field(sysctls(&[("a.b", "1"), ("a/b", "2")])).starts_with("config.linux.sysctls["));
}

fn userns(mode: NamespaceMode, uids: &[(u32, u32, u32)], gids: &[(u32, u32, u32)]) -> v1::NamespaceOption {
    let list = |list: &[(u32, u32, u32)]| {
        let mapping = |&(container_id, host_id, length)| v1::IdMapping { host_id, container_id, length };
        list.iter().map(mapping).collect()
    };
    let userns = v1::UserNamespace { mode: mode as i32, uids: list(uids), gids: list(gids) };
    v1::NamespaceOption { userns_options: Some(userns), ..Default::default() }
}

#[test]
fn namespaces_of_pods() {
    let option = |network, pid, ipc| v1::NamespaceOption { network, pid, ipc, ..Default::default() };
    let (pod, container, node, target) = (0, 1, 2, 3);
    let decoded = pod_in(option(node, container, node)).expect("as the kubelet asks").namespaces;
    assert_eq!(decoded, Namespaces { network: Scope::Node, pid: PidScope::Container, ipc: Scope::Node, user: None });
    let path = |name: &str| format!("config.linux.security_context.namespace_options.{name}");
    for wrong in [container, target, 4, -1] {
        assert_eq!(field(pod_in(option(wrong, pod, pod))), path("network"));
        assert_eq!(field(pod_in(option(pod, pod, wrong))), path("ipc"));
    }
    assert_eq!(field(pod_in(option(pod, target, pod))), path("pid"));
    assert_eq!(field(pod_in(v1::NamespaceOption { target_id: "x".into(), ..Default::default() })), path("target_id"));
}

#[test]
fn user_namespaces() {
    let one = [(0, 100_000, 65536)];
    let maps = IdMapping { container_id: 0, host_id: 100_000, size: 65536 };
    let decoded = pod_in(userns(NamespaceMode::Pod, &one, &one)).expect("one mapping each").namespaces.user;
    assert_eq!(decoded, Some(UserMaps { uids: maps, gids: maps }));
    assert_eq!(pod_in(userns(NamespaceMode::Node, &[], &[])).expect("the node's").namespaces.user, None);
    type Lines<'a> = &'a [(u32, u32, u32)];
    let wrong: &[(NamespaceMode, Lines<'_>, Lines<'_>, &str)] = &[
        (NamespaceMode::Container, &[], &[], "mode"),
        (NamespaceMode::Target, &[], &[], "mode"),
        (NamespaceMode::Node, &one, &one, "mode"),
        (NamespaceMode::Pod, &[], &one, "uids"),
        (NamespaceMode::Pod, &one, &[], "gids"),
        (NamespaceMode::Pod, &[(0, 1, 1), (1, 2, 1)], &one, "uids"),
        (NamespaceMode::Pod, &[(1, 1, 1)], &one, "uids"),
        (NamespaceMode::Pod, &[(0, 1, 0)], &one, "uids[0].length"),
        (NamespaceMode::Pod, &[(0, u32::MAX, 2)], &one, "uids[0].host_id"),
    ];
    for (mode, uids, gids, name) in wrong {
        let path = format!("config.linux.security_context.namespace_options.userns_options.{name}");
        assert_eq!(field(pod_in(userns(*mode, uids, gids))), path, "{mode:?} {uids:?} {gids:?}");
    }
}

#[test]
fn containers_agree_with_their_pods() {
    let option = |network, pid, ipc| v1::NamespaceOption { network, pid, ipc, ..Default::default() };
    let (own, container, node) = (0, 1, 2);
    let inside = |pod: &v1::NamespaceOption, wanted: v1::NamespaceOption| {
        let pod = pod_in(pod.clone()).expect("a pod");
        secured_in(&pod, |security| security.namespace_options = Some(wanted)).map(|c| c.namespaces.expect("given"))
    };
    let name = |result: Result<Namespaces, Invalid>| {
        field(result).strip_prefix("config.linux.security_context.namespace_options.").map(str::to_owned)
    };
    // What the pod has is what POD means.
    let shared = inside(&option(node, node, node), option(own, own, own)).expect("all the node's");
    assert_eq!(shared, Namespaces { network: Scope::Node, pid: PidScope::Node, ipc: Scope::Node, user: None });
    let apart = inside(&option(own, own, own), option(own, container, own)).expect("its own processes");
    assert_eq!(apart.pid, PidScope::Container);
    assert_eq!(name(inside(&option(own, own, own), option(node, own, own))).as_deref(), Some("network"));
    assert_eq!(name(inside(&option(own, own, own), option(own, own, node))).as_deref(), Some("ipc"));
    assert_eq!(name(inside(&option(own, own, own), option(own, node, own))).as_deref(), Some("pid"));
    assert_eq!(name(inside(&option(own, container, own), option(own, own, own))).as_deref(), Some("pid"));
    // The namespace of another container.
    let target = |id: &str| v1::NamespaceOption { target_id: id.into(), ..option(own, 3, own) };
    let joined = inside(&option(own, container, own), target("abc")).expect("the other's");
    assert_eq!(joined.pid, PidScope::Target("abc".to_owned()));
    assert_eq!(name(inside(&option(own, own, own), target(""))).as_deref(), Some("target_id"));
    let stray = v1::NamespaceOption { target_id: "abc".into(), ..option(own, own, own) };
    assert_eq!(name(inside(&option(own, own, own), stray)).as_deref(), Some("target_id"));
    // One user namespace for all.
    let (mine, other) = ([(0, 100_000, 65536)], [(0, 200_000, 65536)]);
    let mapped = userns(NamespaceMode::Pod, &mine, &mine);
    assert!(inside(&mapped, mapped.clone()).expect("the same").user.is_some());
    assert!(inside(&mapped, option(own, own, own)).expect("not given").user.is_some());
    for wrong in [userns(NamespaceMode::Node, &[], &[]), userns(NamespaceMode::Pod, &other, &mine)] {
        assert_eq!(name(inside(&mapped, wrong)).as_deref(), Some("userns_options"));
    }
    assert_eq!(name(inside(&option(own, own, own), mapped)).as_deref(), Some("userns_options"));
}

#[test]
fn privileged_containers_need_privileged_pods() {
    assert_eq!(field(secured(|security| security.privileged = true)), "config.linux.security_context.privileged");
    let pod = linux_pod(|_, security| security.privileged = true).expect("a pod");
    assert!(secured_in(&pod, |security| security.privileged = true).expect("allowed").privileged);
}

#[test]
fn users_and_groups() {
    let id = |value| Some(v1::Int64Value { value });
    let user = |uid: Option<i64>, gid: Option<i64>, name: &str| {
        secured(|security| {
            security.run_as_user = uid.and_then(id);
            security.run_as_group = gid.and_then(id);
            security.run_as_username = name.into();
        })
        .map(|config| config.user)
    };
    assert_eq!(user(None, None, ""), Ok(User::Image));
    assert_eq!(user(Some(0), None, ""), Ok(User::Id { uid: 0, gid: None }));
    assert_eq!(user(Some(1000), Some(0), ""), Ok(User::Id { uid: 1000, gid: Some(0) }));
    assert_eq!(user(None, Some(5), "nobody"), Ok(User::Name { name: "nobody".into(), gid: Some(5) }));
    let path = |name: &str| format!("config.linux.security_context.{name}");
    assert_eq!(field(user(Some(1), None, "nobody")), path("run_as_username"));
    assert_eq!(field(user(None, None, "nobody:root")), path("run_as_username"));
    assert_eq!(field(user(None, Some(1), "")), path("run_as_group"));
    for wrong in [-1, 1 << 31, i64::MAX] {
        assert_eq!(field(user(Some(wrong), None, "")), path("run_as_user"));
        assert_eq!(field(user(Some(1), Some(wrong), "")), path("run_as_group"));
        let groups = secured(|security| security.supplemental_groups = vec![1, wrong]);
        assert_eq!(field(groups), path("supplemental_groups[1]"));
    }
    assert_eq!(field(secured(|s| s.supplemental_groups_policy = 2)), path("supplemental_groups_policy"));
    let strict = secured(|s| s.supplemental_groups_policy = 1).expect("a policy");
    assert_eq!(strict.supplemental_groups_policy, GroupsPolicy::Strict);
    // Of the pod nothing runs, but what makes no sense is refused all the same.
    assert_eq!(field(linux_pod(|_, s| s.run_as_group = id(1))), path("run_as_group"));
}

fn security_profile(kind: ProfileType, reference: &str) -> Option<v1::SecurityProfile> {
    Some(v1::SecurityProfile { profile_type: kind as i32, localhost_ref: reference.to_owned() })
}

#[test]
#[allow(deprecated, reason = "the old fields count, too")]
fn seccomp_profiles() {
    let seccomp = |message: Option<v1::SecurityProfile>, old: &str| {
        secured(|security| {
            security.seccomp = message;
            security.seccomp_profile_path = old.into();
        })
        .map(|config| config.seccomp)
    };
    let localhost = Some(Profile::Localhost("/p.json".to_owned()));
    assert_eq!(seccomp(None, ""), Ok(None));
    assert_eq!(seccomp(Some(Default::default()), ""), Ok(Some(Profile::RuntimeDefault)));
    assert_eq!(
        seccomp(security_profile(ProfileType::Unconfined, ""), "runtime/default"),
        Ok(Some(Profile::Unconfined))
    );
    assert_eq!(seccomp(security_profile(ProfileType::Localhost, "/p.json"), ""), Ok(localhost.clone()));
    assert_eq!(seccomp(security_profile(ProfileType::Localhost, "localhost//p.json"), ""), Ok(localhost.clone()));
    assert_eq!(seccomp(None, "localhost//p.json"), Ok(localhost));
    assert_eq!(seccomp(None, "runtime/default"), Ok(Some(Profile::RuntimeDefault)));
    assert_eq!(seccomp(None, "docker/default"), Ok(Some(Profile::RuntimeDefault)));
    assert_eq!(seccomp(None, "unconfined"), Ok(Some(Profile::Unconfined)));
    let path = |name: &str| format!("config.linux.security_context.{name}");
    let wrong = [
        (security_profile(ProfileType::Localhost, ""), "", "seccomp.localhost_ref"),
        (security_profile(ProfileType::Localhost, "p.json"), "", "seccomp.localhost_ref"),
        (security_profile(ProfileType::RuntimeDefault, "/p.json"), "", "seccomp.localhost_ref"),
        (Some(v1::SecurityProfile { profile_type: 3, ..Default::default() }), "", "seccomp.profile_type"),
        (None, "localhost/p.json", "seccomp_profile_path"),
        (None, "localhost/", "seccomp_profile_path"),
        (None, "/p.json", "seccomp_profile_path"),
    ];
    for (message, old, name) in wrong {
        assert_eq!(field(seccomp(message, old)), path(name), "{old:?}");
    }
}

#[test]
#[allow(deprecated, reason = "the old fields count, too")]
fn apparmor_profiles() {
    let apparmor = |message: Option<v1::SecurityProfile>, old: &str| {
        secured(|security| {
            security.apparmor = message;
            security.apparmor_profile = old.into();
        })
        .map(|config| config.apparmor)
    };
    let localhost = Some(Profile::Localhost("k8s".to_owned()));
    assert_eq!(apparmor(None, ""), Ok(None));
    assert_eq!(apparmor(security_profile(ProfileType::Localhost, "k8s"), "unconfined"), Ok(localhost.clone()));
    assert_eq!(apparmor(security_profile(ProfileType::Localhost, "localhost/k8s"), ""), Ok(localhost.clone()));
    assert_eq!(apparmor(None, "localhost/k8s"), Ok(localhost));
    assert_eq!(apparmor(None, "unconfined"), Ok(Some(Profile::Unconfined)));
    assert_eq!(apparmor(security_profile(ProfileType::RuntimeDefault, ""), ""), Ok(Some(Profile::RuntimeDefault)));
    assert_eq!(field(apparmor(None, "k8s")), "config.linux.security_context.apparmor_profile");
}

#[test]
fn selinux_contexts() {
    let selinux = |kind: &str, level: &str| {
        let message = v1::SeLinuxOption { r#type: kind.into(), level: level.into(), ..Default::default() };
        secured(|security| security.selinux_options = Some(message)).map(|config| config.selinux)
    };
    assert_eq!(selinux("", ""), Ok(None));
    let context = Context { kind: "container_t".into(), level: "s0:c1,c2".into(), ..Context::default() };
    assert_eq!(selinux("container_t", "s0:c1,c2"), Ok(Some(context)));
    assert_eq!(field(selinux("a:b", "")), "config.linux.security_context.selinux_options.type");
    for level in ["s0 c1", "s0,c4,c5", "s0:", "s0:c1,", "s0:c1.c2.c3", "s0-s0-s0", "s", "c1", "s0:c12345"] {
        assert_eq!(field(selinux("", level)), "config.linux.security_context.selinux_options.level", "{level}");
    }
    for level in ["s0", "s0-s0:c0.c1023", "s0:c1", "s15:c1,c3.c5"] {
        assert_eq!(selinux("", level).unwrap().unwrap().level, level);
    }
}

#[test]
fn capability_names() {
    let capabilities = |add: &[&str], drop: &[&str], ambient: &[&str]| {
        let list = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        let message = v1::Capability {
            add_capabilities: list(add),
            drop_capabilities: list(drop),
            add_ambient_capabilities: list(ambient),
        };
        secured(|security| security.capabilities = Some(message)).map(|config| config.capabilities)
    };
    let decoded = capabilities(&["NET_ADMIN", "CAP_SYS_TIME"], &["all"], &["net_raw"]).expect("names");
    assert_eq!(decoded.add, ["NET_ADMIN", "CAP_SYS_TIME"]);
    let path = |name: &str| format!("config.linux.security_context.capabilities.{name}");
    assert_eq!(field(capabilities(&["CHOWN", "NOPE"], &[], &[])), path("add_capabilities[1]"));
    assert_eq!(field(capabilities(&[], &["CAP_"], &[])), path("drop_capabilities[0]"));
    assert_eq!(field(capabilities(&[], &[], &["ALL"])), path("add_ambient_capabilities[0]"));
}

#[test]
fn mounts() {
    let base = || v1::Mount { container_path: "/data".into(), host_path: "/srv".into(), ..Default::default() };
    let image = || Some(v1::ImageSpec { image: "busybox".into(), ..Default::default() });
    let mount = |message: v1::Mount| a_container(|c| c.mounts = vec![message]).map(|c| c.mounts[0].clone());
    let plain = mount(base()).expect("a bind mount");
    assert_eq!(plain.source, MountSource::Host("/srv".into()));
    assert_eq!((plain.propagation, plain.readonly), (Propagation::Private, false));
    let volume = v1::Mount { host_path: String::new(), image: image(), readonly: true, ..base() };
    let sub = mount(v1::Mount { image_sub_path: "etc/x".into(), ..volume.clone() }).expect("an image mount");
    let MountSource::Image { image: name, sub_path } = sub.source else { panic!("an image") };
    assert_eq!((name.image.as_str(), sub_path.as_str()), ("busybox", "etc/x"));
    assert!(mount(v1::Mount { readonly: true, recursive_read_only: true, ..base() }).expect("rro").recursive_read_only);
    let mapping = v1::IdMapping { host_id: 5, container_id: 0, length: 1 };
    let wrong = [
        (v1::Mount { container_path: "data".into(), ..base() }, "container_path"),
        (v1::Mount { container_path: String::new(), ..base() }, "container_path"),
        (v1::Mount { host_path: "srv".into(), ..base() }, "host_path"),
        (v1::Mount { host_path: String::new(), ..base() }, "host_path"),
        (v1::Mount { host_path: "/a\0b".into(), ..base() }, "host_path"),
        (v1::Mount { image: image(), ..base() }, "image"),
        (v1::Mount { readonly: false, ..volume.clone() }, "readonly"),
        (v1::Mount { image: Some(Default::default()), ..volume.clone() }, "image.image"),
        (v1::Mount { image_sub_path: "../x".into(), ..volume.clone() }, "image_sub_path"),
        (v1::Mount { image_sub_path: "/x".into(), ..volume }, "image_sub_path"),
        (v1::Mount { image_sub_path: "x".into(), ..base() }, "image_sub_path"),
        (v1::Mount { propagation: 3, ..base() }, "propagation"),
        (v1::Mount { recursive_read_only: true, ..base() }, "recursive_read_only"),
        (v1::Mount { recursive_read_only: true, readonly: true, propagation: 1, ..base() }, "recursive_read_only"),
        (v1::Mount { uid_mappings: vec![mapping], ..base() }, "gidMappings"),
        (v1::Mount { mount_options: vec!["noexec".into(), "ro".into()], ..base() }, "mount_options[1]"),
        (v1::Mount { mount_options: vec!["noexec".into(), "exec".into()], ..base() }, "mount_options"),
    ];
    for (message, name) in wrong {
        assert_eq!(field(mount(message)), format!("config.mounts[0].{name}"));
    }
}

#[test]
fn devices() {
    let device = |container: &str, host: &str, permissions: &str| {
        let message =
            v1::Device { container_path: container.into(), host_path: host.into(), permissions: permissions.into() };
        a_container(|c| c.devices = vec![message])
    };
    assert_eq!(device("/dev/x", "/dev/null", "mr").expect("a device").devices[0].permissions, "mr");
    for wrong in ["", "x", "rr", "rwmr"] {
        assert_eq!(field(device("/dev/x", "/dev/null", wrong)), "config.devices[0].permissions", "{wrong}");
    }
    assert_eq!(field(device("x", "/dev/null", "r")), "config.devices[0].container_path");
    assert_eq!(field(device("/dev/x", "", "r")), "config.devices[0].host_path");
    let cdi = |name: &str| a_container(|c| c.cdi_devices = vec![v1::CdiDevice { name: name.into() }]);
    assert_eq!(cdi("vendor.com/gpu=0").expect("a name").cdi_devices, ["vendor.com/gpu=0"]);
    assert_eq!(field(cdi("gpu0")), "config.CDI_devices[0].name");
}

#[test]
fn environments() {
    let env = |key: &str, value: &[u8]| {
        a_container(|c| c.envs = vec![v1::KeyValue { key: key.into(), value: value.to_vec() }]).map(|c| c.envs)
    };
    assert_eq!(env("A", b"x=\xff\n"), Ok(vec![("A".to_owned(), b"x=\xff\n".to_vec())]));
    assert!(env("odd name-1.2", b"").is_ok());
    assert_eq!(field(env("", b"")), "config.envs[0].key");
    assert_eq!(field(env("A=B", b"")), "config.envs[0].key");
    assert_eq!(field(env("A", b"\0")), "config.envs[0].value");
}

#[test]
fn limits() {
    let good = v1::LinuxContainerResources {
        cpu_period: 100_000,
        cpu_quota: -1,
        cpu_shares: 512,
        memory_limit_in_bytes: 1 << 20,
        memory_swap_limit_in_bytes: 1 << 21,
        oom_score_adj: -998,
        cpuset_cpus: "0-3,7".into(),
        hugepage_limits: vec![v1::HugepageLimit { page_size: "2MB".into(), limit: 0 }],
        unified: map([("memory.high", "max"), ("hugetlb.2MB.max", "0")]),
        ..Default::default()
    };
    let decoded = resources(good).expect("limits");
    assert_eq!(decoded.hugepage_limits, [("2MB".to_owned(), 0)]);
    assert_eq!((decoded.cpu_quota, decoded.memory_limit), (-1, 1 << 20));
    let base = v1::LinuxContainerResources::default;
    let huge = |size: &str| v1::HugepageLimit { page_size: size.into(), limit: 1 };
    let wrong = [
        (v1::LinuxContainerResources { cpu_period: -1, ..base() }, "cpu_period"),
        (v1::LinuxContainerResources { cpu_shares: -1, ..base() }, "cpu_shares"),
        (v1::LinuxContainerResources { memory_limit_in_bytes: -2, ..base() }, "memory_limit_in_bytes"),
        (
            v1::LinuxContainerResources { memory_limit_in_bytes: 2, memory_swap_limit_in_bytes: 1, ..base() },
            "memory_swap_limit_in_bytes",
        ),
        (v1::LinuxContainerResources { oom_score_adj: 1001, ..base() }, "oom_score_adj"),
        (v1::LinuxContainerResources { cpuset_cpus: "3-0".into(), ..base() }, "cpuset_cpus"),
        (v1::LinuxContainerResources { cpuset_cpus: "0,".into(), ..base() }, "cpuset_cpus"),
        (v1::LinuxContainerResources { cpuset_mems: "+1".into(), ..base() }, "cpuset_mems"),
        (v1::LinuxContainerResources { hugepage_limits: vec![huge("2M")], ..base() }, "hugepage_limits[0].page_size"),
        (v1::LinuxContainerResources { hugepage_limits: vec![huge("2MB"), huge("2MB")], ..base() }, "hugepage_limits"),
        (v1::LinuxContainerResources { unified: map([("../x.y", "1")]), ..base() }, "unified"),
        (v1::LinuxContainerResources { unified: map([("cgroup.procs", "1")]), ..base() }, "unified"),
        (v1::LinuxContainerResources { unified: map([("memory", "1")]), ..base() }, "unified"),
    ];
    for (message, name) in wrong {
        assert_eq!(field(resources(message.clone())), name);
        let inside = v1::LinuxContainerConfig { resources: Some(message), security_context: None };
        assert_eq!(field(a_container(|c| c.linux = Some(inside))), format!("config.linux.resources.{name}"));
    }
}

#[test]
fn commands_and_paths() {
    assert_eq!(field(a_container(|c| c.command = vec!["a".into(), "b\0".into()])), "config.command[1]");
    assert_eq!(field(a_container(|c| c.args = vec!["\0".into()])), "config.args[0]");
    assert_eq!(field(a_container(|c| c.working_dir = "srv".into())), "config.working_dir");
    assert_eq!(field(a_container(|c| c.stop_signal = 99)), "config.stop_signal");
    assert_eq!(a_container(|c| c.stop_signal = v1::Signal::Sigusr1 as i32).expect("a signal").stop_signal, Some(10));
    let masked = secured(|security| security.masked_paths = vec!["/proc/kcore".into(), "proc".into()]);
    assert_eq!(field(masked), "config.linux.security_context.masked_paths[1]");
}

/// Texts that mean something somewhere.
fn word() -> impl Strategy<Value = String> {
    let known = proptest::sample::select(vec![
        "",
        "/",
        "/a",
        "a",
        "..",
        "../a",
        "a/../b",
        "/a/..",
        "localhost/",
        "localhost//p",
        "unconfined",
        "runtime/default",
        "0-3",
        "2MB",
        "memory.high",
        "cgroup.procs",
        "net.ipv4.x",
        "net/a.b/c",
        "x.slice",
        "ALL",
        "CAP_KILL",
        "kill",
        "rwm",
        "noexec",
        "exec",
        "v.com/c=0",
        "127.0.0.1",
        "::1",
        "\0",
    ]);
    prop_oneof![3 => known.prop_map(str::to_owned), 1 => ".{0,12}"]
}

fn words() -> impl Strategy<Value = Vec<String>> {
    proptest::collection::vec(word(), 0..3)
}

fn number() -> impl Strategy<Value = i64> {
    prop_oneof![4 => -3_i64..70, 1 => any::<i64>()]
}

fn mapping_list() -> impl Strategy<Value = Vec<v1::IdMapping>> {
    let id = || prop_oneof![3 => 0_u32..3, 1 => any::<u32>()];
    let mapping = (id(), id(), id());
    let mapping = mapping.prop_map(|(host_id, container_id, length)| v1::IdMapping { host_id, container_id, length });
    proptest::collection::vec(mapping, 0..3)
}

prop_compose! {
    fn namespaces_message()(
        modes in proptest::array::uniform4(-1_i32..5),
        target_id in word(),
        user in any::<bool>(),
        uids in mapping_list(),
        gids in mapping_list(),
    ) -> v1::NamespaceOption {
        let [network, pid, ipc, mode] = modes;
        let userns_options = user.then_some(v1::UserNamespace { mode, uids, gids });
        v1::NamespaceOption { network, pid, ipc, target_id, userns_options }
    }
}

prop_compose! {
    fn resources_message()(
        numbers in proptest::array::uniform6(number()),
        cpuset_cpus in word(),
        cpuset_mems in word(),
        pages in proptest::collection::vec((word(), any::<u64>()), 0..3),
        unified in proptest::collection::hash_map(word(), word(), 0..3),
    ) -> v1::LinuxContainerResources {
        let [cpu_period, cpu_quota, cpu_shares, memory_limit_in_bytes, oom_score_adj, memory_swap_limit_in_bytes] = numbers;
        let page = |(page_size, limit)| v1::HugepageLimit { page_size, limit };
        v1::LinuxContainerResources {
            cpu_period, cpu_quota, cpu_shares, memory_limit_in_bytes, oom_score_adj, cpuset_cpus, cpuset_mems,
            hugepage_limits: pages.into_iter().map(page).collect(),
            unified, memory_swap_limit_in_bytes,
        }
    }
}

prop_compose! {
    fn mount_message()(
        texts in proptest::array::uniform4(word()),
        flags in proptest::array::uniform4(any::<bool>()),
        propagation in -1_i32..4,
        uid_mappings in mapping_list(),
        gid_mappings in mapping_list(),
        mount_options in words(),
    ) -> v1::Mount {
        let [container_path, host_path, image, image_sub_path] = texts;
        let [readonly, selinux_relabel, recursive_read_only, of_image] = flags;
        let image = of_image.then(|| v1::ImageSpec { image, ..Default::default() });
        v1::Mount {
            container_path, host_path, readonly, selinux_relabel, propagation, uid_mappings, gid_mappings,
            recursive_read_only, image, image_sub_path, mount_options,
        }
    }
}

prop_compose! {
    fn profile_message()(profile_type in -1_i32..4, localhost_ref in word()) -> v1::SecurityProfile {
        v1::SecurityProfile { profile_type, localhost_ref }
    }
}

prop_compose! {
    #[allow(deprecated, reason = "the old fields count, too")]
    fn container_security()(
        namespace_options in proptest::option::of(namespaces_message()),
        ids in proptest::array::uniform3(proptest::option::of(number())),
        texts in proptest::array::uniform3(word()),
        lists in proptest::array::uniform5(words()),
        seccomp in proptest::option::of(profile_message()),
        apparmor in proptest::option::of(profile_message()),
        privileged in any::<bool>(),
        supplemental_groups_policy in -1_i32..3,
    ) -> v1::LinuxContainerSecurityContext {
        let [uid, gid, group] = ids;
        let id = |value: Option<i64>| value.map(|value| v1::Int64Value { value });
        let [run_as_username, apparmor_profile, seccomp_profile_path] = texts;
        let [masked_paths, readonly_paths, add_capabilities, drop_capabilities, add_ambient_capabilities] = lists;
        v1::LinuxContainerSecurityContext {
            capabilities: Some(v1::Capability { add_capabilities, drop_capabilities, add_ambient_capabilities }),
            privileged, namespace_options, run_as_user: id(uid), run_as_group: id(gid), run_as_username,
            supplemental_groups: group.into_iter().collect(), supplemental_groups_policy, masked_paths, readonly_paths,
            seccomp, apparmor, apparmor_profile, seccomp_profile_path,
            ..Default::default()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn namespaces_round_trip(message in namespaces_message()) {
        if let Ok(decoded) = namespace::of_pod(Some(message)) {
            prop_assert_eq!(namespace::of_pod(Some(encode::namespace_options(&decoded))), Ok(decoded));
        }
    }

    #[test]
    fn resources_round_trip(message in resources_message()) {
        if let Ok(decoded) = resources(message.clone()) {
            let encoded = encode::resources(&decoded);
            prop_assert_eq!(&encoded, &message);
            prop_assert_eq!(resources(encoded), Ok(decoded));
        }
    }

    #[test]
    fn mounts_round_trip(message in mount_message()) {
        if let Ok(decoded) = mount::mount(message.clone()) {
            prop_assert_eq!(&encode::mount(&decoded, ""), &message);
        }
    }

    #[test]
    fn signals_round_trip(signal in 1_i32..=65) {
        let number = signal::number("s", signal).expect("a signal").expect("one of Linux");
        let told = encode::stop_signal(number);
        prop_assert_eq!(signal::number("s", told), Ok(Some(number)));
    }

    /// Nothing panics, and every refusal names a field.
    #[test]
    fn pods(
        texts in proptest::array::uniform6(word()),
        port in proptest::array::uniform3(-1_i32..70000),
        namespace_options in proptest::option::of(namespaces_message()),
        limits in proptest::option::of(resources_message()),
        sysctls in proptest::collection::hash_map(word(), word(), 0..3),
        words in words(),
    ) {
        let [name, hostname, log_directory, host_ip, cgroup_parent, handler] = texts;
        let [protocol, container_port, host_port] = port;
        let security = v1::LinuxSandboxSecurityContext { namespace_options, ..Default::default() };
        let message = v1::PodSandboxConfig {
            metadata: Some(v1::PodSandboxMetadata { name: name.clone(), uid: name.clone(), namespace: name, attempt: 0 }),
            hostname, log_directory,
            dns_config: Some(v1::DnsConfig { servers: words, ..Default::default() }),
            port_mappings: vec![v1::PortMapping { protocol, container_port, host_port, host_ip }],
            linux: Some(v1::LinuxPodSandboxConfig {
                cgroup_parent, sysctls, resources: limits, security_context: Some(security), ..Default::default()
            }),
            ..Default::default()
        };
        if let Err(error) = pod(message, handler) {
            prop_assert!(error.field.starts_with("config."), "{}", error);
        }
    }

    #[test]
    fn containers(
        texts in proptest::array::uniform5(word()),
        command in words(),
        security in container_security(),
        mounts in proptest::collection::vec(mount_message(), 0..2),
        limits in proptest::option::of(resources_message()),
        stop_signal in -1_i32..70,
        shared in namespaces_message(),
    ) {
        let [name, image, log_path, working_dir, device] = texts;
        let message = v1::ContainerConfig {
            metadata: Some(v1::ContainerMetadata { name: name.clone(), attempt: 0 }),
            image: Some(v1::ImageSpec { image, ..Default::default() }),
            args: command.clone(), command, working_dir, log_path, mounts, stop_signal,
            envs: vec![v1::KeyValue { key: name.clone(), value: name.clone().into_bytes() }],
            devices: vec![v1::Device { container_path: device.clone(), host_path: device.clone(), permissions: name }],
            cdi_devices: vec![v1::CdiDevice { name: device }],
            linux: Some(v1::LinuxContainerConfig { resources: limits, security_context: Some(security) }),
            ..Default::default()
        };
        let pod = pod_in(shared).or_else(|_| pod(pod_message(), String::new())).expect("a pod");
        match container(message, &pod) {
            Ok(config) => prop_assert!(config.log_path.is_none_or(|path| !path.starts_with("/"))),
            Err(error) => prop_assert!(error.field.starts_with("config."), "{}", error),
        }
    }
}

#[test]
fn messages_name_field_and_rule() {
    let error = linux_pod(|linux, _| linux.cgroup_parent = "kubepods".into()).unwrap_err();
    let expected = "config.linux.cgroup_parent: \"kubepods\" must be an absolute path, or a slice such as name.slice";
    assert_eq!(error.to_string(), expected);
    let kept: BTreeMap<String, String> =
        a_pod(|pod| pod.annotations = map([("a/b", " \n\u{1F980}")])).unwrap().annotations;
    assert_eq!(kept["a/b"], " \n\u{1F980}");
}
