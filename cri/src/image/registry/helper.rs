//! Programs that keep credentials: `docker-credential-NAME get|store|erase`.
//!
//! What they are told and what they answer goes through pipes only, never through arguments.
//!
//! Source: docker/docker-credential-helpers, protocol.

use runtime::json;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::error::Error;
use super::answer::printable;
use super::credentials::Credentials;

/// A person may have to unlock a key.
const TIME: Duration = Duration::from_secs(60);
const ANSWER_MAX: u64 = 64 << 10;
/// The user name that says that the secret is an identity token.
const TOKEN_USER: &str = "<token>";
/// What helpers say when they do not know the server.
const NOT_FOUND: &str = "credentials not found";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Record {
    #[serde(rename = "ServerURL", default)]
    server_url: String,
    username: String,
    secret: String,
}

/// A program, by its name without `docker-credential-`.
pub(crate) struct Helper {
    name: String,
}

impl Helper {
    pub(crate) fn new(name: &str) -> Result<Helper, String> {
        let valid = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        match !name.is_empty() && name.len() <= 64 && name.bytes().all(valid) {
            true => Ok(Helper { name: name.into() }),
            false => Err(format!("credential helper {name:?}: a name has letters, digits, '.', '_' and '-'")),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What it knows for a server; `None`: nothing.
    pub(crate) fn get(&self, server: &str) -> Result<Option<Credentials>, Error> {
        let Some(answer) = self.run("get", server.as_bytes())? else { return Ok(None) };
        let record: Record =
            json::from_slice(&answer).map_err(|_| self.failed("get", "answered with no JSON record"))?;
        Ok(match (record.username.as_str(), record.secret.is_empty()) {
            (_, true) => None,
            (TOKEN_USER, false) => Some(Credentials::IdentityToken { token: record.secret }),
            (_, false) => Some(Credentials::Basic { username: record.username, password: record.secret }),
        })
    }

    pub(crate) fn store(&self, server: &str, credentials: &Credentials) -> Result<(), Error> {
        let (username, secret) = match credentials {
            Credentials::Basic { username, password } => (username.clone(), password.clone()),
            Credentials::IdentityToken { token } => (TOKEN_USER.into(), token.clone()),
            Credentials::Anonymous | Credentials::RegistryToken { .. } => {
                return Err(self.failed("store", "only users with passwords and identity tokens can be kept"));
            }
        };
        let record = Record { server_url: server.into(), username, secret };
        let bytes = serde_json::to_vec(&record).expect("a plain structure can be written as JSON");
        self.run("store", &bytes).map(drop)
    }

    pub(crate) fn erase(&self, server: &str) -> Result<(), Error> {
        self.run("erase", server.as_bytes()).map(drop)
    }

    fn failed(&self, verb: &str, reason: &str) -> Error {
        Error::Credentials { what: format!("docker-credential-{} {verb}", self.name), reason: reason.into() }
    }

    /// Runs the program; `None`: it does not know the server.
    fn run(&self, verb: &str, input: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let mut command = Command::new(format!("docker-credential-{}", self.name));
        command.arg(verb).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(|error| self.failed(verb, &error.to_string()))?;
        let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(self.failed(verb, "has no pipes"));
        };
        let input = input.to_vec();
        let (sender, answers) = mpsc::channel();
        std::thread::spawn(move || {
            // One that does not read what it is told says so by its status.
            let _ = stdin.write_all(&input);
            drop(stdin);
            let mut answer = Vec::new();
            let read = stdout.take(ANSWER_MAX).read_to_end(&mut answer);
            let _ = sender.send(read.map(|_| answer));
        });
        let answer = answers.recv_timeout(TIME);
        if answer.is_err() {
            // It may have ended just now.
            let _ = child.kill();
        }
        let status = child.wait().map_err(|error| self.failed(verb, &error.to_string()))?;
        let answer = match answer {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(self.failed(verb, &error.to_string())),
            Err(_) => return Err(self.failed(verb, &format!("gave no answer within {} s", TIME.as_secs()))),
        };
        if status.success() {
            return Ok(Some(answer));
        }
        let text = String::from_utf8_lossy(&answer);
        match text.contains(NOT_FOUND) {
            true => Ok(None),
            false => Err(self.failed(verb, &format!("{status}: {}", printable(text.trim())))),
        }
    }
}
