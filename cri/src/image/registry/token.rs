//! Bearer tokens: asked for once, used until they expire.
//!
//! Source: distribution-spec, "Token Authentication" and "OAuth2 Token Authentication" of docker's registry.

use runtime::json;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, Url};
use serde::Deserialize;

use super::credentials::Credentials;
use super::endpoint::Endpoint;
use super::exchange::{Ask, Body, follow, read_body};
use super::fault::{Fault, shown};

/// Answers of token servers are small.
const ANSWER_MAX: u64 = 1 << 20;
/// What the specification assumes where the server does not say.
const DEFAULT_LIFE: Duration = Duration::from_secs(60);
/// A token that expires sooner than this is not used any more.
const MARGIN: Duration = Duration::from_secs(5);
/// Most tokens that are kept.
const CACHED: usize = 1000;

/// What a token is for, and whose it is.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Wanted {
    pub(crate) realm: String,
    pub(crate) service: Option<String>,
    pub(crate) scope: Option<String>,
    pub(crate) credentials: Credentials,
}

/// Whether a login asks for a refresh token, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Access,
    Login,
}

/// The tokens that were given to us.
#[derive(Default)]
pub(crate) struct Tokens(Mutex<HashMap<Wanted, (HeaderValue, Instant)>>);

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens(secret)")
    }
}

/// What a token server gave.
pub(crate) struct Granted {
    /// `Bearer …`, marked as secret.
    pub(crate) header: HeaderValue,
    pub(crate) refresh_token: Option<String>,
    life: Duration,
}

#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
    refresh_token: Option<String>,
    expires_in: Option<u64>,
}

impl Tokens {
    /// The header for `wanted`: a token from before, or a new one.
    pub(crate) async fn header(&self, wanted: &Wanted, registry: &Endpoint) -> Result<HeaderValue, Fault> {
        if let Some(header) = self.cached(wanted) {
            return Ok(header);
        }
        let granted = ask(wanted, registry, Purpose::Access).await?;
        let mut cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if cache.len() >= CACHED {
            cache.retain(|_, (_, end)| *end > now);
            if cache.len() >= CACHED {
                cache.clear();
            }
        }
        if let Some(end) = now.checked_add(granted.life.saturating_sub(MARGIN)) {
            cache.insert(wanted.clone(), (granted.header.clone(), end));
        }
        Ok(granted.header)
    }

    fn cached(&self, wanted: &Wanted) -> Option<HeaderValue> {
        let cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        cache.get(wanted).filter(|(_, end)| *end > Instant::now()).map(|(header, _)| header.clone())
    }

    /// Forgets a token that the registry refused.
    pub(crate) fn forget(&self, wanted: &Wanted) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(wanted);
    }
}

/// Asks the token server. Credentials go to no realm of plain HTTP, unless the registry itself is one.
pub(crate) async fn ask(wanted: &Wanted, registry: &Endpoint, purpose: Purpose) -> Result<Granted, Fault> {
    let call = || format!("GET {}", shown(&registry.base));
    let broken = |reason: String| Fault::Answer { call: call(), reason };
    let realm = Url::parse(&wanted.realm).map_err(|_| broken("its token server has no valid address".into()))?;
    match (realm.scheme(), registry.base.scheme()) {
        ("https", _) | ("http", "http") => {}
        _ => {
            let reason = format!("its token server {} is not reached by https: no token is asked there", shown(&realm));
            return Err(broken(reason));
        }
    }
    // Only the registry itself is shown a client certificate.
    let own = realm.origin() == registry.base.origin();
    let client = if own { &registry.client } else { &registry.other };
    let request = request(realm, wanted, purpose);
    let call = request.call();
    let answer = follow(client, &registry.other, &request).await?;
    if !answer.status().is_success() {
        return Err(Fault::refused(&call, answer).await);
    }
    let body = read_body(&call, answer, ANSWER_MAX).await?;
    let no_token =
        || Fault::Answer { call: call.clone(), reason: "the answer of the token server holds no token".into() };
    let answer: Answer = json::from_slice(&body).map_err(|_| no_token())?;
    let token = answer.token.filter(|token| !token.is_empty()).or(answer.access_token).ok_or_else(no_token)?;
    let header = bearer(&token).ok_or_else(no_token)?;
    let life = answer.expires_in.map_or(DEFAULT_LIFE, Duration::from_secs).max(DEFAULT_LIFE);
    Ok(Granted { header, refresh_token: answer.refresh_token.filter(|token| !token.is_empty()), life })
}

fn request(realm: Url, wanted: &Wanted, purpose: Purpose) -> Ask {
    let scopes = wanted.scope.iter().flat_map(|scope| scope.split(' ')).filter(|scope| !scope.is_empty());
    if let Credentials::IdentityToken { token } = &wanted.credentials {
        let mut form = Url::parse("form:").expect("it is an address");
        {
            let mut pairs = form.query_pairs_mut();
            pairs.append_pair("grant_type", "refresh_token");
            pairs.append_pair("service", wanted.service.as_deref().unwrap_or_default());
            pairs.append_pair("client_id", CLIENT_ID);
            if wanted.scope.is_some() {
                pairs.append_pair("scope", &scopes.collect::<Vec<_>>().join(" "));
            }
            pairs.append_pair("refresh_token", token);
        }
        let body = form.query().unwrap_or_default().as_bytes().to_vec();
        let mut ask = Ask::new(Method::POST, realm);
        ask.body = Body::Bytes(body.into());
        ask.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        return ask;
    }
    let mut url = realm;
    {
        let mut pairs = url.query_pairs_mut();
        if let Some(service) = &wanted.service {
            pairs.append_pair("service", service);
        }
        for scope in scopes {
            pairs.append_pair("scope", scope);
        }
        if let Credentials::Basic { username, .. } = &wanted.credentials {
            pairs.append_pair("account", username);
            if purpose == Purpose::Login {
                pairs.append_pair("offline_token", "true");
                pairs.append_pair("client_id", CLIENT_ID);
            }
        }
    }
    let mut ask = Ask::new(Method::GET, url);
    if let Some(value) = basic(&wanted.credentials) {
        ask.private.insert(AUTHORIZATION, value);
    }
    ask
}

/// How token servers know us.
const CLIENT_ID: &str = "rt";

/// `Bearer TOKEN`; `None`: it cannot be sent as a header.
pub(crate) fn bearer(token: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// `Basic …` for a user and a password.
pub(crate) fn basic(credentials: &Credentials) -> Option<HeaderValue> {
    let Credentials::Basic { username, password } = credentials else { return None };
    let text = STANDARD.encode(format!("{username}:{password}"));
    let mut value = HeaderValue::from_str(&format!("Basic {text}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}
