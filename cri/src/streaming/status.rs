//! What the error stream says at the end: a Kubernetes `Status`, for protocol v4; plain text for older ones.

use serde_json::json;

use super::Exit;

/// The version of the protocol of exec and attach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Version {
    /// No size stream.
    V1,
    V2,
    /// With a stream for sizes.
    V3,
    /// The end is told as JSON.
    V4,
}

impl Version {
    /// All of them, the best first.
    pub(super) const ALL: [Version; 4] = [Version::V4, Version::V3, Version::V2, Version::V1];

    /// The best one of those that a client offers.
    pub(super) fn choose<'a>(offered: impl Iterator<Item = &'a str>) -> Option<Version> {
        offered.filter_map(Version::parse).max()
    }

    fn parse(name: &str) -> Option<Version> {
        Version::ALL.into_iter().find(|version| version.name() == name)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Version::V1 => "channel.k8s.io",
            Version::V2 => "v2.channel.k8s.io",
            Version::V3 => "v3.channel.k8s.io",
            Version::V4 => "v4.channel.k8s.io",
        }
    }

    pub(super) fn has_sizes(self) -> bool {
        self >= Version::V3
    }

    /// The bytes for the error stream.
    pub(super) fn status(self, result: &Result<Exit, String>) -> Vec<u8> {
        match (self, result) {
            (Version::V4, _) => v4(result).to_string().into_bytes(),
            (_, Ok(Exit { code: 0 })) => Vec::new(),
            (_, Ok(Exit { code })) => format!("command terminated with exit code {code}").into_bytes(),
            (_, Err(message)) => message.clone().into_bytes(),
        }
    }
}

fn v4(result: &Result<Exit, String>) -> serde_json::Value {
    match result {
        Ok(Exit { code: 0 }) => json!({"metadata": {}, "status": "Success"}),
        Ok(Exit { code }) => json!({
            "metadata": {},
            "status": "Failure",
            "message": format!("command terminated with non-zero exit code: {code}"),
            "reason": "NonZeroExitCode",
            "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
        }),
        Err(message) => json!({
            "metadata": {},
            "status": "Failure",
            "message": message,
            "reason": "InternalError",
            "details": {"causes": [{"message": message}]},
            "code": 500,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_version() {
        let go = "v5.channel.k8s.io, v4.channel.k8s.io, v3.channel.k8s.io, v2.channel.k8s.io, channel.k8s.io";
        assert_eq!(Version::choose(go.split(", ")), Some(Version::V4));
        assert_eq!(Version::choose(["channel.k8s.io", "v3.channel.k8s.io"].into_iter()), Some(Version::V3));
        assert_eq!(Version::choose(["v9.channel.k8s.io", ""].into_iter()), None);
    }

    #[test]
    fn what_is_said() {
        let text = |version: Version, result| String::from_utf8(version.status(&result)).unwrap();
        assert_eq!(text(Version::V3, Ok(Exit { code: 0 })), "");
        assert_eq!(text(Version::V1, Err("no such container".into())), "no such container");
        let status: serde_json::Value = serde_json::from_str(&text(Version::V4, Ok(Exit { code: 3 }))).unwrap();
        assert_eq!(status["status"], "Failure");
        assert_eq!(status["reason"], "NonZeroExitCode");
        assert_eq!(status["details"]["causes"][0], json!({"reason": "ExitCode", "message": "3"}));
        let status: serde_json::Value = serde_json::from_str(&text(Version::V4, Ok(Exit { code: 0 }))).unwrap();
        assert_eq!(status["status"], "Success");
    }
}
