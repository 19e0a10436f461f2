//! `--log-driver` and `--log-opt`.

use std::path::PathBuf;

use clap::Args;

use super::size;

/// Size of a log file when nothing is said, in bytes.
pub(crate) const DEFAULT_MAX_SIZE: u64 = 20 << 20;

/// How many files a log has at most when nothing is said.
pub(crate) const DEFAULT_MAX_FILES: u32 = 5;

/// Most files of a log: a rotation renames all of them.
const MAX_FILES_LIMIT: u32 = 1000;

/// Flags about the output that is kept.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct LogFlags {
    /// Where output is kept: k8s-file, json-file, journald, none
    #[arg(long, value_name = "DRIVER", env = "RT_LOG_DRIVER", hide_env = true, default_value = "k8s-file", value_parser = driver)]
    pub(crate) log_driver: Driver,
    /// Option of the log driver: max-size, max-file, path, tag, labels, env
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) log_opt: Vec<String>,
}

/// `--log-driver`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Driver {
    /// Kubernetes' CRI log format.
    #[default]
    K8sFile,
    /// Docker's format.
    JsonFile,
    /// systemd's journal.
    Journald,
    /// Nowhere.
    None,
}

impl Driver {
    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Driver::K8sFile => "k8s-file",
            Driver::JsonFile => "json-file",
            Driver::Journald => "journald",
            Driver::None => "none",
        }
    }

    fn takes(self, option: &str) -> bool {
        let known: &[&str] = match self {
            Driver::K8sFile => &["max-size", "max-file", "path"],
            Driver::JsonFile => &["max-size", "max-file", "path", "tag", "labels", "env"],
            Driver::Journald => &["tag", "labels", "env"],
            Driver::None => &[],
        };
        known.contains(&option)
    }
}

fn driver(text: &str) -> Result<Driver, String> {
    match text {
        "k8s-file" | "cri" => Ok(Driver::K8sFile),
        "json-file" => Ok(Driver::JsonFile),
        "journald" => Ok(Driver::Journald),
        "none" => Ok(Driver::None),
        "local" => Err("local is docker's own binary format; json-file and k8s-file rotate as well".to_owned()),
        "passthrough" | "passthrough-tty" => {
            Err(format!("{text} is not built; use --log-driver none and rtctl attach"))
        }
        "syslog" | "gelf" | "fluentd" | "awslogs" | "splunk" | "gcplogs" | "etwlogs" | "logentries" => {
            Err(format!("{text} is not built; use journald, or json-file and a program that ships its files"))
        }
        _ => Err(format!("{text:?}: must be k8s-file, json-file, journald or none")),
    }
}

/// What `--log-opt` says, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogOptions {
    pub(crate) driver: Driver,
    /// Bytes; `None`: no limit.
    pub(crate) max_size: Option<u64>,
    pub(crate) max_files: u32,
    /// Absolute.
    pub(crate) path: Option<PathBuf>,
    /// A template.
    pub(crate) tag: Option<String>,
    /// Names of labels that every record says.
    pub(crate) labels: Vec<String>,
    /// The same of variables.
    pub(crate) env: Vec<String>,
}

impl LogFlags {
    /// The options as types.
    pub(crate) fn options(&self) -> Result<LogOptions, String> {
        let mut options = LogOptions {
            driver: self.log_driver,
            max_size: Some(DEFAULT_MAX_SIZE),
            max_files: DEFAULT_MAX_FILES,
            path: None,
            tag: None,
            labels: Vec::new(),
            env: Vec::new(),
        };
        for text in &self.log_opt {
            options.set(text).map_err(|problem| format!("--log-opt {text}: {problem}"))?;
        }
        Ok(options)
    }

    /// Name and value of each, the last of a name.
    pub(crate) fn pairs(&self) -> std::collections::BTreeMap<String, String> {
        let split = |text: &String| text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
        self.log_opt.iter().filter_map(split).collect()
    }
}

impl LogOptions {
    fn set(&mut self, text: &str) -> Result<(), String> {
        let (name, value) = text.split_once('=').ok_or("write it as NAME=VALUE")?;
        match name {
            "max-size" | "max-file" | "path" | "tag" | "labels" | "env" => {}
            "labels-regex" | "env-regex" => return Err("not built; name them with labels= and env=".to_owned()),
            "compress" if value == "false" => return Ok(()),
            "compress" => return Err("not built; rotated files stay as they are".to_owned()),
            "mode" | "max-buffer-size" => {
                return Err("leave it out: writing a log never stops the program".to_owned());
            }
            _ => return Err("unknown; there are max-size, max-file, path, tag, labels and env".to_owned()),
        }
        if !self.driver.takes(name) {
            return Err(format!("the {} driver has no such option", self.driver.name()));
        }
        let list = || value.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
        match name {
            "max-size" => {
                self.max_size = match size::bytes_or_unlimited(value)? {
                    -1 => None,
                    0 => return Err("must be more than 0, or -1 for no limit".to_owned()),
                    size => Some(size.cast_unsigned()),
                }
            }
            "max-file" => {
                let count = value.parse().ok().filter(|count| (1..=MAX_FILES_LIMIT).contains(count));
                self.max_files = count.ok_or_else(|| format!("must be a number from 1 to {MAX_FILES_LIMIT}"))?;
            }
            "path" if value.is_empty() => return Err("empty; name a file".to_owned()),
            "path" => self.path = Some(std::path::absolute(value).map_err(|error| error.to_string())?),
            "tag" => {
                crate::template::Template::parse(value).map_err(|error| error.to_string())?;
                self.tag = Some(value.to_owned());
            }
            "labels" => self.labels = list(),
            _ => self.env = list(),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(driver: Driver, texts: &[&str]) -> Result<LogOptions, String> {
        LogFlags { log_driver: driver, log_opt: texts.iter().map(|text| (*text).to_owned()).collect() }.options()
    }

    #[test]
    fn drivers() {
        for (text, expected) in [
            ("k8s-file", Some(Driver::K8sFile)),
            ("json-file", Some(Driver::JsonFile)),
            ("journald", Some(Driver::Journald)),
            ("none", Some(Driver::None)),
            ("local", None),
            ("syslog", None),
            ("", None),
        ] {
            assert_eq!(driver(text).ok(), expected, "{text}");
        }
        assert!(driver("fluentd").unwrap_err().contains("fluentd is not built"));
    }

    #[test]
    fn values() {
        let plain = options(Driver::JsonFile, &[]).unwrap();
        assert_eq!((plain.max_size, plain.max_files), (Some(20 << 20), 5));
        let texts = ["max-size=10m", "max-file=3", "path=/x/y.log", "tag={{.Name}}", "labels=a, b", "env=C"];
        let given = options(Driver::JsonFile, &texts).unwrap();
        assert_eq!((given.max_size, given.max_files), (Some(10 << 20), 3));
        assert_eq!(given.path, Some(PathBuf::from("/x/y.log")));
        assert_eq!((given.tag.as_deref(), given.labels.len(), given.env.len()), (Some("{{.Name}}"), 2, 1));
        assert_eq!(options(Driver::K8sFile, &["max-size=-1"]).unwrap().max_size, None);
        for (driver, text, problem) in [
            (Driver::JsonFile, "max-size=0", "more than 0"),
            (Driver::JsonFile, "max-size=x", "is no size"),
            (Driver::JsonFile, "max-file=0", "from 1 to 1000"),
            (Driver::JsonFile, "max-file=1001", "from 1 to 1000"),
            (Driver::JsonFile, "path=", "empty"),
            (Driver::JsonFile, "tag={{", "template"),
            (Driver::JsonFile, "tag", "NAME=VALUE"),
            (Driver::JsonFile, "compress=true", "not built"),
            (Driver::JsonFile, "nope=1", "unknown"),
            (Driver::K8sFile, "tag=x", "the k8s-file driver has no such option"),
            (Driver::Journald, "max-size=1m", "the journald driver has no such option"),
            (Driver::None, "max-size=1m", "the none driver has no such option"),
        ] {
            let error = options(driver, &[text]).unwrap_err();
            assert!(error.contains(problem) && error.starts_with("--log-opt "), "{text}: {error}");
        }
    }
}
