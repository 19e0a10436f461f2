//! The image configuration, as far as a container needs it.
//!
//! Source: OCI image-spec config.md. Members we do not use stay in the blob, whose digest is the image's id.

use runtime::json;
use std::collections::BTreeMap;

use oci_spec::image::ImageConfiguration;
use serde::Deserialize;

use super::digest::Digest;
use super::error::Error;
use super::platform::Platform;

/// What an image says about itself and about the containers made from it.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageConfig {
    /// The machine it is for.
    pub platform: Platform,
    /// When it was made, RFC 3339, as written in the image.
    pub created: Option<String>,
    /// Who made it.
    pub author: Option<String>,
    /// The program and its first arguments; empty: none.
    pub entrypoint: Vec<String>,
    /// Arguments, or the whole command where there is no entrypoint.
    pub cmd: Vec<String>,
    /// `NAME=value` lines.
    pub env: Vec<String>,
    /// `user`, `uid`, `user:group` or `uid:gid`; empty: root. See [`identity::resolve`](super::identity::resolve).
    pub user: String,
    /// Where the command starts; empty: `/`.
    pub working_dir: String,
    /// Paths in the container that want a volume of their own, sorted.
    pub volumes: Vec<String>,
    /// `80/tcp` and the like, sorted.
    pub exposed_ports: Vec<String>,
    /// Free data.
    pub labels: BTreeMap<String, String>,
    /// The signal that asks the container to stop.
    pub stop_signal: Option<String>,
    /// The health check as docker writes it, not interpreted.
    pub healthcheck: Option<serde_json::Value>,
    /// The digests of the uncompressed layers, bottom first.
    pub diff_ids: Vec<Digest>,
    /// How the image was made, oldest step first.
    pub history: Vec<Step>,
}

/// One step of an image's history.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Step {
    /// When, RFC 3339.
    pub created: Option<String>,
    /// The command that made it.
    pub created_by: Option<String>,
    /// The author.
    pub author: Option<String>,
    /// Free text.
    pub comment: Option<String>,
    /// The step made no layer.
    pub empty_layer: bool,
}

/// What oci-spec's types leave out.
#[derive(Deserialize)]
struct DockerImage {
    config: Option<DockerConfig>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerConfig {
    healthcheck: Option<serde_json::Value>,
}

impl ImageConfig {
    /// Parses a config blob; `what` names it in errors.
    ///
    /// # Errors
    /// [`Error::Document`]: not JSON, a member of a wrong type, layers of a kind that is not known.
    pub fn parse(bytes: &[u8], what: &str) -> Result<ImageConfig, Error> {
        let rule = |reason: String| Error::Document { what: what.into(), reason };
        let document: ImageConfiguration = json::from_slice(bytes).map_err(|error| rule(error.to_string()))?;
        let docker: DockerImage = json::from_slice(bytes).map_err(|error| rule(error.to_string()))?;
        if document.rootfs().typ() != "layers" {
            return Err(rule(format!("rootfs.type is {:?}, allowed is \"layers\"", document.rootfs().typ())));
        }
        let diff_ids = document
            .rootfs()
            .diff_ids()
            .iter()
            .map(|text| text.parse::<Digest>().map_err(|error| rule(format!("rootfs.diff_ids: {error}"))))
            .collect::<Result<Vec<_>, _>>()?;
        let history = document.history().iter().flatten();
        let history = history
            .map(|step| Step {
                created: step.created().clone(),
                created_by: step.created_by().clone(),
                author: step.author().clone(),
                comment: step.comment().clone(),
                empty_layer: step.empty_layer().unwrap_or(false),
            })
            .collect();
        let platform = Platform {
            os: document.os().to_string(),
            architecture: document.architecture().to_string(),
            variant: document.variant().clone().filter(|variant| !variant.is_empty()),
        };
        let config = document.config().as_ref();
        let list = |member: Option<&Option<Vec<String>>>| member.cloned().flatten().unwrap_or_default();
        let sorted = |member| {
            let mut values = list(member);
            values.sort();
            values
        };
        Ok(ImageConfig {
            platform,
            created: document.created().clone(),
            author: document.author().clone(),
            entrypoint: list(config.map(|config| config.entrypoint())),
            cmd: list(config.map(|config| config.cmd())),
            env: list(config.map(|config| config.env())),
            user: config.and_then(|config| config.user().clone()).unwrap_or_default(),
            working_dir: config.and_then(|config| config.working_dir().clone()).unwrap_or_default(),
            volumes: sorted(config.map(|config| config.volumes())),
            exposed_ports: sorted(config.map(|config| config.exposed_ports())),
            labels: config.and_then(|config| config.labels().clone()).into_iter().flatten().collect(),
            stop_signal: config.and_then(|config| config.stop_signal().clone()).filter(|signal| !signal.is_empty()),
            healthcheck: docker.config.and_then(|config| config.healthcheck).filter(|check| !check.is_null()),
            diff_ids,
            history,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_docker_writes() {
        let diff_id = Digest::of(b"layer");
        let text = format!(
            r#"{{"architecture":"arm","variant":"v7","os":"linux","created":"2024-01-02T03:04:05.6Z","container":"x",
            "config":{{"Hostname":"","User":"www:33","ExposedPorts":{{"80/tcp":{{}},"443/tcp":{{}}}},"Tty":false,
              "Env":["PATH=/bin"],"Cmd":null,"Entrypoint":["/e"],"Volumes":{{"/b":{{}},"/a":{{}}}},"WorkingDir":"/w",
              "Labels":{{"k":"v"}},"StopSignal":"SIGQUIT","OnBuild":null,"Healthcheck":{{"Test":["NONE"]}}}},
            "history":[{{"created_by":"a"}},{{"created_by":"b","empty_layer":true}}],
            "rootfs":{{"type":"layers","diff_ids":["{diff_id}"]}}}}"#
        );
        let config = ImageConfig::parse(text.as_bytes(), "config").unwrap();
        assert_eq!(config.platform.to_string(), "linux/arm/v7");
        assert_eq!((config.user.as_str(), config.working_dir.as_str()), ("www:33", "/w"));
        assert_eq!((config.entrypoint, config.cmd), (vec!["/e".to_owned()], vec![]));
        assert_eq!(
            (config.volumes, config.exposed_ports),
            (vec!["/a".into(), "/b".into()], vec!["443/tcp".into(), "80/tcp".into()])
        );
        assert_eq!(config.healthcheck.unwrap()["Test"][0], "NONE");
        assert_eq!((config.diff_ids, config.stop_signal.as_deref()), (vec![diff_id], Some("SIGQUIT")));
        assert!(!config.history[0].empty_layer && config.history[1].empty_layer);
    }

    #[test]
    fn least_and_wrong() {
        let least = r#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#;
        let config = ImageConfig::parse(least.as_bytes(), "config").unwrap();
        assert!(config.cmd.is_empty() && config.env.is_empty() && config.user.is_empty());
        for (from, to, expected) in [
            ("\"layers\"", "\"zip\"", "allowed is \"layers\""),
            ("[]", "[\"sha256:../x\"]", "rootfs.diff_ids"),
            ("\"amd64\"", "7", "invalid type"),
            ("\"rootfs\"", "\"x\"", "missing field `rootfs`"),
        ] {
            let error = ImageConfig::parse(least.replace(from, to).as_bytes(), "config").unwrap_err().to_string();
            assert!(error.starts_with("config: ") && error.contains(expected), "{error}");
        }
    }
}
