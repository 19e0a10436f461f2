//! `rtctl version`

use anyhow::Result;
use serde_json::json;

use crate::output::list;
use crate::output::say;

/// Show versions
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// json, or a Go template
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
}

impl Args {
    pub(crate) fn run(self) -> Result<u8> {
        let kernel = nix::sys::utsname::uname()?;
        let document = json!({
            "Client": {
                "Version": env!("CARGO_PKG_VERSION"),
                "Os": std::env::consts::OS,
                "Arch": std::env::consts::ARCH,
                "KernelVersion": kernel.release().to_string_lossy(),
                "ContainerRecord": crate::store::record::VERSION,
                "ShimRecord": shim::layout::VERSION,
            },
        });
        if let Some(format) = &self.format {
            // One document, not a list of them.
            if format == "json" {
                say(&serde_json::to_string(&document)?)?;
                return Ok(0);
            }
            list::documents(Some(format), &[document], "")?;
            return Ok(0);
        }
        say(&format!("rtctl {}", env!("CARGO_PKG_VERSION")))?;
        say(&format!(" OS/Arch: {}/{}", std::env::consts::OS, std::env::consts::ARCH))?;
        say(&format!(" Kernel: {}", kernel.release().to_string_lossy()))?;
        say(&format!(" Records: container {}, shim {}", crate::store::record::VERSION, shim::layout::VERSION))?;
        Ok(0)
    }
}
