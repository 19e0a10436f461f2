//! `ps` with filters, `inspect` of every type, and what is said about names that are not there.

use tests::{has_networks, needs, rtctl_test};

#[test]
fn ps_filters() {
    rtctl_test(|r| {
        needs!(r.test, has_networks(), "the kernel lacks bridges, veth, nft_nat or nft_fib");
        r.ok(&["create", "--name", "web", "-v", "data:/data", "busybox", "true"]);
        r.ok(&["create", "--name", "webcache", "--network", "host", "busybox", "true"]);
        r.ok(&["create", "--name", "other", "--rootfs", "/:O", "true"]);
        let names = |filters: &[&str]| {
            let mut args = vec!["ps", "-a", "--format", "{{.Names}}"];
            args.extend(filters.iter().flat_map(|filter| ["--filter", filter]));
            let mut names: Vec<String> = r.ok(&args).lines().map(str::to_owned).collect();
            names.sort();
            names.join(" ")
        };
        for (filters, expected) in [
            (&["name=web"][..], "web webcache"),
            (&["name=^web$"], "web"),
            (&["name=^/web$", "name=oth"], "other web"),
            (&["volume=data"], "web"),
            (&["network=host"], "webcache"),
            (&["network=bridge"], "other web"),
            (&["network=none"], ""),
            (&["ancestor=busybox"], "web webcache"),
            (&["ancestor=busybox:latest", "name=cache"], "webcache"),
            (&["before=other", "since=web"], "webcache"),
            (&["expose=80"], ""),
            (&["status=created"], "other web webcache"),
        ] {
            assert_eq!(names(filters), expected, "{filters:?}");
        }
        assert!(r.ok(&["container", "ls", "-a", "-s"]).contains("SIZE"));
        r.ok(&["rm", "web", "webcache", "other"]);
    });
}

#[test]
fn inspect_finds_every_type() {
    rtctl_test(|r| {
        r.ok(&["volume", "create", "thing"]);
        assert_eq!(r.field("thing", "{{.Mountpoint}}"), format!("{}/volumes/thing/_data", r.root().display()));
        r.ok(&["create", "--name", "thing", "busybox"]);
        // A container goes first, as docker's.
        assert_eq!(r.field("thing", "{{.Name}}"), "/thing");
        assert_eq!(r.ok(&["inspect", "--type", "volume", "-f", "{{.Name}}", "thing"]), "thing");
        r.call(&["inspect", "--type", "image", "thing"]).fails(&["no image"]);
        r.call(&["inspect", "nothing-of-the-kind"]).fails(&["no container, image or volume"]);
        r.ok(&["inspect", "--size", "thing"]);
        r.ok(&["rm", "thing"]);
    });
}

#[test]
fn the_nearest_name_is_said() {
    rtctl_test(|r| {
        r.ok(&["create", "--name", "webserver", "busybox"]);
        r.ok(&["volume", "create", "database"]);
        r.call(&["start", "webserevr"]).fails(&["no container \"webserevr\", but \"webserver\""]);
        r.call(&["volume", "rm", "databse"]).fails(&["no volume \"databse\", but \"database\""]);
        r.call(&["run", "--detahc", "busybox"]).fails(&["--detahc", "--detach"]);
        r.call(&["volum", "ls"]).fails(&["volume"]);
        r.ok(&["rm", "webserver"]);
    });
}
