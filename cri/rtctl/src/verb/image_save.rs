//! `rtctl save`

use std::io::{BufWriter, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use cri::image::Store;

use crate::image::explain;
use crate::store::roots::Roots;

/// Write images to an archive
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  rtctl save -o busybox.tar busybox\n  rtctl save --format docker busybox | ssh host docker load"
)]
pub(crate) struct Args {
    /// File instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Kind of archive
    #[arg(long, default_value = "oci")]
    format: Kind,
    /// Names or ids
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

/// `--format`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// OCI layout: for podman, skopeo, containerd, newer docker
    #[value(alias = "oci-archive")]
    Oci,
    /// As docker save
    #[value(alias = "docker-archive")]
    Docker,
}

impl Args {
    pub(crate) fn run(self, roots: &Roots) -> Result<u8> {
        let store = Store::open(&roots.root)?;
        let names: Vec<&str> = self.images.iter().map(String::as_str).collect();
        for name in &names {
            store.resolve(name).map_err(|error| explain(error, name))?;
        }
        let format = match self.format {
            Kind::Oci => cri::image::Format::Oci,
            Kind::Docker => cri::image::Format::Docker,
        };
        let Some(path) = self.output else {
            let stdout = std::io::stdout();
            if stdout.is_terminal() {
                bail!("standard output is a terminal: give a file with -o, or redirect it");
            }
            let mut output = BufWriter::with_capacity(1 << 20, stdout.lock());
            store.save(&names, format, &mut output)?;
            output.flush().context("write(stdout)")?;
            return Ok(0);
        };
        // Beside the file and then in its place: an error leaves nothing, and what was there before stays whole.
        let part = path.with_added_extension("part");
        let shown = || format!("{}", part.display());
        let file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part);
        let mut output = BufWriter::with_capacity(1 << 20, file.with_context(shown)?);
        let saved = store.save(&names, format, &mut output).map_err(anyhow::Error::from);
        let saved = saved.and_then(|()| output.flush().with_context(shown));
        let saved = saved.and_then(|()| std::fs::rename(&part, &path).with_context(shown));
        if saved.is_err() {
            let _gone_already = std::fs::remove_file(&part);
        }
        saved.map(|()| 0)
    }
}
