//! VERSION: which versions a plugin speaks, and so which one a network is used with.

use runtime::json;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::client::{Client, Execute, Step};
use super::config::{Network, Plugin};
use super::error::{Command, Error, Subject};
use super::input;
use super::name::PluginType;
use super::program::Installed;
use super::version::{Version, common};

impl Client {
    /// The versions that a plugin of a network says it speaks, of those that this client speaks; oldest first.
    ///
    /// # Errors
    /// [`Error::Plugin`].
    pub fn plugin_versions(
        &self,
        network: &Network,
        plugin: &Plugin,
        deadline: Instant,
    ) -> Result<Vec<Version>, Error> {
        self.ask_versions(network, plugin, deadline, &mut Vec::new())
    }

    fn ask_versions(
        &self,
        network: &Network,
        plugin: &Plugin,
        deadline: Instant,
        steps: &mut Vec<Step>,
    ) -> Result<Vec<Version>, Error> {
        let subject = Subject { network: network.name.clone(), container: None };
        let input = input::for_version(network.version());
        let call =
            Execute { plugin, command: Command::Version, subject: &subject, env: Vec::new(), input: &input, deadline };
        let installed = self.installed(&call)?;
        if let Some(versions) = self.spoken.get(&plugin.kind, installed) {
            return Ok(versions);
        }
        let bytes = self.run(&call, steps)?;
        let versions = parse(&bytes).map_err(|reason| call.garbage(reason, &bytes))?;
        self.spoken.put(&plugin.kind, installed, &versions);
        Ok(versions)
    }

    /// The version to attach with. A configuration that offers several gets the highest that all its plugins speak; one that
    /// offers a single version is not asked about, for there is nothing to choose.
    pub(crate) fn choose(&self, network: &Network, deadline: Instant, steps: &mut Vec<Step>) -> Result<Version, Error> {
        let mut versions = network.versions.clone();
        if versions.len() > 1 {
            for plugin in &network.plugins {
                let spoken = self.ask_versions(network, plugin, deadline, steps)?;
                versions.retain(|version| spoken.contains(version));
            }
        }
        // Without one in common the plugins are the ones to say so.
        Ok(versions.last().copied().unwrap_or(network.version()))
    }
}

/// What plugins have answered, for as long as they are the same programs.
#[derive(Debug, Default)]
pub(crate) struct Spoken {
    answers: Mutex<HashMap<PluginType, (Installed, Vec<Version>)>>,
}

impl Spoken {
    fn get(&self, kind: &PluginType, installed: Installed) -> Option<Vec<Version>> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.get(kind).filter(|(then, _)| *then == installed).map(|(_, versions)| versions.clone())
    }

    fn put(&self, kind: &PluginType, installed: Installed, versions: &[Version]) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.insert(kind.clone(), (installed, versions.to_vec()));
    }
}

fn parse(bytes: &[u8]) -> Result<Vec<Version>, String> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Raw {
        supported_versions: Vec<String>,
    }
    let raw: Raw = json::from_slice(bytes).map_err(|error| format!("is no list of versions: {error}"))?;
    Ok(common(raw.supported_versions.iter().map(String::as_str)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers() {
        let answer = br#"{"cniVersion": "1.0.0", "supportedVersions": ["0.1.0", "0.4.0", "1.0.0", "9.0.0"]}"#;
        assert_eq!(parse(answer), Ok(vec![Version::V0_4_0, Version::V1_0_0]));
        for garbage in [&b""[..], b"{}", b"[]", b"{\"supportedVersions\": [1]}"] {
            assert!(parse(garbage).unwrap_err().starts_with("is no list of versions: "));
        }
    }
}
