//! The table and the values as text.

use std::fmt::Write;

use super::key::{Key, Reload};
use super::keys::{Config, Handler};
use super::load::Loaded;
use super::problem::Place;

/// Writing to a string does not fail.
const WRITTEN: &str = "a string takes all";

/// All defaults as a file that means the same, with what they do.
#[must_use]
pub fn defaults() -> String {
    let mut text = String::from(
        "# Settings of rtd: all keys with their defaults. A file with anything wrong in it is not taken at all.\n\
         # `rtd config check` tells what is wrong, `rtd config show` what counts and where it comes from.\n\
         # Live: a change counts at once, for what begins from then on. Restart: when rtd is started anew.\n",
    );
    let mut section = "";
    for key in Config::KEYS {
        if key.section != section {
            section = key.section;
            write!(text, "\n# == {section} ==\n").expect(WRITTEN);
        }
        entry(&mut text, key);
    }
    write!(
        text,
        "\n# == Runtime handlers ==\n\n\
         # [handlers.NAME] is a runtime that a RuntimeClass can name as its handler. {} is always there.\n[handlers.{}]\n",
        super::check::OWN,
        super::check::OWN
    )
    .expect(WRITTEN);
    for key in Handler::KEYS {
        entry(&mut text, key);
    }
    text
}

fn entry(text: &mut String, key: &Key) {
    text.push('\n');
    for line in key.doc {
        writeln!(text, "#{line}").expect(WRITTEN);
    }
    writeln!(text, "# {}. Allowed: {}.", reload(key), (key.allowed)()).expect(WRITTEN);
    writeln!(text, "{} = {}", key.name, key.default).expect(WRITTEN);
}

fn reload(key: &Key) -> &'static str {
    match key.reload {
        Reload::Live => "Live",
        Reload::Restart => "Restart",
    }
}

/// The table as Markdown.
#[must_use]
pub fn markdown() -> String {
    let mut text = String::new();
    let mut section = "";
    for key in Config::KEYS.iter().chain(Handler::KEYS) {
        if key.section != section {
            section = key.section;
            write!(
                text,
                "\n### {section}\n\n| key | default | live | allowed | what it does |\n|---|---|---|---|---|\n"
            )
            .expect(WRITTEN);
        }
        let live = if key.reload == Reload::Live { "yes" } else { "" };
        let doc = key.doc.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ");
        let cell = |text: &str| text.replace('|', "\\|").replace('*', "\\*");
        let (allowed, doc) = (cell(&(key.allowed)()), cell(&doc));
        writeln!(text, "| `{}` | `{}` | {live} | {allowed} | {doc} |", key.name, key.default).expect(WRITTEN);
    }
    text
}

/// All values that count, and where each comes from.
#[must_use]
pub fn shown(loaded: &Loaded) -> String {
    let mut text = String::new();
    for key in Config::KEYS {
        value(&mut text, key, loaded.config.get(key.name), loaded.place(key.name));
    }
    for (name, handler) in &loaded.config.handlers {
        writeln!(text, "\n[handlers.{name}]").expect(WRITTEN);
        for key in Handler::KEYS {
            value(&mut text, key, handler.get(key.name), loaded.place(&format!("handlers.{name}.{}", key.name)));
        }
    }
    text
}

fn value(text: &mut String, key: &Key, value: Option<String>, place: &Place) {
    let place = match place {
        Place::File(file) => file.display().to_string(),
        Place::Line(file, line) => format!("{}:{line}", file.display()),
        Place::Flag(flag) => (*flag).to_owned(),
        Place::Default => "default".to_owned(),
    };
    writeln!(text, "{} = {} # {place}", key.name, value.unwrap_or_default()).expect(WRITTEN);
}
