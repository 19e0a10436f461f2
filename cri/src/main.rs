//! `rtd`: the daemon that a kubelet drives. CRI v1 on a unix socket.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use cri::server::{Service, listen};
use tokio::signal::unix::{SignalKind, signal};

/// Serves the Container Runtime Interface, v1, on a unix socket.
#[derive(Debug, Parser)]
#[command(name = "rtd", version, after_help = EXAMPLES)]
struct Args {
    /// Directory of images and layers
    #[arg(long, value_name = "DIR", env = "RT_ROOT", default_value = "/var/lib/rt", hide_env = true)]
    root: PathBuf,
    /// Where to listen
    #[arg(long, value_name = "SOCKET", default_value = "/run/rt/rtd.sock")]
    listen: PathBuf,
}

const EXAMPLES: &str = "\
Examples:
  rtd
  crictl --runtime-endpoint unix:///run/rt/rtd.sock images

This version serves images; pods are not built yet.";

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rtd: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    let service = Service::open(&args.root)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("threads")?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).context("sigaction(SIGTERM)")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("sigaction(SIGINT)")?;
        let listener = listen(&args.listen).await?;
        eprintln!("rtd: listening on {}", args.listen.display());
        let stop = async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        service.serve(listener, stop).await.with_context(|| args.listen.display().to_string())
    })
}
