//! `ps`: the processes of a container.

use std::process::Command;

use runtime::state::Access;
use runtime::sys::Call;

use super::{Context, Failure, Verb};
use crate::args::{Flag, Parsed};

pub(super) const VERB: Verb = Verb {
    name: "ps",
    usage: "ps [options] ID [PS-OPTION...]",
    summary: "show the processes of a container",
    flags: &[Flag { name: "format", short: Some('f'), value: Some("table|json"), help: "format (default table)" }],
    least: 1,
    most: 1,
    passes_arguments: true,
    enters_containers: false,
    activation: false,
    run,
};

fn run(context: &Context<'_>, parsed: &Parsed) -> Result<u8, Failure> {
    let json = match parsed.value("format") {
        None | Some("table") => false,
        Some("json") => true,
        Some(other) => return Err(Failure::new(format!("--format: {other:?} is neither table nor json"))),
    };
    let container = context.open(parsed, Access::Look)?;
    container.alive("it has no processes")?;
    let cgroup = container.cgroup("its processes are not known")?;
    let pids: Vec<i32> = cgroup.processes()?.into_iter().map(nix::unistd::Pid::as_raw).collect();
    if json {
        println!("{}", serde_json::Value::from(pids));
        return Ok(0);
    }
    let options = &parsed.positionals[1..];
    let options = if options.is_empty() { vec!["-ef".to_owned()] } else { options.to_vec() };
    let output = Command::new("ps").args(&options).output().call(|| "execve(\"ps\")".to_owned())?;
    if !output.status.success() {
        return Err(Failure::new(format!("ps {options:?}: {}", String::from_utf8_lossy(&output.stderr).trim_end())));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let mut lines = text.lines();
    let header = lines.next().unwrap_or_default();
    let column = header.split_whitespace().position(|title| title == "PID");
    let column = column.ok_or_else(|| Failure::new(format!("ps {options:?}: its output has no PID column")))?;
    println!("{header}");
    for line in lines {
        let pid = line.split_whitespace().nth(column).and_then(|pid| pid.parse().ok());
        if pid.is_some_and(|pid| pids.contains(&pid)) {
            println!("{line}");
        }
    }
    Ok(0)
}
