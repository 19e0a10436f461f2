//! Reading `config.json`: bounded, and with the JSON path of what is wrong.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use serde::de::DeserializeOwned;

use super::Spec;

/// Largest document that is read, in bytes.
const LIMIT: u64 = 16 << 20;

/// Why a document could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It could not be opened or read.
    #[error("open({path:?}, O_RDONLY): {errno}")]
    Open {
        /// The file.
        path: std::path::PathBuf,
        /// The kernel's answer.
        errno: Errno,
    },
    /// It could not be read.
    #[error("read({path:?}): {source}")]
    Read {
        /// The file.
        path: std::path::PathBuf,
        /// The kernel's answer.
        source: std::io::Error,
    },
    /// It is too large.
    #[error("{path:?}: larger than {LIMIT} bytes")]
    TooLarge {
        /// The file.
        path: std::path::PathBuf,
    },
    /// A member is missing or has a wrong type, or the text is no JSON.
    #[error("{document}: {at}: {problem}")]
    Invalid {
        /// Name of the document, such as `config.json`.
        document: String,
        /// JSON path such as `process.user.uid`.
        at: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// Reads `config.json` below the directory `bundle`.
///
/// # Errors
/// [`LoadError`]; wrong members are named by their JSON path.
pub fn load(bundle: impl AsFd, path: &Path) -> Result<Spec, LoadError> {
    let text = read(bundle, path)?;
    let name = path.file_name().map_or_else(|| path.display().to_string(), |name| name.display().to_string());
    parse(&name, &text)
}

/// Reads a document, at most 16 MiB.
///
/// # Errors
/// [`LoadError::Open`], [`LoadError::Read`], [`LoadError::TooLarge`].
pub fn read(directory: impl AsFd, path: &Path) -> Result<Vec<u8>, LoadError> {
    let open = |errno| LoadError::Open { path: path.to_owned(), errno };
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NOCTTY;
    let fd = openat(directory, path, flags, Mode::empty()).map_err(open)?;
    let mut text = Vec::with_capacity(32 << 10);
    let failed = |source| LoadError::Read { path: path.to_owned(), source };
    File::from(fd).take(LIMIT + 1).read_to_end(&mut text).map_err(failed)?;
    if text.len() as u64 > LIMIT {
        return Err(LoadError::TooLarge { path: path.to_owned() });
    }
    Ok(text)
}

/// Parses a JSON document, naming the path of what is wrong.
///
/// # Errors
/// [`LoadError::Invalid`].
pub fn parse<T: DeserializeOwned>(document: &str, text: &[u8]) -> Result<T, LoadError> {
    // The plain parser is the fast way; only a document that is wrong pays for finding out where.
    if let Ok(value) = serde_json::from_slice(text) {
        return Ok(value);
    }
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let error = match serde_path_to_error::deserialize::<_, T>(&mut deserializer) {
        Ok(_) => match deserializer.end() {
            Ok(()) => return Err(invalid(document, ".", "parses only in part")),
            Err(error) => return Err(invalid(document, ".", &error.to_string())),
        },
        Err(error) => error,
    };
    let at = error.path().to_string();
    Err(invalid(document, &at, &error.into_inner().to_string()))
}

fn invalid(document: &str, at: &str, problem: &str) -> LoadError {
    LoadError::Invalid { document: document.to_owned(), at: at.to_owned(), problem: problem.to_owned() }
}
