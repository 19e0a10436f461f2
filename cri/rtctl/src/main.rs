//! `rtctl`: what a person types. Needs no daemon: it makes containers' files, starts an `rt-shim` for each container, and
//! talks to it.
//!
//! ```text
//!  cli ─▶ verb/<object>_<verb> ─▶ flag: text to types
//!                              ─▶ store: containers on disk ─▶ cri::spec, cri::image
//!                              ─▶ session: streams, terminal, signals ◀─▶ rt-shim
//!                              ─▶ output, template: what is shown
//! ```

#![recursion_limit = "256"]

mod archive;
mod cli;
mod complete;
mod events;
mod flag;
mod host;
mod image;
mod logs;
mod manual;
mod output;
mod rootfs;
mod session;
mod store;
mod template;
mod transfer;
mod unit;
mod verb;

use std::process::ExitCode;

use clap::builder::BoolishValueParser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgAction, CommandFactory, FromArgMatches};
use shim::protocol::FailureKind;

/// Exit code for what this program itself could not do, where the exit code may also be a container's.
const OWN_ERROR: u8 = 125;

fn main() -> ExitCode {
    session::terminal::restore_on_panic();
    let command = explicit_booleans(cli::Cli::command());
    let parsed = command.try_get_matches().and_then(|matches| cli::Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let own = if cli.command.runs_programs() { OWN_ERROR } else { 1 };
    let result = store::roots::Roots::new(&cli.root, &cli.state).and_then(|roots| cli.command.run(&roots));
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) if is_broken_pipe(&error) => ExitCode::from(141),
        Err(error) => {
            if !nix::unistd::geteuid().is_root() {
                eprintln!("rtctl: you are not root; run it with sudo");
            }
            eprintln!("rtctl: {error:#}");
            ExitCode::from(code_of(&error).unwrap_or(own))
        }
    }
}

/// 127 for a program that is not there, 126 for one that cannot be executed, 128 and more after a signal.
fn code_of(error: &anyhow::Error) -> Option<u8> {
    if let Some(transfer::Interrupted(signal)) = error.downcast_ref() {
        return Some(verb::exit_code(128 + *signal as i32));
    }
    error.chain().find_map(|cause| match cause.downcast_ref::<shim::client::Error>() {
        Some(shim::client::Error::Failed { kind: FailureKind::CommandNotFound, .. }) => Some(127),
        Some(shim::client::Error::Failed { kind: FailureKind::CommandNotExecutable, .. }) => Some(126),
        Some(_) | None => None,
    })
}

/// Whether nobody reads what this program prints.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| match cause.downcast_ref::<std::io::Error>() {
        Some(error) => error.kind() == std::io::ErrorKind::BrokenPipe,
        None => false,
    })
}

/// Docker takes `--rm=false`, too.
fn explicit_booleans(command: clap::Command) -> clap::Command {
    let command = command.mut_args(|arg| match arg.get_action() {
        ArgAction::SetTrue => arg
            .action(ArgAction::Set)
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .default_value("false")
            .hide_default_value(true)
            .hide_possible_values(true)
            .value_name("BOOL")
            .value_parser(BoolishValueParser::new()),
        _ => arg,
    });
    command.mut_subcommands(explicit_booleans)
}

/// A command line that is not understood.
fn usage(error: &clap::Error) -> ExitCode {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        Some(_) | None => None,
    };
    let refused = match error.kind() {
        ErrorKind::UnknownArgument => context(ContextKind::InvalidArg).and_then(flag::refused::flag),
        ErrorKind::InvalidSubcommand => context(ContextKind::InvalidSubcommand).and_then(flag::refused::command),
        ErrorKind::DisplayVersion => {
            print!("{}", error.render());
            return ExitCode::SUCCESS;
        }
        // The help is that of plain flags: that they take a value, too, would only be in the way.
        ErrorKind::DisplayHelp => match cli::Cli::command().try_get_matches() {
            Err(help) if help.kind() == ErrorKind::DisplayHelp => {
                print!("{}", help.render());
                return ExitCode::SUCCESS;
            }
            Ok(_) | Err(_) => {
                print!("{}", error.render());
                return ExitCode::SUCCESS;
            }
        },
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            eprint!("{}", cli::Cli::command().render_help());
            return ExitCode::from(OWN_ERROR);
        }
        _ => None,
    };
    match refused {
        Some(text) => eprintln!("rtctl: {text}"),
        None => {
            let text = error.render().to_string();
            eprint!("rtctl: {}", text.strip_prefix("error: ").unwrap_or(&text));
        }
    }
    ExitCode::from(OWN_ERROR)
}
