//! What becomes of what was asked for, rule by rule.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use caps::Capability;
use runtime::spec::{IdMapping, Mount, NamespaceKind, Process, Rlimit, Spec};
use shim::layout::{Ends, ImageMount, Layers, LogFile, LogTarget, Stdin};

use super::super::config::*;
use super::super::error::Error;
use super::container::log_path;
use super::{ContainerInput, Defaults, ResolvedMount, Runner, container, resources, sandbox};
use crate::image::identity::Identity;
use crate::selinux::{Context, Labels};
use crate::spec::cdi::Edits;
use crate::spec::{CgroupMode, DEFAULT_CAPABILITIES, DeviceNode, DeviceRequest, Host, Image, NodeKind};

const MAPS: UserMaps = UserMaps {
    uids: IdMapping { container_id: 0, host_id: 100_000, size: 65536 },
    gids: IdMapping { container_id: 0, host_id: 200_000, size: 65536 },
};

fn pod() -> PodConfig {
    PodConfig {
        metadata: PodMetadata { name: "web".into(), uid: "u".into(), namespace: "n".into(), attempt: 0 },
        hostname: "web-0".into(),
        log_directory: Some("/logs".into()),
        dns: None,
        ports: Vec::new(),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        handler: String::new(),
        cgroup_parent: "/kubepods/pod1".into(),
        sysctls: BTreeMap::new(),
        overhead: None,
        resources: None,
        namespaces: Namespaces { network: Scope::Pod, pid: PidScope::Container, ipc: Scope::Pod, user: None },
        privileged: true,
        selinux: None,
        seccomp: None,
        apparmor: None,
    }
}

fn config() -> ContainerConfig {
    ContainerConfig {
        metadata: ContainerMetadata { name: "app".into(), attempt: 0 },
        image: ImageSpec { image: "busybox".into(), ..ImageSpec::default() },
        command: Vec::new(),
        args: Vec::new(),
        working_dir: String::new(),
        envs: Vec::new(),
        mounts: Vec::new(),
        devices: Vec::new(),
        cdi_devices: Vec::new(),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        log_path: Some("app/0.log".into()),
        stdin: false,
        stdin_once: false,
        tty: false,
        stop_signal: None,
        resources: Resources::default(),
        capabilities: Capabilities::default(),
        privileged: false,
        namespaces: None,
        selinux: None,
        user: User::Image,
        readonly_rootfs: false,
        supplemental_groups: Vec::new(),
        supplemental_groups_policy: GroupsPolicy::Merge,
        no_new_privs: false,
        masked_paths: Vec::new(),
        readonly_paths: Vec::new(),
        seccomp: None,
        apparmor: None,
    }
}

/// What a container is made from; the tests change parts.
struct Case {
    pod: PodConfig,
    config: ContainerConfig,
    image: Image,
    identity: Identity,
    host: Host,
    mounts: Vec<ResolvedMount>,
    volumes: Vec<(String, PathBuf)>,
    devices: Vec<DeviceRequest>,
    seccomp: Option<String>,
    labels: Option<Labels>,
    target_pid: Option<i32>,
    defaults: Defaults,
}

fn case() -> Case {
    let words = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect();
    Case {
        pod: pod(),
        config: config(),
        image: Image { entrypoint: words(&["/entry"]), cmd: words(&["cmd"]), env: words(&["A=1"]), ..Image::default() },
        identity: Identity { uid: 0, gid: 0, additional_gids: vec![7], home: "/root".into() },
        host: Host {
            cgroup: CgroupMode::V2,
            bounding: caps::all().into_iter().collect(),
            kernel: (6, 1),
            swap_accounting: true,
            hugetlb: true,
            ..Host::default()
        },
        mounts: Vec::new(),
        volumes: Vec::new(),
        devices: Vec::new(),
        seccomp: None,
        labels: None,
        target_pid: None,
        defaults: Defaults::default(),
    }
}

impl Case {
    fn plan(&self) -> Result<super::container::ContainerPlan, Error> {
        container(&ContainerInput {
            id: "0123456789abcdef",
            pod: &self.pod,
            config: &self.config,
            image: &self.image,
            identity: &self.identity,
            host: &self.host,
            layers: &[PathBuf::from("/layers/top"), PathBuf::from("/layers/bottom")],
            upper: Path::new("/upper/x"),
            files: Path::new("/run/pod"),
            mounts: &self.mounts,
            volumes: &self.volumes,
            devices: &self.devices,
            cdi: &Edits::default(),
            seccomp: self.seccomp.as_deref(),
            labels: self.labels.as_ref(),
            target_pid: self.target_pid,
            defaults: &self.defaults,
            runner: &Runner::default(),
        })
    }

    fn spec(&self) -> Spec {
        self.plan().unwrap().spec
    }

    fn process(&self) -> Process {
        self.spec().process.unwrap()
    }

    fn problem(&self) -> String {
        self.plan().unwrap_err().to_string()
    }

    fn mount(&mut self, mount: config::Mount) -> &mut Case {
        if let MountSource::Host(path) = &mount.source {
            self.mounts.push(ResolvedMount::Host(path.clone()));
        }
        self.config.mounts.push(mount);
        self
    }
}

use super::super::config;

fn bind(path: &str) -> config::Mount {
    config::Mount {
        container_path: path.into(),
        source: MountSource::Host("/srv".into()),
        readonly: false,
        recursive_read_only: false,
        selinux_relabel: false,
        propagation: Propagation::Private,
        uid_mappings: Vec::new(),
        gid_mappings: Vec::new(),
        options: Vec::new(),
    }
}

fn at<'a>(spec: &'a Spec, path: &str) -> &'a Mount {
    let found: Vec<_> = spec.mounts.iter().filter(|mount| mount.destination == path).collect();
    let [mount] = found.as_slice() else { panic!("{path}: {found:?}") };
    mount
}

fn namespaces(spec: &Spec) -> Vec<(NamespaceKind, Option<String>)> {
    let list = &spec.linux.as_ref().unwrap().namespaces;
    let mut list: Vec<_> = list.iter().map(|namespace| (namespace.kind, namespace.path.clone())).collect();
    list.sort();
    list
}

#[test]
fn sandboxes_by_scope() {
    use NamespaceKind::{Ipc, Network, Pid, User, Uts};
    let scopes = |network, pid, ipc, user| Namespaces { network, pid, ipc, user };
    let table = [
        (scopes(Scope::Pod, PidScope::Container, Scope::Pod, None), vec![Network, Uts, Ipc]),
        (scopes(Scope::Pod, PidScope::Pod, Scope::Pod, None), vec![Network, Uts, Ipc, Pid]),
        (scopes(Scope::Node, PidScope::Container, Scope::Pod, None), vec![Ipc]),
        (scopes(Scope::Node, PidScope::Node, Scope::Node, None), vec![]),
        (scopes(Scope::Pod, PidScope::Pod, Scope::Node, Some(MAPS)), vec![User, Network, Uts, Pid]),
    ];
    for (scopes, kinds) in table {
        let made = sandbox(&PodConfig { namespaces: scopes.clone(), ..pod() }, &Defaults::default(), None).unwrap();
        assert_eq!(made.namespaces, kinds, "{scopes:?}");
        assert_eq!(made.ends, Ends::OnRequest);
        assert_eq!(made.shm_size, kinds.contains(&Ipc).then_some(64 << 20));
        assert_eq!(made.hostname.as_deref(), kinds.contains(&Uts).then_some("web-0"));
        let mapped = scopes.user.is_some();
        assert_eq!(made.uid_mappings, if mapped { vec![MAPS.uids] } else { vec![] });
        assert_eq!(made.gid_mappings, if mapped { vec![MAPS.gids] } else { vec![] });
    }
    let refused = PodConfig { namespaces: scopes(Scope::Pod, PidScope::Node, Scope::Pod, Some(MAPS)), ..pod() };
    assert!(
        sandbox(&refused, &Defaults::default(), None).unwrap_err().to_string().contains("userns_options: needs pid")
    );
}

#[test]
fn host_names() {
    let name = |hostname: &str, pod_name: &str| {
        let metadata = PodMetadata { name: pod_name.into(), ..pod().metadata };
        let pod = PodConfig { hostname: hostname.into(), metadata, ..pod() };
        sandbox(&pod, &Defaults::default(), None).unwrap().hostname.unwrap()
    };
    assert_eq!(name("given", "pod"), "given");
    assert_eq!(name("", "pod"), "pod");
    assert_eq!(name("", &format!("{}-{}", "a".repeat(62), "b".repeat(9))), "a".repeat(62));
    assert_eq!(name("", "/ /"), "pod");
}

#[test]
fn kernel_parameters() {
    let pod_of = |network, user, name: &str| PodConfig {
        namespaces: Namespaces { network, user, ..pod().namespaces },
        sysctls: BTreeMap::from([(name.to_owned(), "5".to_owned())]),
        ..pod()
    };
    let set = |pod: &PodConfig| sandbox(pod, &Defaults::default(), None).map(|made| made.sysctls);
    let (ports, ping) = ("net.ipv4.ip_unprivileged_port_start", "net.ipv4.ping_group_range");
    let plain = set(&pod_of(Scope::Pod, None, "net.core.somaxconn")).unwrap();
    assert_eq!((&*plain[ports], &*plain[ping], &*plain["net.core.somaxconn"]), ("0", "0 2147483647", "5"));
    assert_eq!(set(&pod_of(Scope::Pod, None, ports)).unwrap()[ports], "5");
    let mapped = set(&pod_of(Scope::Pod, Some(MAPS), "net.core.somaxconn")).unwrap();
    assert_eq!((mapped.contains_key(ports), mapped.contains_key(ping)), (true, false));
    let node = set(&pod_of(Scope::Node, None, "kernel.shmmax")).unwrap();
    assert_eq!(node.into_keys().collect::<Vec<_>>(), ["kernel.shmmax"]);
    let none = Defaults { unprivileged_ports: false, unprivileged_icmp: false, ..Defaults::default() };
    assert_eq!(sandbox(&pod(), &none, None).unwrap().sysctls, BTreeMap::new());

    let refused = |network, ipc, name: &str| {
        let mut pod = pod_of(network, None, name);
        pod.namespaces.ipc = ipc;
        set(&pod).unwrap_err().to_string()
    };
    for (network, ipc, name) in [
        (Scope::Node, Scope::Pod, "net.core.somaxconn"),
        (Scope::Pod, Scope::Node, "kernel.shmmax"),
        (Scope::Pod, Scope::Node, "fs.mqueue.msg_max"),
        (Scope::Pod, Scope::Pod, "kernel.core_pattern"),
        (Scope::Pod, Scope::Pod, "vm.swappiness"),
        (Scope::Pod, Scope::Pod, "kernel.hostname"),
    ] {
        let problem = refused(network, ipc, name);
        assert!(problem.starts_with(&format!("config.linux.sysctls[{name:?}]: ")), "{problem}");
    }
}

#[test]
fn namespaces_of_containers() {
    use NamespaceKind::{Cgroup, Ipc, Mount, Network, Pid, User, Uts};
    let own = |kinds: &[NamespaceKind]| {
        let mut list: Vec<_> = kinds.iter().map(|kind| (*kind, None)).collect();
        list.sort();
        list
    };
    let mut it = case();
    let plan = it.plan().unwrap();
    assert_eq!(namespaces(&plan.spec), own(&[Mount, Network, Uts, Pid, Ipc, Cgroup]));
    assert_eq!(plan.task.sandbox, [Network, Uts, Ipc]);
    assert_eq!(plan.spec.hostname, None);
    it.pod.namespaces.pid = PidScope::Pod;
    assert_eq!(it.plan().unwrap().task.sandbox, [Network, Uts, Ipc, Pid]);
    // Apart from the others of the pod.
    it.config.namespaces = Some(Namespaces { pid: PidScope::Container, ..it.pod.namespaces.clone() });
    assert_eq!(it.plan().unwrap().task.sandbox, [Network, Uts, Ipc]);
    it.config.namespaces = Some(Namespaces { pid: PidScope::Target("other".into()), ..it.pod.namespaces.clone() });
    assert!(it.problem().contains("target_id: container other does not run"), "{}", it.problem());
    it.target_pid = Some(17);
    let joined = it.plan().unwrap();
    assert!(namespaces(&joined.spec).contains(&(Pid, Some("/proc/17/ns/pid".to_owned()))));
    assert_eq!(joined.task.sandbox, [Network, Uts, Ipc]);

    let mut it = case();
    it.pod.namespaces = Namespaces { network: Scope::Node, pid: PidScope::Node, ipc: Scope::Node, user: None };
    it.host.cgroup = CgroupMode::V1;
    let plan = it.plan().unwrap();
    assert_eq!(namespaces(&plan.spec), own(&[Mount]));
    assert_eq!(plan.task.sandbox, []);
    assert_eq!(at(&plan.spec, "/dev/shm").source.as_deref(), Some("/dev/shm"));

    let mut it = case();
    it.pod.namespaces.user = Some(MAPS);
    let plan = it.plan().unwrap();
    assert_eq!(plan.task.sandbox, [User, Network, Uts, Ipc]);
    let linux = plan.spec.linux.as_ref().unwrap();
    assert_eq!((&linux.uid_mappings, &linux.gid_mappings), (&vec![MAPS.uids], &vec![MAPS.gids]));
}

#[test]
fn commands() {
    let line = |command: &[&str], args: &[&str]| {
        let mut it = case();
        it.config.command = command.iter().map(|word| (*word).to_owned()).collect();
        it.config.args = args.iter().map(|word| (*word).to_owned()).collect();
        it.process().args.join(" ")
    };
    assert_eq!(line(&[], &[]), "/entry cmd");
    assert_eq!(line(&[], &["-x"]), "/entry -x");
    assert_eq!(line(&["sh"], &[]), "sh");
    assert_eq!(line(&["sh"], &["-c", "x"]), "sh -c x");
    let mut it = case();
    it.image = Image::default();
    assert_eq!(it.problem(), "config.command: is missing, and the image has neither entrypoint nor command");
}

#[test]
fn environments() {
    let mut it = case();
    it.config.envs = vec![("A".into(), b"2".to_vec()), ("odd name".into(), b"x=y".to_vec())];
    it.config.tty = true;
    let process = it.process();
    assert!(process.terminal);
    for entry in ["A=2", "odd name=x=y", "HOSTNAME=web-0", "TERM=xterm", "HOME=/root"] {
        assert!(process.env.iter().any(|known| known == entry), "{entry}: {:?}", process.env);
    }
    it.pod.namespaces.network = Scope::Node;
    assert!(it.process().env.contains(&"HOSTNAME=web-0".to_owned()));
    // What JSON cannot say is beside it; other runtimes see what containerd makes of it.
    it.config.envs = vec![("B".into(), b"a\xffb".to_vec()), ("C".into(), b"\xc3\xbc".to_vec())];
    let process = it.process();
    assert!(process.env.contains(&"B=a\u{fffd}b".to_owned()) && process.env.contains(&"C=\u{fc}".to_owned()));
    assert_eq!(process.env_bytes, [("B".to_owned(), b"a\xffb".to_vec())].into());
}

#[test]
fn users_and_places() {
    let mut it = case();
    it.image.working_dir = "srv".into();
    let process = it.process();
    assert_eq!((process.user.uid, process.user.gid, process.user.additional_gids), (0, 0, vec![7]));
    assert_eq!(process.cwd, "/srv");
    it.config.working_dir = "/tmp".into();
    assert_eq!(it.process().cwd, "/tmp");
}

#[test]
fn capabilities() {
    let sets = |add: &[&str], drop: &[&str], ambient: &[&str], uid| {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let mut it = case();
        it.identity.uid = uid;
        it.config.capabilities = Capabilities { add: list(add), drop: list(drop), add_ambient: list(ambient) };
        it.process().capabilities.unwrap()
    };
    let has = |set: &[String], name: &str| set.iter().any(|known| known == name);
    let plain = sets(&[], &[], &[], 0);
    assert_eq!(plain.bounding.len(), DEFAULT_CAPABILITIES.len());
    assert_eq!((&plain.effective, &plain.permitted), (&plain.bounding, &plain.bounding));
    assert_eq!((plain.inheritable.len(), plain.ambient.len()), (0, 0));
    assert!(has(&sets(&["NET_ADMIN"], &[], &[], 0).effective, "CAP_NET_ADMIN"));
    assert!(!has(&sets(&[], &["CAP_CHOWN"], &[], 0).bounding, "CAP_CHOWN"));
    // Who is in both lists is dropped; with all dropped, what is named stays.
    assert!(!has(&sets(&["NET_RAW"], &["net_raw"], &[], 0).bounding, "CAP_NET_RAW"));
    assert_eq!(sets(&["NET_RAW"], &["ALL"], &[], 0).bounding, ["CAP_NET_RAW"]);
    assert_eq!(sets(&["ALL"], &["ALL"], &[], 0).bounding, Vec::<String>::new());
    let all = caps::all().len();
    assert_eq!(sets(&["ALL"], &["MKNOD"], &[], 0).bounding.len(), all - 1);
    // Ambient ones are in all sets, also of an ordinary user.
    let user = sets(&[], &[], &["NET_BIND_SERVICE", "SYS_TIME"], 1000);
    let ambient = ["CAP_NET_BIND_SERVICE", "CAP_SYS_TIME"];
    for set in [&user.effective, &user.permitted, &user.inheritable, &user.ambient] {
        assert_eq!(set, &ambient);
    }
    assert_eq!(user.bounding.len(), DEFAULT_CAPABILITIES.len() + 1);
    assert_eq!(sets(&[], &["SYS_TIME"], &["SYS_TIME"], 1000).ambient, Vec::<String>::new());
    // What the daemon has not got nobody gets.
    let mut it = case();
    it.host.bounding = vec![Capability::CAP_CHOWN];
    it.config.capabilities.add = vec!["SYS_TIME".into()];
    assert!(it.problem().starts_with("config.linux.security_context.capabilities.add_capabilities: CAP_SYS_TIME"));
}

#[test]
fn privileged() {
    let mut it = case();
    it.config.privileged = true;
    it.config.seccomp = Some(Profile::RuntimeDefault);
    it.config.apparmor = Some(Profile::Localhost("none".into()));
    it.config.masked_paths = vec!["/proc/kcore".into()];
    let node = |path: &str| DeviceNode {
        path: path.into(),
        kind: NodeKind::Block,
        major: 8,
        minor: 0,
        mode: 0o660,
        uid: 0,
        gid: 6,
    };
    it.host.devices = vec![node("/dev/sda")];
    let spec = it.spec();
    let linux = spec.linux.as_ref().unwrap();
    assert!(linux.seccomp.is_none() && linux.masked_paths.is_empty() && linux.readonly_paths.is_empty());
    assert!(linux.devices.iter().any(|device| device.path == "/dev/sda"));
    let rules = &linux.resources.as_ref().unwrap().devices;
    assert!(matches!(rules.as_slice(), [rule] if rule.allow && rule.kind.is_none()), "{rules:?}");
    assert_eq!(spec.process.as_ref().unwrap().apparmor_profile, None);
    for path in ["/sys", "/sys/fs/cgroup"] {
        assert!(at(&spec, path).options.iter().any(|option| option == "rw"), "{path}");
    }
    assert_eq!(spec.process.unwrap().capabilities.unwrap().effective.len(), caps::all().len());
}

#[test]
fn privileged_in_a_user_namespace() {
    let mut it = case();
    it.pod.namespaces.user = Some(MAPS);
    it.config.privileged = true;
    it.config.capabilities.drop = vec!["ALL".into()];
    let spec = it.spec();
    assert!(at(&spec, "/sys").options.iter().any(|option| option == "rw"));
    let linux = spec.linux.unwrap();
    assert!(linux.devices.is_empty() && linux.masked_paths.is_empty() && linux.seccomp.is_none());
    assert_eq!(spec.process.unwrap().capabilities.unwrap().effective.len(), caps::all().len());
}

#[test]
fn selinux_labels() {
    let mut it = case();
    // Where there is no SELinux a context is only told again.
    it.config.selinux = Some(Context { level: "s0:c1,c2".into(), ..Context::default() });
    let seen = |it: &Case| {
        let spec = it.spec();
        (spec.process.unwrap().selinux_label, spec.linux.unwrap().mount_label)
    };
    assert_eq!(seen(&it), (None, None));
    it.labels = Some(Labels { process: "u:r:p:s0".into(), mount: "u:r:m:s0".into() });
    assert_eq!(seen(&it), (Some("u:r:p:s0".to_owned()), Some("u:r:m:s0".to_owned())));
}

#[test]
fn system_call_filters() {
    let mut it = case();
    let filter = |it: &Case| it.spec().linux.unwrap().seccomp;
    assert_eq!(filter(&it), None);
    it.config.seccomp = Some(Profile::Unconfined);
    assert_eq!(filter(&it), None);
    it.config.seccomp = Some(Profile::RuntimeDefault);
    assert_eq!(filter(&it).unwrap().default_action, "SCMP_ACT_ERRNO");
    it.defaults.seccomp = Some(r#"{"defaultAction":"SCMP_ACT_LOG"}"#.into());
    assert_eq!(filter(&it).unwrap().default_action, "SCMP_ACT_LOG");
    it.config.seccomp = Some(Profile::Localhost("/p.json".into()));
    let profile =
        r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["sethostname"],"action":"SCMP_ACT_ERRNO"}]}"#;
    it.seccomp = Some(profile.into());
    assert_eq!(filter(&it).unwrap().syscalls[0].names, ["sethostname"]);
    for wrong in ["{", r#"{"defaultAction":"NOPE"}"#] {
        it.seccomp = Some(wrong.into());
        assert!(it.problem().starts_with("config.linux.security_context.seccomp: "), "{}", it.problem());
    }
}

#[test]
fn apparmor_profiles() {
    let mut it = case();
    it.defaults.apparmor = Some("rt-default".into());
    let profile = |it: &Case| it.process().apparmor_profile;
    // Without AppArmor only what was asked for by its name is missed.
    assert_eq!(profile(&it), None);
    it.config.apparmor = Some(Profile::RuntimeDefault);
    assert_eq!(profile(&it), None);
    it.config.apparmor = Some(Profile::Localhost("mine".into()));
    let problem = "config.linux.security_context.apparmor: \"mine\": AppArmor is not enabled on this node";
    assert_eq!(it.problem(), problem);
    it.host.apparmor = true;
    assert_eq!(profile(&it).as_deref(), Some("mine"));
    for given in [None, Some(Profile::RuntimeDefault)] {
        it.config.apparmor = given;
        assert_eq!(profile(&it).as_deref(), Some("rt-default"));
    }
    it.config.apparmor = Some(Profile::Unconfined);
    assert_eq!(profile(&it), None);
}

#[test]
fn paths_are_masked_as_asked() {
    let mut it = case();
    let linux = it.spec().linux.unwrap();
    assert_eq!((linux.masked_paths.len(), linux.readonly_paths.len()), (0, 0));
    it.config.masked_paths = vec!["/proc/kcore".into()];
    it.config.readonly_paths = vec!["/proc/sys".into()];
    it.config.no_new_privs = true;
    it.config.readonly_rootfs = true;
    let spec = it.spec();
    let linux = spec.linux.as_ref().unwrap();
    assert_eq!(
        (&linux.masked_paths[..], &linux.readonly_paths[..]),
        (&["/proc/kcore".to_owned()][..], &["/proc/sys".to_owned()][..])
    );
    assert!(spec.process.as_ref().unwrap().no_new_privileges);
    assert!(spec.root.as_ref().unwrap().readonly);
}

#[test]
fn files_of_the_pod() {
    let mut it = case();
    let spec = it.spec();
    for name in ["hostname", "hosts", "resolv.conf"] {
        let mount = at(&spec, &format!("/etc/{name}"));
        assert_eq!(mount.source.as_deref(), Some(&*format!("/run/pod/{name}")));
        assert_eq!(mount.options, ["rbind", "rprivate"]);
    }
    assert_eq!(at(&spec, "/dev/shm").kind.as_deref(), Some("tmpfs"));
    // What the kubelet brings counts, however it is written.
    it.config.readonly_rootfs = true;
    it.mount(bind("/etc//hosts")).mount(bind("/dev/shm/"));
    let spec = it.spec();
    assert!(!spec.mounts.iter().any(|mount| mount.destination == "/etc/hosts" || mount.destination == "/dev/shm"));
    assert_eq!(at(&spec, "/etc//hosts").source.as_deref(), Some("/srv"));
    assert_eq!(at(&spec, "/etc/hostname").options, ["rbind", "rprivate", "ro"]);
}

#[test]
fn mounts() {
    let options = |change: &dyn Fn(&mut config::Mount)| {
        let mut mount = bind("/data");
        change(&mut mount);
        let mut it = case();
        let spec = it.mount(mount).spec();
        (at(&spec, "/data").options.join(","), spec.linux.unwrap().rootfs_propagation)
    };
    assert_eq!(options(&|_| {}), ("rbind,rprivate".into(), None));
    assert_eq!(options(&|mount| mount.readonly = true).0, "rbind,rprivate,ro");
    let rro = options(&|mount| {
        mount.readonly = true;
        mount.recursive_read_only = true;
    });
    assert_eq!(rro.0, "rbind,rprivate,rro");
    let slave = options(&|mount| mount.propagation = Propagation::HostToContainer);
    assert_eq!(slave, ("rbind,rslave".into(), Some("rslave".into())));
    let shared = options(&|mount| mount.propagation = Propagation::Bidirectional);
    assert_eq!(shared, ("rbind,rshared".into(), Some("rshared".into())));
    assert_eq!(options(&|mount| mount.options = vec!["noexec".into(), "suid".into()]).0, "rbind,rprivate,noexec,suid");

    let mut it = case();
    it.mount(bind("/a/b/c")).mount(bind("/a")).mount(bind("/proc"));
    let order: Vec<_> = it.spec().mounts.iter().map(|mount| mount.destination.clone()).collect();
    let place = |path: &str| order.iter().position(|known| known == path).unwrap();
    assert!(place("/a") < place("/a/b/c"));
    assert_eq!(order.iter().filter(|path| *path == "/proc").count(), 1);
    it.mount(bind("/a/../a/"));
    assert_eq!(it.problem(), "config.mounts[3].container_path: /a is also the place of another mount");

    let mut rro = bind("/data");
    (rro.readonly, rro.recursive_read_only) = (true, true);
    let mut it = case();
    it.host.kernel = (5, 10);
    let problem = it.mount(rro).problem();
    assert!(problem.starts_with("config.mounts[0].recursive_read_only: RROUnsupported"), "{problem}");

    let mut mapped = bind("/data");
    (mapped.uid_mappings, mapped.gid_mappings) = (vec![MAPS.uids], vec![MAPS.gids]);
    let mut it = case();
    let spec = it.mount(mapped).spec();
    assert_eq!(at(&spec, "/data").uid_mappings, [MAPS.uids]);
    assert_eq!(at(&spec, "/data").options, ["rbind", "rprivate", "ridmap"]);
}

#[test]
fn images_as_mounts() {
    let mut it = case();
    let image = MountSource::Image { image: ImageSpec::default(), sub_path: "etc".into() };
    it.config.mounts.push(config::Mount {
        source: image,
        readonly: true,
        options: vec!["noexec".into()],
        ..bind("/a")
    });
    it.mounts.push(ResolvedMount::Image { layers: vec!["/layers/1".into()], sub_path: "etc".into() });
    it.mount(bind("/b"));
    it.mounts.push(ResolvedMount::Image { layers: vec!["/layers/2".into()], sub_path: String::new() });
    it.config.mounts.push(config::Mount { readonly: true, ..bind("/c") });
    let plan = it.plan().unwrap();
    assert_eq!(at(&plan.spec, "/a").options, ["bind", "ro", "nodev", "rprivate", "noexec"]);
    let mounted = |destination: &str, lower: &str, sub_path: Option<&str>| ImageMount {
        destination: destination.into(),
        lower: vec![lower.into()],
        sub_path: sub_path.map(PathBuf::from),
    };
    let expected = [mounted("/a", "/layers/1", Some("etc")), mounted("/c", "/layers/2", None)];
    assert_eq!(plan.task.image_mounts, expected);
    it.pod.namespaces.user = Some(MAPS);
    it.host.kernel = (6, 3);
    let spec = it.spec();
    assert_eq!(at(&spec, "/c").options, ["bind", "ro", "nodev", "rprivate", "idmap"]);
    assert_eq!(at(&spec, "/etc/hosts").options, ["rbind", "rprivate", "idmap"]);
}

#[test]
fn volumes_of_the_image() {
    let mut it = case();
    let words = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    it.mount(bind("/mine"));
    // What was asked for wins, and the same place twice is one.
    let declared = words(&["/data/../data", "/data", "/", "/mine/", "/proc", "var/lib/x"]);
    it.volumes = super::volumes(&it.config, &declared, Path::new("/upper/x/volumes"));
    let found: Vec<_> = it.volumes.iter().map(|(place, dir)| (place.as_str(), dir.to_str().unwrap())).collect();
    let of = |number: u32| format!("/upper/x/volumes/{number}");
    assert_eq!(found, [("/data", &*of(0)), ("/proc", &of(1)), ("/var/lib/x", &of(2))]);
    it.config.readonly_rootfs = true;
    let spec = it.spec();
    assert_eq!(at(&spec, "/data").options, ["rbind", "rprivate"]);
    assert_eq!(at(&spec, "/var/lib/x").source.as_deref(), Some(&*of(2)));
    assert_eq!(at(&spec, "/mine").source.as_deref(), Some("/srv"));
    assert_eq!(at(&spec, "/proc").kind.as_deref(), Some("proc"));
    it.pod.namespaces.user = Some(MAPS);
    assert_eq!(at(&it.spec(), "/data").options, ["rbind", "rprivate", "idmap"]);
}

#[test]
fn a_line_of_the_log() {
    let mut it = case();
    it.defaults.max_log_line = std::num::NonZeroU32::new(4096);
    it.pod.log_directory = Some("/logs".into());
    it.config.log_path = Some("0.log".into());
    let log = it.plan().unwrap().task.log.unwrap();
    assert_eq!(log.file().unwrap().max_line, it.defaults.max_log_line);
}

#[test]
fn devices() {
    let mut it = case();
    let node = DeviceNode {
        path: "/dev/thing".into(),
        kind: NodeKind::Char,
        major: 10,
        minor: 229,
        mode: 0o666,
        uid: 0,
        gid: 0,
    };
    it.devices = vec![DeviceRequest { node, access: "rw".into() }];
    let linux = it.spec().linux.unwrap();
    assert!(linux.devices.iter().any(|device| (&*device.path, device.major, device.minor) == ("/dev/thing", 10, 229)));
    let last = linux.resources.unwrap().devices.pop().unwrap();
    assert_eq!((last.allow, last.major, last.minor, last.access.as_deref()), (true, Some(10), Some(229), Some("rw")));
}

#[test]
fn limits() {
    let host = case().host;
    let plan = |limits: Resources, host: &Host| resources(&limits, host);
    assert_eq!(plan(Resources::default(), &host), runtime::spec::Resources::default());
    let all = plan(
        Resources {
            cpu_period: 100_000,
            cpu_quota: 50_000,
            cpu_shares: 1,
            memory_limit: 1 << 20,
            cpuset_cpus: "0-1".into(),
            cpuset_mems: "0".into(),
            hugepage_limits: vec![("2MB".into(), 0)],
            unified: BTreeMap::from([("memory.high".into(), "max".into())]),
            ..Resources::default()
        },
        &host,
    );
    let (cpu, memory) = (all.cpu.unwrap(), all.memory.unwrap());
    assert_eq!((cpu.period, cpu.quota, cpu.shares), (Some(100_000), Some(50_000), Some(2)));
    assert_eq!((cpu.cpus.as_deref(), cpu.mems.as_deref()), (Some("0-1"), Some("0")));
    assert_eq!((memory.limit, memory.swap), (Some(1 << 20), Some(1 << 20)));
    assert_eq!((all.hugepage_limits.len(), all.unified.len()), (1, 1));
    let quota = |cpu_quota| plan(Resources { cpu_quota, ..Resources::default() }, &host).cpu.unwrap().quota;
    assert_eq!((quota(-1), quota(-5)), (Some(-1), Some(-1)));
    let swap = |memory_limit, memory_swap_limit, host: &Host| {
        let limits = Resources { memory_limit, memory_swap_limit, ..Resources::default() };
        plan(limits, host).memory.map(|memory| (memory.limit, memory.swap))
    };
    assert_eq!(swap(100, 300, &host), Some((Some(100), Some(300))));
    assert_eq!(swap(100, -1, &host), Some((Some(100), Some(-1))));
    assert_eq!(swap(0, 300, &host), Some((None, Some(300))));
    let without = Host { swap_accounting: false, hugetlb: false, ..host };
    assert_eq!(swap(100, 300, &without), Some((Some(100), None)));
    let pages = Resources { hugepage_limits: vec![("2MB".into(), 0)], ..Resources::default() };
    assert_eq!(plan(pages.clone(), &without).hugepage_limits, []);
    let mut it = case();
    (it.host.hugetlb, it.config.resources, it.defaults.tolerate_missing_hugetlb) = (false, pages, false);
    assert!(it.problem().starts_with("config.linux.resources.hugepage_limits: "), "{}", it.problem());
}

#[test]
fn limits_of_a_new_container() {
    let mut it = case();
    it.config.resources.oom_score_adj = -998;
    it.defaults.pids_limit = Some(100);
    it.defaults.rlimits = vec![Rlimit { kind: "RLIMIT_NOFILE".into(), soft: 1, hard: 2 }];
    let spec = it.spec();
    let linux = spec.linux.unwrap();
    assert_eq!(linux.cgroups_path.as_deref(), Some("/kubepods/pod1/0123456789abcdef"));
    assert_eq!(linux.resources.unwrap().pids.unwrap().limit, Some(100));
    let process = spec.process.unwrap();
    assert_eq!((process.oom_score_adj, process.rlimits), (Some(-998), it.defaults.rlimits.clone()));
    // Nothing asked for is 0, and not the daemon's.
    assert_eq!(case().process().oom_score_adj, Some(0));
    it.pod.cgroup_parent = "test.slice".into();
    assert_eq!(it.spec().linux.unwrap().cgroups_path.as_deref(), Some("/test.slice/0123456789abcdef"));
}

#[test]
fn tasks() {
    let mut it = case();
    let task = it.plan().unwrap().task;
    assert_eq!(
        task.layers,
        Some(Layers {
            lower: vec!["/layers/top".into(), "/layers/bottom".into()],
            upper: Some(("/upper/x/fs".into(), "/upper/x/work".into())),
        })
    );
    let log = LogFile {
        path: "/logs/app/0.log".into(),
        max_size: None,
        max_files: 1,
        max_line: None,
        within: Some("/logs".into()),
    };
    assert_eq!((task.log, task.stop_signal, task.stdin), (Some(LogTarget::K8sFile(log)), Some(15), Stdin::Closed));
    assert_eq!(task.owned, [PathBuf::from("/upper/x")]);
    it.config.stdin = true;
    assert_eq!(it.plan().unwrap().task.stdin, Stdin::Open);
    it.config.stdin_once = true;
    assert_eq!(it.plan().unwrap().task.stdin, Stdin::Once);
    it.pod.log_directory = None;
    assert_eq!(it.plan().unwrap().task.log, None);
    assert_eq!(log_path(&pod(), &ContainerConfig { log_path: None, ..config() }), None);
}

#[test]
fn stop_signals() {
    let signal = |own: Option<i32>, image: Option<&str>| {
        let mut it = case();
        it.config.stop_signal = own;
        it.image.stop_signal = image.map(str::to_owned);
        it.plan().map(|plan| plan.task.stop_signal.unwrap()).map_err(|error| error.to_string())
    };
    assert_eq!(signal(None, None), Ok(15));
    assert_eq!(signal(None, Some("")), Ok(15));
    assert_eq!(signal(Some(10), Some("SIGQUIT")), Ok(10));
    for (text, number) in [
        ("SIGQUIT", 3),
        ("term", 15),
        ("9", 9),
        ("SIGRTMIN+3", 37),
        ("RTMAX-1", 63),
        ("SIGIOT", 6),
        ("SIGCLD", 17),
        ("POLL", 29),
    ] {
        assert_eq!(signal(None, Some(text)), Ok(number), "{text}");
    }
    for wrong in ["0", "65", "SIG", "NOPE", "RTMIN+31", "-9"] {
        assert!(signal(None, Some(wrong)).unwrap_err().starts_with("config.image: "), "{wrong}");
        assert_eq!(signal(Some(15), Some(wrong)), Ok(15));
    }
}
