//! `rt-runtime`: the OCI command line. One thread; everything happens in `runtime`, a verb is a file of `verb`.

mod args;
mod log;
mod verb;

use std::process::ExitCode;

use crate::args::Parsed;
use crate::verb::{Context, Failure};

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    let (global, verb_args) = match args::global(args) {
        Ok(split) => split,
        Err(error) => return usage(&error),
    };
    if global.is_set("version") {
        println!("rt-runtime version {}\nspec: {}", env!("CARGO_PKG_VERSION"), verb::SPEC_VERSION);
        return ExitCode::SUCCESS;
    }
    let Some((name, verb_args)) = verb_args.split_first() else {
        print!("{}", verb::help());
        return ExitCode::SUCCESS;
    };
    let Some(verb) = verb::find(name) else {
        return usage(&format!("unknown command {name:?}; see rt-runtime --help"));
    };
    if global.is_set("help") || verb_args.iter().any(|arg| arg == "--help" || arg == "-h") && !verb.passes_arguments {
        print!("{}", verb.help());
        return ExitCode::SUCCESS;
    }
    let log = match log::Log::open(&global) {
        Ok(log) => log,
        Err(error) => return usage(&error.to_string()),
    };
    match run(verb, &global, verb_args, &log) {
        Ok(code) => code,
        Err(failure) => {
            log.error(&failure.message);
            ExitCode::from(failure.code)
        }
    }
}

fn run(verb: &verb::Verb, global: &Parsed, verb_args: &[String], log: &log::Log) -> Result<ExitCode, Failure> {
    let context = Context::new(global, log)?;
    let parsed =
        args::verb(verb, verb_args).map_err(|error| Failure { code: 1, message: format!("{}: {error}", verb.name) })?;
    if verb.enters_containers {
        verb::protect_own_program()?;
    }
    (verb.run)(&context, &parsed)
}

fn usage(error: &str) -> ExitCode {
    eprintln!("rt-runtime: {error}");
    ExitCode::from(1)
}
