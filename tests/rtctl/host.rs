//! `rtctl info` and `rtctl system check`: what the machine can do.

use tests::rtctl_test;

#[test]
fn info_tells_what_there_is() {
    rtctl_test(|r| {
        let info = r.call(&["info", "--format", "json"]).json();
        assert_eq!(info["Images"], 1);
        assert_eq!(info["Root"], r.root().to_str().unwrap());
        assert_eq!(info["Probed"]["Overlay"], "works");
        assert_eq!(info["Probed"]["Seccomp"], "works");
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
        assert_eq!(info["KernelVersion"], release.trim());
        // Each controller is where it is said to be.
        for (name, point) in info["CgroupControllers"].as_object().unwrap() {
            let point = std::path::Path::new(point.as_str().unwrap());
            let v2 = std::fs::read_to_string(point.join("cgroup.controllers")).unwrap_or_default();
            let v1 = point.file_name().unwrap().to_str().unwrap().split(',').any(|part| part == name);
            assert!(v1 || v2.split_whitespace().any(|part| part == name), "{name} {point:?}");
        }
        assert_eq!(r.ok(&["system", "info", "--format", "{{.Driver}} {{.OSType}}"]), "overlay linux");
        assert!(r.ok(&["info"]).contains("KernelVersion: "));
    });
}

#[test]
fn check_finds_this_host_fit_and_a_missing_shim() {
    rtctl_test(|r| {
        let shown = r.ok(&["system", "check"]);
        assert!(shown.starts_with("STATUS") && shown.contains("tried, works") && !shown.contains("MISSING"), "{shown}");
        let mut command = r.command(&["system", "check", "--format", "{{.Status}} {{.What}}: {{.Advice}}"]);
        let output = command.env("RT_SHIM", "/no/such/rt-shim").output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("MISSING rt-shim: install rt-shim beside rtctl"), "{text}");
    });
}
