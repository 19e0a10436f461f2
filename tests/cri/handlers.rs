//! Runtime handlers: pods whose containers another OCI runtime makes. What containers are like by it is tested by the whole suite with
//! `RT_HANDLER`; here is what is special about handlers.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use proto::v1::{
    ExecSyncRequest, IdMapping, NamespaceMode, PodSandboxConfig, RunPodSandboxRequest, StatusRequest, UserNamespace,
};
use serde_json::Value;
use tests::pods::{container, namespaces_of, pod};
use tests::{Rtd, handler_settings, needs, pod_test, rtd_test};
use tonic::{Code, Status};

use crate::lab::{changed, logged, output};

/// The runtime under test, if there is one that takes this host: Debian's crun does not take hybrid ones.
fn candidate() -> Option<String> {
    let installed =
        |name: &str| ["/usr/sbin", "/usr/bin"].iter().any(|dir| fs::metadata(format!("{dir}/{name}")).is_ok());
    match std::env::var("RT_HANDLER") {
        Ok(path) => Some(path),
        Err(_) => ["runc", "crun"].into_iter().find(|name| installed(name)).map(str::to_owned),
    }
}

/// A program for a handler's `path`: a script.
fn script(rtd: &Rtd<'_>, name: &str, text: &str) -> PathBuf {
    let path = rtd.test.dir.join(name);
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    path
}

/// A script in front of the runtime under test: keeps its calls, and the configurations of its containers.
fn spy(rtd: &Rtd<'_>) -> Option<PathBuf> {
    let settings = handler_settings(&candidate()?, "");
    let real = settings.split('"').nth(1).unwrap();
    let dir = rtd.test.dir.display();
    let text = format!(
        "echo \"$*\" >>{dir}/calls\nfor a; do [ \"$p\" != --bundle ] || cp $a/config.json {dir}/seen.json; p=$a; done\nexec {real} \"$@\""
    );
    Some(script(rtd, "spy", &text))
}

async fn run(rtd: &mut Rtd<'_>, config: &PodSandboxConfig, handler: &str) -> Result<String, Status> {
    let request = RunPodSandboxRequest { config: Some(config.clone()), runtime_handler: handler.to_owned() };
    Ok(rtd.runtime.run_pod_sandbox(request).await?.into_inner().pod_sandbox_id)
}

fn seen(rtd: &Rtd<'_>) -> Value {
    serde_json::from_slice(&fs::read(rtd.test.dir.join("seen.json")).unwrap()).unwrap()
}

fn shim(rtd: &Rtd<'_>, pod: &str) -> Pid {
    let record = fs::read(rtd.state().join("pods").join(pod).join("sandbox-status.json")).unwrap();
    let record: Value = serde_json::from_slice(&record).unwrap();
    Pid::from_raw(i32::try_from(record["shim"][0].as_i64().unwrap()).unwrap())
}

/// Each verb is the program's, and its last word is `delete`. The host's mount table shows nothing of it.
#[test]
fn the_life_of_a_container() {
    pod_test(async |rtd| {
        let Some(spy) = spy(rtd) else { return rtd.test.skip("neither runc nor crun here") };
        rtd.configure(&format!("[handlers.other]\npath = {spy:?}\nargs = [\"--debug\"]\n")).await;
        let config = logged(rtd, "web");
        let pod = run(rtd, &config, "other").await.unwrap();
        assert_eq!(rtd.pod_status(&pod).await.unwrap().runtime_handler, "other");
        let mounts = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
        let script = "trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done";
        let id = rtd.create(&pod, &changed("main", script, |_| {}), &config).await.unwrap();
        rtd.start(&id).await.unwrap();
        assert_eq!(fs::read_to_string("/proc/thread-self/mountinfo").unwrap(), mounts);
        let log = PathBuf::from(rtd.status(&id).await.unwrap().log_path);
        while !fs::read_to_string(&log).unwrap().contains("stdout F ready") {
            tokio::task::yield_now().await;
        }
        assert_eq!(rtd.exec(&id, "echo $PPID; exit 3").await.unwrap().exit_code, 3);
        // The daemon is not needed.
        rtd.kill();
        rtd.restart().await;
        assert_eq!(rtd.exec(&id, "echo again").await.unwrap().stdout, b"again\n");
        rtd.stop_container(&id, 60).await.unwrap();
        assert_eq!(rtd.status(&id).await.unwrap().exit_code, 5);
        rtd.remove_pod(&pod).await.unwrap();
        let calls = fs::read_to_string(rtd.test.dir.join("calls")).unwrap();
        let verbs = ["create", "start", "exec", "kill", "delete", "update", "features"];
        let verb = |line: &str| line.split(' ').find(|word| verbs.contains(word)).map(str::to_owned);
        let mut called: Vec<String> = calls.lines().filter(|line| !line.contains("--help")).filter_map(verb).collect();
        called.dedup();
        assert_eq!(called, ["create", "start", "exec", "kill", "delete"], "{calls}");
        assert!(
            calls.lines().filter(|line| !line.contains("--help")).all(|line| line.starts_with("--debug --root ")),
            "{calls}"
        );
    });
}

/// What the program says of a failure is what the kubelet reads; nothing of the container is left.
#[test]
fn errors_of_a_program() {
    pod_test(async |rtd| {
        let fails = script(
            rtd,
            "fails",
            r#"for a; do [ "$p" != --log ] || log=$a; p=$a; case $a in create) verb=1;; esac; done
               [ -z "$verb" ] || { echo '{"level":"error","msg":"no such thing as a moon"}' >$log; exit 1; }"#,
        );
        let prints = script(rtd, "prints", "case \"$*\" in *' create '*) echo 'no log here' >&2; exit 7;; esac");
        let silent = script(rtd, "silent", "case \"$*\" in *' create '*) exit 7;; esac");
        let table = |name: &str, path: &PathBuf| format!("[handlers.{name}]\npath = {path:?}\n");
        let settings = [table("fails", &fails), table("prints", &prints), table("silent", &silent)].concat();
        rtd.configure(&settings).await;
        for (handler, expected) in
            [("fails", "no such thing as a moon"), ("prints", "no log here"), ("silent", "exit status: 7")]
        {
            let config = pod(handler);
            let pod = run(rtd, &config, handler).await.unwrap();
            let id = rtd.create(&pod, &container("one", "true"), &config).await.unwrap();
            let error = rtd.start(&id).await.unwrap_err();
            let wanted = format!("{} create {id}: {expected}", rtd.test.dir.join(handler).display());
            assert!(error.message().contains(&wanted), "{error}");
            let status = rtd.status(&id).await.unwrap();
            assert_eq!((status.exit_code, status.reason.as_str()), (128, "StartError"));
            assert!(status.message.contains(expected), "{status:?}");
            rtd.remove_pod(&pod).await.unwrap();
        }
    });
}

#[test]
fn what_is_not_there() {
    pod_test(async |rtd| {
        let plain = rtd.test.dir.join("plain");
        fs::write(&plain, "").unwrap();
        let settings = format!("[handlers.gone]\npath = \"/nonexistent/oci\"\n[handlers.plain]\npath = {plain:?}\n");
        rtd.configure(&settings).await;
        for (handler, code, expected) in [
            ("none", Code::InvalidArgument, "gone, plain, rt"),
            ("gone", Code::Unknown, "/nonexistent/oci"),
            ("plain", Code::Unknown, "X_OK"),
        ] {
            let error = run(rtd, &pod("web"), handler).await.unwrap_err();
            assert_eq!(error.code(), code, "{error}");
            assert!(error.message().contains(expected), "{error}");
        }
        let file = rtd.test.dir.join("checked.toml");
        fs::write(&file, settings).unwrap();
        let checked =
            std::process::Command::new(tests::program("rtd")).args(["config", "check"]).arg(file).output().unwrap();
        let said = String::from_utf8(checked.stderr).unwrap();
        for expected in ["handlers.gone.path: access(\"/nonexistent/oci\"): ENOENT", "handlers.plain.path: access("] {
            assert!(said.contains(expected), "{said}");
        }
    });
}

/// What a handler's settings give to its containers, whoever runs them.
#[test]
fn base_spec_annotations_and_limits() {
    pod_test(async |rtd| {
        let spy = spy(rtd);
        let base = rtd.test.dir.join("base.json");
        let text = r#"{"ociVersion":"1.0.2","process":{"cwd":"/","env":["FROM=base","PATH=/nowhere"]},
            "mounts":[{"destination":"/extra","type":"tmpfs","source":"tmpfs","options":["size=64k"]}],
            "annotations":{"of.base":"yes"},"linux":{"maskedPaths":["/proc/version"]}}"#;
        fs::write(&base, text).unwrap();
        let own = format!(
            "[handlers.own]\nbase_spec = {base:?}\nannotations = [\"note\", \"of.*\"]\ndefault_ulimits = [\"core=1024:2048\"]\n"
        );
        let other = match &spy {
            Some(path) => own
                .replace("handlers.own", "handlers.other")
                .replace("base_spec", &format!("path = {path:?}\nbase_spec")),
            None => String::new(),
        };
        rtd.configure(&(own + &other)).await;
        for handler in ["own", "other"] {
            needs!(rtd.test, handler == "own" || spy.is_some(), "neither runc nor crun here");
            let mut config = logged(rtd, handler);
            config.annotations.insert("of.pod".to_owned(), "1".to_owned());
            config.annotations.insert("hidden".to_owned(), "1".to_owned());
            let pod = run(rtd, &config, handler).await.unwrap();
            let script = "echo $FROM; ulimit -c; ulimit -Hc; grep -c ' /extra tmpfs .*size=64k' /proc/mounts; wc -c </proc/version";
            let one = changed("one", script, |config| {
                config.annotations.insert("of.container".to_owned(), "2".to_owned());
            });
            // The shell counts in blocks of 512 bytes.
            let expected = "base\n2\n4\n1\n0\n";
            assert_eq!(output(rtd, &pod, &config, &one).await, expected, "{handler}");
            if handler == "other" {
                let seen = seen(rtd);
                let names: Vec<&String> = seen["annotations"].as_object().unwrap().keys().collect();
                assert_eq!(names, ["note", "of.base", "of.container", "of.pod"]);
                let limits = seen["process"]["rlimits"].as_array().unwrap();
                let core = limits.iter().find(|limit| limit["type"] == "RLIMIT_CORE").unwrap();
                assert_eq!((core["soft"].as_u64(), core["hard"].as_u64()), (Some(1024), Some(2048)));
            }
            rtd.remove_pod(&pod).await.unwrap();
        }
    });
}

/// Each handler is told with what it can do.
#[test]
fn features() {
    rtd_test(async |rtd| {
        let says = script(rtd, "says", "echo '{\"linux\":{\"namespaces\":[\"mount\",\"user\"]}}'");
        let lacks = script(rtd, "lacks", "echo '{\"linux\":{\"namespaces\":[\"mount\"]}}'");
        let old = script(rtd, "old", "echo unknown command >&2; exit 1");
        let table = |name: &str, path: &PathBuf| format!("[handlers.{name}]\npath = {path:?}\n");
        rtd.configure(&[table("says", &says), table("lacks", &lacks), table("old", &old)].concat()).await;
        for _ in 0..2 {
            let answer = rtd.runtime.status(StatusRequest { verbose: false }).await.unwrap().into_inner();
            let told: Vec<_> = answer
                .runtime_handlers
                .iter()
                .map(|handler| {
                    let features = handler.features.unwrap();
                    (handler.name.as_str(), features.recursive_read_only_mounts, features.user_namespaces)
                })
                .filter(|(name, ..)| ["", "rt", "says", "lacks", "old"].contains(name))
                .collect();
            let expected = [
                ("", true, true),
                ("lacks", true, false),
                ("old", true, false),
                ("rt", true, true),
                ("says", true, true),
            ];
            assert_eq!(told, expected);
        }
    });
}

/// A shim that is killed leaves nothing: the processes end, and a runtime that keeps its records elsewhere forgets the container.
#[test]
fn the_shim_is_killed() {
    pod_test(async |rtd| {
        let Some(spy) = spy(rtd) else { return rtd.test.skip("neither runc nor crun here") };
        let root = rtd.test.dir.join("records");
        rtd.configure(&format!("[handlers.other]\npath = {spy:?}\nroot = {root:?}\n")).await;
        let config = pod("web");
        let pod = run(rtd, &config, "other").await.unwrap();
        let id = rtd.launch(&pod, "one", "sleep 1000", &config).await;
        assert!(root.join(&id).is_dir());
        kill(shim(rtd, &pod), Signal::SIGKILL).unwrap();
        assert_eq!(rtd.ended(&id).await.reason, "ContainerStatusUnknown");
        rtd.remove_container(&id).await.unwrap();
        assert!(!fs::exists(root.join(&id)).unwrap());
        rtd.remove_pod(&pod).await.unwrap();
        fs::remove_dir_all(&root).unwrap();
    });
}

/// A limit of an exec session holds for all that it starts, also where it has left its session.
#[test]
fn an_exec_that_takes_too_long() {
    pod_test(async |rtd| {
        let Some(spy) = spy(rtd) else { return rtd.test.skip("neither runc nor crun here") };
        rtd.configure(&format!("[handlers.other]\npath = {spy:?}\n")).await;
        let config = pod("web");
        let pod = run(rtd, &config, "other").await.unwrap();
        let id = rtd.launch(&pod, "one", "sleep 1000", &config).await;
        let script = "(setsid sleep 2000 &); sleep 3000";
        let cmd = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
        let request = ExecSyncRequest { container_id: id.clone(), cmd, timeout: 1 };
        let error = rtd.runtime.exec_sync(request).await.unwrap_err();
        assert_eq!(error.code(), Code::DeadlineExceeded, "{error}");
        let left = rtd.exec(&id, "ps -o args | grep '^sleep [23]000'; true").await.unwrap();
        assert_eq!(String::from_utf8(left.stdout).unwrap(), "");
        rtd.remove_pod(&pod).await.unwrap();
    });
}

/// The shim maps the ids of the root file system and of volumes: the program need not know how.
#[test]
fn user_namespaces() {
    pod_test(async |rtd| {
        let Some(spy) = spy(rtd) else { return rtd.test.skip("neither runc nor crun here") };
        needs!(rtd.test, tests::maps_ids(&rtd.test.dir), "the file system of the test cannot map ids");
        rtd.configure(&format!("[handlers.other]\npath = {spy:?}\n")).await;
        let mut config = logged(rtd, "mapped");
        let map = || vec![IdMapping { host_id: 200_000, container_id: 0, length: 65_536 }];
        let wanted = UserNamespace { mode: NamespaceMode::Pod as i32, uids: map(), gids: map() };
        let network = namespaces_of(&mut config);
        network.network = NamespaceMode::Pod as i32;
        network.userns_options = Some(wanted.clone());
        let pod = run(rtd, &config, "other").await.unwrap();
        let volume = rtd.test.dir.join("volume");
        fs::create_dir(&volume).unwrap();
        fs::write(volume.join("of-root"), "").unwrap();
        let script =
            "id -u; stat -c %u /bin/busybox /volume/of-root; touch /made /volume/made && cat /proc/self/uid_map";
        let one = changed("one", script, |config| {
            let security = crate::lab::security(config);
            let namespaces = security.namespace_options.get_or_insert_default();
            namespaces.network = NamespaceMode::Pod as i32;
            namespaces.userns_options = Some(wanted.clone());
            config.mounts = vec![proto::v1::Mount {
                host_path: volume.display().to_string(),
                container_path: "/volume".to_owned(),
                uid_mappings: map(),
                gid_mappings: map(),
                ..Default::default()
            }];
        });
        let told = output(rtd, &pod, &config, &one).await;
        let words: Vec<&str> = told.split_whitespace().collect();
        assert_eq!(words, ["0", "0", "0", "0", "200000", "65536"], "{told}");
        use std::os::unix::fs::MetadataExt;
        assert_eq!(fs::metadata(volume.join("made")).unwrap().uid(), 0);
        rtd.remove_pod(&pod).await.unwrap();
    });
}

/// Pods that name no handler get the default one.
#[test]
fn the_default_handler() {
    pod_test(async |rtd| {
        let Some(spy) = spy(rtd) else { return rtd.test.skip("neither runc nor crun here") };
        rtd.configure(&format!("default_handler = \"other\"\n[handlers.other]\npath = {spy:?}\n")).await;
        let config = logged(rtd, "web");
        let pod = run(rtd, &config, "").await.unwrap();
        assert_eq!(output(rtd, &pod, &config, &changed("one", "echo hello", |_| {})).await, "hello\n");
        let made = |rtd: &Rtd<'_>| fs::read_to_string(rtd.test.dir.join("calls")).unwrap().matches(" create ").count();
        assert_eq!(made(rtd), 1);
        // Another default is one of later pods.
        rtd.configure(&format!("[handlers.other]\npath = {spy:?}\n")).await;
        assert_eq!(output(rtd, &pod, &config, &changed("two", "echo again", |_| {})).await, "again\n");
        assert_eq!(made(rtd), 2);
        rtd.remove_pod(&pod).await.unwrap();
    });
}
