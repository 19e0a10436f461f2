//! Images from registries and back: a real registry on loopback.

use std::collections::HashSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tests::{Output, Proxy, RegistryOptions, RegistryServer, Rtctl, Rule, needs, rtctl_test};

/// The busybox image as skopeo names it.
const BUSYBOX: &str = concat!("oci:", env!("RT_TEST_IMAGE"), ":latest");

/// A test with nothing in the store but what it pulls.
fn registry_test(body: impl FnOnce(&Rtctl<'_>)) {
    rtctl_test(|r| {
        if let Some(missing) = RegistryServer::missing() {
            needs!(r.test, false, &missing);
        }
        r.ok(&["rmi", "busybox"]);
        body(r);
    });
}

fn plain(r: &Rtctl<'_>) -> RegistryServer {
    let registry = RegistryServer::start(r.test, "registry", &RegistryOptions::default());
    registry.put(BUSYBOX, "library/busybox:1");
    registry
}

#[test]
fn pulled_and_run() {
    registry_test(|r| {
        let registry = plain(r);
        let name = format!("{}/library/busybox:1", registry.host);
        let digest = registry
            .skopeo(&["inspect", "--tls-verify=false", "--format", "{{.Digest}}", &format!("docker://{name}")])
            .ok();
        let output = r.ok(&["pull", &name]);
        let lines: Vec<&str> = output.lines().collect();
        assert_eq!(lines[0], "1: Pulling from library/busybox", "{output}");
        assert!(lines.iter().any(|line| line.ends_with(": Pull complete")), "{output}");
        let end = [format!("Digest: {digest}"), format!("Status: Downloaded newer image for {name}"), name.clone()];
        assert_eq!(lines[lines.len() - 3..], end, "{output}");

        let again = r.ok(&["pull", &name]);
        assert!(again.contains(&format!("Status: Image is up to date for {name}")), "{again}");
        assert!(again.contains(": Already exists"), "{again}");
        assert_eq!(r.ok(&["pull", "-q", &name]), name);
        assert_eq!(r.ok(&["run", "--rm", &name, "echo", "pulled"]), "pulled");
        assert!(r.ok(&["images", "--digests"]).contains(&digest));
        let pinned = format!("{}/library/busybox@{digest}", registry.host);
        assert_eq!(
            r.ok(&["image", "inspect", "-f", "{{index .RepoDigests 0}} {{len .RepoDigests}}", &name]),
            format!("{pinned} 1")
        );
        // A name that nobody pulled has no digest.
        r.ok(&["tag", &name, "mine:1"]);
        assert!(r.ok(&["images", "--digests", "mine"]).contains("<none>"));
        // The other tools read the store as it is.
        let images = r.root().join("images");
        let (oci, back) = (format!("oci:{}:{name}", images.display()), r.test.dir.join("back"));
        assert_eq!(registry.skopeo(&["inspect", "--format", "{{.Digest}}", &oci]).ok(), digest);
        let script = format!(
            "umoci unpack --image {}:{name} {1}; test -x {1}/rootfs/bin/busybox",
            images.display(),
            back.display()
        );
        let umoci = Command::new("sh").args(["-ec", &script]).output().unwrap();
        assert!(umoci.status.success(), "{}", String::from_utf8_lossy(&umoci.stderr));
        drop(registry);
    });
}

#[test]
fn run_pulls_what_is_missing() {
    registry_test(|r| {
        let registry = plain(r);
        let name = format!("{}/library/busybox:1", registry.host);
        let never = r.call(&["run", "--rm", "--pull", "never", &name, "true"]);
        assert_eq!(never.code, 125, "{never}");
        never.fails(&["--pull never", "rtctl pull"]);
        let output = r.call(&["run", "--rm", &name, "echo", "pulled"]);
        assert_eq!((output.code, output.stdout.as_str()), (0, "pulled\n"), "{output}");
        assert!(output.stderr.starts_with(&format!("Unable to find image '{name}' locally\n")), "{output}");
        assert!(output.stderr.contains("Pull complete"), "{output}");
        let quiet = r.call(&["run", "--rm", "-q", "--pull", "always", &name, "echo", "quiet"]);
        assert_eq!((quiet.code, quiet.stdout.as_str(), quiet.stderr.as_str()), (0, "quiet\n", ""), "{quiet}");
        // Nothing is asked when the image is there.
        drop(registry);
        assert_eq!(r.ok(&["run", "--rm", &name, "echo", "offline"]), "offline");
        let output = r.call(&["run", "--rm", "--pull", "always", &name, "true"]);
        assert_eq!(output.code, 125, "{output}");
    });
}

/// Runs it with another folder of `hosts.toml` and another file of credentials, and `stdin`.
fn with(r: &Rtctl<'_>, hosts: &Path, stdin: &str, args: &[&str]) -> Output {
    let mut command = r.command(args);
    command.env("RT_HOSTS_DIR", hosts).env("DOCKER_CONFIG", r.test.dir.join("docker")).stdin(Stdio::piped());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    child.wait_with_output().unwrap().into()
}

/// A folder in which a file says how a registry is reached.
fn hosts(r: &Rtctl<'_>, host: &str, text: &str) -> PathBuf {
    let folder = r.test.dir.join("hosts");
    fs::create_dir_all(folder.join(host)).unwrap();
    fs::write(folder.join(host).join("hosts.toml"), text).unwrap();
    folder
}

const SECRET: &str = "correct-horse-7f3a";

#[test]
fn passwords_and_tls() {
    registry_test(|r| {
        let options = RegistryOptions { tls: true, users: vec![("me".into(), SECRET.into())], port: 0 };
        let registry = RegistryServer::start(r.test, "registry", &options);
        let host = registry.host.clone();
        let target = format!("docker://{host}/app:1");
        registry
            .skopeo(&[
                "copy",
                "--insecure-policy",
                "--dest-tls-verify=false",
                "--dest-creds",
                &format!("me:{SECRET}"),
                BUSYBOX,
                &target,
            ])
            .ok();
        let name = format!("{host}/app:1");
        let empty = r.test.dir.join("none");
        // Nobody vouches for the certificate; the advice names the file.
        with(r, &empty, "", &["pull", &name]).fails(&["400", "hosts.toml", &format!("server = \"https://{host}\"")]);
        let without_ca = hosts(r, &host, &format!("server = \"https://{host}\"\n"));
        with(r, &without_ca, "", &["pull", &name]).fails(&["certificate", "hosts.toml", "ca ="]);
        let hosts = hosts(r, &host, &format!("server = \"https://{host}\"\nca = \"{}\"\n", registry.ca().display()));
        with(r, &hosts, "", &["pull", &name]).fails(&["401", &format!("rtctl login {host}")]);

        let wrong = with(r, &hosts, "wrong-9d1e\n", &["login", "-u", "me", "--password-stdin", &host]);
        assert!(!wrong.stderr.contains("wrong-9d1e"), "{wrong}");
        wrong.fails(&["does not know that user", "401"]);
        assert!(!r.test.dir.join("docker/config.json").try_exists().unwrap(), "nothing is kept");
        let login = with(r, &hosts, &format!("{SECRET}\n"), &["login", "-u", "me", "--password-stdin", &host]);
        assert_eq!((login.code, login.stdout.as_str()), (0, "Login Succeeded\n"), "{login}");
        assert!(login.stderr.contains("unencrypted"), "{login}");
        let file = r.test.dir.join("docker/config.json");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

        let pulled = with(r, &hosts, "", &["pull", "-q", &name]);
        assert_eq!((pulled.code, pulled.stdout.trim()), (0, name.as_str()), "{pulled}");
        let run = with(r, &hosts, "", &["run", "--rm", "--pull", "always", &name, "echo", "private"]);
        assert_eq!((run.code, run.stdout.as_str()), (0, "private\n"), "{run}");
        // skopeo uses what we kept.
        let back =
            registry.skopeo(&["inspect", "--authfile", file.to_str().unwrap(), "--tls-verify=false", &target]).ok();
        let again = with(r, &hosts, "", &["tag", &name, &format!("{host}/mine/app:2")]);
        assert_eq!(again.code, 0, "{again}");
        let pushed = with(r, &hosts, "", &["push", &format!("{host}/mine/app:2")]);
        assert_eq!(pushed.code, 0, "{pushed}");
        let digest = pushed.stdout.split("digest: ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
        assert!(back.contains(&digest), "{back}, not {digest}");

        let logout = with(r, &hosts, "", &["logout", &host]);
        assert_eq!(
            (logout.code, logout.stdout.as_str()),
            (0, format!("Removing login credentials for {host}\n").as_str()),
            "{logout}"
        );
        with(r, &hosts, "", &["pull", &name]).fails(&["401"]);
        assert_eq!(with(r, &hosts, "", &["logout", &host]).stdout, format!("Not logged in to {host}\n"));
        // Neither an error nor the store shows the secret.
        let log = registry.stop().join("\n");
        assert!(!log.contains(SECRET));
        let grep = Command::new("grep").args(["-rlF", SECRET]).args([r.root(), r.state()]).output().unwrap();
        assert_eq!(grep.stdout, b"", "the secret is kept somewhere");
    });
}

/// While a pull runs, nothing of the credentials is in its arguments or environment.
#[test]
fn secrets_are_not_shown_while_a_pull_runs() {
    registry_test(|r| {
        let options = RegistryOptions { tls: false, users: vec![("me".into(), SECRET.into())], port: 0 };
        let registry = RegistryServer::start(r.test, "registry", &options);
        let creds = format!("me:{SECRET}");
        registry
            .skopeo(&[
                "copy",
                "--insecure-policy",
                "--dest-tls-verify=false",
                "--dest-creds",
                &creds,
                BUSYBOX,
                &format!("docker://{}/app:1", registry.host),
            ])
            .ok();
        let proxy = Proxy::start(&registry.host, Rule::Pass);
        let empty = r.test.dir.join("none");
        let login = with(r, &empty, SECRET, &["login", "-u", "me", "--password-stdin", &proxy.host]);
        assert_eq!(login.code, 0, "{login}");
        proxy.set(Rule::HoldAfter(100_000));
        let name = format!("{}/app:1", proxy.host);
        let mut command = r.command(&["pull", &name]);
        command.env("DOCKER_CONFIG", r.test.dir.join("docker")).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        proxy.wait_until_reached();
        for file in ["cmdline", "environ"] {
            let bytes = fs::read(format!("/proc/{}/{file}", child.id())).unwrap();
            assert!(!String::from_utf8_lossy(&bytes).contains(SECRET), "{file}");
        }
        proxy.set(Rule::Pass);
        assert!(child.wait().unwrap().success());
        r.ok(&["rmi", &name]);
    });
}

#[test]
fn pushed_and_pulled_back() {
    registry_test(|r| {
        let registry = plain(r);
        let (source, target) =
            (format!("{}/library/busybox:1", registry.host), format!("{}/copies/busybox:2", registry.host));
        r.ok(&["pull", "-q", &source]);
        r.call(&["push", &target]).fails(&["no image"]);
        r.ok(&["tag", &source, &target]);
        let output = r.ok(&["push", &target]);
        assert!(
            output.starts_with(&format!("The push refers to repository [{}/copies/busybox]", registry.host)),
            "{output}"
        );
        let digest =
            output.lines().last().unwrap().split("digest: ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
        let inspect = |name: &str| {
            registry
                .skopeo(&["inspect", "--tls-verify=false", "--format", "{{.Digest}}", &format!("docker://{name}")])
                .ok()
        };
        assert_eq!((inspect(&source), inspect(&target)), (digest.clone(), digest.clone()));
        let digests = r.ok(&["image", "inspect", "-f", "{{json .RepoDigests}}", &target]);
        assert!(digests.contains(&format!("{}/copies/busybox@{digest}", registry.host)), "{digests}");
        // Again: everything is there.
        let again = r.ok(&["push", &target]);
        assert!(again.contains("Layer already exists"), "{again}");
        assert_eq!(r.ok(&["push", "-q", &target]), target);

        r.ok(&["rmi", &source, &target]);
        assert_eq!(r.ok(&["images", "-q"]), "");
        let pinned = format!("{}/copies/busybox@{digest}", registry.host);
        assert_eq!(r.ok(&["pull", "-q", &pinned]), pinned);
        assert_eq!(r.ok(&["run", "--rm", "--pull", "never", &pinned, "echo", "pinned"]), "pinned");
        let wrong = format!("{}/copies/busybox@sha256:{}", registry.host, "0".repeat(64));
        r.call(&["pull", &wrong]).fails(&["404"]);
    });
}

#[test]
fn all_tags() {
    registry_test(|r| {
        let registry = plain(r);
        let (source, copy) = (format!("{}/library/busybox:1", registry.host), format!("{}/copies/all", registry.host));
        r.ok(&["pull", "-q", &source]);
        r.call(&["push", "--all-tags", &copy]).fails(&["no image of", "rtctl tag IMAGE"]);
        for tag in ["b", "a"] {
            r.ok(&["tag", &source, &format!("{copy}:{tag}")]);
        }
        let both = [format!("{copy}:a"), format!("{copy}:b")];
        assert_eq!(r.ok(&["push", "-q", "--all-tags", &copy]), both.join("\n"));
        r.ok(&["rmi", &both[0], &both[1]]);
        let pulled = r.ok(&["pull", "-q", "-a", &copy]);
        // In the order of the registry, which has none.
        assert_eq!(pulled.lines().collect::<HashSet<_>>(), both.iter().map(String::as_str).collect());
        assert_eq!(r.ok(&["image", "inspect", "-f", "{{len .RepoTags}}", &both[0]]), "3");
        let tagged = r.call(&["pull", "-a", &both[0]]);
        tagged.fails(&["--all-tags is for a repository", &format!("rtctl pull --all-tags {copy}")]);
        r.call(&["push", "-a", &both[0]]).fails(&["--all-tags is for a repository"]);
        r.call(&["pull", "-a", &format!("{}/copies/absent", registry.host)])
            .fails(&["/v2/copies/absent/tags/list", "404"]);
    });
}

#[test]
fn a_tag_moves() {
    registry_test(|r| {
        let registry = plain(r);
        let name = format!("{}/library/busybox:1", registry.host);
        r.ok(&["pull", "-q", &name]);
        let first = r.field(&name, "{{.Id}}");
        // Another image under the same tag: the same layer with another command.
        let layout = r.test.dir.join("changed");
        let script = format!(
            "cp -a {} {1}; umoci config --image {1}:latest --config.cmd true --history.comment changed",
            env!("RT_TEST_IMAGE"),
            layout.display()
        );
        assert!(Command::new("sh").args(["-ec", &script]).status().unwrap().success());
        registry.put(&format!("oci:{}:latest", layout.display()), "library/busybox:1");
        let output = r.ok(&["pull", &name]);
        assert!(output.contains("Already exists") && output.contains("Downloaded newer image"), "{output}");
        assert_ne!(r.field(&name, "{{.Id}}"), first);
        let images = r.ok(&["images", "--digests"]);
        assert!(images.contains("<none>"), "the old one has no tag any more: {images}");
        assert_eq!(r.ok(&["run", "--rm", &first, "echo", "old"]), "old");
        let pruned = r.ok(&["image", "prune", "-f"]);
        assert!(pruned.contains(&first), "{pruned}");
        assert_eq!(r.ok(&["run", "--rm", &name, "echo", "new"]), "new");
    });
}

#[test]
fn mirrors_are_tried_in_order() {
    registry_test(|r| {
        let registry = plain(r);
        // Nobody listens on the first two.
        let text = format!(
            "server = \"http://127.0.0.1:1\"\n[host.\"http://127.0.0.1:2\"]\n[host.\"http://{}\"]\n",
            registry.host
        );
        let hosts = hosts(r, "mirrored.example", &text);
        let name = "mirrored.example/library/busybox:1";
        let output = with(r, &hosts, "", &["run", "--rm", name, "echo", "mirrored"]);
        assert_eq!((output.code, output.stdout.as_str()), (0, "mirrored\n"), "{output}");
        drop(registry);
        let output = with(r, &hosts, "", &["pull", name]);
        assert_ne!(output.code, 0, "{output}");
        output.fails(&["127.0.0.1:1", "127.0.0.1:2", "connect"]);
    });
}

/// The part of a log that is about fetching blobs, as (digest, status).
fn blobs_fetched(log: &[String]) -> Vec<(String, String)> {
    let line = |line: &String| {
        let rest = line.split("\"GET ").nth(1)?;
        let digest = rest.split("/blobs/").nth(1)?.split(' ').next()?.to_owned();
        let status = rest.split("\" ").nth(1)?.split(' ').next()?.to_owned();
        Some((digest, status))
    };
    log.iter().filter_map(line).collect()
}

#[test]
fn a_cut_transfer_goes_on_where_it_ended() {
    registry_test(|r| {
        let registry = plain(r);
        let proxy = Proxy::start(&registry.host, Rule::CutAfter(200_000));
        let name = format!("{}/library/busybox:1", proxy.host);
        let output = r.call(&["pull", &name]);
        assert_ne!(output.code, 0, "{output}");
        assert_eq!(r.ok(&["images", "-q"]), "");
        proxy.set(Rule::Pass);
        let output = r.ok(&["pull", &name]);
        assert!(output.contains("Resuming at"), "{output}");
        assert_eq!(r.ok(&["run", "--rm", &name, "echo", "whole"]), "whole");
        let fetched = blobs_fetched(&registry.stop());
        assert!(fetched.iter().any(|(_, status)| status == "206"), "a part was asked for: {fetched:?}");
    });
}

#[test]
fn killed_while_pulling() {
    registry_test(|r| {
        let registry = plain(r);
        let proxy = Proxy::start(&registry.host, Rule::HoldAfter(200_000));
        let name = format!("{}/library/busybox:1", proxy.host);
        for signal in ["KILL", "INT", "TERM"] {
            proxy.set(Rule::HoldAfter(200_000));
            let session = r.start(&["pull", &name]);
            proxy.wait_until_reached();
            session.signal(signal);
            let (code, rest) = session.end();
            assert_eq!(
                code,
                match signal {
                    "KILL" => 137,
                    "INT" => 130,
                    _ => 143,
                },
                "{rest}"
            );
            assert_eq!(r.ok(&["images", "-q"]), "", "{signal}");
            let fsck = r.call(&["image", "fsck"]);
            assert_eq!(fsck.code, 0, "{signal}: {fsck}");
        }
        proxy.set(Rule::Pass);
        r.ok(&["pull", "-q", &name]);
        assert_eq!(r.ok(&["run", "--rm", &name, "echo", "alive"]), "alive");
        assert_eq!(r.ok(&["image", "fsck"]), "1 images, 1 layers: no damage");
    });
}

#[test]
fn two_pulls_of_one_image_fetch_it_once() {
    registry_test(|r| {
        let registry = plain(r);
        let name = format!("{}/library/busybox:1", registry.host);
        let children: Vec<_> = (0..3)
            .map(|_| r.command(&["pull", "-q", &name]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
            .collect();
        for child in children {
            let output: Output = child.wait_with_output().unwrap().into();
            assert_eq!(output.ok(), name);
        }
        let fetched = blobs_fetched(&registry.stop());
        let digests: HashSet<&String> = fetched.iter().map(|(digest, _)| digest).collect();
        assert_eq!((digests.len(), fetched.len()), (2, 2), "config and layer, once each: {fetched:?}");
    });
}

#[test]
fn damage_is_repaired_from_the_registry() {
    registry_test(|r| {
        let registry = plain(r);
        let name = format!("{}/library/busybox:1", registry.host);
        r.ok(&["pull", "-q", &name]);
        let blobs = r.root().join("images/blobs/sha256");
        let largest = || {
            let mut files: Vec<_> = fs::read_dir(&blobs).unwrap().map(|entry| entry.unwrap().path()).collect();
            files.sort_by_key(|path| fs::metadata(path).unwrap().len());
            files.pop().unwrap()
        };
        let layer = || fs::read_dir(r.root().join("layers")).unwrap().next().unwrap().unwrap().path();
        let busybox = || layer().join("fs/bin/busybox");
        let whole = fs::read(busybox()).unwrap();

        // The layer alone: from its blob, without asking anybody.
        fs::write(busybox(), b"#!/bin/sh\necho evil\n").unwrap();
        let found = r.call(&["image", "fsck", "--format", "json"]);
        assert_eq!(found.code, 2, "{found}");
        let report: Value = serde_json::from_str(&found.stdout).unwrap();
        assert_eq!((&report["Left"], &report["Damages"][0]["Kind"]), (&1.into(), &"layer".into()), "{report}");
        assert_eq!(report["Damages"][0]["Images"][0], name);
        assert!(report["Damages"][0]["Reason"].as_str().unwrap().contains("\"bin/busybox\" has 20 bytes"), "{report}");
        assert_eq!(r.call(&["image", "fsck", "--fast"]).code, 0, "contents are not looked at");
        let repaired = r.ok(&["image", "fsck", "--repair"]);
        assert!(repaired.ends_with("1 repaired, no damage is left"), "{repaired}");
        assert_eq!(fs::read(busybox()).unwrap(), whole);

        // Layer and blob: from the registry.
        fs::write(busybox(), b"changed").unwrap();
        let zeros = vec![0; usize::try_from(fs::metadata(largest()).unwrap().len()).unwrap()];
        fs::write(largest(), &zeros).unwrap();
        let repaired = r.ok(&["image", "fsck", "--repair", &name]);
        assert!(repaired.ends_with("no damage is left"), "{repaired}");
        assert_eq!(fs::read(busybox()).unwrap(), whole);

        // Documents, too.
        for entry in fs::read_dir(&blobs).unwrap() {
            let path = entry.unwrap().path();
            if path != largest() {
                fs::write(path, "").unwrap();
            }
        }
        let found = r.call(&["image", "fsck"]);
        assert_eq!(found.code, 2, "{found}");
        assert!(found.stdout.contains("the image cannot be used"), "{found}");
        let repaired = r.ok(&["image", "fsck", "--repair"]);
        assert!(repaired.ends_with("no damage is left"), "{repaired}");

        // What run finds unsealed it repairs by itself, from the blob, else from the registry.
        fs::write(layer().join("seal.json"), "").unwrap();
        assert_eq!(r.ok(&["run", "--rm", &name, "echo", "again"]), "again");
        for damage in [&zeros[..], b"cut"] {
            fs::write(layer().join("seal.json"), "").unwrap();
            fs::write(largest(), damage).unwrap();
            r.call(&["run", "--rm", "--pull", "never", &name, "true"]).fails(&["damaged", "fsck --repair"]);
            let output = r.call(&["run", "--rm", &name, "echo", "fetched"]);
            assert_eq!((output.code, output.stdout.as_str()), (0, "fetched\n"), "{output}");
            assert!(output.stderr.contains("damaged"), "{output}");
            assert_eq!(r.ok(&["image", "fsck"]), "1 images, 1 layers: no damage");
        }

        // Without the registry it stays damaged, and is not used.
        drop(registry);
        fs::write(layer().join("seal.json"), "").unwrap();
        fs::remove_file(largest()).unwrap();
        let left = r.call(&["image", "fsck", "--repair"]);
        assert_eq!(left.code, 2, "{left}");
        assert!(left.stdout.contains("not repaired") && left.stdout.contains("connect"), "{left}");
        let run = r.call(&["run", "--rm", &name, "true"]);
        assert_eq!(run.code, 125, "{run}");
        run.fails(&["damaged", "connect"]);
        r.ok(&["rmi", &name]);
    });
}

#[test]
fn without_blobs() {
    registry_test(|r| {
        let registry = plain(r);
        let name = format!("{}/library/busybox:1", registry.host);
        let blobs = || fs::read_dir(r.root().join("images/blobs/sha256")).unwrap().count();
        r.ok(&["pull", "-q", "--discard-blobs", &name]);
        assert_eq!(blobs(), 2, "manifest and config");
        assert_eq!(r.ok(&["run", "--rm", &name, "echo", "runs"]), "runs");
        let fsck = r.ok(&["image", "fsck"]);
        assert!(fsck.contains("cannot be compared") && fsck.ends_with("no damage"), "{fsck}");
        for verb in [&["save", "-o", "/dev/null", &name] as &[&str], &["push", &name]] {
            r.call(verb).fails(&["compressed layers are not here", "--discard-blobs", &format!("rtctl pull {name}")]);
        }
        // A damaged layer comes from the registry, and its blob is not kept this time either.
        let layer = fs::read_dir(r.root().join("layers")).unwrap().next().unwrap().unwrap().path();
        fs::write(layer.join("seal.json"), "").unwrap();
        assert_eq!(r.ok(&["run", "--rm", &name, "echo", "again"]), "again");
        assert_eq!(blobs(), 2);
        r.ok(&["pull", "-q", &name]);
        assert_eq!(blobs(), 3);
        assert!(r.ok(&["save", &name]).len() > 1000);
        let output: Output = r.command(&["pull", "-q", &name]).env("RT_DISCARD_BLOBS", "1").output().unwrap().into();
        output.ok();
        assert_eq!(blobs(), 2, "they go, although they were there");
    });
}
