//! Amounts: bytes with a unit, CPUs, rates.

/// Bytes with an optional binary unit: `64m`, `1.5g`, `100`, `10KiB`; 1k is 1024, as with docker.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no size; write a number with b, k, m, g, t or p, such as 64m");
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = unit.trim_start().to_ascii_lowercase();
    let letter = unit.strip_suffix("ib").or(unit.strip_suffix('b').filter(|rest| !rest.is_empty())).unwrap_or(&unit);
    let shift = match letter {
        "" | "b" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        "p" => 50,
        _ => return Err(wrong()),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || (number.contains('.') && fraction.is_empty()) || fraction.contains('.') {
        return Err(wrong());
    }
    let unit_size = 1_u64 << shift;
    let too_large = || format!("{text:?} is too large");
    let mut size = whole.parse::<u64>().ok().and_then(|number| number.checked_mul(unit_size)).ok_or_else(too_large)?;
    if size > i64::MAX.cast_unsigned() {
        return Err(too_large());
    }
    // Decimal digits of a unit, without the rounding of floating point.
    let mut scale = 10_u128;
    for digit in fraction.bytes().take(18) {
        let part = u128::from(digit - b'0') * u128::from(unit_size) / scale;
        size += u64::try_from(part).unwrap_or(0);
        scale *= 10;
    }
    Ok(size)
}

/// As [`bytes`], or `-1` for no limit.
pub(crate) fn bytes_or_unlimited(text: &str) -> Result<i64, String> {
    if text == "-1" {
        return Ok(-1);
    }
    bytes(text).map(u64::cast_signed)
}

/// CPUs as a decimal number, in billionths.
pub(crate) fn nano_cpus(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no number of CPUs; write it as 1.5");
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !digits(whole) || !digits(fraction) {
        return Err(wrong());
    }
    if fraction.len() > 9 {
        return Err(format!("{text:?}: at most nine decimals"));
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| wrong())? };
    let nano: u64 = format!("{fraction:0<9}").parse().map_err(|_| wrong())?;
    whole.checked_mul(1_000_000_000).and_then(|all| all.checked_add(nano)).ok_or_else(wrong)
}

/// `/dev/NAME:RATE` of the block I/O limits.
pub(crate) fn device_rate(text: &str) -> Result<(String, u64), String> {
    let (path, rate) = split_device(text)?;
    Ok((path, bytes(rate)?))
}

fn split_device(text: &str) -> Result<(String, &str), String> {
    match text.rsplit_once(':') {
        Some((path, rate)) if path.starts_with('/') => Ok((path.to_owned(), rate)),
        Some(_) | None => Err(format!("{text:?}: write it as /dev/NAME:NUMBER")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, expected) in [
            ("0", Some(0)),
            ("100", Some(100)),
            ("100b", Some(100)),
            ("1k", Some(1024)),
            ("1K", Some(1024)),
            ("1kb", Some(1024)),
            ("1KiB", Some(1024)),
            ("64m", Some(64 << 20)),
            ("64 MB", Some(64 << 20)),
            ("1.5g", Some(3 << 29)),
            ("0.5k", Some(512)),
            ("2t", Some(2 << 40)),
            ("1p", Some(1 << 50)),
            ("", None),
            ("m", None),
            ("-1", None),
            ("1x", None),
            ("1.", None),
            (".5m", None),
            ("1.2.3", None),
            ("8193p", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(bytes(text).ok(), expected, "{text:?}");
        }
        assert_eq!(bytes_or_unlimited("-1"), Ok(-1));
        assert_eq!(bytes_or_unlimited("1k"), Ok(1024));
        assert!(bytes_or_unlimited("-2").is_err());
    }

    #[test]
    fn cpus() {
        for (text, expected) in [
            ("1", Some(1_000_000_000)),
            ("0.5", Some(500_000_000)),
            (".25", Some(250_000_000)),
            ("1.000000001", Some(1_000_000_001)),
            ("1.0000000001", None),
            ("", None),
            (".", None),
            ("-1", None),
            ("1e3", None),
            ("x", None),
        ] {
            assert_eq!(nano_cpus(text).ok(), expected, "{text:?}");
        }
    }

    #[test]
    fn rates() {
        assert_eq!(device_rate("/dev/sda:1m"), Ok(("/dev/sda".to_owned(), 1 << 20)));
        assert!(device_rate("sda:1m").is_err());
        assert!(device_rate("/dev/sda").is_err());
    }
}
