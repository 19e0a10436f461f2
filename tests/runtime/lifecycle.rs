//! create, start, state, kill, delete, list, ps, pause, resume (runtime-spec runtime.md, "Lifecycle" and "Operations").

use serde_json::json;
use tests::{Kind, differs, needs, test};

#[test]
fn run_returns_output_and_deletes() {
    test(|t| {
        let output = t.run(&t.bundle().sh("echo out; echo err >&2"));
        assert_eq!(output.stdout, "out\n");
        assert_eq!(output.stderr, "err\n");
        assert_eq!(output.code, 0);
        assert_eq!(t.runtime(&["list", "-q"]).ok(), "");
    });
}

#[test]
fn life_of_a_container() {
    test(|t| {
        let bundle = t.bundle().args(&["/bin/payload", "hold"]).set("/annotations/org.example.key", json!("value"));
        let mut container = t.create(&bundle);
        let state = container.state();
        assert_eq!(state["id"], container.id);
        assert_eq!(state["status"], "created");
        assert_eq!(state["bundle"], bundle.dir.to_str().unwrap());
        assert_eq!(state["annotations"]["org.example.key"], "value");
        assert!(state["ociVersion"].as_str().unwrap().starts_with("1."), "{state}");
        assert!(state["pid"].as_i64().unwrap() > 0, "{state}");

        container.start().ok();
        assert_eq!(container.line(), "ready");
        assert_eq!(container.status(), "running");
        container.kill("TERM").ok();
        assert_eq!(container.wait(), 0);
        assert_eq!(container.status(), "stopped");
        assert_eq!(container.rest(), "SIGTERM\n");
        container.delete();
    });
}
