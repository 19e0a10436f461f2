//! For how long a caller waits, so that it can be told what it waited for.

use std::time::Duration;

use tonic::Request;
use tonic::codegen::http::HeaderMap;

/// Time that the answer needs to arrive before the caller gives up.
const MARGIN: Duration = Duration::from_millis(200);

/// Until when an answer is of use; `None`: for ever. Source: gRPC over HTTP/2, `grpc-timeout`.
pub(super) fn of<T>(request: &Request<T>) -> Option<Duration> {
    let timeout = parse(request.metadata().get("grpc-timeout")?.to_str().ok()?)?;
    Some(timeout.saturating_sub(MARGIN).max(timeout / 2))
}

/// What a caller gives its call. Source: gRPC over HTTP/2, `grpc-timeout`.
pub(super) fn timeout(headers: &HeaderMap) -> Option<Duration> {
    parse(headers.get("grpc-timeout")?.to_str().ok()?)
}

fn parse(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if number.len() > 8 || !number.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let number: u64 = number.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts() {
        for (text, expected) in [
            ("2H", Some(Duration::from_secs(7200))),
            ("3M", Some(Duration::from_secs(180))),
            ("4S", Some(Duration::from_secs(4))),
            ("5m", Some(Duration::from_millis(5))),
            ("6u", Some(Duration::from_micros(6))),
            ("99999999n", Some(Duration::from_nanos(99_999_999))),
            ("", None),
            ("S", None),
            ("1", None),
            ("-1S", None),
            ("999999999S", None),
            ("1\u{e9}", None),
        ] {
            assert_eq!(parse(text), expected, "{text:?}");
        }
    }
}
