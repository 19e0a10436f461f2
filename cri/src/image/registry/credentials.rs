//! What a client shows a registry about itself.

use std::fmt;

/// How to log in. Nothing of the secrets is ever printed, also not by `{:?}`.
#[derive(Clone, Default, PartialEq, Eq)]
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
