//! `rtctl diff`, `export` and `container prune`.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use tests::rtctl_test;

#[test]
fn diff_tells_what_changed() {
    rtctl_test(|r| {
        let script = "echo x >>/etc/passwd; echo x >/etc/new; rm /bin/cat; mkdir -p /made/deep; rm -r /usr; mkdir /usr; chmod 700 /root; \
                      ln -s / /made/link; echo in >/vol/x; echo in >/tmp/memory/x";
        r.ok(&["run", "--name", "one", "-v", "/vol", "--tmpfs", "/tmp/memory", "busybox", "sh", "-c", script]);
        let shown = r.ok(&["diff", "one"]);
        let lines: Vec<&str> = shown.lines().collect();
        for expected in
            ["C /etc", "A /etc/new", "C /etc/passwd", "C /bin", "D /bin/cat", "A /made", "A /made/deep", "A /made/link"]
        {
            assert!(lines.contains(&expected), "no {expected} in {shown}");
        }
        // What the runtime makes to mount on, and what lies in mounts, is nobody's change.
        for path in ["/proc", "/sys", "/dev", "/etc/hosts", "/etc/resolv.conf", "/vol", "/tmp/memory"] {
            assert!(!lines.iter().any(|line| line[2..].starts_with(path)), "{path} in {shown}");
        }
        let mut sorted = lines.clone();
        sorted.sort_by_key(|line| line[2..].to_owned());
        assert_eq!(lines, sorted);
        let json = r.call(&["diff", "--format", "json", "one"]).json();
        assert!(json["deleted"].as_array().unwrap().contains(&"/bin/cat".into()), "{json}");
        r.ok(&["run", "--name", "two", "busybox", "true"]);
        assert_eq!(r.ok(&["container", "diff", "two"]), "");
        r.ok(&["rm", "one", "two"]);
        r.call(&["diff", "one"]).fails(&["no container \"one\""]);
    });
}

/// Names and link targets in an archive, as tar(1) tells them.
fn listing(archive: &std::path::Path) -> String {
    let output = Command::new("tar").arg("-tvf").arg(archive).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn export_of_running_and_stopped_containers() {
    rtctl_test(|r| {
        let archive = r.test.dir.join("out.tar");
        let path = archive.to_str().unwrap();
        let script = "echo own >/own; rm /bin/cat; ln -s /etc/shadow /link; ln /own /hard; mkfifo /fifo; echo v >/vol/secret; echo ready; exec sleep 1000";
        let mut session = r.start(&["run", "--name", "one", "-v", "/vol", "busybox", "sh", "-c", script]);
        assert_eq!(session.line(), "ready");
        r.ok(&["export", "-o", path, "one"]);
        let running = listing(&archive);
        r.ok(&["kill", "one"]);
        session.end();
        let output = r.command(&["export", "one"]).output().unwrap();
        assert!(output.status.success());
        fs::write(&archive, &output.stdout).unwrap();
        let stopped = listing(&archive);
        for text in [&running, &stopped] {
            assert!(
                text.contains(" hard\n") && text.contains(" etc/passwd\n") && text.contains(" bin/busybox\n"),
                "{text}"
            );
            assert!(text.contains("link -> /etc/shadow") && text.contains("fifo"), "{text}");
            assert!(text.contains(" own link to hard\n"), "{text}");
            // Deleted files, volumes and what the kernel shows in /proc are not in it.
            for absent in [" bin/cat", "vol/secret", " proc/1/", " sys/kernel"] {
                assert!(!text.contains(absent), "{absent}: {text}");
            }
        }
        // It unpacks into a root file system that runs.
        let folder = r.test.dir.join("unpacked");
        fs::create_dir(&folder).unwrap();
        assert!(Command::new("tar").arg("-xf").arg(&archive).arg("-C").arg(&folder).status().unwrap().success());
        let rootfs = folder.to_str().unwrap();
        assert_eq!(r.ok(&["run", "--rm", "--rootfs", rootfs, "busybox", "cat", "/own"]), "own");
        r.ok(&["rm", "-v", "one"]);
        // Nothing is left of an export that fails.
        r.call(&["export", "-o", "/no/such/folder/x.tar", "one"]).fails(&["no container"]);
        assert!(!r.test.dir.join("out.tar.part").try_exists().unwrap());
    });
}

#[test]
fn export_follows_no_links_out() {
    rtctl_test(|r| {
        let folder = r.test.dir.join("rootfs");
        fs::create_dir(&folder).unwrap();
        fs::write(r.test.dir.join("secret"), "secret of the host\n").unwrap();
        symlink(r.test.dir.join("secret"), folder.join("file")).unwrap();
        symlink("../..", folder.join("up")).unwrap();
        let id = r.ok(&["create", "--rootfs", folder.to_str().unwrap(), "x"]);
        let output = r.command(&["export", &id]).output().unwrap();
        assert!(output.status.success());
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(!text.contains("secret of the host"));
        assert_eq!(text.matches("ustar").count(), 2, "two links and nothing else");
        r.ok(&["rm", &id]);
    });
}

#[test]
fn prune_removes_what_does_not_run() {
    rtctl_test(|r| {
        let created = r.ok(&["create", "busybox"]);
        r.ok(&["run", "--name", "kept", "-l", "keep=1", "busybox", "true"]);
        r.ok(&["run", "--name", "ended", "busybox", "true"]);
        let ended = r.field("ended", "{{.Id}}");
        let running = r.detached(&["busybox", "sleep", "1000"]);
        r.call(&["container", "prune"]).fails(&["--force"]);
        r.call(&["container", "prune", "-f", "--filter", "status=x"]).fails(&["until, label or label!"]);
        assert_eq!(r.ok(&["container", "prune", "-f", "--filter", "until=1h"]), "Total reclaimed space: 0B");
        let shown = r.ok(&["container", "prune", "-f", "--filter", "label!=keep"]);
        assert!(
            shown.starts_with("Deleted Containers:\n") && shown.contains(&created) && shown.contains(&ended),
            "{shown}"
        );
        assert!(!shown.contains(&running) && shown.contains("\n\nTotal reclaimed space: "), "{shown}");
        assert_eq!(r.ok(&["ps", "-a", "--format", "{{.Names}}", "--filter", "label=keep"]), "kept");
        r.ok(&["container", "prune", "-f"]);
        assert_eq!(r.ok(&["ps", "-aq", "--no-trunc"]), running);
        r.ok(&["rm", "-f", &running]);
    });
}
