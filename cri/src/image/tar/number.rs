//! Numbers of tar headers: octal text or base-256, and times with fractions.

use super::TarError;
use super::pax::decimal;

/// A moment: seconds since 1970, perhaps negative, and nanoseconds after that second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Time {
    /// Whole seconds, rounded down.
    pub(crate) seconds: i64,
    /// 0 to 999 999 999.
    pub(crate) nanoseconds: u32,
}

impl Time {
    /// Parses `[-]SECONDS[.FRACTION]`; digits behind the ninth are cut off.
    pub(super) fn parse(text: &[u8]) -> Option<Time> {
        let (negative, text) = match text.strip_prefix(b"-") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let dot = text.iter().position(|byte| *byte == b'.');
        let (whole, fraction) = match dot {
            Some(dot) => (&text[..dot], &text[dot + 1..]),
            None => (text, &b""[..]),
        };
        let seconds = i64::try_from(decimal(whole)?).ok()?;
        if !fraction.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let digits = fraction.iter().chain(std::iter::repeat(&b'0')).take(9);
        let nanoseconds = digits.fold(0u32, |value, digit| value * 10 + u32::from(digit - b'0'));
        Some(match (negative, nanoseconds) {
            (false, _) => Time { seconds, nanoseconds },
            (true, 0) => Time { seconds: -seconds, nanoseconds },
            (true, _) => Time { seconds: -seconds - 1, nanoseconds: 1_000_000_000 - nanoseconds },
        })
    }
}

/// A field of a header that must not be negative; blank is 0.
pub(super) fn unsigned(field: &[u8], name: &'static str) -> Result<u64, TarError> {
    u64::try_from(signed(field, name)?).map_err(|_| TarError::Number(name))
}

/// A field of a header: octal digits between spaces and NULs, or base-256 with the top bit set (two's complement).
pub(super) fn signed(field: &[u8], name: &'static str) -> Result<i64, TarError> {
    let error = || TarError::Number(name);
    match field.first() {
        Some(first) if first & 0x80 != 0 => {
            let negative = first & 0x40 != 0;
            let start = if negative { -1i128 } else { 0 };
            let top = if negative { i128::from(*first) - 256 } else { i128::from(first & 0x7f) };
            let rest = &field[1..];
            let value = rest.iter().try_fold(if negative { top } else { start + top }, |value, byte| {
                let value = value * 256 + i128::from(*byte);
                // Ten bytes of a twelve byte field could overflow even this; what fits no i64 is refused at once.
                (i128::from(i64::MIN)..=i128::from(i64::MAX)).contains(&value).then_some(value)
            });
            value.and_then(|value| i64::try_from(value).ok()).ok_or_else(error)
        }
        _ => {
            let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
            let text = field[..end].trim_ascii();
            text.iter()
                .try_fold(0i64, |value, digit| match digit {
                    b'0'..=b'7' => value.checked_mul(8)?.checked_add(i64::from(digit - b'0')),
                    _ => None,
                })
                .ok_or_else(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fields() {
        let rows: [(&[u8], Option<i64>); 12] = [
            (b"0000644\0", Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"        ", Some(0)),
            (b"77777777777\0", Some(0o77777777777)),
            (b"\x80\0\0\0\xb2\xd0\x5e\x00", Some(3_000_000_000)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe", Some(-2)),
            (b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", Some(i64::MAX)),
            (b"\x80\0\0\0\x80\0\0\0\0\0\0\0", None),
            (b"\x80\0\0\x01\0\0\0\0\0\0\0\0", None),
            (b"0000648\0", None),
            (b"-1\0", None),
        ];
        for (field, value) in rows {
            assert_eq!(signed(field, "x").ok(), value, "{}", field.escape_ascii());
        }
        assert!(unsigned(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe", "x").is_err());
    }

    #[test]
    fn times() {
        type Row = (&'static [u8], Option<(i64, u32)>);
        let rows: [Row; 9] = [
            (b"1350244992.023960108", Some((1_350_244_992, 23_960_108))),
            (b"5", Some((5, 0))),
            (b"5.", Some((5, 0))),
            (b"5.1", Some((5, 100_000_000))),
            (b"5.1234567899", Some((5, 123_456_789))),
            (b"-0.5", Some((-1, 500_000_000))),
            (b"-3", Some((-3, 0))),
            (b".5", None),
            (b"99999999999999999999", None),
        ];
        for (text, time) in rows {
            let time = time.map(|(seconds, nanoseconds)| Time { seconds, nanoseconds });
            assert_eq!(Time::parse(text), time, "{}", text.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn never_panics(field in proptest::collection::vec(any::<u8>(), 0..13)) {
            let _ = signed(&field, "x");
            let _ = Time::parse(&field);
        }

        #[test]
        fn octal_round_trips(value in 0i64..0o7777777) {
            prop_assert_eq!(signed(format!("{value:07o}\0").as_bytes(), "x").unwrap(), value);
        }
    }
}
