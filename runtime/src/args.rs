//! Options as callers of runc write them: `--x=y` and `--x y`, one dash or two, before or after the positionals.

use std::ffi::OsString;

use crate::verb::Verb;

/// An option.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flag {
    /// Long name without dashes.
    pub(crate) name: &'static str,
    /// One-letter name.
    pub(crate) short: Option<char>,
    /// What its value is called; `None` for a switch.
    pub(crate) value: Option<&'static str>,
    /// A line of help.
    pub(crate) help: &'static str,
}

/// Options that every verb has.
pub(crate) const GLOBAL: &[Flag] = &[
    Flag {
        name: "root",
        short: None,
        value: Some("DIR"),
        help: "where containers are kept (default /run/rt-runtime; rootless $XDG_RUNTIME_DIR/rt-runtime)",
    },
    Flag {
        name: "log",
        short: None,
        value: Some("FILE"),
        help: "append messages to FILE, too (default: standard error alone)",
    },
    Flag { name: "log-format", short: None, value: Some("text|json"), help: "format of messages in that file" },
    Flag { name: "debug", short: None, value: None, help: "say what is done, too" },
    Flag {
        name: "systemd-cgroup",
        short: None,
        value: None,
        help: "let systemd make cgroups; linux.cgroupsPath is slice:prefix:name",
    },
    Flag {
        name: "rootless",
        short: None,
        value: Some("auto|true|false"),
        help: "do without cgroups that must not be made (default auto: for all but the host's root)",
    },
    Flag { name: "criu", short: None, value: Some("PATH"), help: "accepted; there is no checkpoint and no restore" },
    Flag { name: "help", short: Some('h'), value: None, help: "show this" },
    Flag { name: "version", short: Some('v'), value: None, help: "show the version" },
];

/// Parsed options and positionals.
#[derive(Debug, Default)]
pub(crate) struct Parsed {
    values: Vec<(&'static str, String)>,
    /// What is not an option.
    pub(crate) positionals: Vec<String>,
}

impl Parsed {
    /// Whether a switch is given; `--x=false` takes it back.
    pub(crate) fn is_set(&self, name: &'static str) -> bool {
        self.value(name).is_some_and(|value| value != "false")
    }

    /// The last value of an option. An empty one is none: that is how callers write a variable that is not set.
    pub(crate) fn value(&self, name: &'static str) -> Option<&str> {
        self.all(name).next_back().filter(|value| !value.is_empty())
    }

    /// All values of an option in order.
    pub(crate) fn all<'a>(&'a self, name: &'static str) -> impl DoubleEndedIterator<Item = &'a str> {
        self.values.iter().filter(move |(given, _)| *given == name).map(|(_, value)| value.as_str())
    }

    /// The value of an option as a number or another parsed type.
    pub(crate) fn parsed<T: std::str::FromStr>(&self, name: &'static str, expected: &str) -> Result<Option<T>, String> {
        self.value(name)
            .map(|value| value.parse().map_err(|_| format!("--{name}: {value:?} is not {expected}")))
            .transpose()
    }
}

/// Splits off the options before the verb.
pub(crate) fn global(args: Vec<OsString>) -> Result<(Parsed, Vec<String>), String> {
    let args = args
        .into_iter()
        .map(|arg| arg.into_string().map_err(|arg| format!("argument {arg:?} is not UTF-8")))
        .collect::<Result<Vec<_>, _>>()?;
    let mut parsed = Parsed::default();
    let mut rest = args.into_iter();
    while let Some(arg) = rest.next() {
        if !arg.starts_with('-') || arg == "-" {
            return Ok((parsed, std::iter::once(arg).chain(rest).collect()));
        }
        parsed.option(&arg, GLOBAL, &mut rest)?;
    }
    Ok((parsed, Vec::new()))
}

/// Parses the options and positionals of a verb.
pub(crate) fn verb(verb: &Verb, args: &[String]) -> Result<Parsed, String> {
    let mut parsed = Parsed::default();
    let mut rest = args.iter().cloned();
    while let Some(arg) = rest.next() {
        if arg == "--" {
            parsed.positionals.extend(rest);
            break;
        }
        if arg.starts_with('-') && arg != "-" {
            parsed.option(&arg, verb.flags, &mut rest)?;
            continue;
        }
        parsed.positionals.push(arg);
        if verb.passes_arguments && !parsed.positionals.is_empty() {
            parsed.positionals.extend(rest);
            break;
        }
    }
    if !verb.passes_arguments && parsed.positionals.len() > verb.most {
        return Err(format!("too many arguments: {:?}; usage: {}", parsed.positionals[verb.most], verb.usage));
    }
    if parsed.positionals.len() < verb.least {
        return Err(format!("too few arguments; usage: {}", verb.usage));
    }
    Ok(parsed)
}

impl Parsed {
    fn option(&mut self, arg: &str, flags: &[Flag], rest: &mut impl Iterator<Item = String>) -> Result<(), String> {
        let text = arg.strip_prefix("--").or_else(|| arg.strip_prefix('-')).unwrap_or(arg);
        let (name, given) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (text, None),
        };
        let short = |flag: &Flag| flag.short.is_some_and(|short| name.chars().eq([short]));
        let flag = flags.iter().find(|flag| flag.name == name || short(flag));
        let flag = flag.ok_or_else(|| format!("unknown option {arg:?}"))?;
        let value = match (flag.value, given) {
            (_, Some(value)) => value,
            (None, None) => "true".to_owned(),
            (Some(value), None) => rest.next().ok_or_else(|| format!("--{} needs a value: {value}", flag.name))?,
        };
        if flag.value.is_none() && value != "true" && value != "false" {
            return Err(format!("--{} is a switch; {value:?} is neither true nor false", flag.name));
        }
        self.values.push((flag.name, value));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(name: &str, args: &[&str]) -> Result<Parsed, String> {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        super::verb(crate::verb::find(name).unwrap(), &args)
    }

    #[test]
    fn options_go_before_and_after() {
        for args in [
            &["--bundle", "/b", "c1"][..],
            &["c1", "--bundle", "/b"],
            &["--bundle=/b", "c1"],
            &["-b", "/b", "c1"],
            &["c1", "-b=/b"],
            &["-bundle", "/b", "c1"],
        ] {
            let parsed = parse("create", args).unwrap();
            assert_eq!(
                (parsed.value("bundle"), parsed.positionals.as_slice()),
                (Some("/b"), &["c1".to_owned()][..]),
                "{args:?}"
            );
        }
    }

    #[test]
    fn exec_passes_the_rest() {
        let parsed = parse("exec", &["-e", "A=b", "--tty", "c1", "ls", "-l", "--", "x"]).unwrap();
        assert!(parsed.is_set("tty"));
        assert_eq!(parsed.positionals, ["c1", "ls", "-l", "--", "x"]);
    }

    #[test]
    fn refusals() {
        for (name, args, problem) in [
            ("create", &["--nothing", "c1"][..], "unknown option \"--nothing\""),
            ("create", &["c1", "--bundle"], "--bundle needs a value: DIR"),
            ("create", &[], "too few arguments; usage: create [options] ID"),
            ("create", &["a", "b"], "too many arguments: \"b\"; usage: create [options] ID"),
            ("delete", &["--force=maybe", "c1"], "--force is a switch; \"maybe\" is neither true nor false"),
        ] {
            assert_eq!(parse(name, args).unwrap_err(), problem);
        }
    }
}
