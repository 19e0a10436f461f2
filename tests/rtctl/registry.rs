//! Images from registries and back: a real registry on loopback.

use tests::{RegistryOptions, RegistryServer, Rtctl, needs, rtctl_test};

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
