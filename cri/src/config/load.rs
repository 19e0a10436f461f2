//! Reading the files and the flags.

use std::ffi::OsString;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use toml::de::{DeString, DeValue};

use super::check::{OWN, contradictions};
use super::key::Refused;
use super::keys::{Config, Handler};
use super::parse::{Places, lay};
use super::problem::{Invalid, Place, Problem};

/// Largest file, in bytes.
const LARGEST: u64 = 1 << 20;

/// A value of the command line.
#[derive(Debug, Clone)]
pub struct Flag {
    /// The flag, as it is typed.
    pub name: &'static str,
    /// The key that it sets.
    pub key: &'static str,
    /// The value; all such keys are strings.
    pub value: String,
}

/// Where settings come from.
#[derive(Debug, Clone)]
pub struct Source {
    /// The file. Files `*.toml` of the directory of the same name with `.d` behind are laid over it, in the order of their names.
    pub file: PathBuf,
    /// Whether the file must be there.
    pub required: bool,
    /// What is laid over all files.
    pub flags: Vec<Flag>,
}

/// Settings, and where they come from.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The values.
    pub config: Config,
    places: Places,
}

impl Loaded {
    /// The settings without any file.
    #[must_use]
    pub fn defaults() -> Loaded {
        let mut config = Config::defaults();
        config.handlers.insert(OWN.to_owned(), Handler::defaults());
        Loaded { config, places: Places::new() }
    }

    /// Where the value of a key comes from; keys of handlers are `handlers.NAME.KEY`.
    #[must_use]
    pub fn place(&self, key: &str) -> &Place {
        self.places.get(key).unwrap_or(&Place::Default)
    }
}

impl Source {
    /// Where an operator's settings are, unless a flag says otherwise.
    pub const DEFAULT: &'static str = "/etc/rt/rtd.toml";

    /// Reads all files.
    ///
    /// # Errors
    /// All that is wrong with them.
    pub fn load(&self) -> Result<Loaded, Invalid> {
        let Loaded { mut config, mut places } = Loaded::defaults();
        let mut problems = Vec::new();
        let dropins = self.dropins().unwrap_or_else(|problem| {
            problems.push(problem);
            Vec::new()
        });
        for (file, required) in std::iter::once((&self.file, self.required)).chain(dropins.iter().map(|f| (f, true))) {
            match read(file) {
                Ok(text) => problems.extend(lay(&text, file, &mut config, &mut places)),
                // A file of the directory may have been removed meanwhile.
                Err(error) if error.kind() == ErrorKind::NotFound && !(required && *file == self.file) => {}
                Err(error) => problems.push(unreadable(file, &error)),
            }
        }
        for flag in &self.flags {
            let value = DeValue::String(DeString::from(flag.value.as_str()));
            match config.set(flag.key, &value) {
                Ok(()) => {
                    places.insert(flag.key.to_owned(), Place::Flag(flag.name));
                }
                Err(refused) => problems.push(refuse(flag, &refused)),
            }
        }
        if problems.is_empty() {
            problems = contradictions(&config, &places);
        }
        if problems.is_empty() { Ok(Loaded { config, places }) } else { Err(Invalid(problems)) }
    }

    /// The directory of files that are laid over the first one.
    #[must_use]
    pub fn directory(&self) -> PathBuf {
        let mut path = OsString::from(&self.file);
        path.push(".d");
        path.into()
    }

    fn dropins(&self) -> Result<Vec<PathBuf>, Problem> {
        let directory = self.directory();
        let entries = match std::fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(unreadable(&directory, &error)),
        };
        let mut files = Vec::new();
        for entry in entries {
            let path = entry.map_err(|error| unreadable(&directory, &error))?.path();
            let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
            if !hidden && path.extension().is_some_and(|extension| extension == "toml") {
                files.push(path);
            }
        }
        files.sort();
        Ok(files)
    }
}

fn read(file: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let size = std::fs::File::open(file)?.take(LARGEST + 1).read_to_string(&mut text)?;
    if size as u64 > LARGEST {
        return Err(std::io::Error::new(ErrorKind::FileTooLarge, "it is larger than 1 MiB"));
    }
    Ok(text)
}

fn unreadable(file: &Path, error: &std::io::Error) -> Problem {
    Problem { place: Place::File(file.to_owned()), key: None, what: error.to_string() }
}

fn refuse(flag: &Flag, refused: &Refused) -> Problem {
    let allowed = Config::KEYS.iter().find(|key| key.name == flag.key).map(|key| (key.allowed)());
    let what = match refused {
        Refused::Unknown => "there is no such key".to_owned(),
        Refused::Value(value) => format!("{value} is not allowed; allowed is {}", allowed.unwrap_or_default()),
    };
    Problem { place: Place::Flag(flag.name), key: None, what }
}
