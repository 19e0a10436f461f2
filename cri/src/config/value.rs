//! Types of values: how they are read, written, and what is said of those that are not allowed.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use runtime::spec::Rlimit;
use toml::de::DeValue;

use crate::network::Subnet;
use crate::spec::{ULIMITS, parse_ulimit};

/// A type of settings.
pub trait Setting: Sized {
    /// Which values are allowed, for people: "an absolute path".
    fn allowed() -> String;

    /// Reads a value.
    ///
    /// # Errors
    /// The part of it that is not allowed, as people would write it.
    fn read(value: &DeValue<'_>) -> Result<Self, String>;

    /// The value as TOML.
    fn write(&self) -> String;
}

/// Reads a value of TOML text.
pub(super) fn from_toml<T: Setting>(text: &str) -> Result<T, String> {
    T::read(DeValue::parse(text).map_err(|error| error.message().to_owned())?.get_ref())
}

/// Longest value that a message repeats, in characters.
const SHOWN: usize = 60;

/// A value that is not allowed, as a message shows it.
pub(super) fn shown(value: &DeValue<'_>) -> String {
    let text = match value {
        DeValue::String(text) => quote(text),
        DeValue::Integer(number) => number.as_str().to_owned(),
        DeValue::Float(number) => number.as_str().to_owned(),
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Array(_) => return "a list".to_owned(),
        DeValue::Table(_) => return "a table".to_owned(),
    };
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// A string of TOML.
pub(super) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => {
                quoted.push('\\');
                quoted.push(character);
            }
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            control if control.is_control() => {
                // Writing to a string does not fail.
                let _ = write!(quoted, "\\u{:04x}", u32::from(control));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

/// A number of the file, in any of TOML's notations.
fn integer(value: &DeValue<'_>) -> Option<i64> {
    let number = value.as_integer()?;
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}

/// A string that `parse` takes.
fn string<T>(value: &DeValue<'_>, parse: impl FnOnce(&str) -> Option<T>) -> Result<T, String> {
    value.as_str().and_then(parse).ok_or_else(|| shown(value))
}

impl Setting for bool {
    fn allowed() -> String {
        "true or false".to_owned()
    }

    fn read(value: &DeValue<'_>) -> Result<bool, String> {
        value.as_bool().ok_or_else(|| shown(value))
    }

    fn write(&self) -> String {
        self.to_string()
    }
}

impl Setting for String {
    fn allowed() -> String {
        "a string that is not empty".to_owned()
    }

    fn read(value: &DeValue<'_>) -> Result<String, String> {
        string(value, |text| (!text.is_empty() && !text.contains('\0')).then(|| text.to_owned()))
    }

    fn write(&self) -> String {
        quote(self)
    }
}

impl Setting for PathBuf {
    fn allowed() -> String {
        "an absolute path".to_owned()
    }

    fn read(value: &DeValue<'_>) -> Result<PathBuf, String> {
        string(value, |text| (text.starts_with('/') && !text.contains('\0')).then(|| text.into()))
    }

    fn write(&self) -> String {
        quote(&self.to_string_lossy())
    }
}

impl Setting for u16 {
    fn allowed() -> String {
        "a whole number from 0 to 65535".to_owned()
    }

    fn read(value: &DeValue<'_>) -> Result<u16, String> {
        integer(value).and_then(|number| number.try_into().ok()).ok_or_else(|| shown(value))
    }

    fn write(&self) -> String {
        self.to_string()
    }
}

impl Setting for IpAddr {
    fn allowed() -> String {
        "an IP address, such as \"127.0.0.1\" or \"::1\"".to_owned()
    }

    fn read(value: &DeValue<'_>) -> Result<IpAddr, String> {
        string(value, |text| text.parse().ok())
    }

    fn write(&self) -> String {
        quote(&self.to_string())
    }
}

impl Setting for SocketAddr {
    fn allowed() -> String {
        "an IP address and a port, such as \"127.0.0.1:9464\" or \"[::1]:9464\"".to_owned()
    }

    fn read(value: &DeValue<'_>) -> Result<SocketAddr, String> {
        string(value, |text| text.parse().ok())
    }

    fn write(&self) -> String {
        quote(&self.to_string())
    }
}

impl Setting for Subnet {
    fn allowed() -> String {
        "subnets such as \"10.85.0.0/16\" or \"fd00:85::/64\"".to_owned()
    }

    fn read(value: &DeValue<'_>) -> Result<Subnet, String> {
        string(value, |text| text.parse().ok())
    }

    fn write(&self) -> String {
        quote(&self.to_string())
    }
}

/// The empty string stands for none.
impl<T: Setting> Setting for Option<T> {
    fn allowed() -> String {
        format!("{}, or \"\"", T::allowed())
    }

    fn read(value: &DeValue<'_>) -> Result<Option<T>, String> {
        if value.as_str() == Some("") { Ok(None) } else { T::read(value).map(Some) }
    }

    fn write(&self) -> String {
        self.as_ref().map_or_else(|| quote(""), T::write)
    }
}

impl<T: Setting> Setting for Vec<T> {
    fn allowed() -> String {
        format!("a list, each of it {}", T::allowed())
    }

    fn read(value: &DeValue<'_>) -> Result<Vec<T>, String> {
        let items = value.as_array().ok_or_else(|| shown(value))?;
        items.iter().map(|item| T::read(item.get_ref())).collect()
    }

    fn write(&self) -> String {
        format!("[{}]", self.iter().map(T::write).collect::<Vec<_>>().join(", "))
    }
}

/// A whole number of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Number<const MIN: u32, const MAX: u32>(u32);

impl<const MIN: u32, const MAX: u32> Number<MIN, MAX> {
    /// The number.
    #[must_use]
    pub fn get(self) -> u32 {
        self.0
    }
}

impl<const MIN: u32, const MAX: u32> Setting for Number<MIN, MAX> {
    fn allowed() -> String {
        format!("a whole number from {MIN} to {MAX}")
    }

    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        let number = integer(value).and_then(|number| u32::try_from(number).ok());
        number.filter(|number| (MIN..=MAX).contains(number)).map(Number).ok_or_else(|| shown(value))
    }

    fn write(&self) -> String {
        self.0.to_string()
    }
}

/// Units of sizes and what they are in bytes, the largest first.
const UNITS: &[(&str, u64)] = &[("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// A number of bytes of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size<const MIN: u64, const MAX: u64>(u64);

impl<const MIN: u64, const MAX: u64> Size<MIN, MAX> {
    /// Bytes.
    #[must_use]
    pub fn bytes(self) -> u64 {
        self.0
    }
}

/// With the largest unit that leaves a whole number.
fn size(bytes: u64) -> String {
    let unit = UNITS.iter().find(|(_, unit)| bytes >= *unit && bytes.is_multiple_of(*unit));
    unit.map_or_else(|| bytes.to_string(), |(name, unit)| format!("{}{name}", bytes / unit))
}

impl<const MIN: u64, const MAX: u64> Setting for Size<MIN, MAX> {
    fn allowed() -> String {
        format!("a size such as \"{}\", from {} to {}", size(MIN), size(MIN), size(MAX))
    }

    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        let parse = |text: &str| {
            let (name, unit) = UNITS.iter().find(|(name, _)| text.ends_with(name))?;
            digits(text.strip_suffix(name)?)?.checked_mul(*unit)
        };
        let bytes = match value {
            DeValue::String(text) => parse(text),
            _ => integer(value).and_then(|number| u64::try_from(number).ok()),
        };
        bytes.filter(|bytes| (MIN..=MAX).contains(bytes)).map(Size).ok_or_else(|| shown(value))
    }

    fn write(&self) -> String {
        quote(&size(self.0))
    }
}

/// A number that is digits and nothing else.
fn digits(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// A length of time, at most a year; zero where a text of the table says what that means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(Duration);

impl Span {
    /// The time; zero as in the file.
    #[must_use]
    pub fn get(self) -> Duration {
        self.0
    }
}

/// Units of time and what they are in milliseconds, the largest first.
const TIMES: &[(&str, u64)] = &[("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// The longest span.
const YEAR: u64 = 365 * 24 * 3_600_000;

impl Setting for Span {
    fn allowed() -> String {
        "a time such as \"90s\", \"1h30m\" or \"500ms\"".to_owned()
    }

    fn read(value: &DeValue<'_>) -> Result<Span, String> {
        let parse = |text: &str| {
            if text == "0" {
                return Some(0);
            }
            let (mut rest, mut sum) = (text, 0_u64);
            while !rest.is_empty() {
                let (number, behind) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
                let (unit, behind) = behind.split_at(behind.find(|c: char| c.is_ascii_digit()).unwrap_or(behind.len()));
                let (_, milliseconds) = TIMES.iter().find(|(name, _)| *name == unit)?;
                sum = sum.checked_add(digits(number)?.checked_mul(*milliseconds)?)?;
                rest = behind;
            }
            (!text.is_empty() && sum <= YEAR).then_some(sum)
        };
        string(value, parse).map(|milliseconds| Span(Duration::from_millis(milliseconds)))
    }

    fn write(&self) -> String {
        let mut rest = u64::try_from(self.0.as_millis()).unwrap_or(YEAR);
        let mut text = String::new();
        for (name, unit) in TIMES {
            if rest >= *unit {
                // Writing to a string does not fail.
                let _ = write!(text, "{}{name}", rest / unit);
                rest %= unit;
            }
        }
        quote(if text.is_empty() { "0" } else { &text })
    }
}

/// A resource limit, setrlimit(2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ulimit(Rlimit);

impl Ulimit {
    /// As a container's configuration has it.
    #[must_use]
    pub fn rlimit(&self) -> Rlimit {
        self.0.clone()
    }
}

impl Setting for Ulimit {
    fn allowed() -> String {
        format!("\"NAME=SOFT[:HARD]\", numbers or \"unlimited\", the name one of {}", ULIMITS.join(", "))
    }

    fn read(value: &DeValue<'_>) -> Result<Ulimit, String> {
        string(value, |text| parse_ulimit(text).ok().map(Ulimit))
    }

    fn write(&self) -> String {
        let Rlimit { kind, soft, hard } = &self.0;
        let number = |value: u64| if value == u64::MAX { "unlimited".to_owned() } else { value.to_string() };
        let name = kind.trim_start_matches("RLIMIT_").to_ascii_lowercase();
        let hard = if hard == soft { String::new() } else { format!(":{}", number(*hard)) };
        quote(&format!("{name}={}{hard}", number(*soft)))
    }
}

/// Where a collector of traces listens: `http://HOST:PORT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint(String);

impl Endpoint {
    /// The address.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.0
    }
}

impl Setting for Endpoint {
    fn allowed() -> String {
        "\"http://HOST:PORT\"".to_owned()
    }

    fn read(value: &DeValue<'_>) -> Result<Endpoint, String> {
        let parse = |text: &str| {
            let (host, port) = text.strip_prefix("http://")?.rsplit_once(':')?;
            let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
            let valid = match bare {
                Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
                None => !host.is_empty() && host.chars().all(plain),
            };
            (valid && port.parse::<u16>().is_ok_and(|port| port != 0)).then(|| Endpoint(text.to_owned()))
        };
        string(value, parse)
    }

    fn write(&self) -> String {
        quote(&self.0)
    }
}
