//! `events`.

use serde_json::Value;
use tests::{Rtctl, has_networks, needs, rtctl_test};

/// Actions on the container `id` until now.
fn actions(r: &Rtctl<'_>, id: &str) -> Vec<String> {
    let filter = format!("container={id}");
    let text = r.ok(&["events", "--no-stream", "-f", "type=container", "-f", &filter, "--format", "{{.Action}}"]);
    text.lines().map(str::to_owned).collect()
}

#[test]
fn a_life_is_told_in_order() {
    rtctl_test(|r| {
        let id = r.detached(&["--name", "web", "-l", "tier=a", "busybox", "sleep", "1000"]);
        r.ok(&["pause", "web"]);
        r.ok(&["unpause", "web"]);
        assert_eq!(r.call(&["exec", "web", "sh", "-c", "exit 7"]).code, 7);
        r.ok(&["rename", "web", "renamed"]);
        r.ok(&["update", "--restart", "no", "renamed"]);
        r.ok(&["kill", "-s", "CONT", "renamed"]);
        r.ok(&["stop", "-t", "0", "renamed"]);
        r.ok(&["start", "renamed"]);
        r.ok(&["rm", "-f", "renamed"]);
        let expected = [
            "create",
            "start",
            "pause",
            "unpause",
            "exec_create: sh -c exit 7",
            "exec_start: sh -c exit 7",
            "exec_die",
            "rename",
            "update",
            "kill",
            "kill",
            "die",
            "stop",
            "start",
            "die",
            "destroy",
        ];
        assert_eq!(actions(r, &id), expected);
        let text = r.ok(&["events", "--no-stream", "--filter", "event=die", "--format", "json"]);
        let die: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!(die["Type"], "container");
        assert_eq!(
            (&die["status"], &die["id"], &die["from"], &die["scope"]),
            (&"die".into(), &id.clone().into(), &"busybox".into(), &"local".into())
        );
        let attributes = &die["Actor"]["Attributes"];
        let found = ["name", "image", "tier", "exitCode"].map(|name| attributes[name].as_str().unwrap());
        assert_eq!(found, ["renamed", "busybox", "a", "137"]);
        assert_eq!(die["time"].as_u64().unwrap(), die["timeNano"].as_u64().unwrap() / 1_000_000_000);
        let one =
            |filters: &[&str], format: &str| r.ok(&[&["events", "--no-stream", "--format", format], filters].concat());
        assert_eq!(one(&["-f", "event=exec_die"], "{{.Actor.Attributes.exitCode}}"), "7");
        assert_eq!(one(&["-f", "event=rename"], "{{.Actor.Attributes.oldName}} {{.Name}}"), "web renamed");
        assert_eq!(one(&["-f", "event=kill"], "{{.Actor.Attributes.signal}}"), "18\n9");
        assert_eq!(one(&["-f", "label=tier=a", "-f", "event=pause"], "{{.ID}}"), id);
        assert_eq!(one(&["-f", "label=tier=b"], "{{.ID}}"), "");
        assert_eq!(one(&["-f", "type=image", "-f", "event=load"], "{{.Name}}"), "busybox:latest");
        let line = r.ok(&["events", "--no-stream", "-f", "event=destroy"]);
        assert!(line.contains(&format!(" container destroy {id} (image=busybox, name=renamed, tier=a)")), "{line}");
    });
}

#[test]
fn what_removes_itself_is_destroyed_and_an_attached_run_attaches() {
    rtctl_test(|r| {
        let id = r.ok(&["create", "--rm", "busybox", "true"]);
        r.ok(&["start", "-a", &id]);
        assert_eq!(actions(r, &id), ["create", "attach", "start", "die", "destroy"]);
        // Its shim is gone: rtctl removes it.
        let id = r.ok(&["create", "busybox", "true"]);
        r.ok(&["rm", &id]);
        assert_eq!(actions(r, &id), ["create", "destroy"]);
    });
}

#[test]
fn followers_see_what_comes_and_rotations_do_not_matter() {
    rtctl_test(|r| {
        let id = r.ok(&["create", "--name", "web", "busybox", "sleep", "1000"]);
        let args =
            ["events", "--since", "1h", "-f", "type=container", "-f", "container=web", "--format", "{{.Action}}"];
        let mut session = r.start(&args);
        assert_eq!(session.line(), "create");
        // A full file: the next event begins a new one.
        let path = r.state().join("events");
        let mut text = std::fs::read_to_string(&path).unwrap();
        text.push_str(&"x".repeat(3 << 20));
        std::fs::write(&path, text).unwrap();
        r.ok(&["start", "web"]);
        assert_eq!(session.line(), "start");
        assert!(path.with_added_extension("1").try_exists().unwrap());
        r.ok(&["pause", "web"]);
        assert_eq!(session.line(), "pause");
        session.signal("INT");
        assert_eq!(session.end().0, 130);
        r.ok(&["rm", "-f", "web"]);
        assert_eq!(actions(r, &id), ["create", "start", "pause", "die", "destroy"]);
    });
}

#[test]
fn moments() {
    rtctl_test(|r| {
        let id = r.ok(&["create", "busybox", "true"]);
        let filter = format!("container={id}");
        let shown = |more: &[&str]| r.ok(&[&["events", "--filter", &filter, "--format", "{{.Action}}"], more].concat());
        assert_eq!(shown(&["--until", "2001-01-01"]), "");
        assert_eq!(shown(&["--since", "1h", "--until", "0s"]), "create");
        assert_eq!(shown(&["--since", "2100-01-01", "--no-stream"]), "");
        // It waits, and ends by itself.
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() + 300;
        let until = format!("{}.{:03}", now / 1000, now % 1000);
        assert_eq!(shown(&["--since", "1h", "--until", &until]), "create");
        r.ok(&["rm", &id]);
        assert_eq!(r.call(&["events", "--filter", "nope=1"]).code, 125);
    });
}

#[test]
fn a_killed_child_counts_as_oom() {
    rtctl_test(|r| {
        needs!(r.test, r.test.cgroups.has("memory"), "no memory controller");
        // The child is killed, the container's program goes on.
        let id =
            r.detached(&["-m", "32m", "busybox", "sh", "-c", "(head -c 200m /dev/zero | tail >/dev/null); exit 0"]);
        r.ok(&["wait", &id]);
        assert_eq!(r.field(&id, "{{.State.ExitCode}} {{.State.OOMKilled}}"), "0 true");
        assert_eq!(actions(r, &id), ["create", "start", "oom", "die"]);
        r.ok(&["rm", &id]);
    });
}

#[test]
fn networks_volumes_and_images() {
    rtctl_test(|r| {
        needs!(r.test, has_networks(), "the kernel lacks bridges, veth, nft_nat or nft_fib");
        let shown = |kind: &str| {
            let filter = format!("type={kind}");
            r.ok(&["events", "--no-stream", "--filter", &filter, "--format", "{{.Action}} {{.Actor.Attributes.name}}"])
        };
        let network = r.ok(&["network", "create", "mine"]);
        let id = r.detached(&["--network", "mine", "-v", "data:/data", "busybox", "sleep", "1000"]);
        r.ok(&["rm", "-f", &id]);
        r.ok(&["network", "rm", "mine"]);
        assert_eq!(shown("network"), "create mine\nconnect mine\ndisconnect mine\ndestroy mine");
        let text = r.ok(&[
            "events",
            "--no-stream",
            "-f",
            "event=connect",
            "--format",
            "{{.ID}} {{.Actor.Attributes.container}}",
        ]);
        assert_eq!(text, format!("{network} {id}"));
        r.ok(&["volume", "create", "data"]);
        r.ok(&["volume", "rm", "data"]);
        let text = r.ok(&["events", "--no-stream", "-f", "volume=data", "--format", "{{.Action}} {{.ID}}"]);
        assert_eq!(text, "create data\ndestroy data");
        r.ok(&["tag", "busybox", "other"]);
        r.ok(&["rmi", "other"]);
        assert_eq!(shown("image"), "load busybox:latest\ntag other:latest\nuntag other:latest");
    });
}
