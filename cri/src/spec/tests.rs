//! Tables of [`super::build`].

use runtime::spec::{IdMapping, Mount, NamespaceKind};

use super::*;

fn host(cgroup: CgroupMode) -> Host {
    let bounding = caps::all().into_iter().collect();
    let node = |path: &str| DeviceNode {
        path: path.to_owned(),
        kind: NodeKind::Char,
        major: 10,
        minor: 200,
        mode: 0o666,
        uid: 0,
        gid: 0,
    };
    Host { cgroup, bounding, devices: vec![node("/dev/fuse"), node("/dev/net/tun")], ..Host::default() }
}

fn root() -> Identity {
    Identity { uid: 0, gid: 0, additional_gids: vec![], home: "/root".to_owned() }
}

fn image() -> Image {
    Image { cmd: vec!["sh".to_owned()], ..Image::default() }
}

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn made(options: &Options, cgroup: CgroupMode) -> Result<Spec, Error> {
    build(&Input { id: ID, image: &image(), options, identity: &root(), host: &host(cgroup) })
}

fn good(options: &Options) -> Spec {
    made(options, CgroupMode::V2).unwrap()
}

fn find<'a>(spec: &'a Spec, destination: &str) -> &'a Mount {
    spec.mounts.iter().find(|mount| mount.destination == destination).unwrap()
}

fn mapped() -> UserNamespace {
    let map = vec![IdMapping { container_id: 0, host_id: 100_000, size: 65536 }];
    UserNamespace::Mapped { uids: map.clone(), gids: map }
}

#[test]
fn defaults() {
    let spec = good(&Options::default());
    let order: Vec<&str> = spec.mounts.iter().map(|mount| mount.destination.as_str()).collect();
    assert_eq!(order, ["/proc", "/dev", "/sys", "/dev/pts", "/dev/mqueue", "/dev/shm", "/sys/fs/cgroup"]);
    assert!(find(&spec, "/sys").options.contains(&"ro".to_owned()));
    assert!(find(&spec, "/sys/fs/cgroup").options.contains(&"ro".to_owned()));
    assert!(find(&spec, "/dev/shm").options.contains(&"size=67108864".to_owned()));
    let linux = spec.linux.unwrap();
    let kinds: Vec<NamespaceKind> = linux.namespaces.iter().map(|namespace| namespace.kind).collect();
    use NamespaceKind::{Cgroup, Ipc, Mount, Network, Pid, Uts};
    assert_eq!(kinds, [Mount, Network, Uts, Pid, Ipc, Cgroup]);
    assert_eq!(linux.cgroups_path.unwrap(), format!("/rt/{ID}"));
    assert_eq!(linux.masked_paths.len(), MASKED_PATHS.len());
    assert_eq!(linux.readonly_paths.len(), READONLY_PATHS.len());
    assert!(linux.seccomp.is_some());
    assert!(linux.devices.is_empty());
    let rules = linux.resources.unwrap().devices;
    assert!(!rules[0].allow && rules[0].kind.is_none());
    assert_eq!(rules.len(), 12);
    assert_eq!(spec.hostname.unwrap(), "0123456789ab");
    let process = spec.process.unwrap();
    assert_eq!(process.args, ["sh"]);
    assert_eq!(process.cwd, "/");
    assert_eq!(process.capabilities.unwrap().effective.len(), 14);
    assert!(!process.no_new_privileges && process.oom_score_adj.is_none());
    assert_eq!(process.env, [&format!("PATH={DEFAULT_PATH}"), "HOSTNAME=0123456789ab", "HOME=/root"]);
}

#[test]
fn cgroup_namespace_by_version() {
    let has = |options: &Options, mode| {
        let linux = made(options, mode).unwrap().linux.unwrap();
        linux.namespaces.iter().any(|namespace| namespace.kind == NamespaceKind::Cgroup)
    };
    assert!(has(&Options::default(), CgroupMode::V2));
    assert!(!has(&Options::default(), CgroupMode::V1));
    assert!(has(&Options { cgroupns: Some(NamespaceChoice::Private), ..Options::default() }, CgroupMode::V1));
    assert!(!has(&Options { cgroupns: Some(NamespaceChoice::Host), ..Options::default() }, CgroupMode::V2));
}

#[test]
fn privileged() {
    let spec = good(&Options { privileged: true, ..Options::default() });
    assert!(find(&spec, "/sys").options.contains(&"rw".to_owned()));
    assert!(find(&spec, "/sys/fs/cgroup").options.contains(&"rw".to_owned()));
    let linux = spec.linux.unwrap();
    assert!(linux.masked_paths.is_empty() && linux.readonly_paths.is_empty());
    assert!(linux.seccomp.is_none());
    let paths: Vec<&str> = linux.devices.iter().map(|device| device.path.as_str()).collect();
    assert_eq!(paths, ["/dev/fuse", "/dev/net/tun"]);
    let rules = linux.resources.unwrap().devices;
    assert!(rules.len() == 1 && rules[0].allow);
    assert_eq!(spec.process.unwrap().capabilities.unwrap().bounding.len(), caps::all().len());
}

#[test]
fn mounts_are_ordered_and_replace_defaults() {
    let bind = |destination: &str, read_only| MountRequest {
        destination: destination.to_owned(),
        target: MountTarget::Bind {
            source: "/srv".to_owned(),
            propagation: Propagation::RPrivate,
            recursion: BindRecursion::Enabled,
            subpath: None,
            options: Vec::new(),
            id_map: None,
        },
        read_only,
    };
    let tmpfs = MountRequest {
        destination: "/tmp".to_owned(),
        target: MountTarget::Tmpfs { options: vec!["exec".to_owned(), "size=1m".to_owned()] },
        read_only: false,
    };
    let options = Options {
        mounts: vec![bind("/a/b/c", true), tmpfs, bind("/a", false), bind("/dev/shm", false), bind("/etc/hosts", true)],
        etc_files: vec![
            ("/etc/hosts".to_owned(), "/run/x/hosts".to_owned()),
            ("/etc/hostname".to_owned(), "/run/x/hostname".to_owned()),
        ],
        ..Options::default()
    };
    let spec = good(&options);
    let place = |destination: &str| {
        let mut found = spec.mounts.iter().enumerate().filter(|(_, mount)| mount.destination == destination);
        let place = found.next().unwrap().0;
        assert!(found.next().is_none(), "{destination} twice");
        place
    };
    assert!(place("/a") < place("/a/b/c") && place("/dev") < place("/dev/shm"));
    assert_eq!(find(&spec, "/dev/shm").source.as_deref(), Some("/srv"));
    assert_eq!(find(&spec, "/etc/hosts").source.as_deref(), Some("/srv"));
    assert_eq!(find(&spec, "/etc/hostname").source.as_deref(), Some("/run/x/hostname"));
    assert_eq!(find(&spec, "/a/b/c").options, ["rbind", "rro", "rprivate"]);
    assert_eq!(find(&spec, "/tmp").options, ["nosuid", "nodev", "noexec", "exec", "size=1m"]);
    let twice = Options { mounts: vec![bind("/a", false), bind("/a", true)], ..Options::default() };
    assert_eq!(made(&twice, CgroupMode::V2).unwrap_err().to_string(), "duplicate mount point: /a");
}

#[test]
fn propagation_reaches_the_root() {
    for (propagation, expected) in
        [(Propagation::RPrivate, None), (Propagation::RSlave, Some("rslave")), (Propagation::RShared, Some("shared"))]
    {
        let mount = MountRequest {
            destination: "/m".to_owned(),
            target: MountTarget::Bind {
                source: "/m".to_owned(),
                propagation,
                recursion: BindRecursion::Disabled,
                subpath: None,
                options: Vec::new(),
                id_map: None,
            },
            read_only: true,
        };
        let spec = good(&Options { mounts: vec![mount], ..Options::default() });
        assert_eq!(find(&spec, "/m").options, ["bind", "ro", propagation.name()]);
        assert_eq!(spec.linux.unwrap().rootfs_propagation.as_deref(), expected);
    }
}

#[test]
fn shared_namespaces() {
    let options = Options {
        network: NamespaceChoice::Host,
        ipc: NamespaceChoice::Host,
        shm_source: Some("/dev/shm".to_owned()),
        uts: NamespaceChoice::Host,
        pid: NamespaceChoice::Join("/proc/7/ns/pid".to_owned()),
        ..Options::default()
    };
    let spec = good(&options);
    assert_eq!(find(&spec, "/dev/shm").source.as_deref(), Some("/dev/shm"));
    assert_eq!(find(&spec, "/dev/mqueue").kind.as_deref(), Some("mqueue"));
    assert_eq!(spec.hostname, None);
    let namespaces = spec.linux.unwrap().namespaces;
    assert_eq!(namespaces.len(), 3);
    assert_eq!(namespaces[1].path.as_deref(), Some("/proc/7/ns/pid"));
}

#[test]
fn user_namespace() {
    let spec = good(&Options { userns: mapped(), ..Options::default() });
    assert_eq!(find(&spec, "/sys").kind.as_deref(), Some("sysfs"));
    let linux = spec.linux.unwrap();
    assert_eq!(linux.uid_mappings[0].host_id, 100_000);
    assert_eq!(linux.namespaces.last().unwrap().kind, NamespaceKind::User);
    let spec = good(&Options { userns: mapped(), network: NamespaceChoice::Host, ..Options::default() });
    assert_eq!(find(&spec, "/sys").kind.as_deref(), Some("bind"));
    assert_eq!(find(&spec, "/sys").options, ["rbind", "rro", "rnosuid", "rnoexec", "rnodev", "rslave"]);
    assert_eq!(find(&spec, "/sys/fs/cgroup").kind.as_deref(), Some("cgroup"));
    let spec = good(&Options { userns: mapped(), ipc: NamespaceChoice::Host, ..Options::default() });
    assert!(!spec.mounts.iter().any(|mount| mount.destination == "/dev/mqueue"));
}

#[test]
fn mapped_ids_and_images() {
    let maps = vec![IdMapping { container_id: 0, host_id: 5, size: 1 }];
    let bind = |recursion, id_map| MountRequest {
        destination: "/m".to_owned(),
        target: MountTarget::Bind {
            source: "/m".to_owned(),
            propagation: Propagation::RPrivate,
            recursion,
            subpath: None,
            options: vec!["noexec".to_owned()],
            id_map,
        },
        read_only: false,
    };
    let own = MountIdMap::Maps { uids: maps.clone(), gids: maps.clone() };
    let spec = good(&Options { mounts: vec![bind(BindRecursion::Disabled, Some(own))], ..Options::default() });
    let mount = find(&spec, "/m");
    assert_eq!(mount.options, ["bind", "rprivate", "idmap", "noexec"]);
    assert_eq!((&mount.uid_mappings, &mount.gid_mappings), (&maps, &maps));
    let like = bind(BindRecursion::Enabled, Some(MountIdMap::Container));
    let host = Options { mounts: vec![like.clone()], ..Options::default() };
    let error = made(&host, CgroupMode::V2).unwrap_err().to_string();
    assert!(error.starts_with("idmap and --userns host exclude each other"), "{error}");
    let image = MountRequest {
        destination: "/i".to_owned(),
        target: MountTarget::Image {
            lower: vec!["/layers/2".into(), "/layers/1".into()],
            subpath: Some("etc".to_owned()),
            options: vec!["nosuid".to_owned()],
        },
        read_only: true,
    };
    let options = Options { mounts: vec![like, image], userns: mapped(), ..Options::default() };
    let spec = good(&options);
    assert_eq!(find(&spec, "/m").options, ["rbind", "rprivate", "ridmap", "noexec"]);
    assert_eq!(find(&spec, "/i").options, ["bind", "ro", "nodev", "rprivate", "idmap", "nosuid"]);
    let [mount] = image_mounts(&options).try_into().unwrap();
    assert_eq!(mount.destination, std::path::PathBuf::from("/i"));
    assert_eq!((mount.lower.len(), mount.sub_path), (2, Some("etc".into())));
}

#[test]
fn contradictions() {
    let base = Options::default;
    let host = || NamespaceChoice::Host;
    let text = |text: &str| Some(text.to_owned());
    let cases: Vec<(Options, &str)> = vec![
        (Options { hostname: text("x"), uts: host(), ..base() }, "--hostname and --uts exclude"),
        (Options { domainname: text("x"), uts: host(), ..base() }, "--domainname and --uts exclude"),
        (Options { privileged: true, userns: mapped(), ..base() }, "--privileged and --userns exclude"),
        (Options { pid: host(), userns: mapped(), ..base() }, "--pid host and --userns exclude"),
        (Options { init: true, pid: host(), ..base() }, "--init and --pid exclude"),
        (Options { workdir: text("app"), ..base() }, "--workdir \"app\": must be an absolute path"),
        (Options { oom_score_adj: Some(1001), ..base() }, "--oom-score-adj \"1001\": must be -1000 to 1000"),
        (
            Options {
                rlimits: vec![runtime::spec::Rlimit { kind: "RLIMIT_CORE".to_owned(), soft: 2, hard: 1 }],
                ..base()
            },
            "--ulimit \"RLIMIT_CORE=2:1\"",
        ),
        (
            Options { security: Security { apparmor: text("p"), ..Security::default() }, ..base() },
            "--security-opt apparmor=p: AppArmor is not enabled",
        ),
        (Options { entrypoint: Some(vec![]), ..base() }, "no command"),
    ];
    for (options, message) in cases {
        let error = made(&options, CgroupMode::V2).unwrap_err().to_string();
        assert!(error.starts_with(message), "{error}");
    }
}
