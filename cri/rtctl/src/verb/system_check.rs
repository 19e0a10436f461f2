//! `rtctl system check`, and `rtctl __probe`, by which it tries things

use anyhow::Result;
use serde_json::json;

use crate::host::Facts;
use crate::host::finding::{Level, findings};
use crate::host::probe;
use crate::output::list::{self, Layout};
use crate::store::roots::Roots;
use crate::template::Context;

/// Try what containers need, and say what is missing
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// json, a Go template, or "table TEMPLATE"
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
}

const EXAMPLES: &str = "\
Exit status 1 when something is missing without which no container can run.

Examples:
  rtctl system check
  rtctl system check --format '{{.Status}} {{.What}}'

Fields: Status What How Advice";

impl Args {
    pub(crate) fn run(self, roots: &Roots) -> Result<u8> {
        let findings = findings(&Facts::read(roots)?);
        let items: Vec<Context> = findings
            .iter()
            .map(|finding| {
                let dot = json!({
                    "Status": finding.level.word(),
                    "What": finding.what,
                    "How": finding.how,
                    "Advice": finding.advice,
                });
                Context { dot, ..Context::default() }
            })
            .collect();
        let layout = Layout {
            format: self.format.as_deref(),
            table: "{{.Status}}\t{{.What}}\t{{.How}}\t{{.Advice}}",
            headings: &[("Status", "STATUS"), ("What", "WHAT"), ("How", "HOW"), ("Advice", "WHAT TO DO")],
        };
        // Whole: what to do stands at the end of the line.
        list::print_whole(&layout, &items)?;
        Ok(u8::from(findings.iter().any(|finding| finding.level == Level::Missing)))
    }
}

/// Try one thing in this process
#[derive(Debug, clap::Args)]
pub(crate) struct ProbeArgs {
    /// user, network, overlay or seccomp
    what: String,
}

impl ProbeArgs {
    pub(crate) fn run(self) -> Result<u8> {
        probe::attempt(&self.what)?;
        Ok(0)
    }
}
