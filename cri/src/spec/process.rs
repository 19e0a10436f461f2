//! The first process: command line, environment, user, limits.

use caps::Capability;
use runtime::spec::{Process, User};

use super::Input;
use super::capabilities;
use super::error::Error;
use super::options::{EnvChange, Image, Options};

/// `PATH` when the image sets none.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The command line, by docker's table.
///
/// | `--entrypoint` | arguments | command line |
/// |---|---|---|
/// | absent | none | image entrypoint, image cmd |
/// | absent | some | image entrypoint, arguments |
/// | given | any | entrypoint, arguments: the image's cmd belonged to its own entrypoint |
///
/// # Errors
/// [`Error::NoCommand`] when it is empty.
pub fn command(image: &Image, options: &Options) -> Result<Vec<String>, Error> {
    let line: Vec<String> = match &options.entrypoint {
        Some(entrypoint) => entrypoint.iter().chain(&options.command).cloned().collect(),
        None if options.command.is_empty() => image.entrypoint.iter().chain(&image.cmd).cloned().collect(),
        None => image.entrypoint.iter().chain(&options.command).cloned().collect(),
    };
    if line.first().is_none_or(String::is_empty) { Err(Error::NoCommand) } else { Ok(line) }
}

/// What inspect shows as the container's environment: the user's changes over the image's.
pub fn merged_environment(image: &[String], changes: &[EnvChange]) -> Vec<String> {
    let mut env: Vec<String> = Vec::new();
    let mut set = |name: &str, entry: Option<String>| {
        let found = env.iter().position(|old| name_of(old) == name);
        match (found, entry) {
            (Some(index), Some(entry)) => env[index] = entry,
            (Some(index), None) => {
                env.remove(index);
            }
            (None, Some(entry)) => env.push(entry),
            (None, None) => {}
        }
    };
    for entry in image {
        set(name_of(entry), Some(entry.clone()));
    }
    for change in changes {
        match change {
            EnvChange::Set(name, value) => set(name, Some(format!("{name}={value}"))),
            EnvChange::Unset(name) => set(name, None),
        }
    }
    env
}

/// The whole environment of a process: defaults, overridden by `env`.
///
/// `TERM` is set only with a terminal; `HOME` is the user's directory and `HOSTNAME` the container's, both unless set;
/// what `unset` names is left out even if a default exists.
pub fn environment(env: &[String], unset: &[&str], terminal: bool, hostname: Option<&str>, home: &str) -> Vec<String> {
    let mut all = Vec::with_capacity(env.len() + 4);
    let mut default = |name: &str, value: &str| {
        if !unset.contains(&name) && !env.iter().any(|entry| name_of(entry) == name) {
            all.push(format!("{name}={value}"));
        }
    };
    default("PATH", DEFAULT_PATH);
    if let Some(hostname) = hostname {
        default("HOSTNAME", hostname);
    }
    if terminal {
        default("TERM", "xterm");
    }
    default("HOME", home);
    all.extend(env.iter().cloned());
    all
}

fn name_of(entry: &str) -> &str {
    entry.split_once('=').map_or(entry, |(name, _)| name)
}

/// `process`.
pub(super) fn process(input: &Input<'_>, bounding: &[Capability]) -> Result<Process, Error> {
    let Input { id, image, options, identity, host } = *input;
    let args = command(image, options)?;
    if let Some(profile) = &options.security.apparmor
        && !host.apparmor
        && profile != "unconfined"
    {
        return Err(Error::NoAppArmor { profile: profile.clone() });
    }
    let hostname = super::namespaces::hostname(options, id).or_else(|| options.hostname.clone());
    let unset: Vec<&str> = options
        .env
        .iter()
        .filter_map(|change| match change {
            EnvChange::Set(..) => None,
            EnvChange::Unset(name) => Some(name.as_str()),
        })
        .collect();
    let merged = merged_environment(&image.env, &options.env);
    let names: Vec<String> = bounding.iter().map(ToString::to_string).collect();
    let working_dir = options.workdir.as_ref().unwrap_or(&image.working_dir);
    Ok(Process {
        terminal: options.terminal,
        console_size: options.console_size,
        user: User {
            uid: identity.uid,
            gid: identity.gid,
            umask: None,
            additional_gids: identity.additional_gids.clone(),
        },
        args,
        env: environment(&merged, &unset, options.terminal, hostname.as_deref(), &identity.home),
        cwd: absolute(working_dir),
        capabilities: Some(capabilities::sets(&names, identity.uid)),
        rlimits: options.rlimits.clone(),
        no_new_privileges: options.security.no_new_privileges,
        apparmor_profile: options.security.apparmor.clone().filter(|_| host.apparmor),
        selinux_label: options
            .security
            .labels
            .as_ref()
            .map(|labels| labels.process.clone())
            .filter(|label| !label.is_empty()),
        oom_score_adj: options.oom_score_adj,
        ..Process::default()
    })
}

/// A working directory as an absolute path; images may say `app` or nothing and mean `/app` and `/`.
fn absolute(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn command_table() {
        type Case<'a> = (&'a [&'a str], &'a [&'a str], Option<&'a [&'a str]>, &'a [&'a str], Option<&'a [&'a str]>);
        let cases: &[Case<'_>] = &[
            // image entrypoint, image cmd, --entrypoint, arguments, result
            (&[], &[], None, &[], None),
            (&[], &["sh"], None, &[], Some(&["sh"])),
            (&[], &["sh"], None, &["ls", "/"], Some(&["ls", "/"])),
            (&["app"], &[], None, &[], Some(&["app"])),
            (&["app"], &["-d"], None, &[], Some(&["app", "-d"])),
            (&["app"], &["-d"], None, &["-x"], Some(&["app", "-x"])),
            (&["app"], &["-d"], Some(&["sh"]), &[], Some(&["sh"])),
            (&["app"], &["-d"], Some(&["sh"]), &["-c", "x"], Some(&["sh", "-c", "x"])),
            (&["app"], &["-d"], Some(&[]), &["ls"], Some(&["ls"])),
            (&["app"], &["-d"], Some(&[]), &[], None),
            (&[""], &[], None, &[], None),
        ];
        for (entrypoint, cmd, replaced, arguments, expected) in cases {
            let image = Image { entrypoint: strings(entrypoint), cmd: strings(cmd), ..Image::default() };
            let options =
                Options { entrypoint: replaced.map(strings), command: strings(arguments), ..Options::default() };
            assert_eq!(command(&image, &options).ok(), expected.map(strings), "{entrypoint:?} {cmd:?} {arguments:?}");
        }
    }

    #[test]
    fn environment_rules() {
        let set = |name: &str, value: &str| EnvChange::Set(name.to_owned(), value.to_owned());
        let image = strings(&["PATH=/bin", "A=1", "B=2", "A=3"]);
        let merged = merged_environment(&image, &[set("A", "x=y"), set("C", ""), EnvChange::Unset("B".to_owned())]);
        assert_eq!(merged, strings(&["PATH=/bin", "A=x=y", "C="]));
        assert_eq!(
            environment(&merged, &["B"], true, Some("box"), "/root"),
            strings(&["HOSTNAME=box", "TERM=xterm", "HOME=/root", "PATH=/bin", "A=x=y", "C="])
        );
        assert_eq!(
            environment(&strings(&["HOME=/h", "TERM=vt100"]), &["HOSTNAME"], true, Some("box"), "/root"),
            strings(&[&format!("PATH={DEFAULT_PATH}"), "HOME=/h", "TERM=vt100"])
        );
    }

    #[test]
    fn working_directories() {
        for (given, expected) in [("", "/"), ("app", "/app"), ("/srv", "/srv")] {
            assert_eq!(absolute(given), expected);
        }
    }
}
