//! podman of an ordinary user who has a systemd of her own, by both of its cgroup managers.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;

use tests::{Kind, Output, differs};

use crate::user::{USER, User, managed_test};

/// podman with a storage of its own, whose containers are those of one root file system.
struct Podman<'t> {
    user: &'t User<'t>,
    home: PathBuf,
    rootfs: String,
    manager: &'static str,
}

impl<'t> Podman<'t> {
    fn new(user: &'t User<'t>, manager: &'static str) -> Self {
        let home = user.test.dir.join("home");
        fs::create_dir(&home).unwrap();
        let program = user.program.display();
        let settings = format!(
            "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\n[engine]\nevents_logger = \"file\"\n\
             runtime = \"rt\"\n[engine.runtimes]\nrt = [\"{program}\"]\n"
        );
        fs::write(home.join("containers.conf"), settings).unwrap();
        fs::write(home.join("storage.conf"), "[storage]\ndriver = \"vfs\"\n").unwrap();
        let rootfs = user.test.bundle().rootfs();
        for path in [&home, &rootfs, &rootfs.join("etc")] {
            chown(path, Some(USER), Some(USER)).unwrap();
        }
        Self { user, home, rootfs: rootfs.to_str().unwrap().to_owned(), manager }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.user.program("podman", &["--cgroup-manager", self.manager]);
        command.args(args).env("HOME", &self.home).env("USER", "rtuser").current_dir(&self.home);
        command.env("CONTAINERS_CONF", self.home.join("containers.conf"));
        command.env("CONTAINERS_STORAGE_CONF", self.home.join("storage.conf"));
        command
    }

    fn ok(&self, args: &[&str]) -> String {
        Output::from(self.command(args).output().unwrap()).ok()
    }

    /// `run` with a name; gives the group of the container.
    fn run(&self, name: &str, options: &[&str]) -> PathBuf {
        let program = [self.rootfs.as_str(), "/bin/payload", "hold"];
        let args =
            [&["run", "--detach", "--network", "none", "--name", name], options, &["--rootfs"], &program].concat();
        self.ok(&args);
        let pid = self.ok(&["inspect", "--format", "{{.State.Pid}}", name]);
        let table = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        Path::new("/sys/fs/cgroup").join(table.trim().strip_prefix("0::/").unwrap())
    }
}

fn life_of_a_container(user: &User<'_>, manager: &'static str) -> Option<PathBuf> {
    if fs::symlink_metadata("/usr/bin/podman").is_err() {
        user.test.skip("no podman (hack/uml-systemd has one)");
        return None;
    }
    let podman = Podman::new(user, manager);
    let group = podman.run("c1", &["--memory", "64m", "--pids-limit", "50"]);
    let read = |file: &str| fs::read_to_string(group.join(file)).unwrap().trim().to_owned();
    assert_eq!(["memory.max", "pids.max"].map(read), ["67108864", "50"]);
    assert_eq!(podman.ok(&["exec", "--user", "5:6", "c1", "/bin/sh", "-c", "echo $(id -u) $(id -g)"]), "5 6");
    podman.ok(&["pause", "c1"]);
    assert!(read("cgroup.events").contains("frozen 1"));
    assert_eq!(podman.ok(&["ps", "--all", "--format", "{{.State}}"]), "Paused");
    podman.ok(&["unpause", "c1"]);
    assert!(read("cgroup.events").contains("frozen 0"));
    let figures = podman.ok(&["stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}} {{.MemUsage}}", "c1"]);
    assert!(figures.starts_with("c1 1 ") && figures.ends_with(" / 67.11MB"), "{figures}");
    podman.ok(&["update", "--memory", "96m", "c1"]);
    assert_eq!(read("memory.max"), "100663296");
    podman.ok(&["rm", "--force", "--time", "0", "c1"]);
    assert_eq!(podman.ok(&["ps", "--all", "--quiet"]), "");
    assert!(!group.try_exists().unwrap());
    // Ends the process that holds the user's namespaces.
    podman.ok(&["system", "migrate"]);
    Some(group)
}

#[test]
fn ordinary_user_with_systemd() {
    managed_test(|user| {
        let Some(group) = life_of_a_container(user, "systemd") else { return };
        // crun's are in a group below.
        let scope = group.iter().filter_map(|part| part.to_str()).find(|part| part.starts_with("libpod-")).unwrap();
        assert!(scope.ends_with(".scope"), "{scope}");
        assert_eq!(user.show(scope, "LoadState"), "not-found");
    });
}

#[test]
fn ordinary_user_with_cgroupfs() {
    managed_test(|user| {
        differs!(user.test, Kind::Crun, "1.8 makes no group then, and leaves the limits away");
        life_of_a_container(user, "cgroupfs");
    });
}
