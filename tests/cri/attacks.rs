//! Attacks on the daemon by pods, containers and local users; docs/security.md says which is which.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use proto::v1::{
    ExecRequest, IdMapping, ImageSpec, LinuxContainerSecurityContext, Mount, NamespaceMode, PodSandboxConfig,
    PortForwardRequest, UserNamespace,
};
use tests::pods::{IMAGE, namespaces_of, pod};
use tests::{Cgroups, maps_ids, needs, pod_test, untouched};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tonic::Code;

use crate::client::Spdy;
use crate::lab::{changed, finish, logged, output, secured, security};

/// CVE-2020-15257: sockets that others than root can connect to, those of the shims included.
#[test]
fn sockets_are_roots_alone() {
    pod_test(async |rtd| {
        let config = pod("web");
        let id = rtd.run(&config).await.unwrap();
        rtd.launch(&id, "one", "sleep 1000", &config).await;
        let mut sockets = vec![rtd.test.dir.join("rtd.sock")];
        let mut folders = vec![rtd.state()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
                let kind = entry.file_type().unwrap();
                match (kind.is_dir(), kind.is_socket()) {
                    (true, _) => folders.push(entry.path()),
                    (_, true) => sockets.push(entry.path()),
                    (false, false) => {}
                }
            }
        }
        assert!(sockets.len() > 1, "the shim has one: {sockets:?}");
        // It is a copy in the test's folder: anybody may execute it.
        let program = rtd.test.dir.join("programs/payload");
        for socket in &sockets {
            let found = socket.metadata().unwrap();
            assert_eq!((found.mode() & 0o777, found.uid()), (0o600, 0), "{}", socket.display());
            let connect = |uid: u32| {
                let mut command = Command::new(&program);
                command.arg("connect").arg(socket).uid(uid).gid(uid);
                String::from_utf8(command.output().unwrap().stdout).unwrap()
            };
            let denied = "Permission denied (os error 13)\n";
            assert_eq!(connect(65534), denied, "{}", socket.display());
            // The kernel asks for the permission before it looks at the type of the socket.
            assert_ne!(connect(0), denied, "{}", socket.display());
        }
        // No abstract socket, which every process of a network namespace could connect to.
        let all = fs::read_to_string("/proc/net/unix").unwrap();
        assert!(!all.lines().any(|line| line.contains(" @") && line.contains(rtd.test.marker())), "{all}");
        rtd.remove_pod(&id).await.unwrap();
    });
}

/// The answer to a request to a streaming address.
async fn ask(address: &str) -> String {
    let (host, path) = address.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut socket = TcpStream::connect(host).await.unwrap();
    let request = format!(
        "POST /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\
         X-Stream-Protocol-Version: v4.channel.k8s.io\r\n\r\n"
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = vec![0; 12];
    socket.read_exact(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

/// A streaming address is seen by whoever proxies it: it is for one session, of the kind that was asked for, on the node alone.
#[test]
fn streaming_addresses_are_good_once() {
    pod_test(async |rtd| {
        let config = pod("web");
        let id = rtd.run(&config).await.unwrap();
        let one = rtd.launch(&id, "one", "sleep 1000", &config).await;
        let request = ExecRequest {
            container_id: one.clone(),
            cmd: ["/bin/sh", "-c", "echo ran"].map(str::to_owned).to_vec(),
            stdout: true,
            ..ExecRequest::default()
        };
        let address = rtd.runtime.exec(request.clone()).await.unwrap().into_inner().url;
        assert!(address.starts_with("http://127.0.0.1:"), "{address}");
        let session = Spdy::command(&address, &["stdout"]).await.end().await;
        assert_eq!(session.text("stdout"), "ran\n");
        assert_eq!(ask(&address).await, "HTTP/1.1 404");
        // Another kind, and another token: one that is shorter, longer, and of another session's making.
        let address = rtd.runtime.exec(request).await.unwrap().into_inner().url;
        let (_, token) = address.rsplit_once('/').unwrap();
        for wrong in [
            address.replace("/exec/", "/attach/"),
            address.replace("/exec/", "/portforward/"),
            address.replace(token, &token[..token.len() - 1]),
            format!("{address}A"),
            address.replace(token, &"A".repeat(token.len())),
            address.replace(token, &format!("../exec/{token}")),
            address.replace(token, ""),
        ] {
            assert_ne!(ask(&wrong).await, "HTTP/1.1 101", "{wrong}");
        }
        rtd.remove_pod(&id).await.unwrap();
    });
}

/// A port of a pod with its own network is never one of the node's.
#[test]
fn ports_of_the_node_are_not_forwarded() {
    pod_test(async |rtd| {
        needs!(rtd.test, tests::has_networks(), "no bridges or nftables here");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut config = pod("web");
        namespaces_of(&mut config).network = NamespaceMode::Pod as i32;
        let id = rtd.run(&config).await.unwrap();
        let request = PortForwardRequest { pod_sandbox_id: id.clone(), port: vec![] };
        let address = rtd.runtime.port_forward(request).await.unwrap().into_inner().url;
        let mut client = Spdy::connect(&address, "portforward.k8s.io").await;
        for kind in ["error", "data"] {
            client.open(kind, &[("port", &port.to_string()), ("requestid", "0")]).await;
        }
        client.until("error0", "refused").await;
        let came = tokio::time::timeout(std::time::Duration::ZERO, listener.accept()).await;
        assert!(came.is_err(), "the node's port was reached");
        drop(client);
        rtd.remove_pod(&id).await.unwrap();
    });
}

/// CVE-2026-53488, CVE-2026-53492, CRI-O CVE-2024-3154, CVE-2023-6476: names that other runtimes obeyed mean nothing.
#[test]
fn annotations_and_labels_are_data() {
    pod_test(async |rtd| {
        let made = rtd.test.dir.join("made");
        let commands = format!("binary:///bin/touch?{}", made.display());
        let start = format!("[('/bin/touch',['/bin/touch','{}'],false)]", made.display());
        let names: Vec<(&str, &str)> = vec![
            ("containerd.io/restart.loguri", &commands),
            ("containerd.io/restart.status", "running"),
            ("io.containerd.runtime.v2.shim.log", &commands),
            ("org.systemd.property.ExecStopPost", &start),
            ("org.systemd.property.MemoryMax", "1"),
            ("run.oci.handler", "krun"),
            ("run.oci.hooks.stdout", made.to_str().unwrap()),
            ("run.oci.seccomp.receiver", made.to_str().unwrap()),
            ("cdi.k8s.io/evil", "vendor.com/device=all"),
            ("io.kubernetes.cri-o.userns-mode", "private"),
            ("io.kubernetes.cri-o.Devices", "/dev/mem"),
            ("io.kubernetes.cri-o.UnifiedCgroup", "pids.max=1"),
            ("io.kubernetes.cri-o.LinkLogs", "../../.."),
            ("io.kubernetes.cri.untrusted-workload", "true"),
            ("io.katacontainers.config.hypervisor.path", "/bin/touch"),
            ("container.apparmor.security.beta.kubernetes.io/one", "localhost/none"),
            ("io.kubernetes.cri.container-type", "sandbox"),
        ];
        let map = || names.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let script = "grep -E '^(Cap|NoNew|Seccomp:|Uid)' /proc/self/status; cat /proc/self/uid_map; ls -d /dev/*; \
                      cat /proc/self/mountinfo | wc -l; echo $(env | cut -d= -f1)";
        let mut seen = Vec::new();
        for given in [false, true] {
            let mut config = logged(rtd, "web");
            if given {
                (config.annotations, config.labels) = (map(), map());
            }
            let id = rtd.run(&config).await.unwrap();
            let one = changed("one", script, |config| {
                if given {
                    (config.annotations, config.labels) = (map(), map());
                    config.image.get_or_insert_default().annotations = map();
                }
            });
            seen.push(output(rtd, &id, &config, &one).await);
            rtd.remove_pod(&id).await.unwrap();
        }
        assert_eq!(seen[0], seen[1]);
        assert!(!made.try_exists().unwrap(), "a command of an annotation ran");
    });
}

/// The pid namespace of a container is for its own pod, and an id is a whole one.
#[test]
fn containers_of_other_pods_are_no_targets() {
    pod_test(async |rtd| {
        let mut pods = Vec::new();
        for name in ["one", "two"] {
            let config = logged(rtd, name);
            let id = rtd.run(&config).await.unwrap();
            pods.push((config, id));
        }
        let victim = rtd.launch(&pods[0].1, "victim", "exec sleep 1000", &pods[0].0).await;
        let debugger = |target: &str| {
            let target = target.to_owned();
            secured("debugger", "ps", move |s: &mut LinuxContainerSecurityContext| {
                let options = s.namespace_options.get_or_insert_default();
                (options.pid, options.target_id) = (NamespaceMode::Target as i32, target);
            })
        };
        let error = rtd.create(&pods[1].1, &debugger(&victim), &pods[1].0).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument, "{error}");
        assert!(error.message().contains("target_id"), "{error}");
        // No id begins so.
        let other = if victim.starts_with('1') { "2" } else { "1" };
        for id in ["../victim", "*", other, &victim.to_uppercase(), &format!("{victim}/"), &format!("{victim}\n")] {
            let error = rtd.create(&pods[1].1, &debugger(id), &pods[1].0).await.unwrap_err();
            assert!([Code::InvalidArgument, Code::NotFound].contains(&error.code()), "{id:?}: {error}");
            let error = rtd.exec(id, "true").await.unwrap_err();
            assert!([Code::InvalidArgument, Code::NotFound].contains(&error.code()), "{id:?}: {error}");
        }
        // In its own pod that is what it is for.
        assert!(output(rtd, &pods[0].1, &pods[0].0, &debugger(&victim)).await.contains("sleep 1000"));
        for (_, id) in pods {
            rtd.remove_pod(&id).await.unwrap();
        }
    });
}

fn bind(from: &Path, to: &str) -> Mount {
    Mount { host_path: from.to_str().unwrap().to_owned(), container_path: to.to_owned(), ..Mount::default() }
}

/// CVE-2017-1002101, CVE-2021-30465: what one container put into a shared volume is in the way of another's mounts.
#[test]
fn links_in_a_volume_lead_nowhere() {
    pod_test(async |rtd| {
        let config = logged(rtd, "web");
        let id = rtd.run(&config).await.unwrap();
        let (host, volume, source) = (rtd.test.outside(), rtd.test.dir.join("volume"), rtd.test.outside());
        fs::create_dir(&volume).unwrap();
        let plant = changed("plant", &format!("ln -s {} /volume/link", host.display()), |config| {
            config.mounts = vec![bind(&volume, "/volume")];
        });
        output(rtd, &id, &config, &plant).await;
        for (name, path) in [("below", "/volume/link/new"), ("itself", "/volume/link"), ("deep", "/volume/link/a/b")] {
            let victim = changed(name, &format!("echo evil >>{path}/file; true"), |config| {
                config.mounts = vec![bind(&volume, "/volume"), Mount { readonly: true, ..bind(&source, path) }];
            });
            // Made inside, or refused.
            let _ = finish(rtd, &id, &config, &victim).await;
            untouched(&host);
            untouched(&source);
        }
        rtd.remove_pod(&id).await.unwrap();
    });
}

/// A part of an image is a part of it.
#[test]
fn parts_of_an_image_stay_inside() {
    pod_test(async |rtd| {
        let config = logged(rtd, "web");
        let id = rtd.run(&config).await.unwrap();
        let host = rtd.test.outside();
        let up = format!("../../../../../../../../..{}", host.display());
        for part in ["..", "../x", "/etc", "etc/../../..", &up, "proc/self/root", "."] {
            let wrong = changed("wrong", "ls /part; cat /part/file", |config| {
                config.mounts = vec![Mount {
                    container_path: "/part".into(),
                    readonly: true,
                    image: Some(ImageSpec { image: IMAGE.to_owned(), ..ImageSpec::default() }),
                    image_sub_path: part.to_owned(),
                    ..Mount::default()
                }];
            });
            match finish(rtd, &id, &config, &wrong).await {
                Err(error) => {
                    assert!([Code::InvalidArgument, Code::Unknown].contains(&error.code()), "{part}: {error}")
                }
                Ok((_, seen)) => assert!(part == "." && !seen.contains("untouched"), "{part}: {seen}"),
            }
        }
        untouched(&host);
        rtd.remove_pod(&id).await.unwrap();
    });
}

/// CVE-2026-53489, CRI-O CVE-2025-0750: a container that writes where the logs are leads the log of another elsewhere.
#[test]
fn logs_are_not_led_elsewhere() {
    pod_test(async |rtd| {
        let config = logged(rtd, "web");
        let id = rtd.run(&config).await.unwrap();
        let (host, logs) = (rtd.test.outside(), PathBuf::from(&config.log_directory));
        fs::create_dir_all(&logs).unwrap();
        symlink(host.join("file"), logs.join("link.log")).unwrap();
        symlink(host.join("made"), logs.join("made.log")).unwrap();
        symlink(&host, logs.join("folder")).unwrap();
        assert!(Command::new("mkfifo").arg(logs.join("pipe.log")).status().unwrap().success());
        for path in ["link.log", "made.log", "pipe.log", "folder/0.log", "folder/file", "folder/a/b.log"] {
            let victim = changed("victim", "echo evil", |config| config.log_path = path.to_owned());
            // Refused when it is made, or when it is started.
            if let Ok(one) = rtd.create(&id, &victim, &config).await {
                rtd.start(&one).await.unwrap_err();
                rtd.remove_container(&one).await.unwrap();
            }
            untouched(&host);
        }
        rtd.remove_pod(&id).await.unwrap();
    });
}

/// A pod with a user namespace is nobody on the node, and none of its containers gets out of the namespace.
#[test]
fn users_of_a_pod_are_nobody_on_the_node() {
    const HOST: u32 = 200_000;
    pod_test(async |rtd| {
        needs!(rtd.test, maps_ids(&rtd.test.dir), "the file system cannot map ids on this kernel");
        let users = |mode: NamespaceMode, host_id: u32| {
            let ids = match mode {
                NamespaceMode::Node => vec![],
                _ => vec![IdMapping { host_id, container_id: 0, length: 65536 }],
            };
            Some(UserNamespace { mode: mode as i32, uids: ids.clone(), gids: ids })
        };
        let mut config: PodSandboxConfig = logged(rtd, "web");
        let parent = format!("/{}", rtd.test.marker());
        parent.clone_into(&mut config.linux.get_or_insert_default().cgroup_parent);
        namespaces_of(&mut config).userns_options = users(NamespaceMode::Pod, HOST);
        // A user namespace has no power over the network of the node.
        namespaces_of(&mut config).network = NamespaceMode::Pod as i32;
        let id = rtd.run(&config).await.unwrap();
        let host = rtd.test.outside();
        let with = |name: &str, script: &str, given: Option<UserNamespace>| {
            changed(name, script, |config| {
                config.mounts = vec![bind(&host, "/host")];
                let options = security(config).namespace_options.get_or_insert_default();
                options.network = NamespaceMode::Pod as i32;
                options.userns_options = given;
            })
        };
        let script = "cat /proc/self/uid_map | tr -s ' '; echo evil >>/host/file; chown 5 /host/file; \
                      mknod /disk b 8 0; hostname evil; true";
        let seen = output(rtd, &id, &config, &with("one", script, users(NamespaceMode::Pod, HOST))).await;
        assert_eq!(seen.lines().next(), Some(" 0 200000 65536"), "{seen}");
        untouched(&host);
        assert_eq!(host.join("file").metadata().unwrap().uid(), 0);
        let one = rtd.create(&id, &with("two", "exec sleep 1000", None), &config).await.unwrap();
        rtd.start(&one).await.unwrap();
        let entered = rtd.exec(&one, "cat /proc/self/uid_map | tr -s ' '").await.unwrap();
        assert_eq!(String::from_utf8(entered.stdout).unwrap(), " 0 200000 65536\n");
        // CVE-2025-47291: the pod's limits are over it.
        let record = rtd.state().join("pods").join(&id).join("containers").join(&one).join("status.json");
        let record: serde_json::Value = serde_json::from_slice(&fs::read(record).unwrap()).unwrap();
        let groups = fs::read_to_string(format!("/proc/{}/cgroup", record["state"]["running"]["init"][0])).unwrap();
        let controllers: &[&str] = if Cgroups::detect().is_v2() { &[""] } else { &["memory", "pids", "cpu"] };
        for controller in controllers {
            let of = |line: &str| {
                let (list, path) = line.split_once(':')?.1.split_once(':')?;
                list.split(',').any(|one| one == *controller).then(|| path.to_owned())
            };
            let path = groups.lines().find_map(of).unwrap();
            assert!(path.starts_with(&format!("{parent}/")), "{groups}");
        }
        for given in [users(NamespaceMode::Node, 0), users(NamespaceMode::Pod, 0), users(NamespaceMode::Pod, HOST + 1)]
        {
            let error = rtd.create(&id, &with("out", "true", given), &config).await.unwrap_err();
            assert_eq!(error.code(), Code::InvalidArgument, "{error}");
        }
        rtd.remove_pod(&id).await.unwrap();
    });
}
