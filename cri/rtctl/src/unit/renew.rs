//! The command line that made a container, as one that makes it anew in the foreground.

use clap::{Arg, Command};

/// Options that a unit has in other ways.
const LEFT_OUT: &[&str] =
    &["detach", "cidfile", "rm", "restart", "interactive", "attach", "name", "detach-keys", "sig-proxy"];

/// `[OPTIONS] run|create [OPTIONS] IMAGE…` (or `container run|create`) → `run --rm --name NAME [OPTIONS] IMAGE…`.
/// `value` gives the value of a variable that was passed on from the caller's environment.
///
/// # Errors
/// When the command line is not understood.
pub(crate) fn renew(
    root: &Command,
    words: &[String],
    name: &str,
    value: impl Fn(&str) -> Option<String>,
) -> Result<Vec<String>, String> {
    let (run, rest) =
        find_run(root, words).ok_or("the command line that made it is not known: it was made by other means")?;
    let mut new: Vec<String> = ["run", "--rm", "--name", name].map(str::to_owned).to_vec();
    let mut rest = rest.iter();
    while let Some(word) = rest.next() {
        if let Some(long) = word.strip_prefix("--").filter(|long| !long.is_empty()) {
            let (option, given) =
                long.split_once('=').map_or((long, None), |(option, given)| (option, Some(given.to_owned())));
            let arg = run.get_arguments().find(|arg| {
                arg.get_long() == Some(option) || arg.get_all_aliases().unwrap_or_default().contains(&option)
            });
            let arg = arg.ok_or_else(|| format!("{word} is not known"))?;
            let given = match given {
                None if takes_next(arg) => Some(rest.next().ok_or_else(|| format!("{word} has no value"))?.clone()),
                given => given,
            };
            keep(&mut new, arg, format!("--{option}"), given, &value);
        } else if word.starts_with('-') && word.len() > 1 && word != "--" {
            letters(run, word, &mut rest, &mut new, &value)?;
        } else {
            // The image: from here on everything is the container's.
            new.push(word.clone());
            new.extend(rest.cloned());
            break;
        }
    }
    Ok(new)
}

fn letters<'a>(
    run: &Command,
    word: &str,
    rest: &mut impl Iterator<Item = &'a String>,
    new: &mut Vec<String>,
    value: &impl Fn(&str) -> Option<String>,
) -> Result<(), String> {
    for (index, letter) in word.char_indices().skip(1) {
        let arg = run.get_arguments().find(|arg| arg.get_short() == Some(letter));
        let arg = arg.ok_or_else(|| format!("{word} is not known"))?;
        if !takes_next(arg) {
            keep(new, arg, format!("-{letter}"), None, value);
            continue;
        }
        let joined = &word[index + letter.len_utf8()..];
        let given = match joined.strip_prefix('=').unwrap_or(joined) {
            "" => rest.next().ok_or_else(|| format!("{word} has no value"))?.clone(),
            given => given.to_owned(),
        };
        keep(new, arg, format!("-{letter}"), Some(given), value);
        return Ok(());
    }
    Ok(())
}

fn keep(
    new: &mut Vec<String>,
    arg: &Arg,
    option: String,
    given: Option<String>,
    value: &impl Fn(&str) -> Option<String>,
) {
    let id = arg.get_long().unwrap_or_default();
    if LEFT_OUT.contains(&id) {
        return;
    }
    match given {
        None => new.push(option),
        Some(given) if option.starts_with("--") && !takes_next(arg) => new.push(format!("{option}={given}")),
        Some(given) => {
            let passed_on = (id == "env" && !given.contains('=')).then(|| value(&given)).flatten();
            let given = passed_on.map_or_else(|| given.clone(), |value| format!("{given}={value}"));
            new.extend([option, given]);
        }
    }
}

fn takes_next(arg: &Arg) -> bool {
    arg.get_action().takes_values() && !arg.is_require_equals_set()
}

/// The command `run`, and the words after it.
fn find_run<'a, 'b>(root: &'a Command, words: &'b [String]) -> Option<(&'a Command, &'b [String])> {
    let verb = words.iter().position(|word| word == "run" || word == "create")?;
    Some((root.find_subcommand("run")?, &words[verb + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn renewed(line: &str) -> Result<String, String> {
        let mut root = crate::cli::Cli::command();
        root.build();
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let value = |name: &str| (name == "LANG").then(|| "C".to_owned());
        renew(&root, &words, "web", value).map(|words| words.join(" "))
    }

    #[test]
    fn table() {
        for (line, expected) in [
            ("run -d busybox httpd -f", "run --rm --name web busybox httpd -f"),
            ("run -dit --name=old -m 64m busybox", "run --rm --name web -t -m 64m busybox"),
            (
                "--root /x container create --restart always -v a:/b --read-only img",
                "run --rm --name web -v a:/b --read-only img",
            ),
            (
                "run --rm=true --detach=true -eLANG -e A=b --env LANG img -d",
                "run --rm --name web -e LANG=C -e A=b --env LANG=C img -d",
            ),
            (
                "run -itp 80:80 --cidfile /c --read-only=true img",
                "run --rm --name web -t -p 80:80 --read-only=true img",
            ),
            ("create --rootfs /:O sh -c x", "run --rm --name web --rootfs /:O sh -c x"),
        ] {
            assert_eq!(renewed(line).as_deref(), Ok(expected), "{line}");
        }
        assert!(renewed("start web").unwrap_err().contains("not known"));
        assert!(renewed("run --no-such x").unwrap_err().contains("--no-such"));
    }
}
