//! Completion of command lines: what can stand where the cursor is. The shells' scripts ask `rtctl __complete` with the words.
//!
//! ```text
//!  words ─▶ complete (pure, from the same tree as the help) ─▶ Wanted: words, names of objects, files
//! ```

pub(crate) mod script;

use clap::{Arg, Command};

/// What can stand there.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Words, each with its help.
    pub(crate) words: Vec<(String, String)>,
    /// Kinds of objects whose names can.
    pub(crate) objects: Vec<Object>,
    /// Before each name: what of the word is there already, such as `--network=`.
    pub(crate) before: String,
    /// Whether a file of the host can.
    pub(crate) files: bool,
}

/// A kind of object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Object {
    Container,
    Image,
    Volume,
    Network,
}

/// What can stand in place of the last of `words`, of which the program's name is not one.
pub(crate) fn complete(root: &Command, words: &[String]) -> Wanted {
    let (current, before) = words.split_last().map_or(("", &[][..]), |(last, rest)| (last.as_str(), rest));
    let mut place = Place { command: root, value_of: None, positional: 0, options: true };
    for word in before {
        place.step(root, word);
    }
    place.wanted(root, current)
}

/// Where one is in the command line.
struct Place<'a> {
    command: &'a Command,
    /// The option whose value comes next.
    value_of: Option<&'a Arg>,
    /// Arguments that were there.
    positional: usize,
    /// Whether options can still come.
    options: bool,
}

impl<'a> Place<'a> {
    fn step(&mut self, root: &'a Command, word: &str) {
        if self.value_of.take().is_some() {
            return;
        }
        if self.options && word == "--" {
            self.options = false;
        } else if self.options && word.starts_with("--") {
            let (name, value) =
                word[2..].split_once('=').map_or((&word[2..], None), |(name, value)| (name, Some(value)));
            self.value_of = self.long(root, name).filter(|arg| value.is_none() && takes_next(arg));
        } else if self.options && word.len() > 1 && word.starts_with('-') {
            let letters: Vec<char> = word[1..].chars().collect();
            for (index, letter) in letters.iter().enumerate() {
                if let Some(arg) = self.short(root, *letter)
                    && takes_next(arg)
                {
                    self.value_of = (index + 1 == letters.len()).then_some(arg);
                    break;
                }
            }
        } else if self.positional == 0
            && let Some(command) = self.command.find_subcommand(word)
        {
            self.command = command;
        } else {
            let trailing = self.argument().is_some_and(Arg::is_trailing_var_arg_set);
            self.options = self.options && !trailing;
            self.positional += 1;
        }
    }

    fn all(&self, root: &'a Command) -> impl Iterator<Item = &'a Arg> {
        // What is of the program as a whole stands before the command.
        let _top = root;
        self.command
            .get_opts()
            .chain(self.command.get_arguments().filter(|arg| !arg.is_positional() && !arg.get_action().takes_values()))
    }

    fn long(&self, root: &'a Command, name: &str) -> Option<&'a Arg> {
        self.all(root)
            .find(|arg| arg.get_long() == Some(name) || arg.get_all_aliases().unwrap_or_default().contains(&name))
    }

    fn short(&self, root: &'a Command, letter: char) -> Option<&'a Arg> {
        self.all(root).find(|arg| arg.get_short() == Some(letter))
    }

    /// The argument that comes next: the last one may be repeated.
    fn argument(&self) -> Option<&'a Arg> {
        let positionals: Vec<&Arg> = self.command.get_positionals().collect();
        positionals.get(self.positional).or(positionals.last()).copied()
    }

    fn wanted(&self, root: &'a Command, current: &str) -> Wanted {
        if let Some(arg) = self.value_of {
            return values(arg, current, String::new());
        }
        if self.options
            && current.starts_with("--")
            && let Some((name, value)) = current[2..].split_once('=')
        {
            return match self.long(root, name) {
                Some(arg) => values(arg, value, format!("--{name}=")),
                None => Wanted::default(),
            };
        }
        if self.options && current.starts_with('-') {
            let mut words: Vec<(String, String)> = self
                .all(root)
                .filter(|arg| !arg.is_hide_set())
                .filter_map(|arg| Some((format!("--{}", arg.get_long()?), help(arg))))
                .filter(|(word, _)| word.starts_with(current))
                .collect();
            words.sort();
            words.dedup();
            return Wanted { words, ..Wanted::default() };
        }
        if self.command.has_subcommands() && self.positional == 0 {
            let words = self
                .command
                .get_subcommands()
                .filter(|command| !command.is_hide_set() && command.get_name().starts_with(current))
                .map(|command| (command.get_name().to_owned(), first_line(command.get_about())));
            return Wanted { words: words.collect(), ..Wanted::default() };
        }
        match self.argument() {
            // After the image comes what is in it.
            Some(arg) if arg.is_trailing_var_arg_set() && self.positional > 0 => {
                Wanted { files: true, ..Wanted::default() }
            }
            Some(arg) => values(arg, current, String::new()),
            None => Wanted::default(),
        }
    }
}

/// Whether the option's value is the next word.
fn takes_next(arg: &Arg) -> bool {
    arg.get_action().takes_values() && !arg.is_require_equals_set()
}

fn values(arg: &Arg, current: &str, before: String) -> Wanted {
    let possible: Vec<(String, String)> = arg
        .get_possible_values()
        .iter()
        .filter(|value| !value.is_hide_set() && value.get_name().starts_with(current))
        .map(|value| (format!("{before}{}", value.get_name()), first_line(value.get_help())))
        .collect();
    if !possible.is_empty() {
        return Wanted { words: possible, ..Wanted::default() };
    }
    let name = arg.get_value_names().unwrap_or_default().join(" ");
    let (objects, files) = kind(arg.get_id().as_str(), &name);
    Wanted { objects, files, before, words: Vec::new() }
}

/// What a value of this name is.
fn kind(id: &str, value_name: &str) -> (Vec<Object>, bool) {
    // containers=, IMAGE [COMMAND ...], [SOURCE:]DEST...
    let first: String = value_name.chars().take_while(|c| c.is_ascii_alphabetic() || matches!(c, '|' | '-')).collect();
    match (first.to_ascii_uppercase().as_str(), id) {
        ("CONTAINER" | "CONTAINERS", _) | (_, "container" | "containers") => (vec![Object::Container], false),
        ("IMAGE" | "IMAGES", _) => (vec![Object::Image], false),
        ("VOLUME" | "VOLUMES", _) => (vec![Object::Volume], false),
        ("NETWORK", _) => (vec![Object::Network], false),
        ("NAME|ID", _) => (vec![Object::Container, Object::Image, Object::Volume, Object::Network], false),
        (_, "volume") => (vec![Object::Volume], true),
        (_, "source" | "destination") => (vec![Object::Container], true),
        ("FILE" | "DIR" | "PATH" | "HOST", _) => (Vec::new(), true),
        _ => (Vec::new(), false),
    }
}

fn help(arg: &Arg) -> String {
    first_line(arg.get_help())
}

fn first_line(text: Option<&clap::builder::StyledStr>) -> String {
    text.map(ToString::to_string).unwrap_or_default().lines().next().unwrap_or_default().to_owned()
}

/// Puts together what bash takes apart at `=` and `:`. Returns the words and what bash has of the last one already, which the
/// answers must not repeat.
pub(crate) fn join_bash(words: &[String]) -> (Vec<String>, String) {
    let mut joined: Vec<String> = Vec::new();
    let breaks = |word: &str| !word.is_empty() && word.bytes().all(|byte| b"=:".contains(&byte));
    let mut glue = false;
    let mut had = String::new();
    for word in words {
        let isolated = breaks(word);
        match joined.last_mut() {
            Some(last) if (isolated || glue) && !last.is_empty() => {
                had = if isolated { format!("{last}{word}") } else { last.clone() };
                last.push_str(word);
            }
            _ => {
                had.clear();
                joined.push(word.clone());
            }
        }
        glue = isolated;
    }
    (joined, had)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use proptest::prelude::*;

    fn split(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    fn wanted(line: &str) -> Wanted {
        let mut root = crate::cli::Cli::command();
        root.build();
        complete(&root, &split(line))
    }

    fn words(line: &str) -> Vec<String> {
        wanted(line).words.into_iter().map(|(word, _)| word).collect()
    }

    #[test]
    fn commands_and_options() {
        assert_eq!(words("vol"), ["volume"]);
        assert_eq!(words("volume p"), ["prune"]);
        assert!(words("").contains(&"run".to_owned()) && !words("").contains(&"__complete".to_owned()));
        assert_eq!(words("run --volume"), ["--volume", "--volume-driver", "--volumes-from"]);
        assert_eq!(words("--root /x container unp"), ["unpause"]);
        assert_eq!(words("run --pull "), ["always", "missing", "never"]);
        assert_eq!(words("run --pull=m"), ["--pull=missing"]);
        assert_eq!(words("run busybox --vol"), [""; 0]);
        assert!(wanted("ps -").words.iter().all(|(_, help)| !help.is_empty()));
    }

    #[test]
    fn objects_and_files() {
        let objects = |line: &str| (wanted(line).objects, wanted(line).files);
        assert_eq!(objects("logs -f "), (vec![Object::Container], false));
        assert_eq!(objects("logs -n 5 "), (vec![Object::Container], false));
        assert_eq!(objects("logs -n "), (vec![], false));
        assert_eq!(objects("rm one two "), (vec![Object::Container], false));
        assert_eq!(objects("run -it "), (vec![Object::Image], false));
        assert_eq!(objects("run -it busybox "), (vec![], true));
        assert_eq!(objects("run --name x -e A=b --volumes-from "), (vec![Object::Container], false));
        assert_eq!(objects("run -v "), (vec![Object::Volume], true));
        assert_eq!(objects("run --env-file "), (vec![], true));
        assert_eq!(objects("volume rm "), (vec![Object::Volume], false));
        assert_eq!(objects("image rm "), (vec![Object::Image], false));
        assert_eq!(objects("rmi "), (vec![Object::Image], false));
        assert_eq!(objects("exec "), (vec![Object::Container], false));
        assert_eq!(objects("cp "), (vec![Object::Container], true));
        assert_eq!(objects("inspect ").0.len(), 4);
        let network = wanted("run --network=");
        assert_eq!((network.objects, network.before.as_str()), (vec![Object::Network], "--network="));
    }

    #[test]
    fn what_bash_takes_apart() {
        for (line, expected, had) in [
            ("run --network = ho", "run --network=ho", "--network="),
            ("run --network =", "run --network=", "--network="),
            ("run busybox : 1.36", "run busybox:1.36", "busybox:"),
            ("run --volumes-from x", "run --volumes-from x", ""),
            ("rmi a : 1 b", "rmi a:1 b", ""),
        ] {
            assert_eq!(join_bash(&split(line)), (split(expected), had.to_owned()), "{line}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(line in "(run|ps|volume|exec|--root|--|-[a-z]{1,3}|--[a-z]{1,5}=?|[a-zé=: ]{0,4})( (run|rm|-[a-zé]{1,3}|--[a-zé]{1,5}|x|)){0,5}") {
            wanted(&line);
            join_bash(&split(&line));
        }
    }
}
