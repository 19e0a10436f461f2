//! `rtctl volume`, `--volumes-from`, subpaths, drivers' options.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;

use tests::{Rtctl, rtctl_test};

fn data(r: &Rtctl<'_>, name: &str) -> PathBuf {
    r.root().join("volumes").join(name).join("_data")
}

fn names(r: &Rtctl<'_>, args: &[&str]) -> Vec<String> {
    r.ok(&[&["volume", "ls", "-q"], args].concat()).lines().map(str::to_owned).collect()
}

#[test]
fn created_listed_inspected_removed() {
    rtctl_test(|r| {
        assert_eq!(r.ok(&["volume", "create", "--label", "tier=db", "data"]), "data");
        // The same again is no error.
        assert_eq!(r.ok(&["volume", "create", "data"]), "data");
        let made_up = r.ok(&["volume", "create"]);
        assert_eq!(made_up.len(), 64);
        assert_eq!(names(r, &[]).len(), 2);
        assert_eq!(names(r, &["--filter", "label=tier=db"]), ["data"]);
        assert_eq!(names(r, &["--filter", "label!=tier"]), [made_up.as_str()]);
        assert_eq!(names(r, &["--filter", "anonymous=true"]), [made_up.as_str()]);
        // Not all hexadecimal digits: the made-up name may have any of these in it.
        let table = r.ok(&["volume", "ls", "--filter", "name=dat"]);
        assert_eq!(table, "DRIVER   VOLUME NAME\nlocal    data");
        let shown = r.call(&["volume", "inspect", "data"]).json();
        assert_eq!(shown[0]["Labels"]["tier"], "db");
        assert_eq!(shown[0]["Mountpoint"], data(r, "data").to_str().unwrap());
        assert_eq!(shown[0]["Driver"], "local");
        assert_eq!(r.ok(&["volume", "rm", "data"]), "data");
        assert!(!data(r, "data").parent().unwrap().try_exists().unwrap());
        r.call(&["volume", "rm", "data"]).fails(&["no volume \"data\"", "rtctl volume ls"]);
        r.ok(&["volume", "rm", "-f", "data"]);
        r.call(&["volume", "inspect", "dta"]).fails(&["no volume \"dta\""]);
        r.call(&["volume", "rm", "../volumes"]).fails(&["no volume"]);
        r.call(&["volume", "create", "--driver", "nfs", "x1"]).fails(&["must be local"]);
        r.call(&["volume", "create", "--opt", "type=tmpfs", "x1"]).fails(&["option device is missing"]);
        r.ok(&["volume", "rm", &made_up]);
        assert_eq!(fs::read_dir(r.root().join("volumes")).unwrap().count(), 0);
    });
}

#[test]
fn a_volume_in_use_stays() {
    rtctl_test(|r| {
        let id = r.ok(&["create", "--name", "user", "-v", "data:/data", "busybox", "true"]);
        let output = r.call(&["volume", "rm", "data"]);
        output.fails(&["in use by user", &id[..12], "rtctl rm"]);
        assert_eq!(names(r, &["--filter", "dangling=true"]), [""; 0]);
        let output = r.call(&["volume", "prune", "-af"]);
        assert_eq!(output.stdout, "Total reclaimed space: 0B\n");
        assert!(data(r, "data").is_dir());
        r.ok(&["rm", "user"]);
        assert_eq!(names(r, &["--filter", "dangling=true"]), ["data"]);
        // Only anonymous ones without --all.
        r.ok(&["volume", "prune", "-f"]);
        assert!(data(r, "data").is_dir());
        assert!(r.ok(&["volume", "prune", "--all", "--force"]).starts_with("Deleted Volumes:\ndata\n"));
        r.call(&["volume", "prune"]).fails(&["--force"]);
    });
}

#[test]
fn anonymous_volumes_and_volumes_from() {
    rtctl_test(|r| {
        r.ok(&[
            "run",
            "--name",
            "source",
            "-v",
            "/own",
            "-v",
            "named:/named:ro",
            "busybox",
            "sh",
            "-c",
            "echo kept >/own/file",
        ]);
        let own = r.field("source", "{{range .Mounts}}{{if eq .Destination \"/own\"}}{{.Name}}{{end}}{{end}}");
        let script = "cat /own/file; echo more >>/own/file; echo no >/named/x";
        let output = r.sh(&["--volumes-from", "source"], script);
        assert_eq!(output.stdout, "kept\n");
        assert!(output.stderr.contains("Read-only file system"), "{output}");
        let output = r.sh(&["--volumes-from", "source:ro"], "cat /own/file; echo no >/own/file");
        assert_eq!(output.stdout, "kept\nmore\n");
        assert_ne!(output.code, 0);
        // A mount of its own goes first.
        assert_eq!(r.sh(&["--volumes-from", "source", "--tmpfs", "/own"], "ls /own").ok(), "");
        // rm -v leaves what another container uses.
        r.ok(&["create", "--name", "other", "--volumes-from", "source", "busybox", "true"]);
        r.ok(&["rm", "-v", "source"]);
        assert_eq!(names(r, &[]), {
            let mut list = vec![own.clone(), "named".to_owned()];
            list.sort();
            list
        });
        r.ok(&["rm", "-v", "other"]);
        // It was not made for this one.
        assert!(names(r, &[]).contains(&own));
        r.ok(&["volume", "prune", "-f"]);
        assert_eq!(names(r, &[]), ["named"]);
        r.call(&["run", "--rm", "--volumes-from", "gone", "busybox"])
            .fails(&["--volumes-from", "no container \"gone\""]);
        let _short = r.ok(&["create", "--rm", "--name", "short", "-v", "/own", "busybox", "true"]);
        r.call(&["run", "--rm", "--volumes-from", "short", "busybox"]).fails(&["made with --rm", "-v NAME:/own"]);
        r.ok(&["rm", "-v", "short"]);
    });
}

#[test]
fn tmpfs_and_bind_behind_a_volume() {
    rtctl_test(|r| {
        let opts =
            |list: &[&str]| list.iter().flat_map(|opt| ["--opt".to_owned(), (*opt).to_owned()]).collect::<Vec<_>>();
        let create = |name: &str, list: &[&str]| {
            let opts = opts(list);
            let mut args = vec!["volume", "create"];
            args.extend(opts.iter().map(String::as_str));
            args.push(name);
            r.call(&args)
        };
        create("memory", &["type=tmpfs", "device=tmpfs", "o=size=1m,mode=1770"]).ok();
        let shown = "grep -c ' /m tmpfs .*size=1024k' /proc/self/mounts; stat -c %a /m; echo x >/m/file";
        assert_eq!(r.sh(&["-v", "memory:/m"], shown).ok(), "1\n1770");
        // The next container finds it.
        assert_eq!(r.sh(&["-v", "memory:/m"], "cat /m/file").ok(), "x");
        r.call(&["volume", "create", "--opt", "type=tmpfs", "--opt", "device=other", "memory"])
            .fails(&["other options"]);
        r.ok(&["volume", "rm", "memory"]);
        let folder = r.test.dir.join("behind");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("file"), "behind\n").unwrap();
        create("behind", &["type=none", "o=bind,ro", &format!("device={}", folder.display())]).ok();
        let output = r.sh(&["-v", "behind:/b"], "cat /b/file; echo no >/b/file");
        assert_eq!(output.stdout, "behind\n");
        assert!(output.stderr.contains("Read-only file system"), "{output}");
        r.ok(&["volume", "rm", "behind"]);
        // Only the mount went.
        assert_eq!(fs::read_to_string(folder.join("file")).unwrap(), "behind\n");
        create("odd", &["type=nosuchfs", "device=x"]).ok();
        r.sh(&["-v", "odd:/o"], "true").fails(&["volume odd", "ENODEV", "no such file system"]);
        r.ok(&["volume", "rm", "odd"]);
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        assert!(!mounts.contains(r.root().to_str().unwrap()), "{mounts}");
    });
}

#[test]
fn a_subpath_stays_inside() {
    rtctl_test(|r| {
        r.sh(
            &["-v", "data:/data"],
            "mkdir -p /data/a/b; echo in >/data/a/b/file; ln -s /etc /data/out; ln -s a/b /data/in",
        )
        .ok();
        let mount = |subpath: &str| format!("type=volume,source=data,target=/m,volume-subpath={subpath}");
        assert_eq!(r.sh(&["--mount", &mount("a/b")], "cat /m/file").ok(), "in");
        assert_eq!(r.sh(&["--mount", &mount("in")], "cat /m/file").ok(), "in");
        assert_eq!(r.sh(&["--mount", &mount("a/b/file")], "cat /m").ok(), "in");
        r.sh(&["--mount", &mount("missing")], "true").fails(&["has no such directory"]);
        // The link means the volume's /etc, which is not there.
        r.sh(&["--mount", &mount("out")], "true").fails(&["has no such directory"]);
        // What is swapped after the check is looked up inside, too (CVE-2021-25741).
        r.ok(&["create", "--name", "later", "--mount", &mount("a/b"), "busybox", "cat", "/m/passwd"]);
        let (a, top) = (data(r, "data").join("a"), data(r, "data"));
        fs::rename(a.join("b"), a.join("old")).unwrap();
        symlink("/etc", a.join("b")).unwrap();
        r.call(&["start", "-a", "later"]).fails(&["ENOENT"]);
        fs::remove_file(a.join("b")).unwrap();
        symlink("../../../../../../../../etc", a.join("b")).unwrap();
        r.call(&["start", "-a", "later"]).fails(&["ENOENT"]);
        fs::create_dir(top.join("etc")).unwrap();
        fs::write(top.join("etc/passwd"), "the volume's own\n").unwrap();
        assert_eq!(r.ok(&["start", "-a", "later"]), "the volume's own");
        r.ok(&["rm", "later"]);
    });
}

#[test]
fn concurrent_creates_make_one() {
    rtctl_test(|r| {
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| r.ok(&["volume", "create", "shared"]));
            }
        });
        assert_eq!(names(r, &[]), ["shared"]);
        // Containers and removals race for it: it is there as a whole for whoever gets a container.
        thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| r.sh(&["-v", "shared:/etc"], "grep -c ^root: /etc/passwd").ok());
                scope.spawn(|| r.call(&["volume", "rm", "shared"]));
            }
        });
        r.ok(&["volume", "rm", "-f", "shared"]);
        assert_eq!(fs::read_dir(r.root().join("volumes")).unwrap().count(), 0);
    });
}

#[test]
fn what_is_swept_from_under_a_slow_maker_is_made_again() {
    rtctl_test(|r| {
        if Command::new("strace").arg("-V").output().is_err() {
            return r.test.skip("no strace");
        }
        let volumes = r.root().join("volumes");
        fs::create_dir_all(&volumes).unwrap();
        // It has opened the new directory, and takes its time to lock it.
        let inner = r.command(&["volume", "create", "slow"]);
        let mut strace = Command::new("strace");
        strace.args(["-qq", "-o", "/dev/null", "-e", "trace=flock", "-e", "inject=flock:delay_enter=1000000:when=1"]);
        strace.arg(inner.get_program()).args(inner.get_args()).stdin(Stdio::null()).stdout(Stdio::null());
        for (name, value) in inner.get_envs() {
            strace.env(name, value.unwrap());
        }
        let mut maker = strace.spawn().unwrap();
        while fs::read_dir(&volumes).unwrap().count() == 0 {
            thread::yield_now();
        }
        r.call(&["volume", "rm", "another"]).fails(&["no volume"]);
        assert!(maker.wait().unwrap().success());
        assert_eq!(names(r, &[]), ["slow"]);
        r.ok(&["volume", "rm", "slow"]);
    });
}
