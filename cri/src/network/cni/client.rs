//! The client: settings, configurations, records, and one execution of a plugin on their behalf.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use runtime::sys::Call;

use super::config::{Network, Plugin};
use super::directory::Configs;
use super::error::{Command, Error, Fault, Subject};
use super::execute::{Execution, excerpt, execute};
use super::ledger::{Entry, Ledger};
use super::name::{NetworkName, PluginType};
use super::program::{Installed, Program};
use super::turn::Turns;
use super::versions::Spoken;

/// The kernel's id of this boot.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// PATH of plugins where this process has none.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Where everything is.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Directory of configurations.
    pub config_dir: PathBuf,
    /// Directories of plugins, searched in order; plugins get them as CNI_PATH.
    pub bin_dirs: Vec<PathBuf>,
    /// Directory of the records, on a disk that survives a reboot; made with mode 0700 if it is missing.
    pub state: PathBuf,
    /// Environment variables of this process that plugins get, too. All others are kept from them.
    pub pass_environment: Vec<String>,
    /// For how long undoing a failed ADD may take; the caller's deadline is over by then.
    pub undo_timeout: Duration,
}

impl Settings {
    /// The usual places, with the records in `state`.
    #[must_use]
    pub fn new(state: PathBuf) -> Self {
        Self {
            config_dir: "/etc/cni/net.d".into(),
            bin_dirs: vec!["/opt/cni/bin".into(), "/usr/lib/cni".into()],
            state,
            pass_environment: vec!["PATH".to_owned()],
            undo_timeout: Duration::from_secs(60),
        }
    }

    fn check(&self) -> Result<(), Error> {
        let wrong = |setting, reason: String| Err(Error::Setting { setting, reason });
        if self.bin_dirs.is_empty() {
            return wrong("bin_dirs", "at least one directory is needed".to_owned());
        }
        let bad = |dir: &&PathBuf| !dir.is_absolute() || dir.as_os_str().as_encoded_bytes().contains(&b':');
        if let Some(dir) = self.bin_dirs.iter().find(bad) {
            return wrong("bin_dirs", format!("{}: absolute paths without : are allowed", dir.display()));
        }
        if let Some(name) = self.pass_environment.iter().find(|name| name.starts_with("CNI_") || name.contains('=')) {
            return wrong(
                "pass_environment",
                format!("{name}: names without = that do not begin with CNI_ are allowed"),
            );
        }
        Ok(())
    }
}

/// One execution of a plugin, for whoever wants to know what took how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The plugin.
    pub plugin: PluginType,
    /// What it was asked to do.
    pub command: Command,
    /// How long it took.
    pub took: Duration,
    /// Whether it succeeded.
    pub ok: bool,
}

/// Attaches containers to networks by CNI plugins. For one process; its threads share it.
#[derive(Debug)]
pub struct Client {
    pub(crate) settings: Settings,
    pub(crate) ledger: Ledger,
    pub(crate) turns: Turns,
    pub(crate) boot_id: String,
    pub(crate) spoken: Spoken,
    configs: RwLock<Arc<Configs>>,
}

impl Client {
    /// Opens the records and reads the configurations.
    ///
    /// # Errors
    /// A setting that is wrong, records that another process uses; never a configuration: see [`Configs::rejected`].
    pub fn open(settings: Settings) -> Result<Self, Error> {
        settings.check()?;
        let boot_id = std::fs::read_to_string(BOOT_ID).call(|| format!("read({BOOT_ID:?})"))?.trim_end().to_owned();
        let ledger = Ledger::open(&settings.state)?;
        let configs = RwLock::new(Arc::new(Configs::load(&settings.config_dir)));
        Ok(Self { settings, ledger, turns: Turns::default(), boot_id, spoken: Spoken::default(), configs })
    }

    /// The configurations as they were read last.
    #[must_use]
    pub fn configs(&self) -> Arc<Configs> {
        Arc::clone(&self.configs.read().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// Reads the configurations again. Attachments that were made keep theirs.
    pub fn reload(&self) -> Arc<Configs> {
        let configs = Arc::new(Configs::load(&self.settings.config_dir));
        *self.configs.write().unwrap_or_else(std::sync::PoisonError::into_inner) = Arc::clone(&configs);
        configs
    }

    /// The network of this name; the default one for `None`.
    pub(crate) fn network(&self, name: Option<&NetworkName>) -> Result<Arc<Network>, Error> {
        let configs = self.configs();
        let found = match name {
            None => configs.networks.first(),
            Some(name) => configs.networks.iter().find(|loaded| loaded.network.name == *name),
        };
        match (found, name) {
            (Some(loaded), _) => Ok(Arc::clone(&loaded.network)),
            (None, Some(name)) if !configs.networks.is_empty() => {
                let known = configs.networks.iter().map(|loaded| loaded.network.name.to_string()).collect();
                Err(Error::UnknownNetwork { name: name.clone(), known })
            }
            (None, _) => Err(Error::NoNetwork {
                dir: self.settings.config_dir.clone(),
                rejected: configs.rejected.iter().map(ToString::to_string).collect(),
            }),
        }
    }

    /// Executes a plugin once.
    pub(crate) fn run(&self, call: &Execute<'_>, steps: &mut Vec<Step>) -> Result<Vec<u8>, Error> {
        let begin = Instant::now();
        let kind = &call.plugin.kind;
        let execution =
            Execution { env: self.environment(call.command, &call.env), input: call.input, deadline: call.deadline };
        let result = execute(|| Program::find(kind, &self.settings.bin_dirs), &execution);
        steps.push(Step { plugin: kind.clone(), command: call.command, took: begin.elapsed(), ok: result.is_ok() });
        result.map_err(|fault| call.failed(fault))
    }

    /// Whether the program of a plugin is there.
    pub(crate) fn installed(&self, call: &Execute<'_>) -> Result<Installed, Error> {
        let found = Program::find(&call.plugin.kind, &self.settings.bin_dirs);
        found.and_then(|program| program.identity()).map_err(|fault| call.failed(fault))
    }

    fn environment<'a>(&'a self, command: Command, own: &[(&'a str, OsString)]) -> Vec<(&'a str, OsString)> {
        let mut env: Vec<(&str, OsString)> = Vec::new();
        for name in &self.settings.pass_environment {
            match std::env::var_os(name) {
                Some(value) => env.push((name, value)),
                None if name == "PATH" => env.push((name, PATH.into())),
                None => {}
            }
        }
        let dirs: Vec<&OsStr> = self.settings.bin_dirs.iter().map(|dir| dir.as_os_str()).collect();
        env.push(("CNI_COMMAND", command.as_str().into()));
        env.push(("CNI_PATH", dirs.join(OsStr::new(":"))));
        env.extend_from_slice(own);
        env
    }
}

/// What [`Client::run`] is to do.
pub(crate) struct Execute<'a> {
    pub(crate) plugin: &'a Plugin,
    pub(crate) command: Command,
    pub(crate) subject: &'a Subject,
    pub(crate) env: Vec<(&'static str, OsString)>,
    pub(crate) input: &'a [u8],
    pub(crate) deadline: Instant,
}

impl Execute<'_> {
    fn failed(&self, fault: Fault) -> Error {
        Error::Plugin {
            plugin: self.plugin.kind.clone(),
            command: self.command,
            subject: self.subject.clone(),
            fault: Box::new(fault),
        }
    }

    /// An answer that breaks a rule.
    pub(crate) fn garbage(&self, reason: String, answer: &[u8]) -> Error {
        self.failed(Fault::Garbage { reason, stdout: excerpt(answer) })
    }
}

/// The environment of ADD, DEL and CHECK; `netns` is empty when the namespace is gone.
pub(crate) fn container_environment(entry: &Entry, netns: &OsStr) -> Vec<(&'static str, OsString)> {
    vec![
        ("CNI_CONTAINERID", entry.key.container.as_str().into()),
        ("CNI_NETNS", netns.to_owned()),
        ("CNI_IFNAME", entry.key.interface.as_str().into()),
        ("CNI_ARGS", entry.record.args.joined().into()),
    ]
}
