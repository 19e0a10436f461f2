//! The life of pods and containers.

use proto::v1::{
    ContainerFilter, ContainerState, ContainerStateValue, ListContainersRequest, ListPodSandboxRequest, NamespaceMode,
    PodSandboxFilter, PodSandboxState, PodSandboxStatusRequest,
};
use tests::pods::{IMAGE, container, namespaces_of, pod};
use tests::{needs, pod_test};
use tonic::Code;

#[test]
fn a_pod_from_the_first_to_the_last_call() {
    pod_test(async |rtd| {
        let config = pod("web");
        let id = rtd.run(&config).await.unwrap();
        let status = rtd.pod_status(&id).await.unwrap();
        assert_eq!(status.state, PodSandboxState::SandboxReady as i32);
        assert_eq!((&status.metadata, &status.annotations), (&config.metadata, &config.annotations));
        let options = status.linux.unwrap().namespaces.unwrap().options.unwrap();
        assert_eq!(options.network, NamespaceMode::Node as i32);
        assert!(status.created_at > 0);

        let box_id = rtd.create(&id, &container("box", "exit 7"), &config).await.unwrap();
        let created = rtd.status(&box_id).await.unwrap();
        assert_eq!(created.state, ContainerState::ContainerCreated as i32);
        assert_eq!((created.started_at, created.finished_at), (0, 0));
        assert_eq!(created.image.as_ref().unwrap().image, IMAGE);
        rtd.start(&box_id).await.unwrap();
        let ended = rtd.ended(&box_id).await;
        assert_eq!((ended.exit_code, ended.reason.as_str()), (7, "Error"));
        assert!(ended.created_at < ended.started_at && ended.started_at < ended.finished_at, "{ended:?}");
        assert_eq!(rtd.start(&box_id).await.unwrap_err().code(), Code::FailedPrecondition);

        rtd.remove_container(&box_id).await.unwrap();
        assert_eq!(rtd.status(&box_id).await.unwrap_err().code(), Code::NotFound);
        rtd.stop_pod(&id).await.unwrap();
        assert_eq!(rtd.pod_status(&id).await.unwrap().state, PodSandboxState::SandboxNotready as i32);
        let refused = rtd.create(&id, &container("late", "true"), &config).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
        rtd.remove_pod(&id).await.unwrap();
        assert_eq!(rtd.pod_status(&id).await.unwrap_err().code(), Code::NotFound);
    });
}

#[test]
fn removing_a_pod_takes_running_containers_along() {
    pod_test(async |rtd| {
        let config = pod("web");
        let id = rtd.run(&config).await.unwrap();
        let one = rtd.launch(&id, "one", "sleep 1000", &config).await;
        rtd.create(&id, &container("two", "true"), &config).await.unwrap();
        assert_eq!(rtd.status(&one).await.unwrap().state, ContainerState::ContainerRunning as i32);
        rtd.remove_pod(&id).await.unwrap();
        assert_eq!(rtd.containers().await, []);
    });
}

#[test]
fn what_is_gone_is_stopped_and_removed_again() {
    pod_test(async |rtd| {
        let config = pod("web");
        let id = rtd.run(&config).await.unwrap();
        let one = rtd.launch(&id, "one", "sleep 1000", &config).await;
        for _ in 0..2 {
            rtd.stop_container(&one, 0).await.unwrap();
        }
        assert_eq!(rtd.status(&one).await.unwrap().exit_code, 137);
        for _ in 0..2 {
            rtd.remove_container(&one).await.unwrap();
            rtd.stop_pod(&id).await.unwrap();
        }
        for _ in 0..2 {
            rtd.remove_pod(&id).await.unwrap();
        }
        let unknown = "0".repeat(64);
        rtd.stop_pod(&unknown).await.unwrap();
        rtd.remove_pod(&unknown).await.unwrap();
        rtd.stop_container(&unknown, 1).await.unwrap();
        rtd.remove_container(&unknown).await.unwrap();
    });
}

#[test]
fn the_same_again_is_the_same() {
    pod_test(async |rtd| {
        let config = pod("web");
        let (mut other, other_config) = (rtd.runtime.clone(), config.clone());
        let request = proto::v1::RunPodSandboxRequest { config: Some(other_config), runtime_handler: String::new() };
        let (first, second) = tokio::join!(rtd.run(&config), other.run_pod_sandbox(request));
        let id = first.unwrap();
        assert_eq!(second.unwrap().into_inner().pod_sandbox_id, id);
        assert_eq!(rtd.run(&config).await.unwrap(), id);
        assert_eq!(rtd.pods().await.len(), 1);
        let one = rtd.create(&id, &container("one", "true"), &config).await.unwrap();
        assert_eq!(rtd.create(&id, &container("one", "true"), &config).await.unwrap(), one);
        let other = rtd.create(&id, &container("one", "false"), &config).await.unwrap_err();
        assert_eq!(other.code(), Code::AlreadyExists, "{other}");
        rtd.stop_pod(&id).await.unwrap();
        let again = rtd.run(&config).await.unwrap_err();
        assert_eq!(again.code(), Code::AlreadyExists, "{again}");
        let mut next = config.clone();
        next.metadata.as_mut().unwrap().attempt = 1;
        let next = rtd.run(&next).await.unwrap();
        rtd.remove_pod(&id).await.unwrap();
        rtd.remove_pod(&next).await.unwrap();
    });
}

#[test]
fn lists_are_filtered() {
    pod_test(async |rtd| {
        let (a, b) = (pod("a"), pod("b"));
        let (pod_a, pod_b) = (rtd.run(&a).await.unwrap(), rtd.run(&b).await.unwrap());
        let one = rtd.launch(&pod_a, "one", "sleep 1000", &a).await;
        let two = rtd.create(&pod_b, &container("two", "true"), &b).await.unwrap();
        rtd.stop_pod(&pod_b).await.unwrap();
        let filters = [
            (PodSandboxFilter::default(), vec![&pod_a, &pod_b]),
            (PodSandboxFilter { id: pod_b[..12].to_owned(), ..Default::default() }, vec![&pod_b]),
            (
                PodSandboxFilter { label_selector: [("app".to_owned(), "a".to_owned())].into(), ..Default::default() },
                vec![&pod_a],
            ),
            (
                PodSandboxFilter { label_selector: [("app".to_owned(), "c".to_owned())].into(), ..Default::default() },
                vec![],
            ),
            (
                PodSandboxFilter {
                    state: Some(proto::v1::PodSandboxStateValue { state: PodSandboxState::SandboxNotready as i32 }),
                    ..Default::default()
                },
                vec![&pod_b],
            ),
            (PodSandboxFilter { id: "f".repeat(64), ..Default::default() }, vec![]),
        ];
        for (filter, expected) in filters {
            let request = ListPodSandboxRequest { filter: Some(filter.clone()) };
            let items = rtd.runtime.list_pod_sandbox(request).await.unwrap().into_inner().items;
            let ids: Vec<_> = items.iter().map(|pod| &pod.id).collect();
            assert_eq!(ids, expected, "{filter:?}");
        }
        let running = Some(ContainerStateValue { state: ContainerState::ContainerRunning as i32 });
        let filters = [
            (ContainerFilter::default(), vec![&one, &two]),
            (ContainerFilter { state: running, ..Default::default() }, vec![&one]),
            (ContainerFilter { pod_sandbox_id: pod_b.clone(), ..Default::default() }, vec![&two]),
            (ContainerFilter { pod_sandbox_id: pod_b.clone(), state: running, ..Default::default() }, vec![]),
        ];
        for (filter, expected) in filters {
            let request = ListContainersRequest { filter: Some(filter.clone()) };
            let items = rtd.runtime.list_containers(request).await.unwrap().into_inner().containers;
            let ids: Vec<_> = items.iter().map(|container| &container.id).collect();
            assert_eq!(ids, expected, "{filter:?}");
        }
        rtd.remove_pod(&pod_a).await.unwrap();
        rtd.remove_pod(&pod_b).await.unwrap();
    });
}

#[test]
fn what_cannot_be_started_has_ended_with_the_reason() {
    pod_test(async |rtd| {
        let config = pod("web");
        let id = rtd.run(&config).await.unwrap();
        let mut missing = container("missing", "");
        missing.command = vec!["/no/such/program".to_owned()];
        let missing = rtd.create(&id, &missing, &config).await.unwrap();
        let refused = rtd.start(&missing).await.unwrap_err();
        assert!(refused.message().contains("/no/such/program"), "{refused}");
        let status = rtd.status(&missing).await.unwrap();
        assert_eq!((status.state, status.exit_code), (ContainerState::ContainerExited as i32, 127));
        assert_eq!(status.reason, "StartError");
        assert!(status.message.contains("/no/such/program"), "{}", status.message);
        rtd.remove_pod(&id).await.unwrap();
    });
}

#[test]
fn a_pod_on_the_bridge_has_an_address() {
    pod_test(async |rtd| {
        needs!(rtd.test, tests::has_networks(), "no bridges or nftables here");
        let mut config = pod("web");
        namespaces_of(&mut config).network = NamespaceMode::Pod as i32;
        config.hostname = "web".to_owned();
        let id = rtd.run(&config).await.unwrap();
        let network = rtd.pod_status(&id).await.unwrap().network.unwrap();
        let address: std::net::IpAddr = network.ip.parse().unwrap();
        assert!(address.is_ipv4(), "{address}");
        rtd.stop_pod(&id).await.unwrap();
        assert_eq!(rtd.pod_status(&id).await.unwrap().network.unwrap().ip, "");
        let verbose = PodSandboxStatusRequest { pod_sandbox_id: id.clone(), verbose: true };
        let info = rtd.runtime.pod_sandbox_status(verbose).await.unwrap().into_inner().info;
        let info: serde_json::Value = serde_json::from_str(&info["info"]).unwrap();
        assert_eq!(info["sandboxStatus"]["state"], "ended");
        rtd.remove_pod(&id).await.unwrap();
    });
}

#[test]
fn unknown_handlers_and_empty_messages_are_refused() {
    pod_test(async |rtd| {
        let request = proto::v1::RunPodSandboxRequest { config: Some(pod("x")), runtime_handler: "gvisor".into() };
        let refused = rtd.runtime.run_pod_sandbox(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(refused.message().contains("gvisor"), "{refused}");
        let empty = rtd.runtime.run_pod_sandbox(proto::v1::RunPodSandboxRequest::default()).await.unwrap_err();
        assert_eq!(empty.code(), Code::InvalidArgument, "{empty}");
        for refused in
            [rtd.stop_pod("").await, rtd.remove_pod("").await, rtd.start("").await, rtd.remove_container("").await]
        {
            assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument);
        }
        assert_eq!(rtd.start(&"a".repeat(64)).await.unwrap_err().code(), Code::NotFound);
    });
}
