//! Manual pages, from the same source as the help: one for each command.

use clap::Command;
use clap_mangen::roff::{Inline, Roff, bold, roman};

/// A page of section 1.
pub(crate) struct Page {
    /// `rtctl-run`
    pub(crate) name: String,
    /// Other names of the command.
    pub(crate) aliases: Vec<String>,
    /// Its source, for man(7).
    pub(crate) text: String,
}

/// All pages, the program's own first.
pub(crate) fn pages(mut root: Command) -> Vec<Page> {
    root.build();
    let mut pages = Vec::new();
    add(&root, "rtctl", &mut pages);
    pages
}

fn add(command: &Command, name: &str, pages: &mut Vec<Page>) {
    let parent = name.rsplit_once('-').map_or("rtctl", |(parent, _)| parent);
    let aliases = command.get_all_aliases().map(|alias| format!("{parent}-{alias}")).collect();
    pages.push(Page { name: name.to_owned(), aliases, text: page(command, name) });
    for child in command.get_subcommands() {
        // help would be a page for each command once more.
        if !child.is_hide_set() && child.get_name() != "help" {
            add(child, &format!("{name}-{}", child.get_name()), pages);
        }
    }
}

fn page(command: &Command, name: &str) -> String {
    let is_program = name == "rtctl";
    let words = name.replace('-', " ");
    let shown =
        command.clone().display_name(name.to_owned()).bin_name(words).after_help("").disable_help_subcommand(true);
    let man = clap_mangen::Man::new(shown)
        .title(name.to_uppercase())
        .section("1")
        .date(String::new())
        .source(format!("rtctl {}", env!("CARGO_PKG_VERSION")))
        .manual("rtctl manual");
    let mut text = Vec::new();
    let parts = [
        clap_mangen::Man::render_title,
        clap_mangen::Man::render_name_section,
        clap_mangen::Man::render_synopsis_section,
        clap_mangen::Man::render_description_section,
        clap_mangen::Man::render_options_section,
    ];
    for part in parts {
        // Writing to memory does not fail.
        let _written = part(&man, &mut text);
    }
    if command.has_subcommands() {
        let _written = man.render_subcommands_section(&mut text);
    }
    let mut text = String::from_utf8_lossy(&text).into_owned();
    let mut roff = Roff::new();
    for (heading, lines) in sections(&command.get_after_help().map(ToString::to_string).unwrap_or_default()) {
        section(&mut roff, &heading, &lines);
    }
    items(&mut roff, "EXIT STATUS", EXIT_STATUS);
    items(&mut roff, "ENVIRONMENT", ENVIRONMENT);
    items(&mut roff, "FILES", FILES);
    let see = if is_program { "rtctl-run(1), rtctl-ps(1), rtctl-volume(1)" } else { "rtctl(1)" };
    roff.control("SH", ["SEE ALSO"]).text([roman(see)]);
    text.push_str(&roff.to_roff());
    text
}

const EXIT_STATUS: &[(&str, &str)] = &[
    ("0", "It worked. Where a program is run in the foreground, its own exit status is passed on instead."),
    ("1", "Something was not done; the message says what."),
    ("125", "rtctl itself could not do it, or the command line is wrong."),
    ("126", "The command in the container cannot be executed."),
    ("127", "The command in the container is not there."),
    ("128+n", "Signal n ended the program."),
];

const ENVIRONMENT: &[(&str, &str)] = &[
    ("RT_ROOT", "Directory of images, layers, volumes and writable layers, as --root."),
    ("RT_STATE", "Directory of what is true until the host restarts, as --state."),
    ("RT_SHIM", "Path of rt-shim; otherwise it is looked for beside rtctl."),
    ("NO_COLOR", "Not empty: nothing is coloured."),
];

const FILES: &[(&str, &str)] = &[
    ("/var/lib/rt", "Images, layers, volumes, writable layers and logs."),
    ("/run/rt", "Containers: their configuration and state."),
    ("/etc/cdi, /var/run/cdi", "Specs of devices by name."),
];

/// The help's text after the options: notes, then paragraphs with a heading such as `Examples:`.
fn sections(text: &str) -> Vec<(String, Vec<String>)> {
    let mut sections: Vec<(String, Vec<String>)> = Vec::new();
    for line in text.lines() {
        let heading = match line.split_once(':') {
            Some(("Examples" | "Example", rest)) => Some(("EXAMPLES", rest)),
            Some(("Fields", rest)) => Some(("FIELDS OF TEMPLATES", rest)),
            // These have sections of their own.
            Some(("Environment" | "Exit codes", rest)) => Some(("", rest)),
            Some(_) | None => None,
        };
        match (heading, sections.last_mut()) {
            (Some((heading, rest)), _) => {
                let first = rest.trim();
                let lines = if first.is_empty() { Vec::new() } else { vec![first.to_owned()] };
                sections.push((heading.to_owned(), lines));
            }
            (None, Some((_, lines))) => lines.push(line.to_owned()),
            (None, None) => sections.push(("NOTES".to_owned(), vec![line.to_owned()])),
        }
    }
    sections.retain(|(heading, lines)| !heading.is_empty() && lines.iter().any(|line| !line.trim().is_empty()));
    sections
}

fn section(roff: &mut Roff, heading: &str, lines: &[String]) {
    roff.control("SH", [heading]);
    // Indented lines stand as they are.
    let mut verbatim = false;
    for line in lines {
        let indented = line.starts_with("  ");
        if indented != verbatim {
            if indented {
                roff.control("RS", ["4"]).control("nf", []);
            } else {
                roff.control("fi", []).control("RE", []);
            }
            verbatim = indented;
        }
        match line.trim_end() {
            "" => roff.control("PP", []),
            line => roff.text([roman(if verbatim { &line[2..] } else { line })]),
        };
    }
    if verbatim {
        roff.control("fi", []).control("RE", []);
    }
}

fn items(roff: &mut Roff, heading: &str, items: &[(&str, &str)]) {
    roff.control("SH", [heading]);
    for (name, text) in items {
        roff.control("TP", []).text([bold(*name)]).text(vec![Inline::Roman((*text).to_owned())]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn every_command_has_a_page() {
        let pages = pages(crate::cli::Cli::command());
        let names: Vec<&str> = pages.iter().map(|page| page.name.as_str()).collect();
        for name in
            ["rtctl", "rtctl-run", "rtctl-volume", "rtctl-volume-create", "rtctl-container-ls", "rtctl-image-inspect"]
        {
            assert!(names.contains(&name), "{name} is not in {names:?}");
        }
        assert!(!names.iter().any(|name| name.contains("__") || name.ends_with("-help")), "{names:?}");
        for page in &pages {
            for section in ["NAME", "SYNOPSIS", "OPTIONS", "EXIT STATUS", "ENVIRONMENT", "FILES"] {
                let found = page.text.lines().any(|line| line.trim_start_matches(".SH ").trim_matches('"') == section);
                assert!(found, "{}: no {section}", page.name);
            }
        }
        let run = pages.iter().find(|page| page.name == "rtctl-run").unwrap();
        assert!(
            run.text.contains("EXAMPLES") && run.text.contains("rtctl run \\-\\-rm busybox echo hello"),
            "{}",
            run.text
        );
    }

    #[test]
    fn headings_of_the_help() {
        let text = "A note.\nExamples:\n  one\n\n  two\n\nFields: ID Name\nExit codes: 1";
        let found: Vec<(String, usize)> =
            sections(text).into_iter().map(|(heading, lines)| (heading, lines.len())).collect();
        let expected = [("NOTES", 1), ("EXAMPLES", 4), ("FIELDS OF TEMPLATES", 1)];
        assert_eq!(found, expected.map(|(heading, lines)| (heading.to_owned(), lines)));
    }
}
