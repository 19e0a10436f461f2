//! PullImage.

use std::sync::Arc;

use base64::Engine;
use proto::v1;
use tonic::Status;

use super::{Service, failure};
use crate::image::registry::{Credentials, PullOptions};
use crate::image::{Cancel, Reference};

/// Ends a pull whose caller has gone.
struct CancelOnDrop(Cancel);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// Brings an image into the store; answers its id. CRI: PullImage
pub(super) async fn pull_image(
    service: &Service,
    request: v1::PullImageRequest,
) -> Result<v1::PullImageResponse, Status> {
    let name = request.image.unwrap_or_default().image;
    let reference: Reference =
        name.parse().map_err(|error| Status::invalid_argument(format!("image.image: {error}")))?;
    let (credentials, host) = match request.auth {
        Some(auth) => (credentials(&auth)?, reference.domain().to_owned()),
        None => (Credentials::Anonymous, String::new()),
    };
    let cancel = Cancel::new();
    let _guard = CancelOnDrop(cancel.clone());
    let (store, registry) = (Arc::clone(&service.store), Arc::clone(&service.registry));
    let pull = move || {
        // What the caller gave is for the registry that the image is named after, and for no mirror.
        let find = |asked: &str| Ok(if asked == host { credentials.clone() } else { Credentials::Anonymous });
        let options = PullOptions { platform: None, credentials: &find, cancel };
        store.pull(&registry, &reference, &options, &mut |_| {})
    };
    let pulled = tokio::task::spawn_blocking(pull).await.map_err(|panic| Status::internal(panic.to_string()))?;
    let pulled = pulled.map_err(|error| failure::image(&error))?;
    Ok(v1::PullImageResponse { image_ref: pulled.id.to_string() })
}

/// What the caller logs in with: a token before a password. Nothing of it goes into an error.
fn credentials(auth: &v1::AuthConfig) -> Result<Credentials, Status> {
    if !auth.registry_token.is_empty() {
        return Ok(Credentials::RegistryToken { token: auth.registry_token.clone() });
    }
    if !auth.identity_token.is_empty() {
        return Ok(Credentials::IdentityToken { token: auth.identity_token.clone() });
    }
    if !auth.username.is_empty() {
        return Ok(Credentials::Basic { username: auth.username.clone(), password: auth.password.clone() });
    }
    if auth.auth.is_empty() {
        return Ok(Credentials::Anonymous);
    }
    let wrong = || Status::invalid_argument("auth.auth: must be base64 of user:password");
    let engine = base64::engine::GeneralPurpose::new(
        &base64::alphabet::STANDARD,
        base64::engine::GeneralPurposeConfig::new()
            .with_decode_padding_mode(base64::engine::DecodePaddingMode::Indifferent),
    );
    let plain = engine.decode(auth.auth.trim_end()).map_err(|_| wrong())?;
    let plain = String::from_utf8(plain).map_err(|_| wrong())?;
    let (username, password) = plain.split_once(':').ok_or_else(wrong)?;
    // Some writers pad with NULs.
    let password = password.trim_end_matches('\0').to_owned();
    Ok(Credentials::Basic { username: username.to_owned(), password })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_to_a_registry() {
        let basic = |username: &str, password: &str| Credentials::Basic {
            username: username.to_owned(),
            password: password.to_owned(),
        };
        let auth = |auth: &str| v1::AuthConfig { auth: auth.to_owned(), ..v1::AuthConfig::default() };
        assert_eq!(credentials(&auth("bWU6cGFzczp3b3Jk")).unwrap(), basic("me", "pass:word"));
        assert_eq!(credentials(&auth("bWU6cA==")).unwrap(), basic("me", "p"));
        assert_eq!(credentials(&auth("bWU6cA")).unwrap(), basic("me", "p"));
        assert_eq!(credentials(&v1::AuthConfig::default()).unwrap(), Credentials::Anonymous);
        let both = v1::AuthConfig { username: "me".into(), identity_token: "t".into(), ..v1::AuthConfig::default() };
        assert_eq!(credentials(&both).unwrap(), Credentials::IdentityToken { token: "t".into() });
        for wrong in ["bWU=", "!", "/w=="] {
            let status = credentials(&auth(wrong)).unwrap_err();
            assert_eq!(status.message(), "auth.auth: must be base64 of user:password", "{wrong}");
        }
    }
}
