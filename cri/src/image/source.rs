//! Where images are loaded from: a layout folder, or an archive of one, by the names of its files.

use std::cell::Cell;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::rc::Rc;

use runtime::rooted::Shown;
use runtime::sys::Call;

use super::dir::{Dir, read_bounded};
use super::error::Error;
use super::ingest::Ingest;
use super::limits::Limits;
use super::tar::{Kind, Reader, TarError};
use super::unpack::{Compression, bounded_decoder, own_error, tar_error};

/// What to load.
pub enum Source<'a> {
    /// A layout folder, or an archive, plain or compressed.
    Path(PathBuf),
    /// An archive from a pipe; kept in the store's folder meanwhile.
    Stream(&'a mut dyn Read),
}

/// An opened source.
pub(crate) struct Opened {
    what: String,
    place: Place,
}

enum Place {
    Folder(Dir),
    Archive { file: File, members: HashMap<Vec<u8>, Member> },
}

enum Member {
    Data {
        offset: u64,
        size: u64,
    },
    /// A link of either kind, its target relative to the archive's root.
    Link(Vec<u8>),
}

/// How many links lead on to one another at most.
const LINKS_MAX: usize = 8;

impl Opened {
    pub(crate) fn open(source: Source<'_>, ingest: &mut Ingest<'_>, limits: &Limits) -> Result<Opened, Error> {
        match source {
            Source::Path(path) => {
                let what = path.display().to_string();
                let file = File::open(&path).call(|| format!("open({path:?}, O_RDONLY)"))?;
                let metadata = file.metadata().call(|| format!("fstat({})", Shown(&file)))?;
                if metadata.is_dir() {
                    return Ok(Opened { what, place: Place::Folder(Dir::open_path(&path)?) });
                }
                let mut start = [0; 4];
                let seekable = metadata.is_file();
                let read = if seekable { file.read_at(&mut start, 0) } else { Ok(0) };
                let read = read.call(|| format!("pread64({})", Shown(&file)))?;
                match Compression::of(&start[..read]) {
                    Compression::None if seekable => Opened::index(file, what, limits),
                    _ => Opened::spool(file, what, ingest, limits),
                }
            }
            Source::Stream(input) => Opened::spool(input, "archive from the input stream".into(), ingest, limits),
        }
    }

    /// Copies the uncompressed archive to a file of the staging folder: its index may come last.
    fn spool(input: impl Read, what: String, ingest: &mut Ingest<'_>, limits: &Limits) -> Result<Opened, Error> {
        let mut file = ingest.spool()?;
        let failed = |source| own_error(source).unwrap_or_else(|source| Error::Io { what: what.clone(), source });
        let count = Rc::new(Cell::new(0));
        let counted = Counted { inner: input, count: Rc::clone(&count) };
        let (_, mut plain) = bounded_decoder(counted, count, limits).map_err(failed)?;
        io::copy(&mut plain, &mut file).map_err(failed)?;
        drop(plain);
        file.rewind().map_err(failed)?;
        Opened::index(file, what, limits)
    }

    /// Notes where each file of the archive is.
    fn index(file: File, what: String, limits: &Limits) -> Result<Opened, Error> {
        let mut members = HashMap::new();
        let mut reader = Reader::new(BufReader::new(&file));
        loop {
            let at = reader.position();
            let entry = match reader.next_entry() {
                Ok(Some(entry)) => entry,
                Ok(None) => break,
                // Nothing that looks like tar was found: say what was expected instead.
                Err(TarError::Checksum | TarError::Truncated) if at == 0 => return Err(Error::NotAnImage { what }),
                Err(fault) => return Err(tar_error(at, fault)),
            };
            let member = match (&entry.kind, &entry.link) {
                (Kind::File { size, pieces: None }, _) => Some(Member::Data { offset: reader.position(), size: *size }),
                (Kind::HardLink, Some(target)) => normal(b"", target).map(Member::Link),
                (Kind::Symlink, Some(target)) => {
                    let folder = entry.path.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash);
                    normal(&entry.path[..folder], target).map(Member::Link)
                }
                _ => None,
            };
            if let (Some(name), Some(member)) = (normal(b"", &entry.path), member) {
                members.insert(name, member);
                if members.len() > limits.members {
                    return Err(Error::Limit { what, allowed: limits.members as u64, unit: "files" });
                }
            }
            reader.seek_past_data().map_err(|fault| tar_error(at, fault))?;
        }
        drop(reader);
        Ok(Opened { what, place: Place::Archive { file, members } })
    }

    pub(crate) fn what(&self) -> &str {
        &self.what
    }

    pub(crate) fn has(&self, name: &str) -> Result<bool, Error> {
        match &self.place {
            Place::Folder(dir) => Ok(dir.stat_of(name.as_bytes())?.is_some()),
            Place::Archive { members, .. } => Ok(members.contains_key(name.as_bytes())),
        }
    }

    /// Opens a file; gives its bytes and their number.
    pub(crate) fn open_member(&self, name: &[u8]) -> Result<(Box<dyn Read + '_>, u64), Error> {
        let missing = || Error::Missing { what: self.what.clone(), member: name.to_vec() };
        match &self.place {
            Place::Folder(dir) => {
                let file = dir.open_file(name)?.ok_or_else(missing)?;
                let size = file.metadata().call(|| format!("fstat({})", Shown(&file)))?.len();
                Ok((Box::new(file), size))
            }
            Place::Archive { file, members } => {
                let mut name = normal(b"", name).ok_or_else(missing)?;
                for _ in 0..LINKS_MAX {
                    match members.get(&name).ok_or_else(missing)? {
                        Member::Data { offset, size } => {
                            return Ok((Box::new(Part { file, offset: *offset, left: *size }), *size));
                        }
                        Member::Link(target) => name.clone_from(target),
                    }
                }
                Err(missing())
            }
        }
    }

    /// The bytes of a document.
    pub(crate) fn read(&self, name: &[u8], bound: u64) -> Result<Vec<u8>, Error> {
        let (input, _) = self.open_member(name)?;
        read_bounded(input, bound, || format!("{}: \"{}\"", self.what, name.escape_ascii()))
    }
}

/// A name relative to the archive's root, `.` and `..` worked out as text; `None`: it leads out or is empty.
fn normal(folder: &[u8], name: &[u8]) -> Option<Vec<u8>> {
    let mut parts: Vec<&[u8]> = Vec::new();
    let start = if name.starts_with(b"/") { b"" } else { folder };
    for part in start.split(|byte| *byte == b'/').chain(name.split(|byte| *byte == b'/')) {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()?),
            _ => parts.push(part),
        }
    }
    (!parts.is_empty()).then(|| parts.join(&b'/'))
}

/// A file within an archive.
struct Part<'a> {
    file: &'a File,
    offset: u64,
    left: u64,
}

impl Read for Part<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let length = self.file.read_at(&mut buffer[..most], self.offset)?;
        self.offset += length as u64;
        self.left -= length as u64;
        Ok(length)
    }
}

struct Counted<R> {
    inner: R,
    count: Rc<Cell<u64>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.count.set(self.count.get() + length as u64);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_inside() {
        type Row = (&'static [u8], &'static [u8], Option<&'static [u8]>);
        let rows: [Row; 7] = [
            (b"", b"./manifest.json", Some(b"manifest.json")),
            (b"abc", b"../def/layer.tar", Some(b"def/layer.tar")),
            (b"abc", b"../../etc/passwd", None),
            (b"abc", b"/x", Some(b"x")),
            (b"", b"..", None),
            (b"", b"./", None),
            (b"a/b", b"c", Some(b"a/b/c")),
        ];
        for (folder, name, expected) in rows {
            assert_eq!(normal(folder, name).as_deref(), expected, "{}", name.escape_ascii());
        }
    }
}
