//! `rtctl load`

use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use anyhow::{Result, bail};
use cri::image::{LoadOptions, Platform, Progress, Source, Store};

use crate::events;
use crate::output::human;
use crate::output::say;
use crate::store::roots::Roots;
use crate::transfer::BlobFlags;

/// Load images from an archive or an OCI layout
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Takes OCI layouts (folders, archives) and docker archives, plain, gzip or zstd.\n\nExamples:\n  rtctl load -i busybox.tar\n  rtctl load -i layout/ --name busybox:1.37\n  zcat image.tar.gz | rtctl load"
)]
pub(crate) struct Args {
    /// File or folder instead of standard input
    #[arg(short, long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Say only what was loaded
    #[arg(short, long)]
    quiet: bool,
    /// Only the image for this platform
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<Platform>,
    /// Name for the image in place of the archive's own names
    #[arg(long, value_name = "NAME")]
    name: Option<cri::image::Reference>,
    #[command(flatten)]
    blobs: BlobFlags,
}

impl Args {
    pub(crate) fn run(self, roots: &Roots) -> Result<u8> {
        let store = Store::open(&roots.root)?;
        let options = LoadOptions { platform: self.platform, name: self.name, blobs: self.blobs.choice() };
        let mut stdin = std::io::stdin();
        let source = match self.input {
            Some(path) => Source::Path(path),
            None if stdin.is_terminal() => bail!("standard input is a terminal: give a file with -i, or redirect one"),
            None => Source::Stream(&mut stdin),
        };
        let shows = !self.quiet && std::io::stderr().is_terminal();
        let mut last = None;
        let loaded = store.load(source, &options, &mut |progress| {
            if shows {
                show(&progress, &mut last);
            }
        })?;
        if shows {
            eprint!("\r\x1b[K");
        }
        for image in loaded {
            let name = image.names.first().map(|name| name.familiar().to_string()).unwrap_or_default();
            events::record(roots, "image", "load", &image.id.to_string(), [("name", &name)]);
            if image.names.is_empty() {
                say(&format!("Loaded image ID: {}", image.id))?;
            }
            for name in &image.names {
                say(&format!("Loaded image: {}", name.familiar()))?;
            }
        }
        Ok(0)
    }
}

/// One line that is written over; `last` is the percentage shown.
fn show(progress: &Progress, last: &mut Option<(String, u64)>) {
    let text = match progress {
        Progress::Exists { layer } => format!("{}: already there", layer.short()),
        Progress::Bytes { layer, done, total } => {
            let percent = (done * 100).checked_div(*total).unwrap_or(100);
            let key = (layer.short().to_owned(), percent);
            if last.as_ref() == Some(&key) {
                return;
            }
            *last = Some(key);
            format!("{}: {percent}% of {}", layer.short(), human::decimal_size(*total))
        }
        Progress::Unpacked { layer } => format!("{}: unpacked", layer.short()),
        Progress::Syncing => "writing to the disk".to_owned(),
    };
    let mut stderr = std::io::stderr();
    // Nobody is hurt by progress that cannot be shown.
    let _unseen = write!(stderr, "\r\x1b[K{text}").and_then(|()| stderr.flush());
}
