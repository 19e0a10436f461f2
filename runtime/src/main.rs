//! `rt-runtime`: the OCI command line. One thread; everything happens in `runtime`, a verb is a file of `verb`.

#![cfg_attr(not(test), no_main)]

mod args;
mod log;
mod verb;

use std::io::Write;

use crate::args::Parsed;
use crate::verb::{Context, Failure};

#[cfg(not(test))]
runtime::entry!(run);

#[cfg_attr(test, expect(dead_code, reason = "the test harness is the program then"))]
fn run() -> i32 {
    let code = command();
    // The descriptors go with the process.
    let _ = std::io::stdout().flush();
    i32::from(code)
}

fn command() -> u8 {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    let (global, verb_args) = match args::global(args) {
        Ok(split) => split,
        Err(error) => return usage(&error),
    };
    if global.is_set("version") {
        println!("rt-runtime version {}\nspec: {}", env!("CARGO_PKG_VERSION"), verb::SPEC_VERSION);
        return 0;
    }
    let Some((name, verb_args)) = verb_args.split_first() else {
        print!("{}", verb::help());
        return 0;
    };
    if name == "help" || name == "h" {
        print!("{}", verb_args.first().and_then(|name| verb::find(name)).map_or_else(verb::help, verb::Verb::help));
        return 0;
    }
    if matches!(name.as_str(), "checkpoint" | "restore") {
        return usage(&format!("{name} is not supported: there is no CRIU here"));
    }
    let Some(verb) = verb::find(name) else {
        return usage(&format!("unknown command {name:?}; see rt-runtime --help"));
    };
    // Behind the first positional everything can belong to another program.
    let mut own = verb_args.iter().take_while(|arg| !verb.passes_arguments || arg.starts_with('-'));
    if global.is_set("help") || own.any(|arg| arg == "--help" || arg == "-h") {
        print!("{}", verb.help());
        return 0;
    }
    let log = match log::Log::open(&global) {
        Ok(log) => log,
        Err(error) => return usage(&error.to_string()),
    };
    match carry_out(verb, &global, verb_args, &log) {
        Ok(code) => code,
        Err(failure) => {
            log.error(&failure.message);
            failure.code
        }
    }
}

fn carry_out(verb: &verb::Verb, global: &Parsed, verb_args: &[String], log: &log::Log) -> Result<u8, Failure> {
    let context = Context::new(global, log)?;
    let parsed =
        args::verb(verb, verb_args).map_err(|error| Failure { code: 1, message: format!("{}: {error}", verb.name) })?;
    if verb.enters_containers {
        let preserved = verb::preserved_fds(&parsed, verb.activation)?;
        verb::check_preserved(preserved)?;
        verb::protect_own_program(preserved)?;
    }
    log.debug(|| format!("{} {verb_args:?}, containers in {:?}", verb.name, context.root));
    (verb.run)(&context, &parsed)
}

fn usage(error: &str) -> u8 {
    eprintln!("rt-runtime: {error}");
    1
}
