//! `--health-*` and the health check of an image.

use runtime::json;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use shim::layout::{HealthCheck, OnFailure};

use super::time;

/// Docker's defaults.
const INTERVAL: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(30);
const START_INTERVAL: Duration = Duration::from_secs(5);
const RETRIES: u32 = 3;

/// Shortest interval and timeout.
const SHORTEST: Duration = Duration::from_millis(1);

/// Flags about health checks.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Health")]
pub(crate) struct HealthFlags {
    /// Check the container with this shell command, or a JSON list of program and arguments; none for no check
    #[arg(long, value_name = "COMMAND")]
    pub(crate) health_cmd: Option<String>,
    /// From the end of a check to the next
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) health_interval: Option<Duration>,
    /// After this time a check has failed and is killed
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) health_timeout: Option<Duration>,
    /// Failures in a row that make the container unhealthy
    #[arg(long, value_name = "NUMBER")]
    pub(crate) health_retries: Option<u32>,
    /// Time after the start in which failures do not count
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) health_start_period: Option<Duration>,
    /// Interval in that time
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) health_start_interval: Option<Duration>,
    /// What an unhealthy container gets
    #[arg(long, value_name = "ACTION")]
    pub(crate) health_on_failure: Option<Action>,
    /// Leave out the image's health check
    #[arg(long)]
    pub(crate) no_healthcheck: bool,
}

/// `--health-on-failure`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Action {
    /// Nothing
    #[default]
    None,
    /// SIGKILL; the restart policy holds
    Kill,
    /// Stop it and start it again
    Restart,
    /// Stop it
    Stop,
}

/// A health check in docker's shape; what is 0 or empty is docker's default. Times are nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Healthcheck {
    /// `NONE`, `CMD` and a program with its arguments, `CMD-SHELL` and a command.
    pub(crate) test: Vec<String>,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) interval: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) timeout: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) start_period: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) start_interval: u64,
    #[serde(skip_serializing_if = "none")]
    pub(crate) retries: u32,
    /// Podman's.
    #[serde(skip_serializing_if = "does_nothing")]
    pub(crate) on_failure: Action,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn none(number: &u32) -> bool {
    *number == 0
}

fn does_nothing(action: &Action) -> bool {
    *action == Action::None
}

fn duration(text: &str) -> Result<Duration, String> {
    match (text, time::duration(text)) {
        ("0", _) => Ok(Duration::ZERO),
        (_, Some(duration)) if duration.is_zero() || duration >= SHORTEST => Ok(duration),
        (_, Some(_)) => Err(format!("{text:?}: must be at least 1ms")),
        (_, None) => Err(format!("{text:?} is no duration; write it as 30s, 1m30s or 500ms")),
    }
}

impl HealthFlags {
    /// The image's check with what the flags change; `None` for no check.
    pub(crate) fn with_image(&self, image: Option<&serde_json::Value>) -> Result<Option<Healthcheck>, String> {
        let durations = [
            ("--health-interval", self.health_interval),
            ("--health-timeout", self.health_timeout),
            ("--health-start-period", self.health_start_period),
            ("--health-start-interval", self.health_start_interval),
        ];
        let mut given: Vec<&str> =
            durations.iter().filter(|(_, value)| value.is_some()).map(|(name, _)| *name).collect();
        given.extend(self.health_cmd.as_ref().map(|_| "--health-cmd"));
        given.extend(self.health_retries.map(|_| "--health-retries"));
        given.extend(self.health_on_failure.map(|_| "--health-on-failure"));
        if self.no_healthcheck || self.health_cmd.as_deref() == Some("none") {
            let others: Vec<&str> =
                given.into_iter().filter(|name| self.no_healthcheck || *name != "--health-cmd").collect();
            return match others.first() {
                None => Ok(Some(Healthcheck { test: vec!["NONE".to_owned()], ..Healthcheck::default() })),
                Some(name) => Err(format!("{name} and --no-healthcheck exclude each other")),
            };
        }
        let mut check: Healthcheck = match image {
            Some(value) => json::from_value(value.clone())
                .map_err(|error| format!("the image's health check: {error}; leave it out with --no-healthcheck"))?,
            None => Healthcheck::default(),
        };
        if let Some(command) = self.health_cmd.as_deref().filter(|command| !command.is_empty()) {
            check.test = test(command)?;
        }
        if check.test.is_empty() {
            return match given.first() {
                None => Ok(None),
                Some(name) => Err(format!("{name}: there is no health check; give one with --health-cmd")),
            };
        }
        let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        for (place, value) in [
            (&mut check.interval, self.health_interval),
            (&mut check.timeout, self.health_timeout),
            (&mut check.start_period, self.health_start_period),
            (&mut check.start_interval, self.health_start_interval),
        ] {
            *place = value.filter(|value| !value.is_zero()).map_or(*place, nanos);
        }
        check.retries = self.health_retries.filter(|count| *count > 0).unwrap_or(check.retries);
        check.on_failure = self.health_on_failure.unwrap_or(check.on_failure);
        // What is wrong with it is found now.
        check.check().transpose()?;
        Ok(Some(check))
    }
}

/// `--health-cmd`: for a shell, or a JSON list as in the image's configuration.
fn test(command: &str) -> Result<Vec<String>, String> {
    if !command.starts_with('[') {
        return Ok(vec!["CMD-SHELL".to_owned(), command.to_owned()]);
    }
    let list: Result<Vec<String>, _> = json::from_str(command);
    match list {
        Ok(list) if ["CMD", "CMD-SHELL", "NONE"].contains(&list.first().map_or("", String::as_str)) => Ok(list),
        Ok(list) => Ok([vec!["CMD".to_owned()], list].concat()),
        // [ -f /ready ] is a command as well.
        Err(_) => Ok(vec!["CMD-SHELL".to_owned(), command.to_owned()]),
    }
}

impl Healthcheck {
    /// What the shim runs; `None` for no check.
    pub(crate) fn check(&self) -> Option<Result<HealthCheck, String>> {
        let command = match self.test.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            [] | ["NONE", ..] => return None,
            ["CMD", program, ..] if !program.is_empty() => self.test[1..].to_vec(),
            ["CMD-SHELL", command] => ["/bin/sh", "-c", command].map(str::to_owned).to_vec(),
            ["CMD" | "CMD-SHELL", ..] => {
                return Some(Err(format!("health check {:?}: the command is missing", self.test)));
            }
            [kind, ..] => {
                return Some(Err(format!("health check: {kind:?} must be NONE, CMD or CMD-SHELL")));
            }
        };
        let time = |nanos: u64, default: Duration| if nanos == 0 { default } else { Duration::from_nanos(nanos) };
        Some(Ok(HealthCheck {
            command,
            interval: time(self.interval, INTERVAL),
            timeout: time(self.timeout, TIMEOUT),
            start_period: Duration::from_nanos(self.start_period),
            start_interval: time(self.start_interval, START_INTERVAL),
            retries: if self.retries == 0 { RETRIES } else { self.retries },
            on_failure: match self.on_failure {
                Action::None => OnFailure::None,
                Action::Kill => OnFailure::Kill,
                Action::Restart => OnFailure::Restart,
                Action::Stop => OnFailure::Stop,
            },
        }))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn commands() {
        for (text, expected) in [
            ("curl -f localhost", &["/bin/sh", "-c", "curl -f localhost"][..]),
            (r#"["CMD", "true", "x"]"#, &["true", "x"]),
            (r#"["CMD-SHELL", "exit 1"]"#, &["/bin/sh", "-c", "exit 1"]),
            (r#"["test", "-f", "/ready"]"#, &["test", "-f", "/ready"]),
            ("[ -f /ready ]", &["/bin/sh", "-c", "[ -f /ready ]"]),
        ] {
            let flags = HealthFlags { health_cmd: Some(text.to_owned()), ..HealthFlags::default() };
            let check = flags.with_image(None).unwrap().unwrap().check().unwrap().unwrap();
            assert_eq!(check.command, expected);
            assert_eq!((check.interval, check.timeout, check.retries), (INTERVAL, TIMEOUT, 3));
        }
    }

    #[test]
    fn flags_change_what_the_image_says() {
        let image = json!({"Test": ["CMD", "/check"], "Interval": 1_000_000_000, "Retries": 7, "StartPeriod": 5});
        let plain = HealthFlags::default().with_image(Some(&image)).unwrap().unwrap();
        assert_eq!(serde_json::to_value(&plain).unwrap(), image);
        let flags = HealthFlags { health_interval: Some(Duration::from_secs(2)), ..HealthFlags::default() };
        let changed = flags.with_image(Some(&image)).unwrap().unwrap();
        assert_eq!((changed.interval, changed.retries, changed.test.len()), (2_000_000_000, 7, 2));
        let off = HealthFlags { no_healthcheck: true, ..HealthFlags::default() };
        assert!(off.with_image(Some(&image)).unwrap().unwrap().check().is_none());
        let off = HealthFlags { health_cmd: Some("none".to_owned()), ..HealthFlags::default() };
        assert!(off.with_image(Some(&image)).unwrap().unwrap().check().is_none());
        assert_eq!(HealthFlags::default().with_image(None), Ok(None));
        assert!(
            HealthFlags::default().with_image(Some(&json!({"Test": ["NONE"]}))).unwrap().unwrap().check().is_none()
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        let none = HealthFlags::default;
        for (flags, image, problem) in [
            (
                HealthFlags { no_healthcheck: true, health_retries: Some(1), ..none() },
                json!({}),
                "--health-retries and --no-healthcheck",
            ),
            (HealthFlags { health_retries: Some(1), ..none() }, json!({}), "give one with --health-cmd"),
            (none(), json!({"Test": ["CMD"]}), "the command is missing"),
            (none(), json!({"Test": ["SHELL", "x"]}), "must be NONE, CMD or CMD-SHELL"),
            (none(), json!({"Test": 1}), "the image's health check"),
            (none(), json!({"Test": ["CMD", "x"], "Interval": -1}), "the image's health check"),
        ] {
            let error = flags.with_image(Some(&image)).unwrap_err();
            assert!(error.contains(problem), "{error}");
        }
        for (text, good) in
            [("30s", true), ("0", true), ("0s", true), ("1ms", true), ("10us", false), ("30", false), ("", false)]
        {
            assert_eq!(duration(text).is_ok(), good, "{text}");
        }
    }
}
