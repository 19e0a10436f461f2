//! Messages: to standard error for a person, and to `--log` in runc's formats for callers that read that file.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::time::{SystemTime, UNIX_EPOCH};

use runtime::sys::{Call, CallError};

use crate::args::Parsed;

/// Where messages go.
pub(crate) struct Log {
    file: Option<File>,
    json: bool,
    debug: bool,
}

impl Log {
    /// Opens the file of `--log`.
    pub(crate) fn open(global: &Parsed) -> Result<Self, String> {
        let json = match global.value("log-format") {
            None | Some("text") => false,
            Some("json") => true,
            Some(other) => return Err(format!("--log-format: {other:?} is neither text nor json")),
        };
        let open = |path: &str| -> Result<File, CallError> {
            OpenOptions::new()
                .append(true)
                .create(true)
                .mode(0o644)
                .open(path)
                .call(|| format!("open({path:?}, O_APPEND)"))
        };
        let path = global.value("log");
        let file = path.map(open).transpose().map_err(|error| format!("--log: {error}"))?;
        Ok(Self { file, json, debug: global.is_set("debug") })
    }

    /// Says what went wrong.
    pub(crate) fn error(&self, message: &str) {
        self.write("error", message);
    }

    /// Says what was done only in part.
    pub(crate) fn warning(&self, message: &str) {
        self.write("warning", message);
    }

    /// Says what is being done, if that is wanted (`--debug`).
    pub(crate) fn debug(&self, message: impl FnOnce() -> String) {
        if self.debug {
            self.write("debug", &message());
        }
    }

    fn write(&self, level: &str, message: &str) {
        match (&self.file, self.json) {
            // Nobody but who asked for JSON reads it then.
            (None, true) => eprint!("{}", self.line(level, message)),
            // Callers show standard error to people, and read the file for the rest.
            (Some(_), _) if level == "debug" => {}
            // In one piece: others may write there, too. When it fails there is no better place to complain to.
            (_, _) => drop(std::io::stderr().write_all(format!("rt-runtime: {message}\n").as_bytes())),
        }
        if let Some(mut file) = self.file.as_ref() {
            // There is no better place left to complain to than standard error, which has the message already.
            let _ = file.write_all(self.line(level, message).as_bytes());
        }
    }

    /// A message in runc's format.
    fn line(&self, level: &str, message: &str) -> String {
        let time = timestamp(SystemTime::now());
        let text = serde_json::Value::from(message);
        if self.json {
            format!("{{\"level\":\"{level}\",\"msg\":{text},\"time\":\"{time}\"}}\n")
        } else {
            format!("time=\"{time}\" level={level} msg={text}\n")
        }
    }
}

/// RFC 3339 in UTC, to the second.
pub(crate) fn timestamp(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (days, second) = (seconds / 86400, seconds % 86400);
    // Civil date from a day count: years are counted from March, so that the leap day is the last.
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute) = (second / 3600, second / 60 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}Z", second % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn timestamps() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_798_761_599, "2026-12-31T23:59:59Z"),
        ] {
            assert_eq!(timestamp(UNIX_EPOCH + Duration::from_secs(seconds)), text);
        }
    }
}
