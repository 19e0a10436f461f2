//! SELinux labels of pods, containers and what they mount, on a kernel that enforces them: the machine of `hack/qemu` with RT_QEMU_SELINUX.

use std::fs;
use std::path::Path;
use std::process::Command;

use proto::v1::{ImageSpec, Mount, NamespaceMode, SeLinuxOption};
use tests::pods::{IMAGE, namespaces_of};
use tests::{Rtd, pod_test};
use tonic::Code;

use crate::lab::{changed, linux, logged, output, secured, security};

const SHOW: &str = "tr -d '\\000\\n' </proc/self/attr/current; echo";

fn enforcing(rtd: &Rtd<'_>) -> bool {
    let enforcing = fs::read_to_string("/sys/fs/selinux/enforce").is_ok_and(|text| text == "1");
    if !enforcing {
        rtd.test.skip("no SELinux that enforces");
    }
    enforcing
}

fn asked(kind: &str, level: &str) -> Option<SeLinuxOption> {
    Some(SeLinuxOption { r#type: kind.to_owned(), level: level.to_owned(), ..SeLinuxOption::default() })
}

fn label_of(path: impl AsRef<Path>) -> String {
    let output = Command::new("stat").args(["-c", "%C"]).arg(path.as_ref()).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// The level of a label: its fourth part.
fn level(label: &str) -> &str {
    label.trim().splitn(4, ':').nth(3).unwrap()
}

#[test]
fn a_pod_has_a_level_of_its_own() {
    pod_test(async |rtd| {
        if !enforcing(rtd) {
            return;
        }
        let (one, other) = (logged(rtd, "one"), logged(rtd, "other"));
        let pods = [rtd.run(&one).await.unwrap(), rtd.run(&other).await.unwrap()];
        let first = output(rtd, &pods[0], &one, &changed("first", SHOW, |_| {})).await;
        let second = output(rtd, &pods[0], &one, &changed("second", SHOW, |_| {})).await;
        let foreign = output(rtd, &pods[1], &other, &changed("third", SHOW, |_| {})).await;
        assert!(first.starts_with("system_u:system_r:container_t:s0:c"), "{first}");
        assert_eq!(first, second);
        assert_ne!(level(&first), level(&foreign));

        // What is its own it may use: layers, the pod's files and shared memory, devices, message queues.
        let script = "echo x >/made && cat /made && cat /etc/hosts /etc/hostname /etc/resolv.conf >/dev/null && \
                      echo x >/dev/shm/made && echo x >/dev/termination-log && ls /dev/mqueue && echo all";
        let whole = changed("whole", script, |_| {});
        assert_eq!(output(rtd, &pods[0], &one, &whole).await, "x\nall\n");
        // As another container of the pod.
        assert_eq!(output(rtd, &pods[0], &one, &changed("shm", "cat /dev/shm/made", |_| {})).await, "x\n");

        let id = rtd.launch(&pods[0], "held", "sleep 1000", &one).await;
        let seen = rtd.exec(&id, SHOW).await.unwrap();
        assert_eq!(String::from_utf8(seen.stdout).unwrap(), first);
        for pod in &pods {
            rtd.remove_pod(pod).await.unwrap();
        }
    });
}

/// A pod that shares its pids has a process 1 of ours; it is one of the pod's.
#[test]
fn process_one_of_shared_pids() {
    pod_test(async |rtd| {
        if !enforcing(rtd) {
            return;
        }
        let mut config = logged(rtd, "shared");
        namespaces_of(&mut config).pid = NamespaceMode::Pod as i32;
        let pod = rtd.run(&config).await.unwrap();
        let script = format!(
            "{SHOW}; tr -d '\\000\\n' </proc/1/attr/current; echo; cat /proc/1/comm; \
             grep -c 'tmpfs init .*context=\"system_u:object_r:container_file_t:s0:c' /proc/1/mountinfo"
        );
        let text = output(
            rtd,
            &pod,
            &config,
            &secured("first", &script, |security| {
                security.namespace_options.get_or_insert_default().pid = NamespaceMode::Pod as i32;
            }),
        )
        .await;
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("system_u:system_r:container_t:s0:c"), "{text}");
        assert_eq!(lines[1..], [lines[0], "init", "1"]);
        rtd.remove_pod(&pod).await.unwrap();

        // What the policy does not know.
        let mut config = logged(rtd, "wrong");
        namespaces_of(&mut config).pid = NamespaceMode::Pod as i32;
        linux(&mut config).security_context.get_or_insert_default().selinux_options = asked("missing_t", "");
        let error = rtd.run(&config).await.unwrap_err();
        assert!(
            error.message().contains("missing_t") && error.message().contains("/proc/self/attr/current"),
            "{error}"
        );
    });
}

#[test]
fn contexts_that_are_asked_for() {
    pod_test(async |rtd| {
        if !enforcing(rtd) {
            return;
        }
        let mut config = logged(rtd, "web");
        linux(&mut config).security_context.get_or_insert_default().selinux_options = asked("", "s0:c5,c7");
        let pod = rtd.run(&config).await.unwrap();
        let read = secured("read", "cat /etc/hosts /etc/hostname /etc/resolv.conf >/dev/null", |security| {
            security.selinux_options = asked("", "s0:c8");
        });
        output(rtd, &pod, &config, &read).await;
        for (name, options, expected) in [
            ("pods", None, "system_u:system_r:container_t:s0:c5,c7\n"),
            ("type", asked("spc_t", ""), "system_u:system_r:spc_t:s0:c5,c7\n"),
            ("level", asked("", "s0:c8"), "system_u:system_r:container_t:s0:c8\n"),
        ] {
            let container = secured(name, SHOW, |security| security.selinux_options = options);
            assert_eq!(output(rtd, &pod, &config, &container).await, expected, "{name}");
        }
        // What the policy does not know: the label is named.
        for (name, options) in [("kind", asked("missing_t", "")), ("level", asked("", "s0:c5000"))] {
            let wrong = options.clone().unwrap();
            let container = secured(name, SHOW, |security| security.selinux_options = options);
            let id = rtd.create(&pod, &container, &config).await;
            let error = match id {
                Err(error) => error,
                Ok(id) => {
                    let error = rtd.start(&id).await.unwrap_err();
                    rtd.remove_container(&id).await.unwrap();
                    error
                }
            };
            let named = [wrong.r#type, wrong.level].concat();
            assert!(error.message().contains(&named) && error.message().contains("EINVAL"), "{error}");
        }
        rtd.remove_pod(&pod).await.unwrap();

        let mut config = logged(rtd, "privileged");
        linux(&mut config).security_context.get_or_insert_default().privileged = true;
        let pod = rtd.run(&config).await.unwrap();
        let free = secured("free", SHOW, |security| security.privileged = true);
        // None of ours: the policy says what it is.
        assert_eq!(output(rtd, &pod, &config, &free).await, "system_u:system_r:spc_t:s0-s0:c0.c1023\n");
        rtd.remove_pod(&pod).await.unwrap();
    });
}

#[test]
fn volumes_are_relabelled() {
    pod_test(async |rtd| {
        if !enforcing(rtd) {
            return;
        }
        let config = logged(rtd, "web");
        let pod = rtd.run(&config).await.unwrap();
        let data = rtd.test.dir.join("data");
        fs::create_dir_all(data.join("below")).unwrap();
        fs::write(data.join("below/file"), "text\n").unwrap();
        let before = label_of(&data);
        let mounted = |name: &str, script: &str, relabel: bool| {
            changed(name, script, |config| {
                let (host_path, container_path) = (data.display().to_string(), "/data".to_owned());
                config.mounts = vec![Mount { host_path, container_path, selinux_relabel: relabel, ..Mount::default() }];
            })
        };
        let denied = mounted("denied", "cat /data/below/file 2>/dev/null || echo no", false);
        assert_eq!(output(rtd, &pod, &config, &denied).await, "no\n");
        assert_eq!(label_of(data.join("below/file")), before);

        let script = format!("cat /data/below/file; echo x >/data/made; {SHOW}");
        let text = output(rtd, &pod, &config, &mounted("given", &script, true)).await;
        let label = text.strip_prefix("text\n").unwrap();
        let expected = format!("system_u:object_r:container_file_t:{}", level(label));
        for path in ["", "below", "below/file", "made"] {
            assert_eq!(label_of(data.join(path)), expected, "{path}");
        }

        // It is that pod's now: another one does not read it, until it is given to it.
        let other = logged(rtd, "other");
        let foreign = rtd.run(&other).await.unwrap();
        assert_eq!(output(rtd, &foreign, &other, &denied).await, "no\n");
        let taken = mounted("taken", "cat /data/below/file /data/made", true);
        assert_eq!(output(rtd, &foreign, &other, &taken).await, "text\nx\n");

        // What the node is made of stays as it is.
        let etc = label_of("/etc");
        let wrong = changed("etc", "true", |config| {
            let path = "/etc".to_owned();
            config.mounts = vec![Mount {
                host_path: path,
                container_path: "/data".into(),
                selinux_relabel: true,
                ..Mount::default()
            }];
        });
        let error = rtd.create(&pod, &wrong, &config).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument, "{error}");
        assert!(error.message().contains("/etc is the node's own"), "{error}");
        assert_eq!(label_of("/etc"), etc);
        for pod in [pod, foreign] {
            rtd.remove_pod(&pod).await.unwrap();
        }
    });
}

/// The layers of an image are everybody's: the mount has the label, they keep theirs.
#[test]
fn images_as_volumes() {
    pod_test(async |rtd| {
        if !enforcing(rtd) {
            return;
        }
        let config = logged(rtd, "web");
        let pod = rtd.run(&config).await.unwrap();
        let script = "/image/bin/busybox echo text; grep -c ' /image .*context=\"system_u:object_r:container_file_t' /proc/self/mounts";
        let container = changed("images", script, |config| {
            let image = Some(ImageSpec { image: IMAGE.to_owned(), ..ImageSpec::default() });
            config.mounts = vec![Mount { container_path: "/image".into(), readonly: true, image, ..Mount::default() }];
            security(config).readonly_rootfs = true;
        });
        assert_eq!(output(rtd, &pod, &config, &container).await, "text\n1\n");
        rtd.remove_pod(&pod).await.unwrap();
    });
}
