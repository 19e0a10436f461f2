//! Where credentials are kept: docker's `config.json` and the programs that it names.
//!
//! Source: docker CLI, "Configuration files", `auths`, `credHelpers`, `credsStore`; containers-auth.json(5).

use runtime::json;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::super::dir::read_bounded;
use super::super::error::Error;
use super::credentials::{AuthConfig, Credentials};
use super::helper::Helper;

/// The name under which everyone keeps the credentials of Docker Hub.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";
const FILE_MAX: u64 = 4 << 20;

/// The credentials of the user who runs the program.
#[derive(Clone, Debug)]
pub struct Keychain {
    path: PathBuf,
}

/// Where credentials went, or where they were.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// In this file, readable by its owner only, not encrypted.
    File(PathBuf),
    /// With `docker-credential-NAME`.
    Helper(String),
}

impl Keychain {
    /// The credentials in `auth_file`; without one in that of `REGISTRY_AUTH_FILE`, `DOCKER_CONFIG/config.json`, or
    /// `~/.docker/config.json`. The file need not be there.
    ///
    /// # Errors
    /// None of these is known.
    pub fn open(auth_file: Option<PathBuf>) -> Result<Keychain, Error> {
        let of = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let path = auth_file
            .or_else(|| of("REGISTRY_AUTH_FILE"))
            .or_else(|| of("DOCKER_CONFIG").map(|folder| folder.join("config.json")))
            .or_else(|| of("HOME").map(|home| home.join(".docker/config.json")));
        let reason = "HOME is not set; name the file with credentials by REGISTRY_AUTH_FILE";
        let path = path.ok_or_else(|| Error::Credentials { what: "config.json".into(), reason: reason.into() })?;
        Ok(Keychain { path })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The credentials for a registry (`docker.io`, `localhost:5000`); anonymous if there are none.
    ///
    /// # Errors
    /// The file is malformed; a helper cannot be run or fails.
    pub fn find(&self, host: &str) -> Result<Credentials, Error> {
        let config = self.read()?;
        if let Some(helper) = self.helper(&config, host)?
            && let Some(found) = helper.get(key(host))?
        {
            return Ok(found);
        }
        let Some(auths) = config.get("auths") else { return Ok(Credentials::Anonymous) };
        let auths = auths.as_object().ok_or_else(|| self.rule("auths: expected an object"))?;
        let Some((name, entry)) = find_entry(auths, host) else { return Ok(Credentials::Anonymous) };
        let entry: AuthConfig = json::from_value(entry.clone()).map_err(|_| {
            self.rule(&format!("auths[{name:?}]: expected strings: auth, identitytoken, registrytoken"))
        })?;
        entry.credentials().map_err(|reason| self.rule(&format!("auths[{name:?}]: {reason}")))
    }

    /// Keeps credentials for a registry, in place of those from before.
    ///
    /// # Errors
    /// The file cannot be read or replaced; a helper fails; a registry token, which is not for keeping.
    pub fn keep(&self, host: &str, credentials: &Credentials) -> Result<Kept, Error> {
        let mut config = self.read()?;
        let helper = self.helper(&config, host)?;
        let (entry, kept) = match &helper {
            Some(helper) => {
                helper.store(key(host), credentials)?;
                // As docker does: tells that one is logged in, and nothing more.
                (json!({}), Kept::Helper(helper.name().into()))
            }
            None => {
                let entry = AuthConfig::file_entry(credentials).map_err(|reason| self.rule(reason))?;
                (entry, Kept::File(self.path.clone()))
            }
        };
        let auths = config.entry("auths").or_insert_with(|| json!({}));
        let auths = auths.as_object_mut().ok_or_else(|| self.rule("auths: expected an object"))?;
        auths.retain(|name, _| !means(name, host));
        auths.insert(key(host).into(), entry);
        self.write(&config)?;
        Ok(kept)
    }

    /// Forgets the credentials for a registry. `None`: there were none.
    ///
    /// # Errors
    /// As [`Keychain::keep`].
    pub fn forget(&self, host: &str) -> Result<Option<Kept>, Error> {
        let mut config = self.read()?;
        let mut forgotten = None;
        if let Some(helper) = self.helper(&config, host)?
            && helper.get(key(host))?.is_some()
        {
            helper.erase(key(host))?;
            forgotten = Some(Kept::Helper(helper.name().into()));
        }
        let Some(auths) = config.get_mut("auths").and_then(Value::as_object_mut) else { return Ok(forgotten) };
        let before = auths.len();
        auths.retain(|name, _| !means(name, host));
        if auths.len() < before {
            self.write(&config)?;
            return Ok(forgotten.or_else(|| Some(Kept::File(self.path.clone()))));
        }
        Ok(forgotten)
    }

    fn rule(&self, reason: &str) -> Error {
        Error::Credentials { what: self.path.display().to_string(), reason: reason.into() }
    }

    fn failed(&self, source: io::Error) -> Error {
        Error::Io { what: self.path.display().to_string(), source }
    }

    fn read(&self) -> Result<Map<String, Value>, Error> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Map::new()),
            Err(error) => return Err(self.failed(error)),
        };
        let bytes = read_bounded(file, FILE_MAX, || self.path.display().to_string())?;
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(Map::new());
        }
        // The text of the error could show a secret: only the place is told.
        json::from_slice(&bytes)
            .map_err(|error| self.rule(&format!("line {}, column {}: no JSON object", error.line(), error.column())))
    }

    /// The helper that is responsible for a registry.
    fn helper(&self, config: &Map<String, Value>, host: &str) -> Result<Option<Helper>, Error> {
        let helpers = config.get("credHelpers").and_then(Value::as_object);
        let own = helpers.and_then(|helpers| helpers.iter().find(|(name, _)| means(name, host)));
        let name = own.map(|(_, name)| name).or_else(|| config.get("credsStore")).and_then(Value::as_str);
        match name {
            None | Some("") => Ok(None),
            Some(name) => Helper::new(name).map(Some).map_err(|reason| self.rule(&reason)),
        }
    }

    /// Replaces the file: temporary file with mode 0600, fsync, rename.
    fn write(&self, config: &Map<String, Value>) -> Result<(), Error> {
        // A link, as in a folder of dot files that is kept elsewhere, stays one.
        let path = match fs::read_link(&self.path) {
            Ok(target) => self.path.parent().unwrap_or(Path::new("/")).join(target),
            Err(_) => self.path.clone(),
        };
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|error| self.failed(error))?;
        let mut name = path.file_name().unwrap_or_default().to_os_string();
        name.push(format!(".new-{}", std::process::id()));
        let temporary = folder.join(name);
        let mut bytes = serde_json::to_vec_pretty(config).expect("JSON can be written as JSON");
        bytes.push(b'\n');
        let replace = || {
            // Left over by a process that was killed and had our number.
            let _ = fs::remove_file(&temporary);
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            fs::rename(&temporary, &path)
        };
        replace().map_err(|error| {
            let _ = fs::remove_file(&temporary);
            self.failed(error)
        })
    }
}

fn find_entry<'a>(auths: &'a Map<String, Value>, host: &str) -> Option<(&'a String, &'a Value)> {
    auths.iter().find(|(name, _)| *name == key(host)).or_else(|| auths.iter().find(|(name, _)| means(name, host)))
}

/// The name of a registry's entry.
fn key(host: &str) -> &str {
    if host == "docker.io" { DOCKER_HUB_KEY } else { host }
}

/// Whether an entry is for that registry. One with a path but no scheme is for a part of a registry, and for nothing else.
fn means(name: &str, host: &str) -> bool {
    let stripped = name.strip_prefix("https://").or_else(|| name.strip_prefix("http://"));
    let own = match stripped {
        Some(rest) => rest.split('/').next().unwrap_or(rest),
        None => name,
    };
    match own {
        "index.docker.io" | "registry-1.docker.io" => host == "docker.io",
        own => own == host,
    }
}

/// The registry that a person means: `https://index.docker.io/v1/` and no name at all are `docker.io`.
///
/// # Errors
/// It is no host name, optionally with a port.
pub fn server_name(text: &str) -> Result<String, Error> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or(text);
    let host = rest.split('/').next().unwrap_or(rest);
    if matches!(host, "" | "index.docker.io" | "registry-1.docker.io" | "docker.io") {
        return Ok("docker.io".into());
    }
    // The domain of a reference follows the same rule; a word alone is one here, too.
    let full = if host.contains(['.', ':']) || host == "localhost" { host.to_owned() } else { format!("{host}:443") };
    match format!("{full}/x").parse::<super::super::reference::Reference>() {
        Ok(reference) if reference.domain() == full => Ok(host.into()),
        _ => Err(Error::Credentials {
            what: format!("registry {host:?}"),
            reason: "expected a host name, optionally with a port".into(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn basic(username: &str, password: &str) -> Credentials {
        Credentials::Basic { username: username.into(), password: password.into() }
    }

    #[test]
    fn entries_are_found_by_all_their_names() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("config.json");
        let keychain = Keychain::open(Some(path.clone())).unwrap();
        assert_eq!(keychain.find("docker.io").unwrap(), Credentials::Anonymous);
        // user:secret, and the NUL that old clients added
        fs::write(
            &path,
            r#"{"auths": {
                "https://index.docker.io/v1/": {"auth": "dXNlcjpzZWNyZXQ="},
                "https://old.example/v2/": {"auth": "dXNlcjpzZWNyZXQA"},
                "new.example:5000": {"identitytoken": "abc"},
                "part.example/team": {"auth": "dXNlcjpzZWNyZXQ="},
                "bad.example": {"auth": "%"},
                "empty.example": {}}}"#,
        )
        .unwrap();
        assert_eq!(keychain.find("docker.io").unwrap(), basic("user", "secret"));
        assert_eq!(keychain.find("old.example").unwrap(), basic("user", "secret"));
        assert_eq!(keychain.find("new.example:5000").unwrap(), Credentials::IdentityToken { token: "abc".into() });
        for host in ["new.example", "part.example", "empty.example", "example"] {
            assert_eq!(keychain.find(host).unwrap(), Credentials::Anonymous, "{host}");
        }
        assert!(keychain.find("bad.example").unwrap_err().to_string().contains("auths[\"bad.example\"]"));
        fs::write(&path, "{\"auths\": {\"a\": hidden}").unwrap();
        let error = keychain.find("a").unwrap_err().to_string();
        assert!(error.contains("line 1") && !error.contains("hidden"), "{error}");
    }

    #[test]
    fn other_members_and_links_survive() {
        let scratch = tempfile::tempdir().unwrap();
        let target = scratch.path().join("elsewhere.json");
        let path = scratch.path().join("docker/config.json");
        let keychain = Keychain::open(Some(path.clone())).unwrap();
        assert_eq!(keychain.forget("a.example").unwrap(), None);
        assert_eq!(keychain.keep("a.example", &basic("u", "p:with:colons")).unwrap(), Kept::File(path.clone()));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(keychain.find("a.example").unwrap(), basic("u", "p:with:colons"));

        fs::remove_file(&path).unwrap();
        fs::write(&target, r#"{"detachKeys": "ctrl-x", "auths": {"https://docker.io": {"auth": "b2xkOm9sZA=="}}}"#)
            .unwrap();
        std::os::unix::fs::symlink("../elsewhere.json", &path).unwrap();
        keychain.keep("docker.io", &basic("new", "new")).unwrap();
        let text: Value = serde_json::from_slice(&fs::read(&target).unwrap()).unwrap();
        assert_eq!(text, json!({"detachKeys": "ctrl-x", "auths": {DOCKER_HUB_KEY: {"auth": "bmV3Om5ldw=="}}}));
        assert_eq!(keychain.forget("docker.io").unwrap(), Some(Kept::File(path.clone())));
        assert_eq!(keychain.forget("docker.io").unwrap(), None);
        assert!(fs::read_link(&path).is_ok());
        let token = Credentials::RegistryToken { token: "t".into() };
        assert!(keychain.keep("a.example", &token).is_err());
    }

    #[test]
    fn names_of_servers() {
        let rows = [
            ("", Some("docker.io")),
            ("https://index.docker.io/v1/", Some("docker.io")),
            ("localhost:5000", Some("localhost:5000")),
            ("https://quay.io/", Some("quay.io")),
            ("registry", Some("registry")),
            ("user@host", None),
            ("a b", None),
            ("-x", None),
        ];
        for (text, expected) in rows {
            assert_eq!(server_name(text).ok().as_deref(), expected, "{text}");
        }
    }
}
