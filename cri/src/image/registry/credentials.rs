//! What a client shows a registry about itself.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::error::Error;
use super::keychain::server_name;

/// How to log in. Nothing of the secrets is ever printed, also not by `{:?}`.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub enum Credentials {
    /// Not at all.
    #[default]
    Anonymous,
    /// A user with a password, or with what a registry calls a personal access token.
    Basic {
        /// The user.
        username: String,
        /// The secret.
        password: String,
    },
    /// A refresh token of the registry's token server (docker's `identitytoken`).
    IdentityToken {
        /// The secret.
        token: String,
    },
    /// A bearer token that the registry takes as it is (docker's `registrytoken`).
    RegistryToken {
        /// The secret.
        token: String,
    },
}

/// Finds the credentials for a host: `docker.io`, `localhost:5000`. Called at the first request that needs some, for each
/// registry and mirror by its own name. May block.
pub type Lookup = Arc<dyn Fn(&str) -> Result<Credentials, Error> + Send + Sync>;

impl Credentials {
    /// Shows the credentials to that host alone, and nothing to mirrors and other registries.
    pub fn only_for(self, host: &str) -> Lookup {
        let own = host.to_owned();
        Arc::new(move |host| Ok(if host == own { self.clone() } else { Credentials::Anonymous }))
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Credentials::Anonymous => "Anonymous",
            Credentials::Basic { .. } => "Basic(secret)",
            Credentials::IdentityToken { .. } => "IdentityToken(secret)",
            Credentials::RegistryToken { .. } => "RegistryToken(secret)",
        })
    }
}

/// Credentials in the shape of docker's `config.json` and of the CRI's `AuthConfig`. Empty members count as absent.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub struct AuthConfig {
    /// The user.
    pub username: String,
    /// The secret.
    pub password: String,
    /// Both, as `base64(USER:PASSWORD)`.
    pub auth: String,
    /// The registry; empty: that of the image.
    #[serde(rename = "serveraddress")]
    pub server_address: String,
    /// A refresh token.
    #[serde(rename = "identitytoken")]
    pub identity_token: String,
    /// A bearer token.
    #[serde(rename = "registrytoken")]
    pub registry_token: String,
}

impl fmt::Debug for AuthConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthConfig").field("server_address", &self.server_address).finish_non_exhaustive()
    }
}

/// Padding may be there or not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

impl AuthConfig {
    /// What it says; anonymous if that is nothing.
    ///
    /// # Errors
    /// The rule for `auth`.
    pub fn credentials(&self) -> Result<Credentials, &'static str> {
        const RULE: &str = "auth: expected base64 of USER:PASSWORD";
        if !self.registry_token.is_empty() {
            return Ok(Credentials::RegistryToken { token: self.registry_token.clone() });
        }
        if !self.identity_token.is_empty() {
            return Ok(Credentials::IdentityToken { token: self.identity_token.clone() });
        }
        if !self.username.is_empty() || !self.password.is_empty() {
            return Ok(Credentials::Basic { username: self.username.clone(), password: self.password.clone() });
        }
        if self.auth.is_empty() {
            return Ok(Credentials::Anonymous);
        }
        let bytes = BASE64.decode(self.auth.trim()).map_err(|_| RULE)?;
        let text = String::from_utf8(bytes).map_err(|_| RULE)?;
        let (username, password) = text.split_once(':').ok_or(RULE)?;
        // Old clients end it with NULs.
        let password = password.trim_end_matches('\0');
        Ok(Credentials::Basic { username: username.into(), password: password.into() })
    }

    /// Shows the credentials to the registry they are for and to no other; without `server_address` to that of the image.
    ///
    /// # Errors
    /// [`Error::Credentials`] with the member that is wrong.
    pub fn lookup(&self, domain: &str) -> Result<Lookup, Error> {
        let failed = |reason: &str| Error::Credentials { what: "AuthConfig".into(), reason: reason.into() };
        let host = match self.server_address.as_str() {
            "" => domain.to_owned(),
            address => server_name(address)?,
        };
        Ok(self.credentials().map_err(failed)?.only_for(&host))
    }

    /// What is written into `config.json`.
    pub(crate) fn file_entry(credentials: &Credentials) -> Result<Value, &'static str> {
        match credentials {
            Credentials::Basic { username, .. } if username.contains(':') => {
                Err("a user name with a colon cannot be kept in a file")
            }
            Credentials::Basic { username, password } => {
                Ok(json!({"auth": BASE64.encode(format!("{username}:{password}"))}))
            }
            Credentials::IdentityToken { token } => Ok(json!({"identitytoken": token})),
            Credentials::Anonymous => Err("there are no credentials to keep"),
            Credentials::RegistryToken { .. } => Err("a registry token lives for a short time and is not kept"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_of_auth_config() {
        let basic = |username: &str, password: &str| Credentials::Basic {
            username: username.into(),
            password: password.into(),
        };
        let config = |change: &dyn Fn(&mut AuthConfig)| {
            let mut config = AuthConfig::default();
            change(&mut config);
            config
        };
        let rows = [
            (config(&|_| {}), Ok(Credentials::Anonymous)),
            (config(&|c| c.auth = "dTpw".into()), Ok(basic("u", "p"))),
            (config(&|c| c.auth = "dTpwOg==".into()), Ok(basic("u", "p:"))),
            (config(&|c| c.auth = "dTpwOg".into()), Ok(basic("u", "p:"))),
            (config(&|c| c.auth = "dXA=".into()), Err("auth: expected base64 of USER:PASSWORD")),
            (config(&|c| c.username = "u".into()), Ok(basic("u", ""))),
            (config(&|c| c.identity_token = "t".into()), Ok(Credentials::IdentityToken { token: "t".into() })),
        ];
        for (config, expected) in rows {
            assert_eq!(config.credentials(), expected);
        }
    }

    #[test]
    fn credentials_are_for_one_host() {
        let config = AuthConfig {
            username: "u".into(),
            server_address: "https://index.docker.io/v1/".into(),
            ..AuthConfig::default()
        };
        let lookup = config.lookup("quay.io").unwrap();
        assert_eq!(lookup("quay.io").unwrap(), Credentials::Anonymous);
        assert_ne!(lookup("docker.io").unwrap(), Credentials::Anonymous);
    }

    #[test]
    fn secrets_are_not_printed() {
        let secret = "s3cret";
        let all = [
            Credentials::Basic { username: secret.into(), password: secret.into() },
            Credentials::IdentityToken { token: secret.into() },
            Credentials::RegistryToken { token: secret.into() },
        ];
        for credentials in all {
            assert!(!format!("{credentials:?}").contains(secret));
        }
        let config = AuthConfig { password: secret.into(), auth: secret.into(), ..AuthConfig::default() };
        assert!(!format!("{config:?}").contains(secret));
    }
}
