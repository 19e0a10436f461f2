//! `rtctl completion`, and `rtctl __complete`, which its scripts call

use std::path::PathBuf;

use anyhow::Result;
use clap::{CommandFactory, ValueEnum};
use cri::image::Store;

use crate::complete::{self, Object, Wanted, script};
use crate::output::say;
use crate::store::roots::Roots;
use crate::store::view::Container;
use crate::store::{id, volume};

/// Print a shell's completion script
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

const EXAMPLES: &str = "\
Names of containers, images, volumes and networks are completed, too.

Examples:
  source <(rtctl completion bash)
  rtctl completion bash >/etc/bash_completion.d/rtctl
  rtctl completion zsh >/usr/local/share/zsh/site-functions/_rtctl
  rtctl completion fish >/etc/fish/completions/rtctl.fish";

/// A shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl Args {
    pub(crate) fn run(self) -> Result<u8> {
        let script = match self.shell {
            Shell::Bash => script::BASH,
            Shell::Zsh => script::ZSH,
            Shell::Fish => script::FISH,
        };
        say(script.trim_end())?;
        Ok(0)
    }
}

/// Candidates for the last word, one a line
#[derive(Debug, clap::Args)]
pub(crate) struct CompleteArgs {
    /// The words are as bash takes them apart
    #[arg(long)]
    bash: bool,
    /// Words up to the cursor
    #[arg(last = true)]
    words: Vec<String>,
}

impl CompleteArgs {
    pub(crate) fn run(self, roots: &Roots) -> Result<u8> {
        let (words, had) = match self.bash {
            true => complete::join_bash(&self.words),
            false => (self.words, String::new()),
        };
        let mut root = crate::cli::Cli::command();
        root.build();
        let wanted = complete::complete(&root, &words);
        let roots = roots_of(&words, roots);
        let current = words.last().map(String::as_str).unwrap_or_default();
        let mut lines: Vec<String> = wanted.words.iter().map(|(word, help)| format!("{word}\t{help}")).collect();
        for (name, help) in names(&wanted, &roots) {
            let word = format!("{}{name}", wanted.before);
            if word.starts_with(current) {
                lines.push(format!("{word}\t{help}"));
            }
        }
        for line in &lines {
            // bash replaces only what comes after the last = or :.
            say(line.strip_prefix(had.as_str()).unwrap_or(line))?;
        }
        if wanted.files {
            say(":files")?;
        }
        Ok(0)
    }
}

/// Roots as the command line that is being typed has them.
fn roots_of(words: &[String], own: &Roots) -> Roots {
    let value = |option: &str| {
        words.iter().enumerate().find_map(|(index, word)| match word.strip_prefix(option)? {
            "" => words.get(index + 1).cloned(),
            rest => rest.strip_prefix('=').map(str::to_owned),
        })
    };
    let path = |option: &str, own: &PathBuf| value(option).map_or_else(|| own.clone(), PathBuf::from);
    Roots { root: path("--root", &own.root), state: path("--state", &own.state) }
}

/// Names of objects; what cannot be read has none.
fn names(wanted: &Wanted, roots: &Roots) -> Vec<(String, String)> {
    let mut names = Vec::new();
    for object in &wanted.objects {
        match object {
            Object::Container => {
                for container in Container::list(roots).unwrap_or_default() {
                    let name = container.name.clone().unwrap_or_else(|| id::short(&container.id).to_owned());
                    let image = container.record.as_ref().map_or("", |record| record.origin.name());
                    names.push((name, format!("{}, {image}", container.phase().word())));
                }
            }
            Object::Image => {
                if !roots.root.join("images").try_exists().unwrap_or(false) {
                    continue;
                }
                let images = Store::open(&roots.root).and_then(|store| store.list());
                for image in images.unwrap_or_default() {
                    names.extend(image.names.iter().map(|name| (name.familiar().to_string(), "image".to_owned())));
                }
            }
            Object::Volume => {
                names.extend(
                    volume::names(roots).unwrap_or_default().into_iter().map(|name| (name, "volume".to_owned())),
                );
            }
            Object::Network => {
                names.extend(["none", "host"].map(|name| (name.to_owned(), "network".to_owned())));
            }
        }
    }
    names
}
