//! Why a registry did not give what it was asked for.

use std::error::Error as _;
use std::fmt;
use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use reqwest::{Response, StatusCode, Url};

use super::{answer, exchange};

/// How much of a refusal is read, and how long it may take.
const REFUSAL_MAX: usize = 16 << 10;
const REFUSAL_TIME: Duration = Duration::from_secs(5);

/// One request that did not get its answer. Holds no secrets: no credentials, and addresses without their query.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Fault {
    /// No answer, or not all of it: the name, the connection, TLS, or the transfer.
    #[error("{call}: {cause}")]
    Transport {
        /// Method and address.
        call: String,
        /// The innermost cause.
        cause: String,
        /// Whether it may go better the next time.
        again: Again,
    },
    /// An answer that is no success.
    #[error("{call}: {}{detail}", Status(*status))]
    Status {
        /// Method and address.
        call: String,
        /// The answer.
        status: u16,
        /// What the registry says about it; begins with `: ` unless it is empty.
        detail: String,
        /// How long the server wants to be left alone.
        after: Option<Duration>,
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

/// Whether another attempt makes sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// It may go better.
    Yes,
    /// It will not.
    No,
}

struct Status(u16);

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match StatusCode::from_u16(self.0).ok().and_then(|status| status.canonical_reason()) {
            Some(reason) => write!(f, "{} {reason}", self.0),
            None => write!(f, "{}", self.0),
        }
    }
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
    pub(crate) fn transport(call: &str, error: &reqwest::Error) -> Fault {
        // The outer texts repeat the address with its query: only the innermost cause is told.
        let mut cause: &dyn std::error::Error = error;
        while let Some(source) = cause.source() {
            cause = source;
        }
        let cause = match (error.is_timeout(), error.source()) {
            (true, _) if error.is_connect() => "no connection within the time allowed".into(),
            (true, _) => "nothing arrived within the time allowed".into(),
            (false, Some(_)) => answer::printable(&cause.to_string()),
            (false, None) => "the request could not be made".into(),
        };
        let cause = if error.is_connect() { format!("connect: {cause}") } else { cause };
        let again = if error.is_connect() || error.is_builder() { Again::No } else { Again::Yes };
        Fault::Transport { call: call.into(), cause, again }
    }

    /// Reads what the registry says about its refusal.
    pub(crate) async fn refused(call: &str, mut response: Response) -> Fault {
        let status = response.status().as_u16();
        let kind = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().to_owned();
        let after = exchange::retry_after(response.headers());
        let mut body = Vec::new();
        let read = async {
            while let Ok(Some(chunk)) = response.chunk().await {
                body.extend_from_slice(&chunk);
                if body.len() > REFUSAL_MAX {
                    return;
                }
            }
        };
        // What arrived in time is looked at.
        let _ = tokio::time::timeout(REFUSAL_TIME, read).await;
        let mut detail = answer::detail(&body);
        if detail.is_empty() && kind.contains("html") {
            detail = ": the answer is a web page, this may be no registry".into();
        }
        Fault::Status { call: call.into(), status, detail, after }
    }

    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Fault::Transport { again, .. } => *again == Again::Yes,
            Fault::Status { status, .. } => matches!(status, 408 | 429 | 500 | 502 | 503 | 504),
            Fault::Answer { .. } => false,
        }
    }

    pub(crate) fn after(&self) -> Option<Duration> {
        match self {
            Fault::Status { after, .. } => *after,
            Fault::Transport { .. } | Fault::Answer { .. } => None,
        }
    }

    /// The status of the answer, if there was one and it was no success.
    pub fn status(&self) -> Option<u16> {
        match self {
            Fault::Status { status, .. } => Some(*status),
            Fault::Transport { .. } | Fault::Answer { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_without_secrets() {
        let rows = [
            ("https://u:p@host/a?X-Amz-Signature=s#f", "https://host/a?…"),
            ("https://host:5000/v2/", "https://host:5000/v2/"),
        ];
        for (url, expected) in rows {
            assert_eq!(shown(&Url::parse(url).unwrap()), expected);
        }
    }
}
