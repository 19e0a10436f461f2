//! What GNU tar writes, and malformed archives made by hand.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use proptest::prelude::*;

use super::*;

fn gnu_tar(folder: &Path, options: &[&str]) -> Vec<u8> {
    let output =
        Command::new("tar").args(["-c", "--sort=name", "-C"]).arg(folder).args(options).arg(".").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn all(bytes: &[u8]) -> Result<Vec<(Entry, Vec<u8>)>, TarError> {
    let mut reader = Reader::new(bytes);
    let mut entries = Vec::new();
    while let Some(entry) = reader.next_entry()? {
        let mut data = Vec::new();
        reader.read_to_end(&mut data)?;
        entries.push((entry, data));
    }
    Ok(entries)
}

/// A header with a right checksum.
fn header(kind: EntryType, name: &[u8], size: u64, change: impl Fn(&mut [u8; BLOCK])) -> Vec<u8> {
    let mut header = Header::new_ustar();
    header.as_old_mut().name[..name.len()].copy_from_slice(name);
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    change(header.as_mut_bytes());
    header.set_cksum();
    header.as_bytes().to_vec()
}

fn padded(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    bytes
}

fn pax(text: &[u8]) -> Vec<u8> {
    [header(EntryType::XHeader, b"x", text.len() as u64, |_| {}), padded(text)].concat()
}

/// Extended header records with their lengths.
fn records(texts: &[&str]) -> Vec<u8> {
    let record = |text: &&str| {
        let rest = text.len() + 2;
        let digits = (1..).find(|digits| (rest + digits).to_string().len() == *digits).unwrap();
        format!("{} {text}\n", rest + digits)
    };
    texts.iter().map(record).collect::<String>().into_bytes()
}

#[test]
fn every_format_of_gnu_tar() {
    let scratch = tempfile::tempdir().unwrap();
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(120));
    std::fs::create_dir(scratch.path().join("d".repeat(120))).unwrap();
    std::fs::write(scratch.path().join(&long), "long").unwrap();
    std::os::unix::fs::symlink("t".repeat(150), scratch.path().join("link")).unwrap();
    for format in ["gnu", "oldgnu", "posix"] {
        let found = all(&gnu_tar(
            scratch.path(),
            &[&format!("--format={format}"), "--mtime=@1234567890.5", "--owner=:3000000", "--group=:7"],
        ))
        .unwrap();
        let paths: Vec<String> =
            found.iter().map(|(entry, _)| String::from_utf8(entry.path.clone()).unwrap()).collect();
        let folder = format!("./{}/", "d".repeat(120));
        assert_eq!(paths, ["./", &folder, &format!("./{long}"), "./link"], "{format}");
        assert_eq!(found[2].0.kind, Kind::File { size: 4, pieces: None });
        assert_eq!(found[2].1, b"long");
        assert_eq!((found[2].0.uid, found[2].0.gid), (3_000_000, 7));
        assert_eq!(found[3].0.link.as_deref(), Some("t".repeat(150).as_bytes()));
        let nanoseconds = if format == "posix" { 500_000_000 } else { 0 };
        assert_eq!(found[2].0.mtime, Time { seconds: 1_234_567_890, nanoseconds });
    }
}

#[test]
fn sparse_files_of_gnu_tar() {
    let scratch = tempfile::tempdir().unwrap();
    let file = File::create_new(scratch.path().join("holes")).unwrap();
    // More pieces than fit the header and one extension block of the old format.
    let pieces = 40u64;
    for at in 0..pieces {
        file.write_all_at(b"data", at << 20).unwrap();
    }
    let size = (pieces << 20) + 5;
    file.set_len(size).unwrap();
    for options in [
        &["--format=gnu"][..],
        &["--format=posix", "--sparse-version=0.0"],
        &["--format=posix", "--sparse-version=0.1"],
        &["--format=posix", "--sparse-version=1.0"],
    ] {
        let archive = gnu_tar(scratch.path(), &[options, &["--sparse"]].concat());
        assert!(archive.len() < 1 << 20, "holes are not stored");
        let found = all(&archive).unwrap();
        let (entry, data) = &found[1];
        assert_eq!(entry.path, b"./holes", "{options:?}");
        let Kind::File { size: found_size, pieces: Some(found_pieces) } = &entry.kind else { panic!("{entry:?}") };
        assert_eq!(*found_size, size);
        let mut position = 0usize;
        let mut seen = 0;
        for piece in found_pieces {
            let length = usize::try_from(piece.length).unwrap();
            let part = &data[position..position + length];
            position += length;
            if piece.length > 0 {
                assert_eq!(piece.offset % (1 << 20), 0, "{options:?}");
                assert_eq!(&part[..4], b"data");
                assert!(part[4..].iter().all(|byte| *byte == 0));
                seen += 1;
            }
        }
        assert_eq!((seen, position), (pieces, data.len()), "{options:?}");
    }
}

#[test]
fn ids_times_and_attributes() {
    let archive = [
        header(EntryType::XGlobalHeader, b"g", 25, |_| {}),
        padded(b"12 uid=4000\n13 comment=x\n"),
        pax(b"30 mtime=1350244992.023960108\n27 SCHILY.xattr.user.a=\0\n\0\n"),
        header(EntryType::Regular, b"file", 0, |block| block[100..108].copy_from_slice(b"0104755\0")),
        header(EntryType::Regular, b"old-style-folder/", 0, |_| {}),
        header(EntryType::Char, b"null", 0, |block| {
            block[329..337].copy_from_slice(b"0000001\0");
            block[337..345].copy_from_slice(b"0000003\0");
        }),
        header(EntryType::Regular, b"big", 0, |block| {
            block[116..124].copy_from_slice(b"\x80\0\0\0\xff\xff\xff\xfe");
            block[136..148].copy_from_slice(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe");
        }),
        // What a link says about its size is not data.
        header(EntryType::Link, b"link", 700, |block| block[157..161].copy_from_slice(b"file")),
        header(EntryType::Fifo, b"end", 0, |_| {}),
    ]
    .concat();
    let entries: Vec<Entry> = all(&archive).unwrap().into_iter().map(|(entry, _)| entry).collect();
    assert_eq!(entries.len(), 6);
    assert_eq!((entries[0].uid, entries[0].gid, entries[0].mode), (4000, 0, 0o4755));
    assert_eq!(entries[0].mtime, Time { seconds: 1_350_244_992, nanoseconds: 23_960_108 });
    assert_eq!(entries[0].xattrs, [(b"user.a".to_vec(), b"\0\n\0".to_vec())]);
    assert_eq!((&entries[1].kind, entries[1].xattrs.len()), (&Kind::Directory, 0));
    assert_eq!(entries[2].kind, Kind::CharacterDevice(1, 3));
    assert_eq!((entries[3].gid, entries[3].mtime.seconds), (0xffff_fffe, -2));
    assert_eq!((&entries[4].kind, entries[4].link.as_deref()), (&Kind::HardLink, Some(&b"file"[..])));
}

#[test]
fn malformed() {
    let file = |size| header(EntryType::Regular, b"f", size, |_| {});
    let mut wrong_sum = file(0);
    wrong_sum[0] ^= 1;
    let sparse = |map: &[u8], size| [pax(map), file(size), vec![0; 512]].concat();
    let mut endless = Header::new_gnu();
    endless.set_entry_type(EntryType::GNUSparse);
    endless.set_size(0);
    endless.as_gnu_mut().unwrap().isextended[0] = 1;
    endless.set_cksum();
    let rows: Vec<(Vec<u8>, &str)> = vec![
        (wrong_sum, "checksum"),
        (file(0)[..300].to_vec(), "ends in the middle"),
        (file(10), "ends in the middle"),
        (
            header(EntryType::Regular, b"f", 0, |block| {
                block[124..136].copy_from_slice(b"\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")
            }),
            "size",
        ),
        (header(EntryType::Regular, b"f", 0, |block| block[108..116].copy_from_slice(b"zzz\0\0\0\0\0")), "uid"),
        (header(EntryType::new(b'M'), b"f", 0, |_| {}), "type M"),
        (header(EntryType::XHeader, b"x", (1 << 20) + 1, |_| {}), "more than 1048576 bytes"),
        (header(EntryType::GNULongName, b"x", 70_000, |_| {}), "more than 65536 bytes"),
        (pax(b"6 a=b\n"), "belongs to no entry"),
        (pax(b"9 a=b\n"), "record"),
        ([header(EntryType::XGlobalHeader, b"g", 9, |_| {}), padded(b"9 path=a\n")].concat(), "every entry"),
        (sparse(b"23 GNU.sparse.map=0,512\n26 GNU.sparse.realsize=100\n", 512), "record"),
        (sparse(&records(&["GNU.sparse.map=0,512", "GNU.sparse.realsize=100"]), 512), "sparse map"),
        (sparse(&records(&["GNU.sparse.map=0,100", "GNU.sparse.realsize=1000"]), 512), "sparse map"),
        (sparse(&records(&["GNU.sparse.map=512,256,0,256", "GNU.sparse.realsize=10000"]), 512), "sparse map"),
        (
            sparse(&records(&["GNU.sparse.major=1", "GNU.sparse.minor=0", "GNU.sparse.realsize=10000"]), 512),
            "sparse map",
        ),
        (
            sparse(&records(&["GNU.sparse.major=2", "GNU.sparse.minor=0", "GNU.sparse.realsize=10000"]), 512),
            "sparse map",
        ),
        ([endless.as_bytes().to_vec(), vec![0; 100]].concat(), "ends in the middle"),
    ];
    for (archive, expected) in rows {
        let text = all(&archive).map(|entries| format!("{entries:?}")).unwrap_or_else(|error| error.to_string());
        assert!(text.contains(expected), "{expected}: {text}");
    }
}

#[test]
fn many_attributes_are_refused() {
    let record = |at: usize| format!("28 SCHILY.xattr.user.a{at:04}=\n");
    let few: String = (0..256).map(record).collect();
    let many: String = (0..257).map(record).collect();
    let file = header(EntryType::Regular, b"f", 0, |_| {});
    assert_eq!(all(&[pax(few.as_bytes()), file.clone()].concat()).unwrap()[0].0.xattrs.len(), 256);
    assert!(matches!(all(&[pax(many.as_bytes()), file].concat()), Err(TarError::Xattrs(256))));
}

proptest! {
    #[test]
    fn never_panics(blocks in proptest::collection::vec((any::<u8>(), "[0-9]{0,3}", proptest::collection::vec(any::<u8>(), 0..20)), 0..6)) {
        let mut archive = Vec::new();
        for (kind, size, bytes) in blocks {
            let kind = b"0156LKxgSD"[usize::from(kind) % 10];
            let size: u64 = size.parse().unwrap_or(0);
            archive.extend(header(EntryType::new(kind), b"name", size, |_| {}));
            archive.extend(padded(&bytes));
        }
        let _ = all(&archive);
    }

    #[test]
    fn never_panics_on_changed_headers(at in 0usize..512, value in any::<u8>(), kind in 0usize..6) {
        let kind = b"0156Sx"[kind];
        let archive = header(EntryType::new(kind), b"name", 3, |block| block[at] = value);
        let _ = all(&[archive, vec![b'1'; 1024]].concat());
    }
}
