//! What a container runs, how it is stopped, and what of it is told.

use proto::v1::{KeyValue, Signal};
use tests::pods::container;
use tests::{handler_differs, pod_test};
use tonic::Code;

use crate::lab::{changed, finish, logged, output};

#[test]
fn command_lines_environment_and_place() {
    pod_test(async |rtd| {
        let config = logged(rtd, "web");
        let pod = rtd.run(&config).await.unwrap();
        let words = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let split = changed("split", "", |config| {
            config.command = words(&["/bin/echo"]);
            config.args = words(&["two words", "$HOME"]);
        });
        assert_eq!(output(rtd, &pod, &config, &split).await, "two words $HOME\n");
        let args = changed("args", "", |config| {
            config.command.clear();
            config.args = words(&["/bin/echo", "image"]);
        });
        assert_eq!(output(rtd, &pod, &config, &args).await, "image\n");
        let place = changed("place", "pwd", |config| config.working_dir = "/var/tmp".into());
        assert_eq!(output(rtd, &pod, &config, &place).await, "/var/tmp\n");
        // A shell leaves out what is no name of a variable.
        let odd = changed("odd", "", |config| {
            config.command = words(&["/bin/env"]);
            config.envs = vec![KeyValue { key: "odd.name-1".into(), value: b"a=b\tc".to_vec() }];
        });
        let seen = output(rtd, &pod, &config, &odd).await;
        let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        for line in ["odd.name-1=a=b\tc", path, "HOME=/root"] {
            assert!(seen.lines().any(|known| known == line), "{line}: {seen}");
        }
        for (name, value) in [("", "x"), ("a=b", "x"), ("a", "\0")] {
            let wrong = changed("wrong", "true", |config| {
                config.envs = vec![KeyValue { key: name.into(), value: value.into() }];
            });
            assert_eq!(rtd.create(&pod, &wrong, &config).await.unwrap_err().code(), Code::InvalidArgument, "{name:?}");
        }
        rtd.remove_pod(&pod).await.unwrap();
    });
}

/// Secrets and files of variables may hold any bytes; what is executed in the container later gets them, too.
#[test]
fn variables_that_are_not_text() {
    pod_test(async |rtd| {
        handler_differs!(rtd.test, "its config.json has text alone");
        let config = logged(rtd, "web");
        let pod = rtd.run(&config).await.unwrap();
        let script = "printf %s \"$SECRET\" | od -An -tx1 | tr -d ' '";
        let odd = changed("odd", &format!("{script}; read line"), |config| {
            config.stdin = true;
            config.envs = vec![
                KeyValue { key: "SECRET".into(), value: b"p\xff\xc3\xbc\x80".to_vec() },
                KeyValue { key: "TEXT".into(), value: "\u{fc}".into() },
            ];
        });
        let id = rtd.create(&pod, &odd, &config).await.unwrap();
        rtd.start(&id).await.unwrap();
        assert_eq!(rtd.exec(&id, script).await.unwrap().stdout, b"70ffc3bc80\n");
        assert_eq!(rtd.exec(&id, "printf %s \"$TEXT\"").await.unwrap().stdout, "\u{fc}".as_bytes());
        rtd.stop_container(&id, 0).await.unwrap();
        let log = std::fs::read_to_string(rtd.status(&id).await.unwrap().log_path).unwrap();
        assert!(log.ends_with(" stdout F 70ffc3bc80\n"), "{log}");
        // The environment is nobody's business.
        let request = proto::v1::ContainerStatusRequest { container_id: id, verbose: true };
        let info = rtd.runtime.container_status(request).await.unwrap().into_inner().info;
        assert!(!info["info"].contains("envBytes") && !info["info"].contains("TEXT"), "{info:?}");
        rtd.remove_pod(&pod).await.unwrap();
    });
}

#[test]
fn stop_signals() {
    pod_test(async |rtd| {
        let config = logged(rtd, "web");
        let pod = rtd.run(&config).await.unwrap();
        let script = "trap 'exit 3' USR1; trap 'exit 4' TERM; echo ready > /dev/shm/$0; while :; do sleep 0.05; done";
        for (name, signal, told, code) in
            [("own", Signal::Sigusr1, Signal::Sigusr1, 3), ("default", Signal::RuntimeDefault, Signal::Sigterm, 4)]
        {
            let mut wanted = changed(name, script, |config| config.stop_signal = signal as i32);
            wanted.command.push(name.to_owned());
            let id = rtd.create(&pod, &wanted, &config).await.unwrap();
            assert_eq!(rtd.status(&id).await.unwrap().stop_signal, told as i32);
            rtd.start(&id).await.unwrap();
            let wait = format!("until [ -e /dev/shm/{name} ]; do sleep 0.02; done");
            output(rtd, &pod, &config, &changed("wait", &wait, |_| {})).await;
            rtd.stop_container(&id, 60).await.unwrap();
            assert_eq!(rtd.status(&id).await.unwrap().exit_code, code, "{name}");
            rtd.remove_container(&id).await.unwrap();
        }
        let wrong = changed("wrong", "true", |config| config.stop_signal = 99);
        assert_eq!(rtd.create(&pod, &wrong, &config).await.unwrap_err().code(), Code::InvalidArgument);
        rtd.remove_pod(&pod).await.unwrap();
    });
}

#[test]
fn reasons() {
    pod_test(async |rtd| {
        let config = logged(rtd, "web");
        let pod = rtd.run(&config).await.unwrap();
        for (name, script, code, reason) in [("good", "true", 0, "Completed"), ("bad", "exit 9", 9, "Error")] {
            let id = rtd.create(&pod, &changed(name, script, |_| {}), &config).await.unwrap();
            rtd.start(&id).await.unwrap();
            let ended = rtd.ended(&id).await;
            assert_eq!((ended.exit_code, ended.reason.as_str()), (code, reason));
        }
        let missing = changed("missing", "", |config| config.command = vec!["/not/there".into()]);
        let id = rtd.create(&pod, &missing, &config).await.unwrap();
        assert!(rtd.start(&id).await.is_err());
        let ended = rtd.status(&id).await.unwrap();
        assert_eq!((ended.exit_code, ended.reason.as_str()), (127, "StartError"));
        assert!(ended.message.contains("/not/there"), "{}", ended.message);
        rtd.remove_pod(&pod).await.unwrap();
    });
}

#[test]
fn logs_stay_in_their_directory() {
    pod_test(async |rtd| {
        let config = logged(rtd, "web");
        let pod = rtd.run(&config).await.unwrap();
        let nested = changed("nested", "echo out; echo err >&2", |config| config.log_path = "a/b/0.log".into());
        let id = rtd.create(&pod, &nested, &config).await.unwrap();
        rtd.start(&id).await.unwrap();
        let ended = rtd.ended(&id).await;
        assert_eq!(ended.log_path, format!("{}/a/b/0.log", config.log_directory));
        let text = std::fs::read_to_string(&ended.log_path).unwrap();
        let mut streams: Vec<_> = text.lines().map(|line| line.split_once(' ').unwrap().1).collect();
        streams.sort_unstable();
        assert_eq!(streams, ["stderr F err", "stdout F out"]);
        for path in ["/etc/passwd", "../0.log", "a/../../0.log"] {
            let wrong = changed("wrong", "true", |config| config.log_path = path.into());
            assert_eq!(rtd.create(&pod, &wrong, &config).await.unwrap_err().code(), Code::InvalidArgument, "{path}");
        }
        // Without a directory there is no log, and none is told of.
        let mut none = tests::pods::pod("none");
        none.log_directory.clear();
        let other = rtd.run(&none).await.unwrap();
        let mut silent = container("silent", "echo lost");
        silent.log_path = "0.log".into();
        let id = rtd.create(&other, &silent, &none).await.unwrap();
        assert_eq!(rtd.status(&id).await.unwrap().log_path, "");
        rtd.remove_pod(&other).await.unwrap();
        rtd.remove_pod(&pod).await.unwrap();
    });
}

/// Nothing of a container that was refused is left: the same name may be tried again.
#[test]
fn a_refused_container_leaves_nothing() {
    pod_test(async |rtd| {
        let config = logged(rtd, "web");
        let pod = rtd.run(&config).await.unwrap();
        let wrong = changed("again", "true", |config| {
            config.mounts = vec![proto::v1::Mount {
                container_path: "/x".into(),
                host_path: "/nonexistent".into(),
                ..Default::default()
            }];
        });
        for _ in 0..2 {
            rtd.create(&pod, &wrong, &config).await.unwrap_err();
        }
        assert_eq!(rtd.containers().await, []);
        let (code, _) = finish(rtd, &pod, &config, &changed("again", "true", |_| {})).await.unwrap();
        assert_eq!(code, 0);
        rtd.remove_pod(&pod).await.unwrap();
    });
}
