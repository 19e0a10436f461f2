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
    let Some(found) = file.metadata().ok().filter(std::fs::Metadata::is_file) else {
        return Err(LoadError::Invalid {
            document: name(path),
            at: ".".to_owned(),
            problem: "is not a regular file".to_owned(),
        });
    };
    contents(&file, End::At(found.len()), path, limit)
}

/// Reads a document, at most 16 MiB.
///
/// # Errors
/// [`LoadError::Open`], [`LoadError::Read`], [`LoadError::TooLarge`].
pub fn read(directory: impl AsFd, path: &Path) -> Result<Vec<u8>, LoadError> {
    contents(&open(directory, path, OFlag::empty())?, End::Empty, path, LIMIT)
}

fn open(directory: impl AsFd, path: &Path, flags: OFlag) -> Result<File, LoadError> {
    let failed = |errno| LoadError::Open { path: path.to_owned(), errno };
    let flags = flags | OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NOCTTY;
    openat(directory, path, flags, Mode::empty()).map(File::from).map_err(failed)
}

fn contents(file: &File, end: End, path: &Path, limit: u64) -> Result<Vec<u8>, LoadError> {
    let failed = |source| LoadError::Read { path: path.to_owned(), source };
    match whole(file, end, limit).map_err(failed)? {
        Some(text) => Ok(text),
        None => Err(LoadError::TooLarge { path: path.to_owned(), limit }),
    }
}

/// How the end of a file is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// A read returns nothing.
    Empty,
    /// The file is that long; if not, a read returns nothing.
    At(u64),
}

/// Reads a file in as few calls as its end can be known by; `None`: it has more bytes than `limit`.
fn whole(mut file: impl Read, end: End, limit: u64) -> std::io::Result<Option<Vec<u8>>> {
    let mut text = vec![0; 16 << 10];
    let mut length = 0;
    loop {
        if length == text.len() {
            text.resize(length * 2, 0);
        }
        let count = match file.read(&mut text[length..]) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            result => result?,
        };
        length += count;
        let ended = match end {
            End::Empty => false,
            End::At(size) => length as u64 == size,
        };
        if length as u64 > limit {
            return Ok(None);
        }
        if count == 0 || ended {
            text.truncate(length);
            return Ok(Some(text));
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives a few bytes at a time.
    struct Slow<'a>(&'a [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let count = self.1.min(buffer.len());
            Read::read(&mut self.0, &mut buffer[..count])
        }
    }

    #[test]
    fn files_are_read_to_their_end() {
        let long: Vec<u8> = (0..100_000_u32).map(|number| number.to_le_bytes()[0]).collect();
        for text in [&b""[..], b"{}", &long] {
            let size = text.len() as u64;
            // A size that is wrong, as file systems elsewhere may tell it, is no end.
            for end in [End::Empty, End::At(size), End::At(0), End::At(size + 1)] {
                for step in [1, 7, 1 << 20] {
                    assert_eq!(whole(Slow(text, step), end, size).unwrap().as_deref(), Some(text), "{end:?} {step}");
                }
            }
        }
        for end in [End::Empty, End::At(100_000)] {
            assert_eq!(whole(&long[..], end, 99_999).unwrap(), None, "{end:?}");
        }
    }
}
