//! From `linux.resources` to the properties of a scope. Pure. systemd.resource-control(5)
//!
//! What systemd has no property for is written to the group's files alone. Values that mean "not set" there are not set here either.

use crate::cgroup::{Mode, cpu_weight, io_weight};
use crate::spec::{Cpu, Memory, Resources};

/// No limit, in properties that are numbers.
const INFINITY: u64 = u64::MAX;

/// Highest CPU or memory node whose bit is set; more than any kernel is built for.
const HIGHEST: usize = 8191;

/// systemd writes quotas as whole percents of a CPU into the unit's file and reads them back after a `daemon-reload`.
const PERCENT_USEC: u64 = 10_000;

/// A property of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Property {
    /// Its name.
    pub name: &'static str,
    /// Its value.
    pub value: Value,
}

/// A limit that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} {value:?}: {problem}")]
pub struct Refused {
    /// JSON path, such as `linux.resources.cpu.cpus`.
    pub field: String,
    /// What was given.
    pub value: String,
    /// The rule.
    pub problem: &'static str,
}

/// The value of a property: the types that limits have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `t`
    Number(u64),
    /// `ay`: a bit for each CPU or node, the lowest first.
    Mask(Vec<u8>),
}

/// The properties that `resources` ask for, each once. `placeholders` are tasks beside the container's.
///
/// # Errors
/// [`Refused`] with the JSON path.
pub fn properties(resources: &Resources, mode: Mode, placeholders: u64) -> Result<Vec<Property>, Refused> {
    let mut set = Set { placeholders, ..Set::default() };
    if let Some(memory) = &resources.memory {
        set.memory(memory, mode);
    }
    if let Some(cpu) = &resources.cpu {
        set.cpu(cpu, mode)?;
    }
    if let Some(limit) = resources.pids.as_ref().and_then(|pids| pids.limit) {
        set.number("TasksMax", u64::try_from(limit).map_or(INFINITY, |limit| set.tasks(limit)));
    }
    if let Some(weight) = resources.block_io.as_ref().and_then(|io| io.weight).filter(|weight| *weight != 0) {
        if !(10..=1000).contains(&weight) {
            let field = "linux.resources.blockIO.weight".to_owned();
            return Err(Refused { field, value: weight.to_string(), problem: "it is not from 10 to 1000" });
        }
        match mode {
            Mode::V2 => set.number("IOWeight", io_weight(weight)),
            Mode::V1 | Mode::Hybrid => set.number("BlockIOWeight", u64::from(weight)),
        }
    }
    if mode == Mode::V2 {
        for (file, value) in &resources.unified {
            set.unified(file, value)?;
        }
    }
    Ok(set.all)
}

#[derive(Default)]
struct Set {
    all: Vec<Property>,
    placeholders: u64,
}

impl Set {
    fn tasks(&self, limit: u64) -> u64 {
        limit.saturating_add(self.placeholders)
    }

    fn number(&mut self, name: &'static str, value: u64) {
        self.set(name, Value::Number(value));
    }

    /// The last value counts.
    fn set(&mut self, name: &'static str, value: Value) {
        self.all.retain(|property| property.name != name);
        self.all.push(Property { name, value });
    }

    fn memory(&mut self, memory: &Memory, mode: Mode) {
        let limit = memory.limit.filter(|limit| *limit != 0);
        let of = |amount: i64| u64::try_from(amount).unwrap_or(INFINITY);
        match mode {
            Mode::V2 => {
                if let Some(limit) = limit {
                    self.number("MemoryMax", of(limit));
                }
                // Both together in the specification, swap alone in v2.
                match (limit, memory.swap.filter(|swap| *swap != 0)) {
                    (_, Some(..0)) | (Some(..0), None) => self.number("MemorySwapMax", INFINITY),
                    (Some(limit), Some(both)) => self.number("MemorySwapMax", of((both - limit).max(0))),
                    (_, None) | (None, Some(_)) => {}
                }
                if let Some(reservation) = memory.reservation.filter(|reservation| *reservation != 0) {
                    // -1 asks for no soft limit, which is no protection.
                    self.number("MemoryLow", u64::try_from(reservation).unwrap_or(0));
                }
            }
            Mode::V1 | Mode::Hybrid => {
                if let Some(limit) = limit {
                    self.number("MemoryLimit", of(limit));
                }
            }
        }
    }

    fn cpu(&mut self, cpu: &Cpu, mode: Mode) -> Result<(), Refused> {
        match (cpu.idle, cpu.shares.filter(|shares| *shares != 0), mode) {
            // KERNEL(5.15), systemd 252: 0 stands for idle.
            (Some(1), _, Mode::V2) => self.number("CPUWeight", 0),
            (_, Some(shares), Mode::V2) => self.number("CPUWeight", cpu_weight(shares)),
            (_, Some(shares), Mode::V1 | Mode::Hybrid) => self.number("CPUShares", shares),
            (_, None, _) => {}
        }
        self.quota(cpu.quota.filter(|quota| *quota != 0), cpu.period.filter(|period| *period != 0));
        for (name, field, list) in [
            ("AllowedCPUs", "linux.resources.cpu.cpus", &cpu.cpus),
            ("AllowedMemoryNodes", "linux.resources.cpu.mems", &cpu.mems),
        ] {
            let Some(list) = list.as_deref().filter(|list| !list.is_empty()) else { continue };
            let mask = mask(field, list)?;
            if mode == Mode::V2 {
                self.set(name, Value::Mask(mask));
            }
        }
        Ok(())
    }

    /// Rounded up: the exact quota is one level below, and on v1 must not be more than this one.
    fn quota(&mut self, quota: Option<i64>, period: Option<u64>) {
        if let Some(period) = period {
            self.number("CPUQuotaPeriodUSec", period);
        }
        match quota.map(u64::try_from) {
            None => {}
            Some(Err(_)) => self.number("CPUQuotaPerSecUSec", INFINITY),
            Some(Ok(quota)) => {
                let per_second = u128::from(quota) * 1_000_000 / u128::from(period.unwrap_or(100_000));
                let per_second = u64::try_from(per_second).unwrap_or(INFINITY);
                self.number("CPUQuotaPerSecUSec", per_second.div_ceil(PERCENT_USEC).saturating_mul(PERCENT_USEC));
            }
        }
    }

    /// A file of cgroup v2, as far as there is a property for it.
    fn unified(&mut self, file: &str, value: &str) -> Result<(), Refused> {
        let field = format!("linux.resources.unified[{file:?}]");
        let value = value.trim();
        let wrong = |problem| Refused { field: field.clone(), value: value.to_owned(), problem };
        let amount = |text: &str| match text {
            "max" => Ok(INFINITY),
            number => number.parse().map_err(|_| wrong("it is neither a number nor \"max\"")),
        };
        match file {
            "memory.min" => self.number("MemoryMin", amount(value)?),
            "memory.low" => self.number("MemoryLow", amount(value)?),
            "memory.high" => self.number("MemoryHigh", amount(value)?),
            "memory.max" => self.number("MemoryMax", amount(value)?),
            "memory.swap.max" => self.number("MemorySwapMax", amount(value)?),
            "cpu.weight" => self.number("CPUWeight", value.parse().map_err(|_| wrong("it is no number"))?),
            "cpu.idle" if value == "1" => self.number("CPUWeight", 0),
            "cpu.max" => {
                let mut words = value.split_ascii_whitespace();
                let quota = words.next().unwrap_or_default();
                let period = words.next().map(|period| period.parse().map_err(|_| wrong("its period is no number")));
                let quota = match quota {
                    "max" => -1,
                    quota => quota.parse().map_err(|_| wrong("its quota is neither a number nor \"max\""))?,
                };
                self.quota(Some(quota), period.transpose()?);
            }
            "pids.max" => {
                let limit = amount(value)?;
                self.number("TasksMax", self.tasks(limit));
            }
            "cpuset.cpus" => self.set("AllowedCPUs", Value::Mask(mask(&field, value)?)),
            "cpuset.mems" => self.set("AllowedMemoryNodes", Value::Mask(mask(&field, value)?)),
            "io.weight" => {
                // A line for a device has no property of its own that would know which weight is the default.
                if let Ok(weight) = value.trim_start_matches("default").trim().parse() {
                    self.number("IOWeight", weight);
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// The bits of a list such as `0-3,8`. cpuset(7)
fn mask(field: &str, list: &str) -> Result<Vec<u8>, Refused> {
    let wrong = |problem| Refused { field: field.to_owned(), value: list.to_owned(), problem };
    let mut mask = Vec::new();
    for range in list.trim().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let number =
            |text: &str| text.trim().parse::<usize>().map_err(|_| wrong("it is no list of numbers and ranges"));
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return Err(wrong("a range goes from less to more"));
        }
        if last > HIGHEST {
            return Err(wrong("the highest number is 8191"));
        }
        for bit in first..=last {
            if mask.len() <= bit / 8 {
                mask.resize(bit / 8 + 1, 0);
            }
            mask[bit / 8] |= 1 << (bit % 8);
        }
    }
    Ok(mask)
}

#[cfg(test)]
mod tests {
    use crate::spec::{BlockIo, Pids};

    use super::*;

    fn told(resources: &Resources, mode: Mode) -> Vec<(&'static str, u64)> {
        let properties = properties(resources, mode, 1).unwrap();
        let number = |property: Property| match property.value {
            Value::Number(number) => (property.name, number),
            Value::Mask(mask) => (property.name, u64::from(mask[0])),
        };
        properties.into_iter().map(number).collect()
    }

    fn unified(files: &[(&str, &str)]) -> Resources {
        let unified = files.iter().map(|(file, value)| ((*file).to_owned(), (*value).to_owned())).collect();
        Resources { unified, ..Resources::default() }
    }

    #[test]
    fn nothing() {
        assert_eq!(told(&Resources::default(), Mode::V2), []);
        let zeros = Resources {
            memory: Some(Memory { limit: Some(0), swap: Some(0), ..Memory::default() }),
            cpu: Some(Cpu {
                shares: Some(0),
                quota: Some(0),
                period: Some(0),
                cpus: Some(String::new()),
                ..Cpu::default()
            }),
            ..Resources::default()
        };
        assert_eq!(told(&zeros, Mode::V2), []);
        assert_eq!(told(&zeros, Mode::Hybrid), []);
    }

    #[test]
    fn all() {
        let resources = Resources {
            memory: Some(Memory {
                limit: Some(100 << 20),
                swap: Some(150 << 20),
                reservation: Some(50 << 20),
                ..Memory::default()
            }),
            cpu: Some(Cpu {
                shares: Some(1024),
                quota: Some(25_001),
                period: Some(100_000),
                cpus: Some("0,2-3".into()),
                mems: Some("0".into()),
                ..Cpu::default()
            }),
            pids: Some(Pids { limit: Some(10) }),
            block_io: Some(BlockIo { weight: Some(500), ..BlockIo::default() }),
            ..Resources::default()
        };
        let v2 = [
            ("MemoryMax", 100 << 20),
            ("MemorySwapMax", 50 << 20),
            ("MemoryLow", 50 << 20),
            ("CPUWeight", 100),
            ("CPUQuotaPeriodUSec", 100_000),
            ("CPUQuotaPerSecUSec", 260_000),
            ("AllowedCPUs", 0b1101),
            ("AllowedMemoryNodes", 1),
            ("TasksMax", 11),
            ("IOWeight", 4950),
        ];
        assert_eq!(told(&resources, Mode::V2), v2);
        let v1 = [
            ("MemoryLimit", 100 << 20),
            ("CPUShares", 1024),
            ("CPUQuotaPeriodUSec", 100_000),
            ("CPUQuotaPerSecUSec", 260_000),
            ("TasksMax", 11),
            ("BlockIOWeight", 500),
        ];
        assert_eq!(told(&resources, Mode::Hybrid), v1);
    }

    #[test]
    fn no_limits() {
        let resources = Resources {
            memory: Some(Memory { limit: Some(-1), ..Memory::default() }),
            cpu: Some(Cpu { quota: Some(-1), ..Cpu::default() }),
            pids: Some(Pids { limit: Some(-1) }),
            ..Resources::default()
        };
        let infinite = ["MemoryMax", "MemorySwapMax", "CPUQuotaPerSecUSec", "TasksMax"].map(|name| (name, u64::MAX));
        assert_eq!(told(&resources, Mode::V2), infinite);
        // A real 0 of the specification leaves the placeholder alone.
        let none = Resources { pids: Some(Pids { limit: Some(0) }), ..Resources::default() };
        assert_eq!(told(&none, Mode::V2), [("TasksMax", 1)]);
    }

    #[test]
    fn files_of_v2_count_last() {
        let mut resources = unified(&[
            ("memory.min", "4096"),
            ("memory.high", "max"),
            ("memory.max", "8192"),
            ("cpu.weight", "7"),
            ("cpu.max", "max 50000"),
            ("pids.max", "5"),
            ("cpuset.cpus", "1"),
            ("io.weight", "default 30"),
            ("memory.oom.group", "1"),
        ]);
        resources.memory = Some(Memory { limit: Some(1 << 20), ..Memory::default() });
        let mut told = told(&resources, Mode::V2);
        told.sort_unstable();
        let expected = [
            ("AllowedCPUs", 2),
            ("CPUQuotaPerSecUSec", u64::MAX),
            ("CPUQuotaPeriodUSec", 50_000),
            ("CPUWeight", 7),
            ("IOWeight", 30),
            ("MemoryHigh", u64::MAX),
            ("MemoryMax", 8192),
            ("MemoryMin", 4096),
            ("TasksMax", 6),
        ];
        assert_eq!(told, expected);
        for (file, value) in [("memory.max", "lots"), ("cpu.max", "1 x"), ("cpu.max", ""), ("cpuset.cpus", "3-1")] {
            let error = properties(&unified(&[(file, value)]), Mode::V2, 0).unwrap_err().to_string();
            assert!(error.starts_with(&format!("linux.resources.unified[{file:?}] {value:?}: ")), "{error}");
        }
    }

    #[test]
    fn masks() {
        for (list, bytes) in [
            ("0", vec![1]),
            ("7-8", vec![0x80, 1]),
            (" 1 , 3\n", vec![0b1010]),
            ("8191", {
                let mut bytes = vec![0; 1024];
                bytes[1023] = 0x80;
                bytes
            }),
        ] {
            assert_eq!(mask("f", list).unwrap(), bytes, "{list}");
        }
        for list in ["", "a", "1-", "-1", "2-1", "8192", "0-99999999999999999999", "1,,2"] {
            assert!(mask("f", list).is_err(), "{list}");
        }
    }
}
