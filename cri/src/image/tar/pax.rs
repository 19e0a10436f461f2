//! Extended headers: `LENGTH KEY=VALUE\n` records.
//!
//! Source: POSIX.1-2017 pax, "pax Extended Header"; SCHILY.xattr is star's, GNU.sparse is GNU tar's.

use super::TarError;
use super::number::Time;

/// The values that extended headers give; later ones replace earlier ones.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Values {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    pub(super) mtime: Option<Time>,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) sparse: Sparse,
}

/// GNU tar's members for files with holes, formats 0.0, 0.1 and 1.0.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Sparse {
    pub(super) major: Option<u64>,
    pub(super) minor: Option<u64>,
    pub(super) name: Option<Vec<u8>>,
    pub(super) real_size: Option<u64>,
    /// 0.0: offset and length in turn; 0.1: the same as one list.
    pub(super) numbers: Vec<u64>,
}

/// Whether the header stands before one entry or is for all that follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    Entry,
    Global,
}

/// Most numbers in a sparse map, two for each piece of data.
pub(super) const SPARSE_NUMBERS_MAX: usize = 1 << 17;

/// Most extended attributes of an entry, and most bytes of their names and values together.
const XATTRS_MAX: usize = 256;
const XATTR_BYTES_MAX: usize = 1 << 20;

const XATTR: &[u8] = b"SCHILY.xattr.";

/// Takes the records of one extended header into `values`.
pub(super) fn parse(mut bytes: &[u8], scope: Scope, values: &mut Values) -> Result<(), TarError> {
    while !bytes.is_empty() {
        let (record, rest) = split(bytes).ok_or(TarError::PaxRecord)?;
        let equals = record.iter().position(|byte| *byte == b'=').ok_or(TarError::PaxRecord)?;
        let (key, value) = (&record[..equals], &record[equals + 1..]);
        if key.is_empty() {
            return Err(TarError::PaxRecord);
        }
        take(key, value, scope, values)?;
        bytes = rest;
    }
    Ok(())
}

/// Cuts off the first record; gives its text without length and newline, and what follows it.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = bytes.iter().take(12).position(|byte| *byte == b' ')?;
    let length = usize::try_from(decimal(&bytes[..space])?).ok()?;
    let record = bytes.get(space + 1..length)?;
    let text = record.strip_suffix(b"\n")?;
    Some((text, &bytes[length..]))
}

fn take(key: &[u8], value: &[u8], scope: Scope, values: &mut Values) -> Result<(), TarError> {
    // An empty value takes back what an earlier header said.
    let text = (!value.is_empty()).then(|| value.to_vec());
    let number = |name| match value {
        b"" => Ok(None),
        _ => decimal(value).map(Some).ok_or(TarError::PaxNumber(name)),
    };
    let own_only = |name| match scope {
        Scope::Entry => Ok(()),
        Scope::Global => Err(TarError::GlobalKey(name)),
    };
    match key {
        b"path" => {
            own_only("path")?;
            values.path = text;
        }
        b"linkpath" => {
            own_only("linkpath")?;
            values.link = text;
        }
        b"size" => {
            own_only("size")?;
            values.size = number("size")?;
        }
        b"uid" => values.uid = number("uid")?,
        b"gid" => values.gid = number("gid")?,
        b"mtime" => {
            values.mtime = match value {
                b"" => None,
                _ => Some(Time::parse(value).ok_or(TarError::PaxNumber("mtime"))?),
            }
        }
        _ if key.starts_with(XATTR) => {
            let name = &key[XATTR.len()..];
            values.xattrs.retain(|(other, _)| other != name);
            // Empty is a value here: GNU tar and star write attributes without one so.
            values.xattrs.push((name.to_vec(), value.to_vec()));
            let bytes: usize = values.xattrs.iter().map(|(name, value)| name.len() + value.len()).sum();
            if values.xattrs.len() > XATTRS_MAX || bytes > XATTR_BYTES_MAX {
                return Err(TarError::Xattrs(XATTRS_MAX));
            }
        }
        _ if key.starts_with(b"GNU.sparse.") => {
            own_only("GNU.sparse")?;
            sparse(&key[b"GNU.sparse.".len()..], value, &mut values.sparse)?;
        }
        _ => {}
    }
    Ok(())
}

fn sparse(key: &[u8], value: &[u8], sparse: &mut Sparse) -> Result<(), TarError> {
    let number = || decimal(value).ok_or(TarError::PaxNumber("GNU.sparse"));
    match key {
        b"major" => sparse.major = Some(number()?),
        b"minor" => sparse.minor = Some(number()?),
        b"name" => sparse.name = Some(value.to_vec()),
        b"size" | b"realsize" => sparse.real_size = Some(number()?),
        b"offset" if sparse.numbers.len().is_multiple_of(2) => sparse.numbers.push(number()?),
        b"numbytes" if sparse.numbers.len() % 2 == 1 => sparse.numbers.push(number()?),
        b"offset" | b"numbytes" => return Err(TarError::SparseMap),
        b"map" => {
            sparse.numbers = value
                .split(|byte| *byte == b',')
                .take(SPARSE_NUMBERS_MAX + 1)
                .map(|part| decimal(part).ok_or(TarError::SparseMap))
                .collect::<Result<_, _>>()?;
        }
        _ => {}
    }
    if sparse.numbers.len() > SPARSE_NUMBERS_MAX {
        return Err(TarError::SparseMap);
    }
    Ok(())
}

/// Digits only: no sign, no space, no overflow.
pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    text.iter().try_fold(0u64, |value, digit| value.checked_mul(10)?.checked_add(u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(key: &str, value: &[u8]) -> Vec<u8> {
        let body = key.len() + value.len() + 3;
        let mut length = body + 1;
        while length != body + length.to_string().len() {
            length = body + length.to_string().len();
        }
        let mut bytes = format!("{length} {key}=").into_bytes();
        bytes.extend_from_slice(value);
        bytes.push(b'\n');
        bytes
    }

    fn parsed(records: &[(&str, &[u8])], scope: Scope) -> Result<Values, TarError> {
        let bytes: Vec<u8> = records.iter().flat_map(|(key, value)| record(key, value)).collect();
        let mut values = Values::default();
        parse(&bytes, scope, &mut values).map(|()| values)
    }

    #[test]
    fn values() {
        let found = parsed(
            &[
                ("path", b"a\xff=b\nc"),
                ("uid", b"3000000000"),
                ("mtime", b"-1.25"),
                ("SCHILY.xattr.user.x", b"\0\n1"),
                ("SCHILY.xattr.user.x", b"2"),
                ("comment", b"whatever"),
                ("gid", b"1"),
                ("gid", b""),
            ],
            Scope::Entry,
        )
        .unwrap();
        assert_eq!(found.path.unwrap(), b"a\xff=b\nc");
        assert_eq!((found.uid, found.gid), (Some(3_000_000_000), None));
        assert_eq!(found.mtime, Some(Time { seconds: -2, nanoseconds: 750_000_000 }));
        assert_eq!(found.xattrs, vec![(b"user.x".to_vec(), b"2".to_vec())]);
        let sparse = parsed(
            &[
                ("GNU.sparse.offset", b"0"),
                ("GNU.sparse.numbytes", b"5"),
                ("GNU.sparse.offset", b"9"),
                ("GNU.sparse.numbytes", b"0"),
            ],
            Scope::Entry,
        );
        assert_eq!(sparse.unwrap().sparse.numbers, vec![0, 5, 9, 0]);
        assert_eq!(parsed(&[("GNU.sparse.map", b"0,5,9,0")], Scope::Entry).unwrap().sparse.numbers, vec![0, 5, 9, 0]);
    }

    #[test]
    fn refused() {
        for bytes in [
            &b"5 a=b\n"[..],
            b"7 a=b\n",
            b"6 a=b ",
            b"0 a=b\n",
            b"6 ab=\n1",
            b"a=b\n",
            b"6 =ab\n",
            b"-6 a=b\n",
            b"99999999999999999999 a=b\n",
        ] {
            assert!(parse(bytes, Scope::Entry, &mut Values::default()).is_err(), "{}", bytes.escape_ascii());
        }
        for (key, value) in [
            ("size", &b"-1"[..]),
            ("uid", b"0x1"),
            ("mtime", b"1.2.3"),
            ("GNU.sparse.numbytes", b"1"),
            ("GNU.sparse.map", b"1,,2"),
        ] {
            assert!(parsed(&[(key, value)], Scope::Entry).is_err(), "{key}");
        }
        for key in ["path", "linkpath", "size", "GNU.sparse.name"] {
            assert!(matches!(parsed(&[(key, b"1")], Scope::Global), Err(TarError::GlobalKey(_))), "{key}");
        }
    }

    proptest! {
        #[test]
        fn any_record_round_trips(key in "[a-z.]{1,20}", value in proptest::collection::vec(any::<u8>(), 0..200)) {
            let bytes = record(&key, &value);
            let (text, rest) = split(&bytes).unwrap();
            prop_assert_eq!(text, [key.as_bytes(), b"=", &value].concat());
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&bytes, Scope::Entry, &mut Values::default());
        }

        #[test]
        fn never_panics_on_near_records(text in "([0-9]{1,3} (path|size|mtime|GNU.sparse.map)=[0-9.,-]{0,9}\n){0,5}") {
            let _ = parse(text.as_bytes(), Scope::Entry, &mut Values::default());
        }
    }
}
