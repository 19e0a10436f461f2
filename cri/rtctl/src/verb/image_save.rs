//! `rtctl save`

use std::io::{BufWriter, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use cri::copy::place::{Owner, Place};
use cri::copy::tree;
use cri::image::Store;

use crate::archive;
use crate::events;
use crate::image::explain;
use crate::rootfs;
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
    /// The same as a folder, which must not be there or be empty
    OciDir,
    /// As docker save
    #[value(alias = "docker-archive")]
    Docker,
}

impl Args {
    pub(crate) fn run(self, roots: &Roots) -> Result<u8> {
        let store = Store::open(&roots.root)?;
        let names: Vec<&str> = self.images.iter().map(String::as_str).collect();
        let mut ids = Vec::new();
        for name in &names {
            ids.push(store.resolve(name).map_err(|error| explain(error, name))?.id.to_string());
        }
        let told = || {
            for (id, name) in ids.iter().zip(&names) {
                events::record(roots, "image", "save", id, [("name", name)]);
            }
        };
        let format = match self.format {
            Kind::Oci | Kind::OciDir => cri::image::Format::Oci,
            Kind::Docker => cri::image::Format::Docker,
        };
        let Some(path) = self.output else {
            if self.format == Kind::OciDir {
                bail!("--format oci-dir needs a folder: name it with -o");
            }
            let stdout = std::io::stdout();
            if stdout.is_terminal() {
                bail!("standard output is a terminal: give a file with -o, or redirect it");
            }
            let mut output = BufWriter::with_capacity(1 << 20, stdout.lock());
            store.save(&names, format, &mut output)?;
            output.flush().context("write(stdout)")?;
            told();
            return Ok(0);
        };
        // Beside the file and then in its place: an error leaves nothing, and what was there before stays whole.
        let part = path.with_added_extension("part");
        let shown = || format!("{}", part.display());
        let file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part);
        let mut output = BufWriter::with_capacity(1 << 20, file.with_context(shown)?);
        let saved = store.save(&names, format, &mut output).map_err(anyhow::Error::from);
        let saved = saved.and_then(|()| output.flush().with_context(shown));
        let saved = saved.and_then(|()| match self.format {
            Kind::OciDir => unpack(&part, &path),
            Kind::Oci | Kind::Docker => std::fs::rename(&part, &path).with_context(shown),
        });
        if saved.is_err() || self.format == Kind::OciDir {
            let _gone_already = std::fs::remove_file(&part);
        }
        saved?;
        told();
        Ok(0)
    }
}

/// Unpacks an archive that this program has written into a folder.
fn unpack(file: &Path, folder: &Path) -> Result<()> {
    let shown = || format!("{}", folder.display());
    match std::fs::create_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            if !tree::is_empty(folder)? {
                bail!("{}: is not empty", folder.display());
            }
        }
        made => made.with_context(shown)?,
    }
    let input = std::fs::File::open(file).with_context(shown)?;
    let mut place = Place::new(rootfs::directory(folder)?, Owner::Caller, None);
    archive::read(std::io::BufReader::new(input), &mut |entry, content| Ok(place.put(entry, content)?))?;
    Ok(place.finish()?)
}
