//! Names of archive entries, made safe before they reach a system call.

use super::super::error::EntryFault;

/// Longest name: the kernel's `PATH_MAX` without its NUL.
const PATH_MAX: usize = 4095;
/// Longest part of a name: the kernel's `NAME_MAX`.
const PART_MAX: usize = 255;
/// Deepest nesting of folders.
const DEPTH_MAX: usize = 1024;

/// A relative name without `.`, `..`, empty parts and NUL; empty for the root of the layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EntryPath {
    bytes: Vec<u8>,
}

impl EntryPath {
    /// Checks a name. Leading slashes and `./` are dropped, as every unpacker does; `..` is refused.
    pub(super) fn parse(name: &[u8]) -> Result<EntryPath, EntryFault> {
        if name.is_empty() {
            return Err(EntryFault::NoName);
        }
        let mut bytes = Vec::with_capacity(name.len().min(PATH_MAX));
        let mut depth = 0;
        for part in name.split(|byte| *byte == b'/') {
            match part {
                b"" | b"." => continue,
                b".." => return Err(EntryFault::DotDot),
                _ if part.contains(&0) => return Err(EntryFault::Nul),
                _ if part.len() > PART_MAX => return Err(EntryFault::LongPart(PART_MAX)),
                _ => {}
            }
            depth += 1;
            if depth > DEPTH_MAX {
                return Err(EntryFault::Deep(DEPTH_MAX));
            }
            if !bytes.is_empty() {
                bytes.push(b'/');
            }
            bytes.extend_from_slice(part);
            if bytes.len() > PATH_MAX {
                return Err(EntryFault::LongName(PATH_MAX));
            }
        }
        Ok(EntryPath { bytes })
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn is_root(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The folder and the last part; the folder is empty at the top.
    pub(super) fn split(&self) -> (&[u8], &[u8]) {
        match self.bytes.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => (&self.bytes[..slash], &self.bytes[slash + 1..]),
            None => (b"", &self.bytes),
        }
    }

    pub(super) fn parts(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes.split(|byte| *byte == b'/').filter(|part| !part.is_empty())
    }
}

/// What a name means for the layers below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Marker<'a> {
    /// An ordinary name.
    None,
    /// `.wh.NAME`: NAME is deleted from the layers below.
    Whiteout(&'a [u8]),
    /// `.wh..wh..opq`: nothing of this folder shines through from below.
    Opaque,
    /// `.wh..wh.…`: bookkeeping of aufs, without meaning.
    Aufs,
}

const WHITEOUT: &[u8] = b".wh.";
const AUFS: &[u8] = b".wh..wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// Source: OCI image-spec layer.md, "Whiteouts".
pub(super) fn marker(path: &EntryPath) -> Result<Marker<'_>, EntryFault> {
    let (folder, leaf) = path.split();
    for part in folder.split(|byte| *byte == b'/') {
        if part.starts_with(AUFS) {
            return Ok(Marker::Aufs);
        }
        if part.starts_with(WHITEOUT) {
            return Err(EntryFault::WhiteoutKind);
        }
    }
    if leaf == OPAQUE {
        return Ok(Marker::Opaque);
    }
    if leaf.starts_with(AUFS) {
        return Ok(Marker::Aufs);
    }
    match leaf.strip_prefix(WHITEOUT) {
        Some(b"" | b"." | b"..") => Err(EntryFault::EmptyWhiteout),
        Some(name) => Ok(Marker::Whiteout(name)),
        None => Ok(Marker::None),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names() {
        let long_part = vec![b'a'; 256];
        let long = [&b"abcdefg/"[..]; 513].concat();
        let deep = [&b"a/"[..]; 1025].concat();
        type Row<'a> = (&'a [u8], Result<&'a [u8], &'a str>);
        let rows: [Row<'_>; 14] = [
            (b"a/b", Ok(b"a/b")),
            (b"./a//b/", Ok(b"a/b")),
            (b"/etc/passwd", Ok(b"etc/passwd")),
            (b"./", Ok(b"")),
            (b"/", Ok(b"")),
            (b"a\xff\n", Ok(b"a\xff\n")),
            (b"...", Ok(b"...")),
            (b"", Err("has no name")),
            (b"../a", Err("'..'")),
            (b"a/../b", Err("'..'")),
            (b"a\0b", Err("NUL")),
            (&long_part, Err("255")),
            (&long, Err("4095")),
            (&deep, Err("1024")),
        ];
        for (name, expected) in rows {
            match (EntryPath::parse(name), expected) {
                (Ok(path), Ok(bytes)) => assert_eq!(path.as_bytes(), bytes),
                (Err(fault), Err(text)) => assert!(fault.to_string().contains(text), "{fault}"),
                (found, _) => panic!("{}: {found:?}", name.escape_ascii()),
            }
        }
    }

    #[test]
    fn markers() {
        let of = |name: &[u8]| {
            let path = EntryPath::parse(name).unwrap();
            marker(&path).map(|marker| format!("{marker:?}")).map_err(|fault| fault.to_string())
        };
        assert_eq!(of(b"a/.wh.b").unwrap(), format!("{:?}", Marker::Whiteout(b"b")));
        assert_eq!(of(b".wh..wh..opq").unwrap(), "Opaque");
        assert_eq!(of(b".wh..wh.plnk/1.2").unwrap(), "Aufs");
        assert_eq!(of(b".wh..wh.aufs").unwrap(), "Aufs");
        assert_eq!(of(b"a.wh.b").unwrap(), "None");
        for name in [&b".wh."[..], b".wh..", b".wh...", b".wh.a/b"] {
            assert!(of(name).is_err(), "{}", name.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn never_panics_never_escapes(name in proptest::collection::vec(prop_oneof![Just(b'/'), Just(b'.'), any::<u8>()], 0..60)) {
            if let Ok(path) = EntryPath::parse(&name) {
                prop_assert!(!path.as_bytes().starts_with(b"/"));
                prop_assert!(path.parts().all(|part| part != b".." && part != b"." && !part.contains(&0)));
                prop_assert_eq!(&EntryPath::parse(&[b"./", path.as_bytes()].concat()).unwrap(), &path);
                let _ = marker(&path);
            }
        }
    }
}
