//! Time that a group's tasks lost by waiting for CPU, memory or I/O: pressure stall information.
//!
//! Source: Documentation/accounting/psi.rst, Documentation/admin-guide/cgroup-v2.rst ("cpu.pressure").

use nix::errno::Errno;
use serde::Serialize;

use super::Error;
use super::dir::Dir;

/// Pressure by resource; absent where the kernel does not count it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Pressures {
    /// Waiting for a CPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Pressure>,
    /// Waiting for memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Pressure>,
    /// Waiting for block devices.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub io: Option<Pressure>,
}

/// Pressure by one resource.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Pressure {
    /// Time in which at least one task waited.
    pub some: Stall,
    /// Time in which all tasks waited and nothing got done. KERNEL(5.13): of the CPU; 0 before.
    pub full: Stall,
}

/// Time that was lost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Stall {
    /// Share of the last 10 seconds, in hundredths of a percent.
    pub avg10: u32,
    /// Share of the last 60 seconds, in hundredths of a percent.
    pub avg60: u32,
    /// Share of the last 300 seconds, in hundredths of a percent.
    pub avg300: u32,
    /// All of it, in microseconds.
    pub total_us: u64,
}

impl Pressures {
    pub(super) fn read(dir: &Dir) -> Result<Pressures, Error> {
        let of = |file: &str| match dir.read_if_there(file) {
            Ok(text) => Ok(text.map(|text| Pressure::parse(&text))),
            // Turned off by the kernel's command line (psi=0), or for this group (cgroup.pressure).
            Err(error) if error.errno() == Some(Errno::EOPNOTSUPP) => Ok(None),
            Err(error) => Err(error),
        };
        Ok(Pressures { cpu: of("cpu.pressure")?, memory: of("memory.pressure")?, io: of("io.pressure")? })
    }
}

impl Pressure {
    /// `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`, and the same of `full`.
    fn parse(text: &str) -> Pressure {
        let mut pressure = Pressure::default();
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            let stall = match words.next() {
                Some("some") => &mut pressure.some,
                Some("full") => &mut pressure.full,
                Some(_) | None => continue,
            };
            for (key, value) in words.filter_map(|word| word.split_once('=')) {
                match key {
                    "avg10" => stall.avg10 = hundredths(value),
                    "avg60" => stall.avg60 = hundredths(value),
                    "avg300" => stall.avg300 = hundredths(value),
                    "total" => stall.total_us = value.parse().unwrap_or(0),
                    _ => {}
                }
            }
        }
        pressure
    }
}

/// `12.34` is 1234; the kernel always prints two digits.
fn hundredths(text: &str) -> u32 {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let number = |text: &str| text.parse::<u32>().unwrap_or(0);
    number(whole).saturating_mul(100).saturating_add(number(part).min(99))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_texts() {
        let text =
            "some avg10=12.34 avg60=1.05 avg300=100.00 total=4711\nfull avg10=0.00 avg60=0.01 avg300=0.00 total=9\n";
        let some = Stall { avg10: 1234, avg60: 105, avg300: 10_000, total_us: 4711 };
        let full = Stall { avg60: 1, total_us: 9, ..Stall::default() };
        assert_eq!(Pressure::parse(text), Pressure { some, full });
        // Before 5.13 the CPU had one line.
        let one = "some avg10=0.00 avg60=0.00 avg300=0.00 total=1\n";
        assert_eq!(Pressure::parse(one).some.total_us, 1);
        assert_eq!(Pressure::parse(one).full, Stall::default());
        for broken in ["", "some", "full total", "some avg10=x total=y", "other total=1"] {
            assert_eq!(Pressure::parse(broken), Pressure::default(), "{broken:?}");
        }
    }
}
