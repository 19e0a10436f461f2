//! One request and its answer: redirects, credentials, and another attempt where that helps.
//!
//! Credentials and configured headers go to the origin (scheme, host and port) of the endpoint and nowhere else.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE};
use reqwest::{Client, Method, Response, StatusCode, Url};

use super::Inner;
use super::challenge::{self, Challenge};
use super::credentials::{Credentials, Lookup};
use super::endpoint::Endpoint;
use super::fault::{Fault, shown};
use super::token::{self, Wanted};

/// How many redirects are followed.
const REDIRECTS_MAX: usize = 10;
/// The longest that a server may make us wait for the next attempt.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);
/// The longest that we wait by ourselves.
const DELAY_MAX: Duration = Duration::from_secs(8);

/// A request, as often as it must be made.
#[derive(Clone)]
pub(crate) struct Ask {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    /// Only for the origin of `url`.
    pub(crate) private: HeaderMap,
    pub(crate) body: Body,
}

/// What is sent along.
#[derive(Clone)]
pub(crate) enum Body {
    Nothing,
    Bytes(Bytes),
    /// Makes the stream anew for each attempt.
    Stream(Arc<dyn Fn() -> reqwest::Body + Send + Sync>),
}

impl Ask {
    pub(crate) fn new(method: Method, url: Url) -> Ask {
        Ask { method, url, headers: HeaderMap::new(), private: HeaderMap::new(), body: Body::Nothing }
    }

    /// Method and address, for messages.
    pub(crate) fn call(&self) -> String {
        format!("{} {}", self.method, shown(&self.url))
    }
}

/// Sends a request and follows redirects; beyond the origin of its address without what is private. `other` is the client
/// for further origins.
pub(crate) async fn follow(client: &Client, other: &Client, ask: &Ask) -> Result<Response, Fault> {
    let mut url = ask.url.clone();
    for _ in 0..=REDIRECTS_MAX {
        let call = format!("{} {}", ask.method, shown(&url));
        let same = url.origin() == ask.url.origin();
        let client = if same { client } else { other };
        let mut request = client.request(ask.method.clone(), url.clone()).headers(ask.headers.clone());
        if same {
            request = request.headers(ask.private.clone());
        }
        request = match &ask.body {
            Body::Nothing => request,
            Body::Bytes(bytes) => request.body(bytes.clone()),
            Body::Stream(make) => request.body(make()),
        };
        let response = request.send().await.map_err(|error| Fault::transport(&call, &error))?;
        if !is_redirect(response.status()) {
            return Ok(response);
        }
        let broken = |reason: String| Fault::Answer { call: call.clone(), reason };
        let target = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let target = target.and_then(|target| url.join(target).ok());
        let target = target.ok_or_else(|| broken("redirects without saying where to".into()))?;
        match (url.scheme(), target.scheme()) {
            (_, "https") | ("http", "http") => {}
            _ => return Err(broken(format!("redirects from https to {}, which is refused", shown(&target)))),
        }
        let replays = matches!(response.status(), StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT);
        let reads = ask.method == Method::GET || ask.method == Method::HEAD;
        if !(reads || replays && target.origin() == ask.url.origin()) {
            return Err(broken(format!("redirects what is sent to it to {}, which is refused", shown(&target))));
        }
        url = target;
    }
    Err(Fault::Answer { call: ask.call(), reason: format!("more than {REDIRECTS_MAX} redirects") })
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// The whole body of an answer, at most `bound` bytes.
pub(crate) async fn read_body(call: &str, mut response: Response, bound: u64) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| Fault::transport(call, &error))? {
        if (bytes.len() + chunk.len()) as u64 > bound {
            return Err(Fault::Answer { call: call.into(), reason: format!("more than {bound} bytes") });
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// How requests show who we are, once the endpoint asked.
#[derive(Clone)]
enum Proof {
    Header(HeaderValue),
    Token(Wanted),
}

/// Which scope is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Choice {
    /// What the endpoint wants; our own if it does not say.
    Theirs,
    /// What the whole operation needs, so that one token is enough.
    Ours,
}

/// All requests of one operation to one endpoint.
pub(crate) struct Session {
    inner: Arc<Inner>,
    pub(crate) endpoint: Endpoint,
    lookup: Lookup,
    scope: String,
    choice: Choice,
    proof: Mutex<Option<Proof>>,
}

impl Session {
    pub(crate) fn new(inner: &Arc<Inner>, endpoint: Endpoint, lookup: &Lookup, scope: String) -> Session {
        Session {
            inner: Arc::clone(inner),
            endpoint,
            lookup: Arc::clone(lookup),
            scope,
            choice: Choice::Theirs,
            proof: Mutex::new(None),
        }
    }

    /// Asks for tokens with the scope of the operation, whatever single requests need.
    pub(crate) fn with_own_scope(self) -> Session {
        Session { choice: Choice::Ours, ..self }
    }

    /// How long to wait after a fault before the next attempt, the first being 0.
    pub(crate) fn delay(&self, attempt: u32, fault: &Fault) -> Duration {
        self.inner.config.delay(attempt, fault.after())
    }

    /// Makes a request until it is answered with a success, is refused for good, or was tried often enough.
    pub(crate) async fn send(&self, ask: &Ask) -> Result<Response, Fault> {
        let mut attempt = 0;
        loop {
            let fault = match self.send_once(ask).await {
                Ok(response) => return Ok(response),
                Err(fault) => fault,
            };
            if !fault.is_transient() || attempt >= self.inner.config.retries {
                return Err(fault);
            }
            tokio::time::sleep(self.inner.config.delay(attempt, fault.after())).await;
            attempt += 1;
        }
    }

    /// Makes a request; only a success is an answer.
    pub(crate) async fn send_once(&self, ask: &Ask) -> Result<Response, Fault> {
        let response = self.attempt(ask).await?;
        match response.status().is_success() {
            true => Ok(response),
            false => Err(Fault::refused(&ask.call(), response).await),
        }
    }

    /// One request, made again with credentials if the endpoint wants some.
    async fn attempt(&self, ask: &Ask) -> Result<Response, Fault> {
        let mut ask = ask.clone();
        let own = ask.url.origin() == self.endpoint.base.origin();
        if !own {
            return follow(&self.endpoint.other, &self.endpoint.other, &ask).await;
        }
        ask.private.extend(self.endpoint.headers.clone());
        let proof = self.proof.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(proof) = &proof {
            ask.private.insert(AUTHORIZATION, self.header(proof).await?);
        }
        let response = follow(&self.endpoint.client, &self.endpoint.other, &ask).await?;
        let ours = response.url().origin() == self.endpoint.base.origin();
        if response.status() != StatusCode::UNAUTHORIZED || !ours {
            return Ok(response);
        }
        if let Some(Proof::Token(wanted)) = &proof {
            self.inner.tokens.forget(wanted);
        }
        let Some(proof) = self.prove(&ask, response.headers()).await? else { return Ok(response) };
        ask.private.insert(AUTHORIZATION, self.header(&proof).await?);
        *self.proof.lock().unwrap_or_else(PoisonError::into_inner) = Some(proof);
        follow(&self.endpoint.client, &self.endpoint.other, &ask).await
    }

    async fn header(&self, proof: &Proof) -> Result<HeaderValue, Fault> {
        match proof {
            Proof::Header(header) => Ok(header.clone()),
            Proof::Token(wanted) => self.inner.tokens.header(&self.endpoint.other, wanted, &self.endpoint.base).await,
        }
    }

    /// What the challenge of a refusal can be answered with; `None`: nothing.
    async fn prove(&self, ask: &Ask, headers: &HeaderMap) -> Result<Option<Proof>, Fault> {
        let challenges = challenges(headers);
        let credentials = self.credentials(ask).await?;
        for challenge in &challenges {
            match (challenge, &credentials) {
                (Challenge::Bearer { .. }, Credentials::RegistryToken { token }) => {
                    return Ok(token::bearer(token).map(Proof::Header));
                }
                (Challenge::Bearer { realm, service, scope }, _) => {
                    let scope = match (self.choice, scope) {
                        (Choice::Theirs, Some(theirs)) => theirs.clone(),
                        (Choice::Theirs, None) | (Choice::Ours, _) => self.scope.clone(),
                    };
                    let scope = Some(scope).filter(|scope| !scope.is_empty());
                    let (realm, service) = (realm.clone(), service.clone());
                    return Ok(Some(Proof::Token(Wanted { realm, service, scope, credentials })));
                }
                (Challenge::Basic | Challenge::Other(_), _) => {}
            }
        }
        let basic = challenges.contains(&Challenge::Basic).then(|| token::basic(&credentials)).flatten();
        Ok(basic.map(Proof::Header))
    }

    /// Asks whoever knows, who may run a program for it.
    async fn credentials(&self, ask: &Ask) -> Result<Credentials, Fault> {
        let (lookup, host) = (Arc::clone(&self.lookup), self.endpoint.host.clone());
        let found = tokio::task::spawn_blocking(move || lookup(&host)).await;
        let reason = match found {
            Ok(Ok(credentials)) => return Ok(credentials),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "looking up credentials was interrupted".into(),
        };
        Err(Fault::Answer { call: ask.call(), reason })
    }
}

/// All challenges of an answer.
pub(crate) fn challenges(headers: &HeaderMap) -> Vec<Challenge> {
    let texts = headers.get_all(WWW_AUTHENTICATE).into_iter().take(10);
    texts.filter_map(|value| value.to_str().ok()).flat_map(challenge::parse).collect()
}

/// `Retry-After` in seconds; dates are not taken, the clocks may differ.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
}

impl super::Config {
    /// How long to wait before the next attempt, the first being 0.
    pub(crate) fn delay(&self, attempt: u32, asked: Option<Duration>) -> Duration {
        let own = self.retry_delay.saturating_mul(1 << attempt.min(10)).min(DELAY_MAX);
        asked.map_or(own, |asked| asked.max(own))
    }
}
