//! Moments: `--since 42m`, `--until 2026-01-02T13:23:37Z`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Nanoseconds since the epoch of a moment: a duration before `now`, seconds since the epoch, or a date with RFC 3339's
/// parts, of which the zone may be left out (UTC is meant).
pub(crate) fn moment(text: &str, now: SystemTime) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no moment; write 10m, 2026-01-02T13:23:37Z or seconds since 1970");
    if let Some(duration) = duration(text) {
        let then = now.checked_sub(duration).unwrap_or(UNIX_EPOCH);
        return Ok(since_epoch(then));
    }
    if let Some(moment) = seconds(text) {
        return Ok(moment);
    }
    date(text).ok_or_else(wrong)
}

/// Nanoseconds since the epoch.
pub(crate) fn since_epoch(time: SystemTime) -> u64 {
    let duration = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A duration as Go writes it: `1h30m`, `1.5s`, `300ms`; the unit is needed.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = 0.0_f64;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        rest = &rest[end..];
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let unit = match &rest[..end] {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        total += number * unit;
        rest = &rest[end..];
    }
    Duration::try_from_secs_f64(total).ok()
}

fn seconds(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if whole.is_empty() || fraction.len() > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    if !whole.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let nanos: u64 = format!("{fraction:0<9}").parse().ok()?;
    whole.parse::<u64>().ok()?.checked_mul(1_000_000_000)?.checked_add(nanos)
}

/// `YYYY-MM-DD[Thh:mm[:ss[.fraction]]][Z|+hh:mm]`
pub(crate) fn date(text: &str) -> Option<u64> {
    let number = |text: &str, length: usize| -> Option<i64> {
        (text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
    };
    let (day_part, time_part) = match text.split_once(['T', ' ']) {
        Some((day, time)) => (day, Some(time)),
        None => (text, None),
    };
    let mut day = day_part.trim_end_matches('Z').split('-');
    let (year, month, mday) = (number(day.next()?, 4)?, number(day.next()?, 2)?, number(day.next()?, 2)?);
    if day.next().is_some() || !(1..=12).contains(&month) || !(1..=days_in(year, month)).contains(&mday) {
        return None;
    }
    let mut total = days_from_civil(year, month, mday) * 86400;
    let mut nanos = 0;
    if let Some(time) = time_part {
        let (clock, offset) = match time.find(['Z', '+', '-']) {
            Some(at) => (&time[..at], zone(&time[at..])?),
            None => (time, 0),
        };
        let (clock, fraction) = clock.split_once('.').unwrap_or((clock, ""));
        let mut parts = clock.split(':');
        let (hour, minute) = (number(parts.next()?, 2)?, number(parts.next()?, 2)?);
        let second = parts.next().map_or(Some(0), |text| number(text, 2))?;
        if parts.next().is_some() || hour > 23 || minute > 59 || second > 60 || fraction.len() > 9 {
            return None;
        }
        if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        nanos = format!("{fraction:0<9}").parse::<u64>().ok()?;
        total += hour * 3600 + minute * 60 + second - offset;
    }
    u64::try_from(total).ok()?.checked_mul(1_000_000_000)?.checked_add(nanos)
}

/// Seconds east of UTC.
fn zone(text: &str) -> Option<i64> {
    if text == "Z" {
        return Some(0);
    }
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let (hours, minutes) = text[1..].split_once(':')?;
    let part = |text: &str| (text.len() == 2).then(|| text.parse::<i64>().ok()).flatten();
    Some(sign * (part(hours)? * 3600 + part(minutes)? * 60))
}

fn days_in(year: i64, month: i64) -> i64 {
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since the epoch; years start in March, so that the leap day is the last of its year.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// RFC 3339 in UTC with nanoseconds, as docker and CRI write it.
pub(crate) fn rfc3339(nanos: u64) -> String {
    let (seconds, fraction) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
    let (year, month, day) = civil_from_days((seconds / 86400).cast_signed());
    let clock = seconds % 86400;
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{fraction:09}Z", clock / 3600, clock / 60 % 60, clock % 60)
}

/// The opposite of [`days_from_civil`].
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn moments() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let second = 1_000_000_000;
        for (text, expected) in [
            ("10m", Some((1_000_000_000 - 600) * second)),
            ("1h30m", Some((1_000_000_000 - 5400) * second)),
            ("1.5s", Some(1_000_000_000 * second - 1_500_000_000)),
            ("1136073600", Some(1_136_073_600 * second)),
            ("1136073600.000000001", Some(1_136_073_600 * second + 1)),
            ("2001-09-09T01:46:40Z", Some(1_000_000_000 * second)),
            ("2001-09-09T01:46:40", Some(1_000_000_000 * second)),
            ("2001-09-09T03:46:40+02:00", Some(1_000_000_000 * second)),
            ("2001-09-09T01:46:40.5Z", Some(1_000_000_000 * second + second / 2)),
            ("1970-01-02", Some(86400 * second)),
            ("2000-02-29", Some(951_782_400 * second)),
            ("2024-12-31T23:59", Some(1_735_689_540 * second)),
            ("", None),
            ("m", None),
            ("10x", None),
            ("2001-02-29", None),
            ("2001-13-01", None),
            ("2001-01-01T25:00:00Z", None),
            ("2001-01-01T01", None),
            ("1969-01-01", None),
            ("yesterday", None),
        ] {
            assert_eq!(moment(text, now).ok(), expected, "{text:?}");
        }
    }

    #[test]
    fn written() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(rfc3339(1_000_000_000_000_000_001), "2001-09-09T01:46:40.000000001Z");
        assert_eq!(rfc3339(951_782_400_000_000_000), "2000-02-29T00:00:00.000000000Z");
    }

    proptest! {
        #[test]
        fn round_trip(nanos in any::<u64>()) {
            prop_assert_eq!(date(&rfc3339(nanos)), Some(nanos));
        }

        #[test]
        fn never_panics(text in ".{0,40}") {
            let _ = moment(&text, SystemTime::now());
        }

        #[test]
        fn dates_never_panic(text in "[0-9]{3,5}-[0-9]{1,2}-[0-9]{1,2}[T ]?[0-9:.Z+-]{0,16}") {
            let _ = moment(&text, SystemTime::now());
        }
    }
}
