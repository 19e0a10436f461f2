//! Docker's own registry, where it is installed.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// docker's own registry on a port of its choice, with a folder of its own.
pub struct Distribution {
    child: Child,
    pub host: String,
    _folder: tempfile::TempDir,
}

impl Distribution {
    /// `None`, and it is said: the program is not installed.
    /// `http` goes on in the table of that name, `rest` follows.
    pub fn start(http: &str, rest: &str) -> Option<Distribution> {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("config.yml");
        let storage = folder.path().join("data");
        fs::write(
            &config,
            format!(
                r#"version: 0.1
log: {{level: info}}
storage: {{filesystem: {{rootdirectory: {}}}}}
http: {{addr: "127.0.0.1:0"{http}}}
{rest}"#,
                storage.display()
            ),
        )
        .unwrap();
        let spawned = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let Ok(mut child) = spawned else {
            eprintln!("skipped: docker-registry is not installed (hack/setup)");
            return None;
        };
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        let host = loop {
            line.clear();
            assert_ne!(log.read_line(&mut line).unwrap(), 0, "docker-registry ended");
            if let Some((_, rest)) = line.split_once("listening on ") {
                let end = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.' && letter != ':');
                break rest[..end.unwrap_or(rest.len())].to_owned();
            }
        };
        // It must not stop because nobody reads what it logs.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Some(Distribution { child, host, _folder: folder })
    }
}

impl Drop for Distribution {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
