//! `networks.json`: the networks that a container is to be in, as long as it is not started and whenever it is.
//!
//! Changed by `network connect` and `network disconnect` under the container's lock; what it is in now, with which addresses, is
//! known by `cri::network`.

use nix::fcntl::AT_FDCWD;
use runtime::json;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::create::write;
use crate::flag::network::{Endpoint, Link};

const VERSION: u32 = 1;
pub(super) const FILE: &str = "networks.json";

/// `networks.json`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Endpoints {
    version: u32,
    /// Its names for itself in `/etc/hosts`, separated by blanks.
    #[serde(default)]
    pub(crate) own_names: String,
    /// In this order; the first has the default route.
    pub(crate) networks: Vec<Endpoint>,
    /// Other containers that it knows by a name, by their ids.
    #[serde(default)]
    pub(crate) links: Vec<Link>,
}

impl Endpoints {
    pub(crate) fn new(own_names: String, networks: Vec<Endpoint>, links: Vec<Link>) -> Endpoints {
        Endpoints { version: VERSION, own_names, networks, links }
    }

    /// Reads those of the container whose directory this is; none when it joins no networks.
    pub(crate) fn read(dir: &Path) -> Result<Endpoints> {
        let path = dir.join(FILE);
        let shown = || path.display().to_string();
        let Some(text) = runtime::spec::read_record(AT_FDCWD, &path)? else {
            return Ok(Endpoints::new(String::new(), Vec::new(), Vec::new()));
        };
        let endpoints: Endpoints = json::from_slice(&text).with_context(shown)?;
        if endpoints.version > VERSION {
            bail!("{}: version {} is newer than {VERSION}: use the rtctl that wrote it", shown(), endpoints.version);
        }
        Ok(endpoints)
    }

    /// Replaces them.
    pub(crate) fn write(&self, dir: &Path) -> Result<()> {
        write(&dir.join(FILE), &serde_json::to_string(self)?, 0o600)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_and_read() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Endpoints::read(dir.path()).unwrap().networks, []);
        let network = Endpoint { network: "mine".to_owned(), ip: "10.1.0.2".parse().ok(), ..Endpoint::default() };
        let link = Link { container: "a".repeat(64), alias: "db".to_owned() };
        let endpoints = Endpoints::new("box".to_owned(), vec![network], vec![link]);
        endpoints.write(dir.path()).unwrap();
        assert_eq!(Endpoints::read(dir.path()).unwrap(), endpoints);
        std::fs::write(dir.path().join(FILE), r#"{"version": 2, "networks": []}"#).unwrap();
        assert!(Endpoints::read(dir.path()).unwrap_err().to_string().contains("newer"));
        std::fs::write(dir.path().join(FILE), "{").unwrap();
        assert!(Endpoints::read(dir.path()).is_err());
    }
}
