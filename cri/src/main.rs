//! `rtd`: the daemon that a kubelet drives. CRI v1 on a unix socket.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use cri::pod::Settings;
use cri::server::{Service, listen};
use tokio::signal::unix::{SignalKind, signal};

/// Serves the Container Runtime Interface, v1, on a unix socket.
#[derive(Debug, Parser)]
#[command(name = "rtd", version, after_help = EXAMPLES)]
struct Args {
    /// Directory of images and layers
    #[arg(long, value_name = "DIR", env = "RT_ROOT", default_value = "/var/lib/rt", hide_env = true)]
    root: PathBuf,
    /// Directory of what runs
    #[arg(long, value_name = "DIR", env = "RT_STATE", default_value = "/run/rt", hide_env = true)]
    state: PathBuf,
    /// Where to listen
    #[arg(long, value_name = "SOCKET", default_value = "/run/rt/rtd.sock")]
    listen: PathBuf,
}

const EXAMPLES: &str = "\
Examples:
  rtd
  crictl --runtime-endpoint unix:///run/rt/rtd.sock images

  crictl --runtime-endpoint unix:///run/rt/rtd.sock pods";

/// Most threads that wait for disks and plugins: one that is stuck must not keep the others from work.
const BLOCKING_THREADS: usize = 2048;

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
    let settings = Settings::new(&args.root, &args.state, &shim_program()?);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build()
        .context("threads")?;
    // It is dropped outside of asynchronous code: threads of its registries are waited for.
    let service = runtime.block_on(Service::open(settings, &cri::streaming::Config::default()))?;
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

/// `rt-shim`: named in RT_SHIM, or beside this program.
fn shim_program() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("RT_SHIM").filter(|path| !path.is_empty()) {
        return Ok(PathBuf::from(path));
    }
    let own = std::env::current_exe().context("readlink(/proc/self/exe)")?;
    Ok(own.with_file_name("rt-shim"))
}
