//! A registry on loopback in the test's network namespace: Debian's docker-registry, plain or with TLS and passwords.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crate::output::Output;
use crate::test::Test;

const PROGRAM: &str = "/usr/bin/docker-registry";

/// How the registry is to be.
#[derive(Debug, Clone, Default)]
pub struct RegistryOptions {
    /// With a certificate for 127.0.0.1 and localhost, from [`RegistryServer::ca`].
    pub tls: bool,
    /// Users and their passwords; none: everybody may do everything.
    pub users: Vec<(String, String)>,
    /// The port; 0: any.
    pub port: u16,
}

/// A running registry; it ends when dropped, what it stores stays in the test's folder.
#[derive(Debug)]
pub struct RegistryServer {
    /// `127.0.0.1:PORT`
    pub host: String,
    dir: PathBuf,
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
}

impl RegistryServer {
    /// Why there can be none here; `None`: there can.
    pub fn missing() -> Option<String> {
        ["docker-registry", "skopeo", "openssl", "htpasswd"].into_iter().find_map(|name| {
            let there = Path::new("/usr/bin").join(name).try_exists().unwrap_or(false);
            (!there).then(|| format!("{name} is not installed"))
        })
    }

    /// Starts one whose contents are in `name` below the test's folder, and waits until it listens.
    pub fn start(test: &Test, name: &str, options: &RegistryOptions) -> RegistryServer {
        let dir = test.dir.join(name);
        fs::create_dir_all(dir.join("data")).unwrap();
        let mut http = format!("http:\n  addr: 127.0.0.1:{}\n", options.port);
        if options.tls {
            certificates(&dir);
            let file = |name: &str| dir.join(name).display().to_string();
            http += &format!("  tls:\n    certificate: {}\n    key: {}\n", file("server.crt"), file("server.key"));
        }
        let mut auth = String::new();
        if !options.users.is_empty() {
            let path = dir.join("htpasswd");
            let lines = options.users.iter().map(|(user, password)| htpasswd(user, password));
            fs::write(&path, lines.collect::<String>()).unwrap();
            auth = format!("auth:\n  htpasswd:\n    realm: test\n    path: {}\n", path.display());
        }
        let data = dir.join("data");
        let storage =
            format!("storage:\n  filesystem:\n    rootdirectory: {}\n  delete:\n    enabled: true\n", data.display());
        let config = dir.join("config.yml");
        fs::write(&config, format!("version: 0.1\nlog:\n  level: info\n{storage}{http}{auth}")).unwrap();

        let (reader, writer) = std::io::pipe().unwrap();
        let mut command = Command::new(PROGRAM);
        command.arg("serve").arg(&config).env("OTEL_TRACES_EXPORTER", "none").stdin(Stdio::null());
        let child = command.stdout(writer.try_clone().unwrap()).stderr(writer).spawn().unwrap();
        // Its ends of the pipe go with it.
        drop(command);
        let mut lines = BufReader::new(reader).lines();
        let mut started = Vec::new();
        let host = loop {
            let line = lines.next().unwrap_or_else(|| panic!("the registry ended:\n{}", started.join("\n"))).unwrap();
            let listening = line.split("listening on ").nth(1).map(|rest| rest.split(['"', ',']).next().unwrap());
            let host = listening.map(str::to_owned);
            started.push(line);
            if let Some(host) = host {
                break host;
            }
        };
        let log = Arc::new(Mutex::new(started));
        let sink = Arc::clone(&log);
        let reader = std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                sink.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        RegistryServer { host, dir, child, log, reader: Some(reader) }
    }

    /// The certificate of the authority that signed the registry's.
    pub fn ca(&self) -> PathBuf {
        self.dir.join("ca.crt")
    }

    /// Ends it and gives all that it logged.
    pub fn stop(mut self) -> Vec<String> {
        self.end();
        std::mem::take(&mut *self.log.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Copies an image into it with skopeo: `source` in skopeo's words, `name` as PATH:TAG.
    #[track_caller]
    pub fn put(&self, source: &str, name: &str) {
        let target = format!("docker://{}/{name}", self.host);
        self.skopeo(&["copy", "--insecure-policy", "--dest-tls-verify=false", source, &target]).ok();
    }

    /// Runs skopeo.
    pub fn skopeo(&self, args: &[&str]) -> Output {
        let mut command = Command::new("/usr/bin/skopeo");
        command.args(args).stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}")).into()
    }

    fn end(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        self.child.wait().unwrap();
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
    }
}

impl Drop for RegistryServer {
    fn drop(&mut self) {
        self.end();
    }
}

fn htpasswd(user: &str, password: &str) -> String {
    let mut command = Command::new("/usr/bin/htpasswd");
    let output: Output = command.args(["-Bbn", user, password]).output().unwrap().into();
    format!("{}\n", output.ok().trim())
}

/// An authority, and a key with a certificate for this machine.
fn certificates(dir: &Path) {
    let script = "
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj '/CN=test authority' \
            -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign -keyout ca.key -out ca.crt
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj '/CN=127.0.0.1' -keyout server.key -out server.csr
        printf 'subjectAltName=IP:127.0.0.1,DNS:localhost\\nbasicConstraints=CA:FALSE\\nextendedKeyUsage=serverAuth\\n' >server.ext
        openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile server.ext -out server.crt";
    let output = Command::new("sh").args(["-ec", script]).current_dir(dir).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
