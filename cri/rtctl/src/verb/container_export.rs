//! `rtctl export`

use std::fs::File;
use std::io::{BufWriter, IsTerminal, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use cri::copy::place::container_id;
use cri::copy::tree;
use nix::fcntl::AT_FDCWD;
use runtime::spec::{IdMapping, Linux};
use runtime::sys::Call;
use runtime::sys::mount::{Depth, open_tree};
use shim::layout::Layers;

use crate::archive::Writer;
use crate::rootfs;
use crate::store::roots::Roots;
use crate::store::view::Container;

/// Write a container's files as a tar archive
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Write to this file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Name or id
    container: String,
}

const EXAMPLES: &str = "\
All files of the image and what the container changed, without volumes and mounts. Works on containers that do not run, too.

Examples:
  rtctl export -o web.tar web
  rtctl export web | tar t";

impl Args {
    pub(crate) fn run(self, roots: &Roots) -> Result<u8> {
        let container = Container::find(roots, &self.container)?;
        container.record()?;
        let root = root(&container)?;
        let linux = container.spec()?.linux.unwrap_or_default();
        // Layers have the container's ids, a directory those of the host.
        let linux = if container.task()?.layers.is_some() { Linux::default() } else { linux };
        let maps = (linux.uid_mappings.as_slice(), linux.gid_mappings.as_slice());
        let Some(path) = self.output else {
            let stdout = std::io::stdout();
            if stdout.is_terminal() {
                bail!("standard output is a terminal: give a file with -o, or redirect it");
            }
            write(root, maps, BufWriter::with_capacity(1 << 20, stdout.lock()))?;
            return Ok(0);
        };
        // Beside the file and then in its place: an error leaves nothing, and what was there before stays whole.
        let part = path.with_added_extension("part");
        let shown = || format!("{}", part.display());
        let file =
            File::options().write(true).create(true).truncate(true).mode(0o600).open(&part).with_context(shown)?;
        let written = write(root, maps, BufWriter::with_capacity(1 << 20, file));
        let written = written.and_then(|()| std::fs::rename(&part, &path).with_context(shown));
        if written.is_err() {
            let _gone_already = std::fs::remove_file(&part);
        }
        written.map(|()| 0)
    }
}

/// The container's files without what is mounted over them: the writable layer as the topmost of read-only ones. Whether it runs
/// or not is the same.
fn root(container: &Container) -> Result<OwnedFd> {
    match container.task()?.layers {
        Some(Layers { lower, upper }) => {
            let mut all: Vec<PathBuf> = upper.into_iter().map(|(upper, _)| upper).collect();
            all.extend(lower);
            rootfs::layers(&all)
        }
        None => {
            let spec = container.spec()?;
            let path = spec.root.context("config.json has no root")?.path;
            let path = std::ffi::CString::new(path).context("root.path")?;
            Ok(open_tree(AT_FDCWD, &path, Depth::Single).call(|| format!("open_tree({path:?})"))?)
        }
    }
}

fn write(root: OwnedFd, (uids, gids): (&[IdMapping], &[IdMapping]), output: impl Write) -> Result<()> {
    let mut writer = Writer::new(output, PathBuf::new());
    tree::read(root, &mut |mut entry, _| {
        // The top has no name.
        if entry.path == Path::new("") {
            return Ok(());
        }
        entry.uid = container_id(uids, entry.uid);
        entry.gid = container_id(gids, entry.gid);
        writer.put(entry)
    })?;
    writer.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_the_containers() {
        let maps = [
            IdMapping { container_id: 0, host_id: 1000, size: 10 },
            IdMapping { container_id: 50, host_id: 5, size: 1 },
        ];
        for (host, expected) in [(1000, 0), (1009, 9), (1010, 1010), (5, 50), (0, 0)] {
            assert_eq!(container_id(&maps, host), expected, "{host}");
        }
        assert_eq!(container_id(&[], 7), 7);
    }
}
