//! Whether a registry takes credentials.

use reqwest::header::AUTHORIZATION;
use reqwest::{Method, StatusCode};

use super::super::cancel::Cancel;
use super::super::error::Error;
use super::Registry;
use super::challenge::Challenge;
use super::credentials::Credentials;
use super::endpoint::Endpoint;
use super::exchange::{Ask, challenges, follow};
use super::fault::Fault;
use super::token::{self, Purpose, Wanted};

impl Registry {
    /// Shows credentials to a registry (`docker.io`, `localhost:5000`); gives what to keep: the same, or an identity token
    /// that it gave in their place.
    ///
    /// # Errors
    /// [`Error::Registry`]: it cannot be reached or does not take them.
    pub fn login(&self, host: &str, credentials: &Credentials, cancel: &Cancel) -> Result<Credentials, Error> {
        // The last one is the registry itself; mirrors have names of their own.
        let endpoint = self.inner.endpoints(host)?.pop();
        let what = format!("login to {host}");
        let endpoint = endpoint.ok_or_else(|| Error::Registry { what: what.clone(), faults: Vec::new() })?;
        self.block_on(cancel, async {
            let shown = show(&endpoint, credentials).await;
            shown.map_err(|fault| Error::Registry { what, faults: vec![fault] })
        })
    }
}

async fn show(endpoint: &Endpoint, credentials: &Credentials) -> Result<Credentials, Fault> {
    let mut ask = Ask::new(Method::GET, endpoint.base.clone());
    ask.private.extend(endpoint.headers.clone());
    let call = ask.call();
    let response = follow(&endpoint.client, &endpoint.other, &ask).await?;
    if response.status().is_success() {
        return Ok(credentials.clone());
    }
    let ours = response.url().origin() == endpoint.base.origin();
    if response.status() != StatusCode::UNAUTHORIZED || !ours {
        return Err(Fault::refused(&call, response).await);
    }
    let offered = challenges(response.headers());
    let bearer = offered.iter().find_map(|challenge| match challenge {
        Challenge::Bearer { realm, service, scope } => Some((realm.clone(), service.clone(), scope.clone())),
        Challenge::Basic | Challenge::Other(_) => None,
    });
    let unusable = || Fault::Answer { call: call.clone(), reason: "offers no way to log in that is known here".into() };
    let mut keep = credentials.clone();
    let header = match (bearer, credentials) {
        (Some(_), Credentials::RegistryToken { token }) => token::bearer(token),
        (Some((realm, service, scope)), _) => {
            let wanted = Wanted { realm, service, scope, credentials: credentials.clone() };
            let granted = token::ask(&endpoint.other, &wanted, &endpoint.base, Purpose::Login).await?;
            if let Some(token) = granted.refresh_token {
                keep = Credentials::IdentityToken { token };
            }
            Some(granted.header)
        }
        (None, _) if offered.contains(&Challenge::Basic) => token::basic(credentials),
        (None, _) => None,
    };
    ask.private.insert(AUTHORIZATION, header.ok_or_else(unusable)?);
    let response = follow(&endpoint.client, &endpoint.other, &ask).await?;
    match response.status().is_success() {
        true => Ok(keep),
        false => Err(Fault::refused(&call, response).await),
    }
}
