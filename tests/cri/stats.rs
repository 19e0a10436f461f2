//! What pods and containers use: stats, metrics, and the file systems of images.

use std::path::Path;

use proto::v1::{
    ContainerConfig, ContainerStats, ContainerStatsFilter, ContainerStatsRequest, ImageFsInfoRequest,
    LinuxContainerResources, ListContainerStatsRequest, ListMetricDescriptorsRequest, ListPodSandboxMetricsRequest,
    ListPodSandboxStatsRequest, Metric, Mount, NamespaceMode, PodSandboxStatsFilter, PodSandboxStatsRequest,
    StreamContainerStatsRequest, StreamPodSandboxMetricsRequest, StreamPodSandboxStatsRequest,
};
use tests::pods::{container, namespaces_of, pod};
use tests::{Cgroups, Rtd, needs, pod_test};
use tonic::Code;

/// A container with limits that writes 3 MiB, starts a second process, says so through a pipe, and waits.
fn busy(name: &str, shared: &Path) -> ContainerConfig {
    let script = "dd if=/dev/zero of=/data bs=1M count=3 2>/dev/null; sleep 1000 & echo > /shared/pipe; wait";
    let mut config = container(name, script);
    config.labels.insert("app".to_owned(), name.to_owned());
    config.annotations.insert("note".to_owned(), "x".to_owned());
    config.mounts.push(Mount {
        container_path: "/shared".to_owned(),
        host_path: shared.display().to_string(),
        ..Mount::default()
    });
    config.linux.get_or_insert_default().resources = Some(LinuxContainerResources {
        cpu_period: 100_000,
        cpu_quota: 20_000,
        cpu_shares: 512,
        memory_limit_in_bytes: 64 << 20,
        ..LinuxContainerResources::default()
    });
    config
}

/// Starts such a container; it has written when this returns.
async fn launch(rtd: &mut Rtd<'_>, pod: &str, name: &str, of: &proto::v1::PodSandboxConfig) -> String {
    let shared = rtd.test.dir.join(format!("shared-{name}"));
    std::fs::create_dir(&shared).unwrap();
    let pipe = shared.join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::from_bits_truncate(0o666)).unwrap();
    let id = rtd.create(pod, &busy(name, &shared), of).await.unwrap();
    rtd.start(&id).await.unwrap();
    tokio::task::spawn_blocking(move || std::fs::read(pipe)).await.unwrap().unwrap();
    id
}

async fn stats_of(rtd: &mut Rtd<'_>, id: &str) -> ContainerStats {
    let request = ContainerStatsRequest { container_id: id.to_owned() };
    rtd.runtime.container_stats(request).await.unwrap().into_inner().stats.unwrap()
}

#[test]
fn a_container_that_runs_has_figures() {
    pod_test(async |rtd| {
        needs!(
            rtd.test,
            Cgroups::detect().has("cpu") && Cgroups::detect().has("memory"),
            "no memory and cpu controllers"
        );
        let config = pod("web");
        let id = rtd.run(&config).await.unwrap();
        let one = launch(rtd, &id, "one", &config).await;
        // Also by the beginning of its id.
        let stats = stats_of(rtd, &one[..13]).await;
        let attributes = stats.attributes.unwrap();
        assert_eq!((attributes.id.as_str(), attributes.metadata.unwrap().name.as_str()), (one.as_str(), "one"));
        assert_eq!((attributes.labels["app"].as_str(), attributes.annotations["note"].as_str()), ("one", "x"));
        let cpu = stats.cpu.unwrap();
        assert!(cpu.timestamp > 1_700_000_000_000_000_000, "{cpu:?}");
        assert!(cpu.usage_nano_cores.is_some(), "{cpu:?}");
        let host = Cgroups::detect();
        assert!(cpu.usage_core_nano_seconds.unwrap().value > 0);
        if host.has("memory") {
            let memory = stats.memory.unwrap();
            let (working_set, usage) = (memory.working_set_bytes.unwrap().value, memory.usage_bytes.unwrap().value);
            assert!(working_set > 0 && working_set <= usage && usage < 64 << 20, "{memory:?}");
            assert_eq!(memory.available_bytes.unwrap().value, (64 << 20) - working_set);
            assert!(memory.page_faults.unwrap().value > 0);
            assert_eq!(stats.swap.unwrap().swap_usage_bytes.unwrap().value, 0);
        }
        let layer = stats.writable_layer.unwrap();
        let bytes = layer.used_bytes.unwrap().value;
        assert!((3 << 20..4 << 20).contains(&bytes), "{bytes}");
        assert!(layer.inodes_used.unwrap().value >= 2);
        assert_eq!(layer.fs_id.unwrap().mountpoint, rtd.root().display().to_string());

        // Figures are fresh at each call, and CPU time only grows.
        let again = stats_of(rtd, &one).await.cpu.unwrap();
        assert!(again.timestamp > cpu.timestamp);
        assert!(again.usage_core_nano_seconds.unwrap().value >= cpu.usage_core_nano_seconds.unwrap().value);

        // One that does not run has none.
        rtd.stop_container(&one, 0).await.unwrap();
        let ended = stats_of(rtd, &one).await;
        assert_eq!((ended.cpu, ended.memory), (None, None));
        assert!(ended.writable_layer.is_some());
        rtd.remove_pod(&id).await.unwrap();
        for id in [one.as_str(), &"0".repeat(64), "x"] {
            let request = ContainerStatsRequest { container_id: id.to_owned() };
            assert_eq!(rtd.runtime.container_stats(request).await.unwrap_err().code(), Code::NotFound, "{id}");
            let request = PodSandboxStatsRequest { pod_sandbox_id: id.to_owned() };
            assert_eq!(rtd.runtime.pod_sandbox_stats(request).await.unwrap_err().code(), Code::NotFound, "{id}");
        }
        let empty = rtd.runtime.container_stats(ContainerStatsRequest::default()).await.unwrap_err();
        assert_eq!(empty.code(), Code::InvalidArgument, "{empty}");
    });
}

#[test]
fn lists_of_figures_are_filtered() {
    pod_test(async |rtd| {
        needs!(
            rtd.test,
            Cgroups::detect().has("cpu") && Cgroups::detect().has("memory"),
            "no memory and cpu controllers"
        );
        let (a, b) = (pod("a"), pod("b"));
        let (pod_a, pod_b) = (rtd.run(&a).await.unwrap(), rtd.run(&b).await.unwrap());
        let one = launch(rtd, &pod_a, "one", &a).await;
        let two = launch(rtd, &pod_b, "two", &b).await;
        rtd.create(&pod_b, &container("never", "true"), &b).await.unwrap();
        let label = |value: &str| [("app".to_owned(), value.to_owned())].into();
        let filters = [
            (ContainerStatsFilter::default(), vec![&one, &two]),
            (ContainerStatsFilter { id: two[..10].to_owned(), ..Default::default() }, vec![&two]),
            (ContainerStatsFilter { pod_sandbox_id: pod_a.clone(), ..Default::default() }, vec![&one]),
            (ContainerStatsFilter { label_selector: label("two"), ..Default::default() }, vec![&two]),
            (ContainerStatsFilter { id: one.clone(), pod_sandbox_id: pod_b.clone(), ..Default::default() }, vec![]),
        ];
        for (filter, expected) in filters {
            let request = ListContainerStatsRequest { filter: Some(filter.clone()) };
            let stats = rtd.runtime.list_container_stats(request).await.unwrap().into_inner().stats;
            let ids: Vec<_> = stats.iter().map(|one| &one.attributes.as_ref().unwrap().id).collect();
            assert_eq!(ids, expected, "{filter:?}");
            let request = StreamContainerStatsRequest { filter: Some(filter) };
            let mut parts = rtd.runtime.stream_container_stats(request).await.unwrap().into_inner();
            let mut streamed = Vec::new();
            while let Some(part) = parts.message().await.unwrap() {
                streamed.extend(part.container_stats.into_iter().map(|one| one.attributes.unwrap().id));
            }
            assert_eq!(streamed.iter().collect::<Vec<_>>(), expected);
        }
        let filters = [
            (None, vec![&pod_a, &pod_b]),
            (Some(PodSandboxStatsFilter { id: pod_a[..10].to_owned(), ..Default::default() }), vec![&pod_a]),
            (Some(PodSandboxStatsFilter { label_selector: label("b"), ..Default::default() }), vec![&pod_b]),
            (Some(PodSandboxStatsFilter { label_selector: label("c"), ..Default::default() }), vec![]),
        ];
        for (filter, expected) in filters {
            let request = ListPodSandboxStatsRequest { filter: filter.clone() };
            let stats = rtd.runtime.list_pod_sandbox_stats(request).await.unwrap().into_inner().stats;
            let ids: Vec<_> = stats.iter().map(|one| &one.attributes.as_ref().unwrap().id).collect();
            assert_eq!(ids, expected, "{filter:?}");
            let request = StreamPodSandboxStatsRequest { filter };
            let mut parts = rtd.runtime.stream_pod_sandbox_stats(request).await.unwrap().into_inner();
            let mut streamed = 0;
            while let Some(part) = parts.message().await.unwrap() {
                streamed += part.pod_sandbox_stats.len();
            }
            assert_eq!(streamed, expected.len());
        }
        rtd.remove_pod(&pod_a).await.unwrap();
        rtd.remove_pod(&pod_b).await.unwrap();
    });
}

#[test]
fn a_pod_has_the_figures_of_its_containers() {
    pod_test(async |rtd| {
        needs!(
            rtd.test,
            Cgroups::detect().has("cpu") && Cgroups::detect().has("memory"),
            "no memory and cpu controllers"
        );
        let config = pod("web");
        let id = rtd.run(&config).await.unwrap();
        let request = || PodSandboxStatsRequest { pod_sandbox_id: id.clone() };
        let idle = rtd.runtime.pod_sandbox_stats(request()).await.unwrap().into_inner().stats.unwrap();
        let linux = idle.linux.unwrap();
        assert!(linux.cpu.unwrap().timestamp > 0);
        assert_eq!((linux.containers.len(), linux.process.unwrap().process_count.unwrap().value), (0, 0));
        assert_eq!(linux.network, None, "it is the node's");

        let one = launch(rtd, &id, "one", &config).await;
        launch(rtd, &id, "two", &config).await;
        let stats = rtd.runtime.pod_sandbox_stats(request()).await.unwrap().into_inner().stats.unwrap();
        assert_eq!(stats.attributes.unwrap().metadata, config.metadata);
        let linux = stats.linux.unwrap();
        assert_eq!(linux.containers.len(), 2);
        assert_eq!(linux.containers[0].attributes.as_ref().unwrap().id, one);
        // A shell and its sleep each.
        assert_eq!(linux.process.unwrap().process_count.unwrap().value, 4);
        let usage = |cpu: &Option<proto::v1::CpuUsage>| cpu.as_ref().unwrap().usage_core_nano_seconds.unwrap().value;
        let parts: u64 = linux.containers.iter().map(|one| usage(&one.cpu)).sum();
        assert!(parts > 0 && usage(&linux.cpu) >= parts, "{linux:?}");
        rtd.remove_pod(&id).await.unwrap();
    });
}

#[test]
fn traffic_is_counted_by_interface() {
    pod_test(async |rtd| {
        needs!(rtd.test, tests::has_networks(), "no bridges or nftables here");
        let mut config = pod("web");
        namespaces_of(&mut config).network = NamespaceMode::Pod as i32;
        let id = rtd.run(&config).await.unwrap();
        let request = PodSandboxStatsRequest { pod_sandbox_id: id.clone() };
        let stats = rtd.runtime.pod_sandbox_stats(request).await.unwrap().into_inner().stats.unwrap();
        let network = stats.linux.unwrap().network.unwrap();
        assert!(network.timestamp > 0);
        let default = network.default_interface.unwrap();
        assert_eq!(default.name, "eth0");
        assert_eq!((default.rx_errors.unwrap().value, default.tx_errors.unwrap().value), (0, 0));
        assert_eq!(network.interfaces, [], "loopback is none");

        let request = ListPodSandboxMetricsRequest::default();
        let metrics = rtd.runtime.list_pod_sandbox_metrics(request).await.unwrap().into_inner().pod_metrics;
        assert_eq!(metrics[0].metrics.len(), 8);
        for metric in &metrics[0].metrics {
            assert!(metric.name.starts_with("container_network_"), "{metric:?}");
            assert_eq!((metric.label_values[0].as_str(), metric.label_values[6].as_str()), ("POD", "eth0"));
        }
        rtd.remove_pod(&id).await.unwrap();
    });
}

#[test]
fn every_metric_that_is_announced_is_told() {
    pod_test(async |rtd| {
        needs!(
            rtd.test,
            Cgroups::detect().has("cpu") && Cgroups::detect().has("memory"),
            "no memory and cpu controllers"
        );
        let config = pod("web");
        let id = rtd.run(&config).await.unwrap();
        let one = launch(rtd, &id, "one", &config).await;
        let request = ListMetricDescriptorsRequest::default();
        let descriptors = rtd.runtime.list_metric_descriptors(request).await.unwrap().into_inner().descriptors;
        let request = ListPodSandboxMetricsRequest::default();
        let pods = rtd.runtime.list_pod_sandbox_metrics(request).await.unwrap().into_inner().pod_metrics;
        assert_eq!(pods.iter().map(|pod| pod.pod_sandbox_id.as_str()).collect::<Vec<_>>(), [id.as_str()]);
        assert_eq!(pods[0].container_metrics[0].container_id, one);
        let metrics = &pods[0].container_metrics[0].metrics;
        let find = |name: &str| metrics.iter().find(|metric| metric.name == format!("container_{name}"));
        let value = |metric: Option<&Metric>| metric.unwrap().value.unwrap().value;

        // What depends on the kernel, on devices that were used, or on another kind of pod.
        let host = Cgroups::detect();
        let optional = |name: &str| {
            name.starts_with("container_network_")
                || ["blkio", "fs_reads", "fs_writes", "hugetlb", "pressure", "spec_cpu_quota"]
                    .iter()
                    .any(|prefix| name.strip_prefix("container_").unwrap().starts_with(prefix))
                || (!host.has("memory") && (name.contains("memory") || name.contains("oom")))
        };
        for descriptor in &descriptors {
            let told: Vec<_> = metrics.iter().filter(|metric| metric.name == descriptor.name).collect();
            assert!(!told.is_empty() || optional(&descriptor.name), "{} is not told", descriptor.name);
            for metric in told {
                assert_eq!(metric.label_values.len(), descriptor.label_keys.len(), "{metric:?}");
            }
        }
        let keys = &descriptors.iter().find(|one| one.name == "container_processes").unwrap().label_keys;
        let labels = &find("processes").unwrap().label_values;
        let label = |key: &str| labels[keys.iter().position(|one| one == key).unwrap()].as_str();
        assert_eq!((label("container"), label("pod"), label("namespace")), ("one", "web", "default"));
        assert_eq!((label("name"), label("image")), (one.as_str(), tests::pods::IMAGE));
        assert!(label("id").starts_with('/') && label("id").contains(&one), "{}", label("id"));

        assert_eq!(value(find("processes")), 2);
        assert_eq!(value(find("threads")), 2);
        assert!(value(find("file_descriptors")) >= 4);
        assert_eq!(value(find("spec_cpu_period")), 100_000);
        assert_eq!(value(find("spec_cpu_quota")), 20_000);
        assert_eq!(value(find("spec_cpu_shares")), 512);
        assert!(value(find("fs_usage_bytes")) >= 3 << 20);
        assert!(value(find("fs_limit_bytes")) > 3 << 20);
        assert!(value(find("ulimits_soft")) > 0);
        let (started, seen) = (value(find("start_time_seconds")), value(find("last_seen")));
        assert!(started > 1_700_000_000 && started <= seen, "{started} {seen}");
        if host.has("memory") {
            assert_eq!(value(find("spec_memory_limit_bytes")), 64 << 20);
            assert_eq!(value(find("oom_events_total")), 0);
            assert!(value(find("memory_max_usage_bytes")) >= value(find("memory_rss")));
        }
        let mut parts =
            rtd.runtime.stream_pod_sandbox_metrics(StreamPodSandboxMetricsRequest {}).await.unwrap().into_inner();
        let part = parts.message().await.unwrap().unwrap();
        assert_eq!(part.pod_sandbox_metrics[0].pod_sandbox_id, id);
        assert_eq!(parts.message().await.unwrap(), None);
        rtd.remove_pod(&id).await.unwrap();
    });
}

#[test]
fn the_file_systems_of_images_and_of_writable_layers() {
    pod_test(async |rtd| {
        needs!(
            rtd.test,
            Cgroups::detect().has("cpu") && Cgroups::detect().has("memory"),
            "no memory and cpu controllers"
        );
        let config = pod("web");
        let id = rtd.run(&config).await.unwrap();
        launch(rtd, &id, "one", &config).await;
        let info = rtd.images.image_fs_info(ImageFsInfoRequest {}).await.unwrap().into_inner();
        let ([images], [layers]) = (&info.image_filesystems[..], &info.container_filesystems[..]) else {
            panic!("{info:?}")
        };
        assert_eq!(images.fs_id, layers.fs_id, "both are on one file system");
        assert!(images.timestamp > 0 && images.inodes_used.unwrap().value > 5, "{images:?}");
        let bytes = layers.used_bytes.unwrap().value;
        assert!((3 << 20..4 << 20).contains(&bytes), "{bytes}");

        let mut du = std::process::Command::new("du");
        du.args(["-sc", "--block-size=1"]).args([rtd.root().join("images"), rtd.root().join("layers")]);
        let text = String::from_utf8(du.output().unwrap().stdout).unwrap();
        let expected: u64 = text.lines().last().unwrap().split_whitespace().next().unwrap().parse().unwrap();
        let found = images.used_bytes.unwrap().value;
        assert!(found.abs_diff(expected) * 100 <= expected, "{found}, du {expected}");
        rtd.remove_pod(&id).await.unwrap();
    });
}
