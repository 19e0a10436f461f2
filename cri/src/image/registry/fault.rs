//! Why a registry did not give what it was asked for.

use std::error::Error as _;
use std::fmt;

use reqwest::{StatusCode, Url};

/// One request that did not get its answer. Holds no secrets: no credentials, and addresses without their query.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Fault {
    /// No answer: the name, the connection, TLS, or the transfer.
    #[error("{call}: {cause}")]
    Transport {
        /// Method and address.
        call: String,
        /// The innermost cause.
        cause: String,
    },
    /// An answer that is no success.
    #[error("{call}: {status}{detail}")]
    Status {
        /// Method and address.
        call: String,
        /// The answer.
        status: StatusCode,
        /// What the registry says about it; begins with `: ` unless it is empty.
        detail: String,
    },
    /// A success that breaks a rule.
    #[error("{call}: {reason}")]
    Answer {
        /// Method and address.
        call: String,
        /// The rule.
        reason: String,
    },
}

/// The address without what may be a secret: user, password, and the query, where signatures of storage services are.
pub(crate) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    let _ = url.set_username("");
    let _ = url.set_password(None);
    let had_query = url.query().is_some();
    url.set_query(None);
    url.set_fragment(None);
    if had_query { format!("{url}?…") } else { url.into() }
}

impl Fault {
    pub(crate) fn transport(call: impl fmt::Display, error: &reqwest::Error) -> Fault {
        // The outer texts repeat the address with its query: only the innermost cause is told.
        let mut cause: &dyn std::error::Error = error;
        while let Some(source) = cause.source() {
            cause = source;
        }
        let kind = if error.is_timeout() {
            "timeout: "
        } else if error.is_connect() {
            "connect: "
        } else {
            ""
        };
        let cause = match error.source() {
            Some(_) => cause.to_string(),
            None => "the request could not be made".into(),
        };
        Fault::Transport { call: call.to_string(), cause: format!("{kind}{cause}") }
    }
}
