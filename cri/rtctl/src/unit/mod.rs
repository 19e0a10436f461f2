//! systemd units for containers, systemd.service(5).
//!
//! The main process is `rtctl start --attach`, or `rtctl run`: it ends with the container and passes its exit status on, so
//! that `Restart=on-failure` means the program's failures, and its output is in the journal. The shim is in the unit's control
//! group: should rtctl be killed, systemd ends the shim, too, and the container dies with it. The container's own control group
//! is below `/rt`, so nothing is delegated.

mod renew;

pub(crate) use renew::renew;

/// What a unit is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unit {
    /// Without `.service`.
    pub(crate) name: String,
    /// Name or id of the container.
    pub(crate) container: String,
    /// Path of rtctl.
    pub(crate) rtctl: String,
    /// `NAME=value`
    pub(crate) environment: Vec<String>,
    /// Arguments of rtctl for a new container each time; `None`: the one that is there is started.
    pub(crate) new: Option<Vec<String>>,
    /// Where relative paths of the command line start.
    pub(crate) directory: Option<String>,
    pub(crate) restart: String,
    /// Seconds between restarts.
    pub(crate) restart_sec: Option<u32>,
    /// Seconds until stop kills.
    pub(crate) stop_timeout: u32,
    pub(crate) wants: Vec<String>,
    pub(crate) after: Vec<String>,
    pub(crate) requires: Vec<String>,
    /// Directories whose mounts it needs.
    pub(crate) needs_mounts: Vec<String>,
}

/// Seconds more than the container has, for killing and cleaning up.
const GRACE: u32 = 60;

impl Unit {
    /// Its text.
    pub(crate) fn text(&self) -> String {
        let mut lines =
            vec![format!("# {}.service", self.name), "# Made by rtctl generate systemd.".to_owned(), String::new()];
        let mut line = |line: String| lines.push(line);
        let command = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
            format!("{} {}", quoted(&self.rtctl), words.join(" "))
        };
        line("[Unit]".to_owned());
        line(format!("Description=Container {}", self.container.replace('%', "%%")));
        line("Documentation=man:rtctl-generate-systemd(1)".to_owned());
        line(format!("Wants={}", [&["network-online.target".to_owned()], self.wants.as_slice()].concat().join(" ")));
        line(format!("After={}", [&["network-online.target".to_owned()], self.after.as_slice()].concat().join(" ")));
        if !self.requires.is_empty() {
            line(format!("Requires={}", self.requires.join(" ")));
        }
        let mounts: Vec<String> = self.needs_mounts.iter().map(|path| quoted(path)).collect();
        line(format!("RequiresMountsFor={}", mounts.join(" ")));
        line(String::new());
        line("[Service]".to_owned());
        line("Type=exec".to_owned());
        for variable in &self.environment {
            line(format!("Environment={}", quoted(variable)));
        }
        if let Some(directory) = &self.directory {
            line(format!("WorkingDirectory={}", directory.replace('%', "%%")));
        }
        let (container, timeout) = (self.container.as_str(), self.stop_timeout.to_string());
        match &self.new {
            Some(arguments) => {
                line(format!("ExecStartPre=-{}", command(&["rm", "--force", "--volumes", container])));
                let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
                line(format!("ExecStart={}", command(&words)));
            }
            None => line(format!("ExecStart={}", command(&["start", "--attach", container]))),
        }
        line(format!("ExecStop=-{}", command(&["stop", "--time", &timeout, container])));
        if self.new.is_some() {
            line(format!("ExecStopPost=-{}", command(&["rm", "--force", "--volumes", container])));
        }
        line(format!("Restart={}", self.restart));
        if let Some(seconds) = self.restart_sec {
            line(format!("RestartSec={seconds}"));
        }
        // What the usual stop signal leaves is no failure.
        line("SuccessExitStatus=143".to_owned());
        line(format!("TimeoutStopSec={}", self.stop_timeout.saturating_add(GRACE)));
        line("KillMode=control-group".to_owned());
        line(String::new());
        line("[Install]".to_owned());
        line("WantedBy=multi-user.target".to_owned());
        lines.join("\n") + "\n"
    }
}

/// A word of a command line, systemd.service(5) "Command lines": specifiers and variables are doubled, and what is not plain is
/// quoted with C's escapes.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=@+,%$".contains(&byte);
    let doubled = word.replace('%', "%%").replace('$', "$$");
    if !word.is_empty() && word.bytes().all(plain) {
        return doubled;
    }
    let mut text = String::from("\"");
    for character in doubled.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\t' => text.push_str("\\t"),
            control if control.is_ascii_control() => text.push_str(&format!("\\x{:02x}", control as u32)),
            other => text.push(other),
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn unit(new: Option<&[&str]>) -> Unit {
        Unit {
            name: "container-web".to_owned(),
            container: "web".to_owned(),
            rtctl: "/usr/bin/rtctl".to_owned(),
            environment: Vec::new(),
            new: new.map(|words| words.iter().map(|word| (*word).to_owned()).collect()),
            directory: None,
            restart: "on-failure".to_owned(),
            restart_sec: None,
            stop_timeout: 10,
            wants: Vec::new(),
            after: Vec::new(),
            requires: Vec::new(),
            needs_mounts: vec!["/var/lib/rt".to_owned()],
        }
    }

    /// Sections with their `Key=value` lines: what systemd would read, or an error.
    fn parsed(text: &str) -> Vec<(String, Vec<(String, String)>)> {
        let mut sections: Vec<(String, Vec<(String, String)>)> = Vec::new();
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                sections.push((name.to_owned(), Vec::new()));
                continue;
            }
            let (key, value) = line.split_once('=').unwrap_or_else(|| panic!("{line:?} is no assignment"));
            assert!(key.bytes().all(|byte| byte.is_ascii_alphabetic()), "{line:?}");
            assert!(!value.ends_with('\\'), "{line:?} would go on");
            sections.last_mut().expect("a section comes first").1.push((key.to_owned(), value.to_owned()));
        }
        sections
    }

    #[test]
    fn a_unit_for_a_container_that_is_there() {
        let text = unit(None).text();
        let sections = parsed(&text);
        let names: Vec<&str> = sections.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["Unit", "Service", "Install"]);
        let service = &sections[1].1;
        let value = |key: &str| service.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str());
        assert_eq!(value("ExecStart"), Some("/usr/bin/rtctl start --attach web"));
        assert_eq!(value("ExecStop"), Some("-/usr/bin/rtctl stop --time 10 web"));
        assert_eq!(value("Type"), Some("exec"));
        assert_eq!(value("TimeoutStopSec"), Some("70"));
        assert_eq!((value("ExecStartPre"), value("RestartSec")), (None, None));
    }

    #[test]
    fn a_unit_that_makes_a_new_one() {
        let mut unit = unit(Some(&["run", "--rm", "--name", "web", "-e", "A=1 %2 $x \"y\"", "busybox", ""]));
        unit.environment = vec!["RT_ROOT=/srv/my rt".to_owned()];
        unit.after = vec!["db.service".to_owned()];
        unit.restart_sec = Some(3);
        let text = unit.text();
        parsed(&text);
        for line in [
            "ExecStartPre=-/usr/bin/rtctl rm --force --volumes web",
            "ExecStart=/usr/bin/rtctl run --rm --name web -e \"A=1 %%2 $$x \\\"y\\\"\" busybox \"\"",
            "ExecStopPost=-/usr/bin/rtctl rm --force --volumes web",
            "Environment=\"RT_ROOT=/srv/my rt\"",
            "After=network-online.target db.service",
            "RestartSec=3",
        ] {
            assert!(text.lines().any(|found| found == line), "no {line} in\n{text}");
        }
    }

    proptest! {
        #[test]
        fn a_word_stays_on_its_line(word in ".{0,20}") {
            let text = quoted(&word);
            prop_assert!(!text.contains('\n') && !text.is_empty());
            // An even number of quotes that are not escaped.
            let unescaped = text.replace("\\\\", "").replace("\\\"", "");
            prop_assert_eq!(unescaped.matches('"').count() % 2, 0);
        }
    }
}
