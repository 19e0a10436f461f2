//! `rtctl login`

use std::io::{BufRead, IsTerminal, Read, Write};

use anyhow::{Context, Result, bail};
use cri::image::Error;
use cri::image::registry::{Credentials, Kept, server_name};

use crate::output::say;
use crate::session::terminal::without_echo;
use crate::transfer::{RegistryFlags, login};

/// Longest password that is read.
const PASSWORD_MAX: u64 = 64 << 10;

/// Log in to a registry
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The user; asked for on a terminal
    #[arg(short, long, value_name = "NAME")]
    username: Option<String>,
    /// The password; seen by everybody in the list of processes: better --password-stdin
    #[arg(short, long, value_name = "PASSWORD", conflicts_with = "password_stdin", hide_env_values = true)]
    password: Option<String>,
    /// Read the password from standard input
    #[arg(long)]
    password_stdin: bool,
    #[command(flatten)]
    registries: RegistryFlags,
    /// The registry, HOST[:PORT]; docker.io where none is given
    #[arg(value_name = "SERVER", default_value = "docker.io", hide_default_value = true)]
    server: String,
}

const EXAMPLES: &str = "\
The credentials are tried and then kept where docker and podman find them, too: in config.json, or with the credential helper
that it names (credsStore, credHelpers).

Examples:
  rtctl login registry.example:5000
  rtctl login -u me --password-stdin ghcr.io <token";

impl Args {
    pub(crate) fn run(self) -> Result<u8> {
        let host = server_name(&self.server)?;
        let keychain = self.registries.keychain()?;
        let username = match &self.username {
            Some(name) => name.clone(),
            None if self.password_stdin => bail!("--password-stdin needs --username"),
            None => ask("Username: ", Echo::Yes)?,
        };
        let password = match (&self.password, self.password_stdin) {
            (Some(password), _) => {
                eprintln!("WARNING! A password on the command line is seen by everybody. Use --password-stdin.");
                password.clone()
            }
            (None, true) => from_stdin()?,
            (None, false) => ask("Password: ", Echo::No)?,
        };
        if username.is_empty() || password.is_empty() {
            bail!("a user name and a password are needed");
        }
        let credentials = Credentials::Basic { username, password };
        let keep = login(&self.registries, &host, &credentials)?.map_err(|error| refused(error, &host))?;
        if let Kept::File(path) = keychain.keep(&host, &keep)? {
            eprintln!(
                "WARNING! The password is kept unencrypted in {}. A credential helper keeps it better: credsStore in that file.",
                path.display()
            );
        }
        say("Login Succeeded")?;
        Ok(0)
    }
}

/// What the registry has against it.
fn refused(error: Error, host: &str) -> anyhow::Error {
    let status = match &error {
        Error::Registry { faults, .. } => faults.iter().find_map(cri::image::registry::Fault::status),
        _ => None,
    };
    match status {
        Some(401 | 403) => {
            anyhow::Error::from(error).context(format!("{host} does not know that user with that password"))
        }
        _ => crate::transfer::advice::for_host(error, host),
    }
}

/// Whether what is typed is seen.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Echo {
    Yes,
    No,
}

/// Asks on the terminal.
fn ask(question: &str, echo: Echo) -> Result<String> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        bail!("the input is no terminal: give --username and --password-stdin");
    }
    eprint!("{question}");
    std::io::stderr().flush().context("write(stderr)")?;
    let mut line = String::new();
    match echo {
        Echo::Yes => stdin.lock().read_line(&mut line).context("read(stdin)")?,
        Echo::No => {
            let read = without_echo(|| stdin.lock().read_line(&mut line))?;
            eprintln!();
            read.context("read(stdin)")?
        }
    };
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// The password is all of standard input but the end of its last line.
fn from_stdin() -> Result<String> {
    let mut text = String::new();
    std::io::stdin().lock().take(PASSWORD_MAX + 1).read_to_string(&mut text).context("read(stdin)")?;
    if text.len() as u64 > PASSWORD_MAX {
        bail!("--password-stdin: longer than {PASSWORD_MAX} bytes");
    }
    let length = text.trim_end_matches('\n').trim_end_matches('\r').len();
    text.truncate(length);
    Ok(text)
}
