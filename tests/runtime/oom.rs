//! Out of memory: the container ends with SIGKILL and the kernel's counter tells that it was the limit.

use serde_json::json;
use tests::{needs, test};

#[test]
fn process_over_the_limit_is_killed() {
    test(|t| {
        needs!(t, t.cgroups.has("memory"), "no memory controller");
        let bundle = t.bundle().set("/linux/resources/memory", json!({"limit": 32 << 20, "swap": 32 << 20}));
        let bundle = if t.cgroups.is_v2() { bundle.unset("/linux/resources/memory/swap") } else { bundle };
        let output = t.run(&bundle.args(&["/bin/payload", "eat", "200"]));
        assert_eq!(output.code, 137, "{output}");
        assert_eq!(output.stdout, "");
    });
}

#[test]
fn process_below_the_limit_lives() {
    test(|t| {
        needs!(t, t.cgroups.has("memory"), "no memory controller");
        let bundle = t.bundle().set("/linux/resources/memory", json!({"limit": 128 << 20}));
        assert_eq!(t.run(&bundle.args(&["/bin/payload", "eat", "40"])).ok(), "ate");
    });
}

#[test]
fn counter_tells_it_from_other_kills() {
    test(|t| {
        needs!(t, t.cgroups.has("memory"), "no memory controller");
        let bundle = t.bundle().set("/linux/resources/memory", json!({"limit": 32 << 20}));
        // The first process stays: the group is there to be read.
        let mut container = t.create(&bundle.sh("payload eat 200; echo code $?; exec payload hold"));
        container.start().ok();
        assert_eq!(container.line(), "code 137");
        assert_eq!(container.line(), "ready");
        let counter = || {
            let text = t.cgroups.read(container.pid, "memory", "memory.oom_control", "memory.events");
            text.lines().find_map(|line| line.strip_prefix("oom_kill ")).unwrap().parse::<u64>().unwrap()
        };
        assert_eq!(counter(), 1);
        container.exec(&["sh", "-c", "sleep 1000 & kill -9 $!"]).ok();
        assert_eq!(counter(), 1);
        container.end();
    });
}
