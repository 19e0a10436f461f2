//! An ordinary user, and her systemd.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::json;
use tests::{Bundle, Output, Test, needs, program, test};

/// Nobody in particular; hack/uml-systemd gives this one a name, and ids in /etc/subuid.
pub(crate) const USER: u32 = 54321;

/// A user with a copy of the program, and a directory for what it keeps.
pub(crate) struct User<'t> {
    pub(crate) test: &'t Test,
    pub(crate) program: PathBuf,
    pub(crate) runtime_directory: PathBuf,
}

/// Whether systemd runs this host. sd_booted(3)
pub(crate) fn booted() -> bool {
    fs::symlink_metadata("/run/systemd/system").is_ok()
}

/// Runs the body of a test of a user who has a systemd of her own, with controllers.
pub(crate) fn managed_test(body: impl FnOnce(&User<'_>)) {
    let managed = booted() && fs::symlink_metadata("/sys/fs/cgroup/cgroup.controllers").is_ok();
    if managed {
        // Before the test: the mounts that come along are not the test's.
        let start = Command::new("systemctl").args(["start", &format!("user@{USER}.service")]).output();
        Output::from(start.unwrap()).ok();
    }
    test(|t| {
        needs!(t, managed, "no systemd with cgroup v2 runs this host (hack/uml-systemd has one that it does)");
        body(&User { runtime_directory: format!("/run/user/{USER}").into(), ..User::new(t) });
    });
}

impl<'t> User<'t> {
    pub(crate) fn new(test: &'t Test) -> Self {
        let runtime_directory = test.dir.join("xdg");
        fs::create_dir(&runtime_directory).unwrap();
        chown(&runtime_directory, Some(USER), Some(USER)).unwrap();
        let source = program("rt-runtime");
        let copy = test.dir.join(source.file_name().unwrap());
        fs::copy(source, &copy).unwrap();
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
        Self { test, program: copy, runtime_directory }
    }

    /// What `spec --rootless` writes, with the test's root file system.
    pub(crate) fn bundle(&self) -> Bundle {
        let mut bundle = self.test.bundle();
        chown(&bundle.dir, Some(USER), Some(USER)).unwrap();
        let mut spec = self.command(&["spec", "--rootless"]);
        Output::from(spec.current_dir(&bundle.dir).output().unwrap()).ok();
        bundle.spec = serde_json::from_slice(&fs::read(bundle.dir.join("config.json")).unwrap()).unwrap();
        let marker = format!("RT_TEST={}", self.test.marker());
        bundle.spec["process"]["env"].as_array_mut().unwrap().push(json!(marker));
        bundle.set("/process/terminal", json!(false)).set("/root/readonly", json!(false))
    }

    /// Any program as this user.
    pub(crate) fn program(&self, program: impl AsRef<std::ffi::OsStr>, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(args).uid(USER).gid(USER).stdin(Stdio::null());
        command.env("XDG_RUNTIME_DIR", &self.runtime_directory).env("RT_TEST", self.test.marker());
        command
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        self.program(&self.program, args)
    }

    pub(crate) fn runtime(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap().into()
    }

    /// Runs a command whose standard output and error stay open in the process that it leaves behind.
    pub(crate) fn detached(&self, args: &[&str]) -> Output {
        let path = self.test.dir.join(format!("{}.out", self.test.id()));
        let file = fs::File::create_new(&path).unwrap();
        let status = self.command(args).stdout(file.try_clone().unwrap()).stderr(file).status().unwrap();
        std::process::Output { status, stdout: Vec::new(), stderr: fs::read(&path).unwrap() }.into()
    }

    pub(crate) fn run(&self, bundle: &Bundle) -> Output {
        bundle.write();
        self.runtime(&["run", "-b", bundle.dir.to_str().unwrap(), &self.test.id()])
    }

    /// A property of a unit of her systemd.
    pub(crate) fn show(&self, unit: &str, property: &str) -> String {
        let show = self.program("systemctl", &["--user", "show", "--value", "-p", property, unit]).output();
        Output::from(show.unwrap()).ok()
    }
}
