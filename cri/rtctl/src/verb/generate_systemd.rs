//! `rtctl generate systemd`

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use anyhow::{Context, Result, anyhow, bail};
use clap::{CommandFactory, ValueEnum};
use shim::layout::RestartPolicy;

use crate::output::say;
use crate::store::id;
use crate::store::roots::Roots;
use crate::store::view::Container;
use crate::unit::{Unit, renew};

/// Print a systemd unit that runs a container
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// A new container at each start, as the one there was made; needed for units that outlive a restart of the host
    #[arg(long)]
    new: bool,
    /// Call the container and the unit by the container's name and not by its id
    #[arg(short, long)]
    name: bool,
    /// Write the unit into a file here, and print its path
    #[arg(short, long)]
    files: bool,
    /// When systemd restarts it
    #[arg(long, value_name = "WHEN", default_value = "on-failure")]
    restart_policy: Restart,
    /// Seconds between restarts
    #[arg(long, value_name = "SECONDS")]
    restart_sec: Option<u32>,
    /// Seconds after which stop kills
    #[arg(short = 't', long, value_name = "SECONDS", default_value_t = 10)]
    stop_timeout: u32,
    /// Begin the unit's name with this
    #[arg(long, value_name = "TEXT", default_value = "container")]
    container_prefix: String,
    /// Between that and the container's name
    #[arg(long, value_name = "TEXT", default_value = "-")]
    separator: String,
    /// A unit that is started along with it
    #[arg(long, value_name = "UNIT", value_parser = unit_name)]
    wants: Vec<String>,
    /// A unit that is started before
    #[arg(long, value_name = "UNIT", value_parser = unit_name)]
    after: Vec<String>,
    /// A unit that it cannot do without
    #[arg(long, value_name = "UNIT", value_parser = unit_name)]
    requires: Vec<String>,
    /// Name or id
    container: String,
}

const EXAMPLES: &str = "\
The unit's main process is rtctl in the foreground: output goes to the journal, and the exit status is the program's.
Containers are gone after a restart of the host: only units with --new can be enabled to start with it.

Examples:
  rtctl create --name web -v data:/srv busybox httpd -f -h /srv
  cd /etc/systemd/system && rtctl generate systemd --new --name --files web
  systemctl daemon-reload && systemctl enable --now container-web";

/// `--restart-policy`, systemd.service(5) `Restart=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Restart {
    No,
    OnSuccess,
    OnFailure,
    OnAbnormal,
    OnWatchdog,
    OnAbort,
    Always,
}

fn unit_name(text: &str) -> Result<String, String> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte);
    let (name, kind) = text.rsplit_once('.').unwrap_or((text, ""));
    if name.is_empty() || kind.is_empty() || !text.bytes().all(good) {
        return Err(format!("{text:?}: must be the name of a unit, such as db.service"));
    }
    Ok(text.to_owned())
}

impl Args {
    pub(crate) fn run(self, roots: &Roots) -> Result<u8> {
        let container = Container::find(roots, &self.container)?;
        let record = container.record()?;
        if container.task()?.restart != RestartPolicy::No && !self.new {
            bail!(
                "container {0} has a restart policy of its own, and two would fight: rtctl update --restart no {0}",
                container.shown()
            );
        }
        if !self.new {
            eprintln!(
                "rtctl: the unit starts a container that is gone after a restart of the host; --new makes it anew"
            );
        }
        let shown = if self.name || self.new { container.shown() } else { id::short(&container.id) };
        let unit_name = format!("{}{}{shown}", self.container_prefix, self.separator);
        if unit_name.is_empty()
            || !unit_name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b":-_.".contains(&byte))
        {
            bail!("--container-prefix, --separator: {unit_name:?} is no unit's name");
        }
        let new = match self.new {
            false => None,
            true => {
                let mut root = crate::cli::Cli::command();
                root.build();
                let value = |name: &str| {
                    let line = record.config.env.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
                    line.map(str::to_owned)
                };
                let renewed = renew(&root, &record.command_line.words, shown, value);
                Some(renewed.map_err(|problem| anyhow!("--new: container {}: {problem}", container.shown()))?)
            }
        };
        let path = |path: &PathBuf| path.display().to_string();
        let default = Roots { root: "/var/lib/rt".into(), state: "/run/rt".into() };
        let mut environment = Vec::new();
        if roots.root != default.root {
            environment.push(format!("RT_ROOT={}", path(&roots.root)));
        }
        if roots.state != default.state {
            environment.push(format!("RT_STATE={}", path(&roots.state)));
        }
        if let Some(shim) = std::env::var("RT_SHIM").ok().filter(|shim| !shim.is_empty()) {
            environment.push(format!("RT_SHIM={shim}"));
        }
        let restart = self.restart_policy.to_possible_value().map(|value| value.get_name().to_owned());
        let unit = Unit {
            name: unit_name,
            container: shown.to_owned(),
            rtctl: path(&std::env::current_exe().context("readlink(/proc/self/exe)")?),
            environment,
            directory: new.as_ref().map(|_| record.command_line.directory.clone()).filter(|dir| dir != "/"),
            new,
            restart: restart.unwrap_or_default(),
            restart_sec: self.restart_sec,
            stop_timeout: self.stop_timeout,
            wants: self.wants,
            after: self.after,
            requires: self.requires,
            needs_mounts: vec![path(&roots.root), path(&roots.state)],
        };
        if !self.files {
            say(unit.text().trim_end())?;
            return Ok(0);
        }
        let file = std::path::absolute(format!("{}.service", unit.name))?;
        let shown = || format!("{}", file.display());
        // It has the container's variables in it.
        let made = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file).with_context(shown);
        made?.write_all(unit.text().as_bytes()).with_context(shown)?;
        say(&shown())?;
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units() {
        for good in ["db.service", "a@b.socket", "multi-user.target"] {
            assert_eq!(unit_name(good), Ok(good.to_owned()));
        }
        for bad in ["db", ".service", "a b.service", "x\ny.service", "", "x."] {
            assert!(unit_name(bad).is_err(), "{bad:?}");
        }
    }
}
