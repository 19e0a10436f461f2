//! What containers find in their file systems: mounts, images, devices, the pod's files.

use std::fs;
use std::os::unix::fs::symlink;

use nix::mount::{MsFlags, mount};
use proto::v1::{Device, ImageSpec, Mount, MountPropagation};
use tests::pod_test;
use tests::pods::IMAGE;
use tonic::Code;

use crate::lab::{changed, finish, logged, output};

fn bind(from: &str, to: &str) -> Mount {
    Mount { host_path: from.to_owned(), container_path: to.to_owned(), ..Mount::default() }
}

fn image(name: &str, to: &str, sub_path: &str) -> Mount {
    let image = ImageSpec { image: name.to_owned(), ..ImageSpec::default() };
    Mount {
        container_path: to.to_owned(),
        readonly: true,
        image: Some(image),
        image_sub_path: sub_path.to_owned(),
        ..Mount::default()
    }
}

#[test]
fn paths_of_the_node() {
    pod_test(async |rtd| {
        let config = logged(rtd, "web");
        let pod = rtd.run(&config).await.unwrap();
        let data = rtd.test.dir.join("data");
        let link = rtd.test.dir.join("link");
        fs::create_dir_all(data.join("below")).unwrap();
        symlink(&data, &link).unwrap();
        let (data, link) = (data.to_str().unwrap().to_owned(), link.to_str().unwrap().to_owned());
        mount(Some("tmpfs"), format!("{data}/below").as_str(), Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();

        let script = "touch /data/a && echo top; touch /data/below/b && echo below; true";
        let run = |name: &str, change: &dyn Fn(&mut Mount)| {
            let mut mount = bind(&link, "/data");
            change(&mut mount);
            changed(name, script, |config| config.mounts = vec![mount])
        };
        let written = |text: String| text.lines().filter(|line| !line.contains(' ')).collect::<Vec<_>>().join(" ");
        let open = output(rtd, &pod, &config, &run("open", &|_| {})).await;
        assert_eq!(written(open), "top below");
        assert!(fs::exists(format!("{data}/a")).unwrap());
        let closed = output(rtd, &pod, &config, &run("ro", &|mount| mount.readonly = true)).await;
        assert_eq!(written(closed), "below");
        let all = run("rro", &|mount| (mount.readonly, mount.recursive_read_only) = (true, true));
        assert_eq!(written(output(rtd, &pod, &config, &all).await), "");

        // As it was asked for, so it is told.
        let id = rtd.create(&pod, &all, &config).await.unwrap();
        assert_eq!(rtd.status(&id).await.unwrap().mounts, all.mounts);
        rtd.remove_container(&id).await.unwrap();

        let options = changed("options", "grep ' /data ' /proc/self/mounts", |config| {
            let words = ["noexec", "nosuid", "nodev"].map(str::to_owned).to_vec();
            config.mounts = vec![Mount { mount_options: words, ..bind(&data, "/data") }];
        });
        let seen = output(rtd, &pod, &config, &options).await;
        assert!(["noexec", "nosuid", "nodev"].iter().all(|word| seen.contains(word)), "{seen}");

        for (change, code) in [
            (bind("/nonexistent/x", "/data"), Code::Unknown),
            (Mount { recursive_read_only: true, ..bind(&data, "/data") }, Code::InvalidArgument),
            (bind(&data, "relative"), Code::InvalidArgument),
            (
                Mount {
                    recursive_read_only: true,
                    readonly: true,
                    propagation: MountPropagation::PropagationHostToContainer as i32,
                    ..bind(&data, "/data")
                },
                Code::InvalidArgument,
            ),
        ] {
            let wrong = changed("wrong", "true", |config| config.mounts = vec![change.clone()]);
            let error = rtd.create(&pod, &wrong, &config).await.unwrap_err();
            assert_eq!(error.code(), code, "{error}");
        }
        rtd.remove_pod(&pod).await.unwrap();
    });
}

#[test]
fn mounts_pass() {
    pod_test(async |rtd| {
        let config = logged(rtd, "web");
        let pod = rtd.run(&config).await.unwrap();
        let data = rtd.test.dir.join("data");
        fs::create_dir(&data).unwrap();
        let path = data.to_str().unwrap().to_owned();
        let passing = |name: &str, propagation: MountPropagation| {
            changed(name, "until grep -q ' /data/late ' /proc/self/mounts; do sleep 0.02; done", |config| {
                config.mounts = vec![Mount { propagation: propagation as i32, ..bind(&path, "/data") }];
            })
        };
        let (slave, shared) =
            (MountPropagation::PropagationHostToContainer, MountPropagation::PropagationBidirectional);
        let flags = |flags| mount(None::<&str>, &data, None::<&str>, flags, None::<&str>).unwrap();
        mount(Some(&data), &data, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
        flags(MsFlags::MS_PRIVATE);
        for propagation in [slave, shared] {
            let error = rtd.create(&pod, &passing("private", propagation), &config).await.unwrap_err();
            assert_eq!(error.code(), Code::InvalidArgument, "{error}");
        }
        flags(MsFlags::MS_SHARED);
        fs::create_dir(data.join("late")).unwrap();
        let late = |container: &'static str| (container, if container == "slave" { slave } else { shared });
        for (name, propagation) in [late("slave"), late("shared")] {
            let id = rtd.create(&pod, &passing(name, propagation), &config).await.unwrap();
            rtd.start(&id).await.unwrap();
            mount(Some("tmpfs"), &data.join("late"), Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
            assert_eq!(rtd.ended(&id).await.exit_code, 0, "{name}");
            nix::mount::umount(&data.join("late")).unwrap();
            rtd.remove_container(&id).await.unwrap();
        }
        rtd.remove_pod(&pod).await.unwrap();
    });
}

#[test]
fn images() {
    pod_test(async |rtd| {
        let config = logged(rtd, "web");
        let pod = rtd.run(&config).await.unwrap();
        let script =
            "cat /volume/etc/passwd | head -n 1; /volume/bin/echo runs; touch /volume/x; cat /part/group | head -n 1";
        let both = changed("both", script, |config| {
            config.mounts = vec![image(IMAGE, "/volume", ""), image(IMAGE, "/part", "etc")];
        });
        let (code, seen) = finish(rtd, &pod, &config, &both).await.unwrap();
        assert_eq!(code, 0, "{seen}");
        let lines: Vec<_> = seen.lines().filter(|line| !line.starts_with("touch:")).collect();
        assert_eq!(lines, ["root:x:0:0:root:/root:/bin/sh", "runs", "root:x:0:"]);
        assert!(seen.contains("Read-only file system"), "{seen}");

        let id = rtd.create(&pod, &both, &config).await.unwrap();
        let status = rtd.status(&id).await.unwrap();
        let told: Vec<_> = status.mounts.iter().map(|mount| &mount.image.as_ref().unwrap().image_ref).collect();
        assert_eq!(told, [&status.image_id, &status.image_id]);
        rtd.remove_container(&id).await.unwrap();

        for (mount, word) in [
            (image(IMAGE, "/volume", "not/there"), "ImageVolumeMountFailed"),
            (image("docker.io/library/none:1", "/volume", ""), "ImageVolumeMountFailed"),
            (Mount { readonly: false, ..image(IMAGE, "/volume", "") }, "readonly"),
            (Mount { host_path: "/srv".into(), ..image(IMAGE, "/volume", "") }, "exclude each other"),
        ] {
            let wrong = changed("wrong", "true", |config| config.mounts = vec![mount.clone()]);
            let error = rtd.create(&pod, &wrong, &config).await.unwrap_err();
            assert!(error.message().contains(word), "{error}");
        }
        rtd.remove_pod(&pod).await.unwrap();
    });
}

#[test]
fn files_of_the_pod() {
    pod_test(async |rtd| {
        let mut config = logged(rtd, "web");
        config.dns_config = Some(proto::v1::DnsConfig {
            servers: vec!["10.9.8.7".into()],
            searches: vec!["a.example".into(), "b.example".into()],
            options: vec!["ndots:5".into()],
        });
        let pod = rtd.run(&config).await.unwrap();
        let script =
            "cat /etc/resolv.conf; cat /etc/hosts > /dev/null; echo 1.2.3.4 more >> /etc/hosts; tail -n 1 /etc/hosts";
        let seen = output(rtd, &pod, &config, &changed("files", script, |_| {})).await;
        for line in ["nameserver 10.9.8.7", "search a.example b.example", "options ndots:5", "1.2.3.4 more"] {
            assert!(seen.lines().any(|known| known == line), "{line}: {seen}");
        }
        // The kubelet's own counts.
        let hosts = rtd.test.dir.join("hosts");
        fs::write(&hosts, "9.9.9.9 kubelet\n").unwrap();
        let mounted = changed("own", "cat /etc/hosts", |config| {
            config.mounts = vec![bind(hosts.to_str().unwrap(), "/etc/hosts")];
        });
        assert_eq!(output(rtd, &pod, &config, &mounted).await, "9.9.9.9 kubelet\n");
        rtd.remove_pod(&pod).await.unwrap();
    });
}

#[test]
fn devices() {
    pod_test(async |rtd| {
        let config = logged(rtd, "web");
        let pod = rtd.run(&config).await.unwrap();
        let device = |host: &str, container: &str, permissions: &str| Device {
            host_path: host.into(),
            container_path: container.into(),
            permissions: permissions.into(),
        };
        let dir = rtd.test.dir.join("nodes");
        fs::create_dir(&dir).unwrap();
        let kind = nix::sys::stat::SFlag::S_IFCHR;
        let mode = nix::sys::stat::Mode::from_bits_truncate(0o666);
        for (name, minor) in [("one", 3), ("two", 5)] {
            nix::sys::stat::mknod(&dir.join(name), kind, mode, nix::sys::stat::makedev(1, minor)).unwrap();
        }
        let script = "head -c 3 /dev/nil | wc -c; head -c 3 /dev/dir/two | wc -c; ls /dev/dir";
        let given = changed("given", script, |config| {
            config.devices =
                vec![device("/dev/null", "/dev/nil", "rw"), device(dir.to_str().unwrap(), "/dev/dir", "rwm")];
        });
        assert_eq!(output(rtd, &pod, &config, &given).await, "0\n3\none\ntwo\n");
        for wrong in [device("/dev/is-not-there", "/dev/x", "r"), device("/proc/version", "/dev/x", "r")] {
            let config_of = changed("wrong", "true", |config| config.devices = vec![wrong.clone()]);
            let error = rtd.create(&pod, &config_of, &config).await.unwrap_err();
            assert!(error.message().contains("config.devices[0].host_path"), "{error}");
        }
        let unknown = changed("cdi", "true", |config| {
            config.cdi_devices = vec![proto::v1::CdiDevice { name: "rt-test.example/none=0".into() }];
        });
        let error = rtd.create(&pod, &unknown, &config).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument, "{error}");
        rtd.remove_pod(&pod).await.unwrap();
    });
}
