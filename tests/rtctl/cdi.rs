//! CDI devices: `--device vendor.com/class=name`, `--gpus`.

use std::fs;

use serde_json::json;
use tests::{Rtctl, rtctl_test};

/// A folder with a spec whose device is the null device under another name.
fn specs(r: &Rtctl<'_>) -> String {
    let dir = r.test.dir.join("cdi");
    fs::create_dir(&dir).unwrap();
    fs::write(r.test.dir.join("library"), "library\n").unwrap();
    let spec = format!(
        "---\n\
         cdiVersion: 0.7.0\n\
         kind: vendor.com/nothing\n\
         containerEdits:\n\
         \x20 env: [NOTHING=common]\n\
         devices:\n\
         - name: first\n\
         \x20 containerEdits:\n\
         \x20   env: [FIRST=1]\n\
         \x20   additionalGids: [4242]\n\
         \x20   deviceNodes:\n\
         \x20   - {{path: /dev/nothing0, hostPath: /dev/null, permissions: rw}}\n\
         \x20   - {{path: /dev/kmsg-like, type: c, major: 1, minor: 11, permissions: r, fileMode: 0o640}}\n\
         \x20   mounts:\n\
         \x20   - {{hostPath: {0}/library, containerPath: /usr/lib/nothing.so, options: [ro, nosuid, bind]}}\n\
         \x20   hooks:\n\
         \x20   - {{hookName: createRuntime, path: /bin/sh, args: [sh, -c, 'echo hooked >{0}/hooked']}}\n\
         - name: second\n\
         \x20 containerEdits:\n\
         \x20   env: [SECOND=1]\n",
        r.test.dir.display()
    );
    fs::write(dir.join("vendor.yaml"), spec).unwrap();
    let gpu = |name: &str| json!({"name": name, "containerEdits": {"env": [format!("GPU_{}=1", name.to_uppercase())]}});
    let spec = json!({"cdiVersion": "0.6.0", "kind": "nvidia.com/gpu", "devices": [gpu("all"), gpu("0"), gpu("1")]});
    fs::write(dir.join("gpu.json"), spec.to_string()).unwrap();
    dir.to_str().unwrap().to_owned()
}

#[test]
fn a_device_brings_all_that_its_spec_says() {
    rtctl_test(|r| {
        let dir = specs(r);
        let script = "stat -c '%F %t:%T' /dev/nothing0; echo x >/dev/nothing0; stat -c '%a %t:%T' /dev/kmsg-like; \
                      cat /usr/lib/nothing.so; echo $NOTHING $FIRST $SECOND; id -G; touch /usr/lib/nothing.so";
        let output = r.sh(&["--cdi-spec-dir", &dir, "--device", "vendor.com/nothing=first"], script);
        let expected = "character special file 1:3\n640 1:b\nlibrary\ncommon 1\n";
        assert!(output.stdout.starts_with(expected), "{output}");
        assert!(output.stdout[expected.len()..].split_whitespace().any(|gid| gid == "4242"), "{output}");
        assert!(output.stderr.contains("Read-only file system"), "{output}");
        assert_eq!(fs::read_to_string(r.test.dir.join("hooked")).unwrap(), "hooked\n");
        // Both at once, and without any of it.
        let two =
            ["--cdi-spec-dir", &dir, "--device", "vendor.com/nothing=second", "--device", "vendor.com/nothing=first"];
        assert_eq!(r.sh(&two, "echo $NOTHING $FIRST $SECOND").ok(), "common 1 1");
        assert_eq!(r.sh(&["--cdi-spec-dir", &dir], "ls /dev/nothing0; echo $NOTHING").stdout, "\n");
        let id = r.ok(&["create", "--cdi-spec-dir", &dir, "--device", "vendor.com/nothing=first", "busybox"]);
        assert_eq!(r.field(&id, "{{(index .HostConfig.DeviceRequests 0).DeviceIDs}}"), "[vendor.com/nothing=first]");
        r.ok(&["rm", &id]);
    });
}

#[test]
fn access_is_what_the_spec_says() {
    rtctl_test(|r| {
        let dir = specs(r);
        let flags = ["--cdi-spec-dir", &dir, "--device", "vendor.com/nothing=first"];
        // Number 1:11 may be read and not written: the device controller says so, whatever the mode.
        let output = r.sh(&flags, "echo x >/dev/kmsg-like");
        assert!(output.stderr.contains("Operation not permitted"), "{output}");
    });
}

#[test]
fn gpus() {
    rtctl_test(|r| {
        let dir = specs(r);
        let env =
            |gpus: &str| r.sh(&["--cdi-spec-dir", &dir, "--gpus", gpus], "env | grep GPU | sort | tr '\\n' ' '").ok();
        assert_eq!(env("all"), "GPU_ALL=1 ");
        assert_eq!(env("2"), "GPU_0=1 GPU_1=1 ");
        assert_eq!(env("\"device=1,all\""), "GPU_1=1 GPU_ALL=1 ");
        let output = r.sh(&["--cdi-spec-dir", &dir, "--gpus", "3"], "true");
        output.fails(&["no CDI device nvidia.com/gpu=2", "nvidia.com/gpu has 0, 1, all"]);
        r.sh(&["--cdi-spec-dir", &dir, "--device", "vendor.com/other=x"], "true")
            .fails(&["no spec of kind vendor.com/other"]);
        fs::write(r.test.dir.join("cdi/copy.json"), fs::read(r.test.dir.join("cdi/gpu.json")).unwrap()).unwrap();
        r.sh(&["--cdi-spec-dir", &dir, "--gpus", "all"], "true").fails(&["copy.json and", "remove all but one"]);
    });
}
