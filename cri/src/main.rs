//! `rtd`: the daemon that a kubelet drives. CRI v1 on a unix socket.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use cri::config::{self, Flag, Loaded, Source};
use cri::daemon;

/// Serves the Container Runtime Interface, v1, on a unix socket.
#[derive(Debug, Parser)]
#[command(name = "rtd", version, after_help = EXAMPLES)]
struct Args {
    /// Settings; files *.toml of the directory FILE.d are laid over them [default: /etc/rt/rtd.toml]
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Directory of images and layers; over the files
    #[arg(long, value_name = "DIR", env = "RT_ROOT", hide_env = true, global = true)]
    root: Option<String>,
    /// Directory of the state of pods; over the files
    #[arg(long, value_name = "DIR", env = "RT_STATE", hide_env = true, global = true)]
    state: Option<String>,
    /// Where to listen; over the files
    #[arg(long, value_name = "SOCKET", global = true)]
    listen: Option<String>,
    /// error, warn, info, debug or trace; over the files
    #[arg(long, value_name = "LEVEL", global = true)]
    log_level: Option<String>,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Settings
    #[command(subcommand)]
    Config(ConfigVerb),
}

#[derive(Debug, Subcommand)]
enum ConfigVerb {
    /// Print all settings with their defaults and what they do
    Default {
        /// As a table for the documentation
        #[arg(long)]
        markdown: bool,
    },
    /// Tell what is wrong with the settings
    Check {
        /// The file, with its drop-ins; otherwise that of --config
        file: Option<PathBuf>,
    },
    /// Print all settings that count, and where each comes from
    Show,
}

const EXAMPLES: &str = "\
Examples:
  rtd
  rtd config default > /etc/rt/rtd.toml
  rtd config check
  crictl --runtime-endpoint unix:///run/rt/rtd.sock pods";

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            for line in format!("{error:#}").lines() {
                eprintln!("rtd: {line}");
            }
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> Result<()> {
    let flags = [("--root", "root", args.root), ("--state", "state", args.state), ("--listen", "listen", args.listen)];
    let flags = flags.into_iter().chain([("--log-level", "log_level", args.log_level)]);
    let flags = flags.filter_map(|(name, key, value)| Some(Flag { name, key, value: value? })).collect();
    let required = args.config.is_some();
    // Watched as long as the daemon runs, and shown to people.
    let file = std::path::absolute(args.config.unwrap_or_else(|| Source::DEFAULT.into()))?;
    let source = Source { file, required, flags };
    match args.verb {
        None => {
            let loaded = source.load()?;
            Ok(daemon::run(source, loaded)?)
        }
        Some(Verb::Config(ConfigVerb::Default { markdown: false })) => print(&config::defaults()),
        Some(Verb::Config(ConfigVerb::Default { markdown: true })) => print(&config::markdown()),
        Some(Verb::Config(ConfigVerb::Show)) => print(&config::shown(&source.load()?)),
        Some(Verb::Config(ConfigVerb::Check { file: Some(file) })) => check(Source { file, required: true, ..source }),
        Some(Verb::Config(ConfigVerb::Check { file: None })) => check(source),
    }
}

fn check(source: Source) -> Result<()> {
    let Loaded { config, .. } = source.load()?;
    for warning in config.warnings() {
        eprintln!("rtd: warning: {warning}");
    }
    print("nothing is wrong\n")
}

/// Prints; a reader that has enough is no failure.
fn print(text: &str) -> Result<()> {
    use std::io::Write;
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
