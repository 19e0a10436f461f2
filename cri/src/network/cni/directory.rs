//! The directory of configurations: which network is the default, and which files are none and why.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::fcntl::OFlag;

use super::config::{self, ConfigError, LIMIT, Network, Plugin};

/// Most files of a directory that are read.
const FILES: usize = 512;

/// The configurations of a directory, in the order of their file names.
#[derive(Debug, Clone, Default)]
pub struct Configs {
    /// The networks; the first is the default.
    pub networks: Vec<Loaded>,
    /// Files that are no configuration.
    pub rejected: Vec<Rejected>,
}

/// A network and the file that it is from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The file.
    pub file: PathBuf,
    /// The network.
    pub network: Arc<Network>,
}

/// A file that is no configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {reason}", .file.display())]
pub struct Rejected {
    /// The file.
    pub file: PathBuf,
    /// What is wrong, and where in it.
    pub reason: String,
}

impl Configs {
    /// Reads all of a directory. One that is missing has none; what cannot be read is told in `rejected`.
    #[must_use]
    pub fn load(dir: &Path) -> Self {
        let mut configs = Self::default();
        let names = match names(dir, &["conflist", "conf", "json"]) {
            Ok(names) => names,
            Err(reason) => {
                configs.rejected.push(Rejected { file: dir.to_owned(), reason });
                return configs;
            }
        };
        for name in names {
            let file = dir.join(&name);
            match network(dir, &file) {
                Ok(network) => configs.push(file, network),
                Err(reason) => configs.rejected.push(Rejected { file, reason }),
            }
        }
        configs
    }

    fn push(&mut self, file: PathBuf, network: Network) {
        match self.networks.iter().find(|other| other.network.name == network.name) {
            Some(other) => {
                let reason = format!("name: {} is the network of {} already", network.name, other.file.display());
                self.rejected.push(Rejected { file, reason });
            }
            None => self.networks.push(Loaded { file, network: Arc::new(network) }),
        }
    }
}

fn network(dir: &Path, file: &Path) -> Result<Network, String> {
    let bytes = read(file)?;
    let single = file.extension().is_none_or(|extension| extension != "conflist");
    let parsed = if single { config::parse_single(&bytes) } else { config::parse_list(&bytes) };
    let network = parsed.map_err(|error| error.to_string())?;
    if !network.open_ended {
        return Ok(network);
    }
    let plugins = plugins(&dir.join(network.name.as_str()))?;
    config::complete(network, plugins).map_err(|error: ConfigError| error.to_string())
}

/// The plugins in the folder of a network.
fn plugins(folder: &Path) -> Result<Vec<Plugin>, String> {
    let names = names(folder, &["conf"]).map_err(|error| format!("{}: {error}", folder.display()))?;
    let each = |name: String| {
        let path = folder.join(name);
        let shown = |error: String| format!("{}: {error}", path.display());
        let bytes = read(&path).map_err(shown)?;
        config::parse_plugin(&bytes).map_err(|error| shown(error.to_string()))
    };
    names.into_iter().map(each).collect()
}

/// The names with one of these extensions, sorted; none where there is no such directory.
fn names(dir: &Path, extensions: &[&str]) -> Result<Vec<String>, String> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error.to_string()),
    };
    let mut names = Vec::new();
    for entry in entries {
        let Ok(name) = entry.map_err(|error| error.to_string())?.file_name().into_string() else { continue };
        // Hidden files are what editors and package managers leave while they write.
        let wanted = Path::new(&name).extension().is_some_and(|found| extensions.iter().any(|one| found == *one));
        if wanted && !name.starts_with('.') {
            names.push(name);
        }
        if names.len() > FILES {
            return Err(format!("more than {FILES} files"));
        }
    }
    names.sort_unstable();
    Ok(names)
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    // Not blocking: a FIFO has no end.
    let flags = (OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits();
    let file = File::options().read(true).custom_flags(flags).open(path).map_err(|error| error.to_string())?;
    if !file.metadata().map_err(|error| error.to_string())?.is_file() {
        return Err("is not a regular file".to_owned());
    }
    let mut bytes = Vec::new();
    file.take(LIMIT + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    match bytes.len() as u64 > LIMIT {
        true => Err(format!("more than {LIMIT} bytes")),
        false => Ok(bytes),
    }
}
