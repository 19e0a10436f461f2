//! GC, STATUS, VERSION, directories of configurations, and who waits for whom.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod cni_lab;

use std::fs;
use std::time::{Duration, Instant};

use cni_lab::{Lab, Netns, add, id, ready, soon};
use cri::network::cni::{Add, Error, Watcher};

/// A plugin of version 1.1 that says what is in `$D/answer` to STATUS and GC.
const MODERN: &str = r#"input=$(cat)
echo "$CNI_COMMAND $(echo "$input" | jq -r '.cniVersion')" >>$D/calls
case $CNI_COMMAND in
ADD) echo '{"ips": []}' ;;
GC) echo "$input" | jq -c '."cni.dev/valid-attachments"' >>$D/valid; [ ! -e $D/answer ] || { cat $D/answer; exit 1; } ;;
STATUS) [ ! -e $D/answer ] || { cat $D/answer; exit 1; } ;;
VERSION) echo '{"cniVersion": "1.1.0", "supportedVersions": ["0.3.1", "0.4.0", "1.0.0", "1.1.0"]}' ;;
esac"#;

fn modern() -> Lab {
    let lab = Lab::new();
    lab.config(
        "10-lab.conflist",
        r#"{"cniVersion": "1.1.0", "name": "lab", "plugins": [{"type": "one"}, {"type": "two"}]}"#,
    );
    lab.plugin("one", MODERN).plugin("two", MODERN);
    lab
}

#[test]
fn gc_detaches_the_unknown_and_names_the_rest() {
    if !ready(&[]) {
        return;
    }
    let lab = modern();
    let client = lab.client();
    let netns = Netns::new();
    for container in ["c1", "c2"] {
        client.add(&add(container, &netns), soon()).unwrap();
    }
    client.add(&Add { interface: "net1".parse().unwrap(), ..add("c2", &netns) }, soon()).unwrap();
    fs::write(lab.path("calls"), "").unwrap();
    client.gc(&|container| container.as_str() == "c2", soon()).unwrap();
    assert_eq!(lab.read("calls"), "DEL 1.1.0\nDEL 1.1.0\nGC 1.1.0\nGC 1.1.0\n");
    let valid = r#"[{"containerID":"c2","ifname":"eth0"},{"containerID":"c2","ifname":"net1"}]"#;
    assert_eq!(lab.read("valid"), format!("{valid}\n{valid}\n"));
    // One that fails does not keep the other from its work.
    fs::write(lab.path("answer"), r#"{"code": 5, "msg": "disk"}"#).unwrap();
    let error = client.gc(&|_| true, soon()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "network lab: plugin one: GC: disk (code 5: I/O failure); network lab: plugin two: GC: disk (code 5: I/O failure)"
    );
    client.delete(&id("c2"), soon()).unwrap();
    assert_eq!(lab.records(), [""; 0]);
}

#[test]
fn gc_where_it_is_disabled_or_unknown() {
    if !ready(&[]) {
        return;
    }
    let lab = modern();
    for (version, member) in [("1.1.0", r#""disableGC": true,"#), ("1.0.0", "")] {
        let config =
            format!(r#"{{"cniVersion": "{version}", {member} "name": "lab", "plugins": [{{"type": "one"}}]}}"#);
        lab.config("10-lab.conflist", &config);
        let client = lab.client();
        client.add(&add("c1", &Netns::new()), soon()).unwrap();
        assert_eq!(client.gc(&|_| false, soon()).unwrap().len(), 1);
    }
    assert!(!lab.read("calls").contains("GC"));
}

#[test]
fn check_where_it_is_disabled_or_unknown() {
    if !ready(&[]) {
        return;
    }
    let lab = modern();
    for (version, member) in [("1.1.0", r#""disableCheck": true,"#), ("0.3.1", "")] {
        let config =
            format!(r#"{{"cniVersion": "{version}", {member} "name": "lab", "plugins": [{{"type": "one"}}]}}"#);
        lab.config("10-lab.conflist", &config);
        let client = lab.client();
        client.add(&add("c1", &Netns::new()), soon()).unwrap();
        let steps = client.check(&id("c1"), &"lab".parse().unwrap(), &"eth0".parse().unwrap(), soon()).unwrap();
        assert!(steps.is_empty());
        client.delete(&id("c1"), soon()).unwrap();
    }
}

#[test]
fn status_says_whether_the_network_is_ready() {
    if !ready(&[]) {
        return;
    }
    let lab = Lab::new();
    let client = lab.client();
    let dir = lab.path("net.d").display().to_string();
    let text = |result: Result<_, Error>| result.unwrap_err().to_string();
    assert_eq!(text(client.status(soon())), format!("no CNI network configuration in {dir}"));
    lab.config("05-bad.conf", "{").config("10-lab.conflist", r#"{"cniVersion": "1.1.0", "name": "lab"}"#);
    client.reload();
    assert_eq!(
        text(client.status(soon())),
        format!(
            "no CNI network configuration in {dir}: {dir}/05-bad.conf: is not JSON: EOF while parsing an object at line 1 \
             column 1; {dir}/10-lab.conflist: plugins: there is none, and no file lab/*.conf either"
        )
    );
    let lab = modern();
    let client = lab.client();
    assert_eq!(client.status(soon()).unwrap().len(), 2);
    for (code, meaning) in [
        (50, "plugin not available"),
        (51, "plugin not available, and existing containers may have limited connectivity"),
    ] {
        fs::write(lab.path("answer"), format!(r#"{{"code": {code}, "msg": "no agent"}}"#)).unwrap();
        let error = client.status(soon()).unwrap_err();
        assert_eq!(error.to_string(), format!("network lab: plugin one: STATUS: no agent (code {code}: {meaning})"));
        assert_eq!(error.plugin_message().unwrap().code, code);
    }
    // Without STATUS: ready when the programs are there.
    let list = r#"{"cniVersion": "1.0.0", "name": "lab", "plugins": [{"type": "one"}, {"type": "absent"}]}"#;
    lab.config("10-lab.conflist", list);
    client.reload();
    assert!(text(client.status(soon())).contains("plugin absent: STATUS: no such program in "));
    lab.plugin("absent", "exit 1");
    assert!(client.status(soon()).unwrap().is_empty());
}

#[test]
fn the_highest_version_that_all_plugins_speak() {
    if !ready(&["host-local"]) {
        return;
    }
    let lab = modern();
    let old = r#"[ $CNI_COMMAND = VERSION ] && echo '{"cniVersion": "1.0.0", "supportedVersions": ["0.4.0", "1.0.0"]}'; cat >$D/old; [ $CNI_COMMAND = ADD ] && echo '{}'; exit 0"#;
    lab.plugin("two", old);
    let list = r#"{"cniVersion": "0.4.0", "cniVersions": ["1.0.0", "1.1.0"], "name": "lab", "plugins": [{"type": "one"}, {"type": "two"}]}"#;
    lab.config("10-lab.conflist", list);
    let client = lab.client();
    client.add(&add("c1", &Netns::new()), soon()).unwrap();
    assert!(lab.read("old").contains(r#""cniVersion":"1.0.0""#), "{}", lab.read("old"));
    // Neither GC nor STATUS in that version.
    assert!(client.gc(&|_| true, soon()).is_ok() && client.status(soon()).is_ok());
    client.delete(&id("c1"), soon()).unwrap();
    // Asked once, for as long as it is the same program.
    assert_eq!(lab.read("calls"), "VERSION 1.1.0\nADD 1.0.0\nDEL 1.0.0\n");
    // What Debian's plugins say.
    let configs = client.configs();
    let network = &configs.networks[0].network;
    let mut plugin = network.plugins[0].clone();
    plugin.kind = "host-local".parse().unwrap();
    let spoken: Vec<&str> =
        client.plugin_versions(network, &plugin, soon()).unwrap().into_iter().map(|version| version.as_str()).collect();
    assert!(spoken.contains(&"0.3.1") && spoken.contains(&"1.0.0"), "{spoken:?}");
}

#[test]
fn directories() {
    if !ready(&[]) {
        return;
    }
    let lab = Lab::new();
    let one = |name: &str| format!(r#"{{"cniVersion": "1.0.0", "name": "{name}", "type": "one"}}"#);
    lab.config("30-c.conflist", r#"{"cniVersion": "1.1.0", "name": "third", "plugins": [{"type": "a"}]}"#)
        .config("10-a.conf", "not json")
        .config("20-b.json", &one("second"))
        .config("40-d.conf", &one("second"))
        .config("50-e.conf", &format!("{}{}", one("large"), " ".repeat(1 << 20)))
        .config("60-f.txt", "not read")
        .config(".70-g.conf", &one("hidden"));
    fs::create_dir(lab.path("net.d/80-h.conf")).unwrap();
    nix::unistd::mkfifo(&lab.path("net.d/90-i.conf"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    fs::create_dir(lab.path("net.d/third")).unwrap();
    lab.config("third/20-z.conf", r#"{"type": "z"}"#).config("third/10-y.conf", r#"{"type": "y"}"#);
    lab.config("third/ignored.json", "{").config("third/ignored.conflist", "{");
    let client = lab.client();
    let configs = client.configs();
    let names: Vec<&str> = configs.networks.iter().map(|loaded| loaded.network.name.as_str()).collect();
    assert_eq!(names, ["second", "third"]);
    let kinds: Vec<&str> = configs.networks[1].network.plugins.iter().map(|plugin| plugin.kind.as_str()).collect();
    assert_eq!(kinds, ["a", "y", "z"]);
    let dir = lab.path("net.d").display().to_string();
    let rejected: Vec<String> =
        configs.rejected.iter().map(|rejected| rejected.to_string().replace(&format!("{dir}/"), "")).collect();
    assert_eq!(
        rejected,
        [
            "10-a.conf: is not JSON: expected ident at line 1 column 2".to_owned(),
            format!("40-d.conf: name: second is the network of {dir}/20-b.json already")
                .replace(&format!("{dir}/"), ""),
            "50-e.conf: more than 1048576 bytes".to_owned(),
            "80-h.conf: is not a regular file".to_owned(),
            "90-i.conf: is not a regular file".to_owned(),
        ]
    );
    let unknown = client.add(&Add { network: Some("none".parse().unwrap()), ..add("c1", &Netns::new()) }, soon());
    assert_eq!(unknown.unwrap_err().to_string(), "no CNI network none; there are: second, third");
    // A plugin of the folder that is none spoils its network, and only that.
    lab.config("third/10-y.conf", r#"{"type": "../y"}"#);
    let configs = client.reload();
    assert_eq!(configs.networks.len(), 1);
    assert!(
        configs.rejected.iter().any(|rejected| rejected.to_string().contains("third/10-y.conf: type: plugin type"))
    );
    lab.config(
        "30-c.conflist",
        r#"{"cniVersion": "1.1.0", "name": "third", "loadOnlyInlinedPlugins": true, "plugins": [{"type": "a"}]}"#,
    );
    assert_eq!(client.reload().networks[1].network.plugins.len(), 1);
}

#[test]
fn a_watcher_and_a_client() {
    if !ready(&[]) {
        return;
    }
    let lab = Lab::new();
    let mut watcher = Watcher::new(&lab.path("net.d")).unwrap();
    let client = lab.client();
    assert!(client.configs().networks.is_empty());
    lab.config("10.conf", r#"{"cniVersion": "1.0.0", "name": "n", "type": "one"}"#);
    assert!(watcher.wait(Duration::from_secs(60)).unwrap());
    assert_eq!(client.reload().networks.len(), 1);
    fs::remove_dir_all(lab.path("net.d")).unwrap();
    assert!(watcher.wait(Duration::from_secs(60)).unwrap());
    assert_eq!(client.reload().networks.len(), 0);
    fs::create_dir(lab.path("net.d")).unwrap();
    lab.config("10.conf", r#"{"cniVersion": "1.0.0", "name": "n", "type": "one"}"#);
    assert!(watcher.wait(Duration::from_secs(60)).unwrap());
    assert_eq!(client.reload().networks.len(), 1);
}

#[test]
fn containers_side_by_side_and_one_after_the_other() {
    if !ready(&[]) {
        return;
    }
    let lab = Lab::new();
    lab.config("10-lab.conflist", r#"{"cniVersion": "1.0.0", "name": "lab", "plugins": [{"type": "one"}]}"#);
    // Each waits until the other is there, too: they would wait for ever one after the other.
    let meet = r#"[ $CNI_COMMAND = ADD ] || exit 0
        mkfifo $D/a $D/b 2>/dev/null
        case $CNI_CONTAINERID in c1) echo >$D/a; read x <$D/b ;; c2) read x <$D/a; echo >$D/b ;; esac
        echo '{}'"#;
    lab.plugin("one", meet);
    let (client, netns) = (lab.client(), Netns::new());
    std::thread::scope(|scope| {
        for container in ["c1", "c2"] {
            let (client, netns) = (&client, &netns);
            scope.spawn(move || client.add(&add(container, netns), soon()).unwrap());
        }
    });
    // The same container: the second waits for the first, at most to its deadline.
    lab.plugin("one", "[ $CNI_COMMAND = ADD ] || exit 0\nmkfifo $D/go; echo >$D/go; echo '{}'");
    std::thread::scope(|scope| {
        let other = Add { interface: "net1".parse().unwrap(), ..add("c1", &netns) };
        let adding = scope.spawn({
            let (client, other) = (&client, other.clone());
            move || client.add(&other, soon()).unwrap()
        });
        while !lab.path("go").try_exists().unwrap() {
            std::thread::yield_now();
        }
        let error = client.delete(&id("c1"), Instant::now() + Duration::from_millis(30)).unwrap_err().to_string();
        assert!(error.starts_with("container c1: another operation was still going on after "), "{error}");
        let error = client.gc(&|_| true, Instant::now() + Duration::from_millis(30)).unwrap_err().to_string();
        assert!(error.starts_with("GC: another operation was still going on after "), "{error}");
        client.delete(&id("c2"), soon()).unwrap();
        fs::read(lab.path("go")).unwrap();
        adding.join().unwrap();
    });
    client.delete(&id("c1"), soon()).unwrap();
    assert_eq!(lab.records(), [""; 0]);
}
