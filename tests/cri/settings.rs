//! Settings that change what containers and pods are given.

use std::fs;
use std::path::Path;
use std::process::Command;

use cri::image::Digest;
use proto::v1::{ImageSpec, Mount, NamespaceMode, NetworkConfig, RuntimeConfig, UpdateRuntimeConfigRequest};
use serde_json::{Value, json};
use tests::pods::namespaces_of;
use tests::{Rtd, needs, pod_test, program};
use tonic::Code;

use crate::lab::{changed, finish, logged, output, security};

/// Loads busybox again, under another name and with another configuration.
fn load_changed(rtd: &Rtd<'_>, name: &str, change: impl FnOnce(&mut Value)) {
    let (from, to) = (Path::new(env!("RT_TEST_IMAGE")), rtd.test.dir.join(name.replace('/', "_")));
    let copied = Command::new("cp").arg("-r").arg(from).arg(&to).status().unwrap();
    assert!(copied.success());
    let read = |path: &Path| serde_json::from_slice::<Value>(&fs::read(path).unwrap()).unwrap();
    let blob = |digest: &Value| to.join("blobs").join(digest.as_str().unwrap().replace(':', "/"));
    let put = |descriptor: &mut Value, document: &Value| {
        let bytes = serde_json::to_vec(document).unwrap();
        descriptor["digest"] = json!(Digest::of(&bytes).to_string());
        descriptor["size"] = json!(bytes.len());
        fs::write(blob(&descriptor["digest"]), bytes).unwrap();
    };
    let mut index = read(&to.join("index.json"));
    let mut manifest = read(&blob(&index["manifests"][0]["digest"]));
    let mut config = read(&blob(&manifest["config"]["digest"]));
    change(&mut config);
    put(&mut manifest["config"], &config);
    put(&mut index["manifests"][0], &manifest);
    index["manifests"][0]["annotations"] = json!({"io.containerd.image.name": name});
    fs::write(to.join("index.json"), serde_json::to_vec(&index).unwrap()).unwrap();
    let mut load = Command::new(program("rtctl"));
    load.env("RT_ROOT", rtd.root()).env("RT_STATE", rtd.state()).args(["load", "-q", "-i"]).arg(&to);
    let loaded = load.output().unwrap();
    assert!(loaded.status.success(), "{loaded:?}");
}

const VOLUMES: &str = "docker.io/library/volumes:latest";

#[test]
fn volumes_of_an_image() {
    pod_test(async |rtd| {
        load_changed(rtd, VOLUMES, |config| config["config"]["Volumes"] = json!({"/etc": {}, "/data/new": {}}));
        let config = logged(rtd, "web");
        let pod = rtd.run(&config).await.unwrap();
        let script = "head -n 1 /etc/passwd; ls /data/new | wc -l; stat -c %a /data/new; echo mine > /etc/own; \
                      echo more > /data/new/x; touch /x 2>/dev/null && echo open; \
                      cut -d ' ' -f 5 /proc/self/mountinfo | grep -cx -e /etc -e /data/new";
        let of = |name: &str| {
            changed(name, script, |container| {
                container.image = Some(ImageSpec { image: VOLUMES.into(), ..ImageSpec::default() });
                security(container).readonly_rootfs = true;
            })
        };
        // With the image's content, writable where the root file system is not, and each container has its own.
        for name in ["one", "two"] {
            let seen = output(rtd, &pod, &config, &of(name)).await;
            assert_eq!(seen, "root:x:0:0:root:/root:/bin/sh\n0\n755\n2\n", "{name}");
        }
        // What the kubelet mounts there wins.
        let data = rtd.test.dir.join("data");
        fs::create_dir(&data).unwrap();
        let mut mounted = of("mounted");
        mounted.mounts = vec![Mount {
            host_path: data.to_str().unwrap().into(),
            container_path: "/data/new/".into(),
            ..Mount::default()
        }];
        output(rtd, &pod, &config, &mounted).await;
        assert_eq!(fs::read_to_string(data.join("x")).unwrap(), "more\n");

        // The files are the container's: they are there until it is removed.
        let id = rtd.create(&pod, &of("kept"), &config).await.unwrap();
        let volumes = rtd.root().join("upper").join(&id).join("volumes");
        assert_eq!(fs::read_dir(&volumes).unwrap().count(), 2);
        rtd.remove_container(&id).await.unwrap();
        assert!(!fs::exists(&volumes).unwrap());

        rtd.configure("image_volumes = \"ignore\"\n").await;
        let seen = finish(rtd, &pod, &config, &of("ignored")).await.unwrap().1;
        assert!(seen.lines().any(|line| line == "0") && !seen.lines().any(|line| line == "2"), "{seen}");
        rtd.remove_pod(&pod).await.unwrap();
    });
}

#[test]
fn volumes_of_an_image_in_a_user_namespace() {
    pod_test(async |rtd| {
        needs!(rtd.test, tests::maps_ids(&rtd.test.dir), "this kernel has no overlay of mapped layers");
        load_changed(rtd, VOLUMES, |config| config["config"]["Volumes"] = json!({"/etc": {}, "/data/new": {}}));
        let mut config = logged(rtd, "web");
        let mapping = proto::v1::IdMapping { host_id: 200_000, container_id: 0, length: 65_536 };
        let user =
            proto::v1::UserNamespace { mode: NamespaceMode::Pod as i32, uids: vec![mapping], gids: vec![mapping] };
        namespaces_of(&mut config).userns_options = Some(user.clone());
        namespaces_of(&mut config).network = NamespaceMode::Pod as i32;
        rtd.configure("network = \"bridge\"\n").await;
        needs!(rtd.test, tests::has_networks(), "no bridges or nftables here");
        let pod = rtd.run(&config).await.unwrap();
        let script =
            "stat -c '%u %g' /etc /etc/passwd /data/new; touch /etc/own /data/new/own; stat -c %u /data/new/own";
        let container = changed("main", script, |container| {
            container.image = Some(ImageSpec { image: VOLUMES.into(), ..ImageSpec::default() });
            let options = security(container).namespace_options.get_or_insert_default();
            options.network = NamespaceMode::Pod as i32;
            options.userns_options = Some(user);
        });
        assert_eq!(output(rtd, &pod, &config, &container).await, "0 0\n0 0\n0 0\n0\n");
        rtd.remove_pod(&pod).await.unwrap();
    });
}

#[test]
fn longest_line_of_a_log() {
    pod_test(async |rtd| {
        let config = logged(rtd, "web");
        let pod = rtd.run(&config).await.unwrap();
        let mut parts = Vec::new();
        for settings in ["max_log_line = \"1KiB\"\n", "max_log_line = \"64KiB\"\n", ""] {
            rtd.configure(settings).await;
            let container = changed("main", "head -c 40000 /dev/zero | tr '\\0' x; echo", |_| {});
            let id = rtd.create(&pod, &container, &config).await.unwrap();
            rtd.start(&id).await.unwrap();
            let text = fs::read_to_string(rtd.ended(&id).await.log_path).unwrap();
            let tags: Vec<&str> = text.lines().map(|line| line.split(' ').nth(2).unwrap()).collect();
            assert_eq!(tags.iter().position(|tag| *tag == "F"), Some(tags.len() - 1), "{tags:?}");
            let longest = text.lines().map(|line| line.splitn(4, ' ').nth(3).unwrap().len()).max().unwrap();
            parts.push((tags.len(), longest));
            rtd.remove_container(&id).await.unwrap();
            fs::remove_dir_all(&config.log_directory).unwrap();
        }
        assert_eq!(parts, [(40, 1024), (1, 40_000), (3, 16_384)]);
        rtd.remove_pod(&pod).await.unwrap();
    });
}

fn pod_range(range: &str) -> UpdateRuntimeConfigRequest {
    let network_config = Some(NetworkConfig { pod_cidr: range.into() });
    UpdateRuntimeConfigRequest { runtime_config: Some(RuntimeConfig { network_config }) }
}

/// Addresses of pods on the bridge: as the settings say, else as the kubelet says, else those of the default network.
#[test]
fn addresses_of_pods() {
    pod_test(async |rtd| {
        needs!(rtd.test, tests::has_networks(), "no bridges or nftables here");
        let bridged = |rtd: &Rtd<'_>, name: &str| {
            let mut config = logged(rtd, name);
            namespaces_of(&mut config).network = NamespaceMode::Pod as i32;
            config
        };
        let network = async |rtd: &mut Rtd<'_>, id: &str| {
            let network = rtd.pod_status(id).await.unwrap().network.unwrap();
            let more = network.additional_ips.into_iter().map(|more| more.ip);
            std::iter::once(network.ip).chain(more).collect::<Vec<_>>()
        };
        for wrong in ["10.0.0.0", "10.77.0.0/24,10.78.0.0/24", "x"] {
            let error = rtd.runtime.update_runtime_config(pod_range(wrong)).await.unwrap_err();
            assert_eq!(error.code(), Code::InvalidArgument, "{error}");
        }
        rtd.configure("network = \"bridge\"\n").await;
        let config = bridged(rtd, "told");
        rtd.runtime.update_runtime_config(pod_range("10.77.5.0/24,fd77:5::/64")).await.unwrap();
        // It is not told again to a daemon that is started anew.
        rtd.kill();
        rtd.restart().await;
        let told = rtd.run(&config).await.unwrap();
        assert_eq!(network(rtd, &told).await, ["10.77.5.2", "fd77:5::2"]);

        // Other subnets while pods are on these: refused until they are gone.
        rtd.configure("network = \"bridge\"\npod_cidrs = [\"10.78.0.0/28\"]\n").await;
        let config = bridged(rtd, "set");
        let error = rtd.run(&config).await.unwrap_err();
        assert!(error.message().contains("rt-pods") && error.message().contains(&told[..12]), "{error}");
        rtd.remove_pod(&told).await.unwrap();
        let set = rtd.run(&config).await.unwrap();
        assert_eq!(network(rtd, &set).await, ["10.78.0.2"]);
        rtd.remove_pod(&set).await.unwrap();

        // It is the network of rtd alone, and can be removed as any other.
        let mut rm = Command::new(program("rtctl"));
        rm.env("RT_ROOT", rtd.root()).env("RT_STATE", rtd.state()).args(["network", "rm", "rt-pods"]);
        let removed = rm.output().unwrap();
        assert!(removed.status.success(), "{removed:?}");
    });
}
