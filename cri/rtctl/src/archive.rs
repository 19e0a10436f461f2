//! Trees as tar streams.

use std::ffi::CString;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use tar::{EntryType, Header};

use cri::copy::{Content, Entry, Kind, tree};

/// Reads an archive. Types that are no files (volume labels, sparse maps of old formats) are refused.
pub(crate) fn read(input: impl Read, each: &mut dyn FnMut(Entry, &mut dyn Read) -> Result<()>) -> Result<()> {
    let mut archive = tar::Archive::new(input);
    for item in archive.entries().context("tar archive")? {
        let mut item = item.context("tar archive")?;
        let entry = entry(&mut item)?;
        each(entry, &mut item)?;
    }
    Ok(())
}

fn entry(item: &mut tar::Entry<'_, impl Read>) -> Result<Entry> {
    let path = item.path().context("tar archive")?.into_owned();
    let shown = || format!("tar archive: {}", path.display());
    let header = item.header();
    let device = || -> Result<u64> {
        let part = |part: std::io::Result<Option<u32>>| Ok::<u64, std::io::Error>(u64::from(part?.unwrap_or(0)));
        Ok(nix::sys::stat::makedev(part(header.device_major())?, part(header.device_minor())?))
    };
    let link = |item: &tar::Entry<'_, _>| -> Result<PathBuf> {
        Ok(item.link_name().with_context(shown)?.with_context(|| format!("{}: no link target", shown()))?.into_owned())
    };
    let kind = match header.entry_type() {
        EntryType::Regular | EntryType::Continuous if path.as_os_str().as_encoded_bytes().ends_with(b"/") => {
            Kind::Directory
        }
        EntryType::Regular | EntryType::Continuous => Kind::File { size: item.size(), content: Content::Archive },
        EntryType::Directory => Kind::Directory,
        EntryType::Symlink => Kind::Symlink(link(item)?),
        EntryType::Link => Kind::HardLink(link(item)?),
        EntryType::Char => Kind::Char(device().with_context(shown)?),
        EntryType::Block => Kind::Block(device().with_context(shown)?),
        EntryType::Fifo => Kind::Fifo,
        other => bail!("{}: entries of type {other:?} are not supported", shown()),
    };
    // As tar(1), which takes a field without digits for nought.
    let id = |field: &[u8; 8], id: std::io::Result<u64>| -> Result<u32> {
        if field.iter().all(|byte| matches!(byte, 0 | b' ')) {
            return Ok(0);
        }
        let id = id.with_context(shown)?;
        u32::try_from(id).with_context(|| format!("{}: id {id} is too large", shown()))
    };
    let old = header.as_old();
    let mode = header.mode().with_context(shown)? & 0o7777;
    let (uid, gid) = (id(&old.uid, header.uid())?, id(&old.gid, header.gid())?);
    let mtime = i64::try_from(header.mtime().unwrap_or(0)).unwrap_or(0);
    let mut xattrs = Vec::new();
    if let Some(extensions) = item.pax_extensions().with_context(shown)? {
        for extension in extensions {
            let extension = extension.with_context(shown)?;
            let name = extension.key_bytes().strip_prefix(b"SCHILY.xattr.").and_then(|name| CString::new(name).ok());
            if let Some(name) = name.filter(|name| tree::is_copied(name)) {
                xattrs.push((name, extension.value_bytes().to_vec()));
            }
        }
    }
    Ok(Entry { path, kind, mode, uid, gid, mtime: (mtime, 0), xattrs })
}

/// Writes an archive.
pub(crate) struct Writer<W: Write> {
    tar: tar::Builder<W>,
    /// Name of the top entry.
    top: PathBuf,
}

impl<W: Write> Writer<W> {
    /// The top entry is called `top`.
    pub(crate) fn new(output: W, top: PathBuf) -> Writer<W> {
        Writer { tar: tar::Builder::new(output), top }
    }

    /// Adds one entry.
    pub(crate) fn put(&mut self, entry: Entry) -> Result<()> {
        let path = self.top.join(&entry.path);
        let shown = format!("{}", path.display());
        self.add(entry, &path).with_context(|| shown)
    }

    fn add(&mut self, entry: Entry, path: &Path) -> Result<()> {
        let extensions: Vec<(String, &[u8])> = entry
            .xattrs
            .iter()
            .filter_map(|(name, value)| Some((format!("SCHILY.xattr.{}", name.to_str().ok()?), value.as_slice())))
            .collect();
        if !extensions.is_empty() {
            self.tar.append_pax_extensions(extensions.iter().map(|(name, value)| (name.as_str(), *value)))?;
        }
        let mut header = Header::new_gnu();
        header.set_mode(entry.mode);
        header.set_uid(entry.uid.into());
        header.set_gid(entry.gid.into());
        header.set_mtime(u64::try_from(entry.mtime.0).unwrap_or(0));
        header.set_size(0);
        let device = |header: &mut Header, kind, device: u64| -> Result<()> {
            header.set_entry_type(kind);
            header.set_device_major(u32::try_from(nix::sys::stat::major(device))?)?;
            header.set_device_minor(u32::try_from(nix::sys::stat::minor(device))?)?;
            Ok(())
        };
        match entry.kind {
            Kind::File { size, content: Content::File(file) } => {
                header.set_entry_type(EntryType::Regular);
                header.set_size(size);
                // A file that shrinks while it is read is filled up, or everything after it would be read wrongly.
                let content = file.take(size).chain(std::io::repeat(0)).take(size);
                self.tar.append_data(&mut header, path, content)?;
                return Ok(());
            }
            Kind::File { content: Content::Archive, .. } => bail!("an archive is not copied into an archive"),
            Kind::Symlink(target) => {
                header.set_entry_type(EntryType::Symlink);
                self.tar.append_link(&mut header, path, target)?;
                return Ok(());
            }
            Kind::HardLink(first) => {
                header.set_entry_type(EntryType::Link);
                let first = self.top.join(first);
                self.tar.append_link(&mut header, path, first)?;
                return Ok(());
            }
            Kind::Directory => header.set_entry_type(EntryType::Directory),
            Kind::Char(number) => device(&mut header, EntryType::Char, number)?,
            Kind::Block(number) => device(&mut header, EntryType::Block, number)?,
            Kind::Fifo => header.set_entry_type(EntryType::Fifo),
        }
        self.tar.append_data(&mut header, path, std::io::empty())?;
        Ok(())
    }

    /// Writes the end of the archive.
    pub(crate) fn finish(self) -> Result<()> {
        self.tar.into_inner().and_then(|mut output| output.flush()).context("tar archive")
    }
}
