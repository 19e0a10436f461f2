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
use super::locate::path_at;
use crate::json;

/// Largest document that is read, in bytes.
const LIMIT: u64 = 16 << 20;

/// Largest record that is read, in bytes: it may hold a document.
const RECORD_LIMIT: u64 = 2 * LIMIT;

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
    #[error("{path:?}: larger than {limit} bytes")]
    TooLarge {
        /// The file.
        path: std::path::PathBuf,
        /// The most that is read of it.
        limit: u64,
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
    parse(&name(path), &read_regular(bundle, path, OFlag::empty(), LIMIT)?)
}

fn name(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |name| name.display().to_string())
}

/// Reads a record that programs of ours have written, at most 32 MiB; no link is followed. `None`: there is none.
///
/// # Errors
/// [`LoadError`]; also for what is no regular file.
pub fn read_record(directory: impl AsFd, path: &Path) -> Result<Option<Vec<u8>>, LoadError> {
    match read_regular(directory, path, OFlag::O_NOFOLLOW, RECORD_LIMIT) {
        Err(LoadError::Open { errno: Errno::ENOENT, .. }) => Ok(None),
        text => text.map(Some),
    }
}

/// Reads a regular file, at most `limit` bytes: of another kind nobody knows when it ends, or whether opening it does.
fn read_regular(directory: impl AsFd, path: &Path, flags: OFlag, limit: u64) -> Result<Vec<u8>, LoadError> {
    // Nobody may ever write to a named pipe, or to a terminal.
    let file = open(directory, path, flags | OFlag::O_NONBLOCK)?;
    if !file.metadata().is_ok_and(|found| found.is_file()) {
        return Err(LoadError::Invalid {
            document: name(path),
            at: ".".to_owned(),
            problem: "is not a regular file".to_owned(),
        });
    }
    contents(file, path, limit)
}

/// Reads a document, at most 16 MiB.
///
/// # Errors
/// [`LoadError::Open`], [`LoadError::Read`], [`LoadError::TooLarge`].
pub fn read(directory: impl AsFd, path: &Path) -> Result<Vec<u8>, LoadError> {
    contents(open(directory, path, OFlag::empty())?, path, LIMIT)
}

fn open(directory: impl AsFd, path: &Path, flags: OFlag) -> Result<File, LoadError> {
    let failed = |errno| LoadError::Open { path: path.to_owned(), errno };
    let flags = flags | OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NOCTTY;
    openat(directory, path, flags, Mode::empty()).map(File::from).map_err(failed)
}

fn contents(file: File, path: &Path, limit: u64) -> Result<Vec<u8>, LoadError> {
    let mut text = Vec::with_capacity(32 << 10);
    let failed = |source| LoadError::Read { path: path.to_owned(), source };
    file.take(limit + 1).read_to_end(&mut text).map_err(failed)?;
    if text.len() as u64 > limit {
        return Err(LoadError::TooLarge { path: path.to_owned(), limit });
    }
    Ok(text)
}

/// Parses a JSON document, naming the path of what is wrong.
///
/// # Errors
/// [`LoadError::Invalid`].
pub fn parse<T: DeserializeOwned>(document: &str, text: &[u8]) -> Result<T, LoadError> {
    json::from_slice(text).map_err(|error| {
        let problem = error.to_string();
        // The position says nothing beside the path.
        let problem = problem.rsplit_once(" at line ").map_or(problem.as_str(), |(problem, _)| problem);
        LoadError::Invalid {
            document: document.to_owned(),
            at: path_at(text, error.line(), error.column()),
            problem: problem.to_owned(),
        }
    })
}
