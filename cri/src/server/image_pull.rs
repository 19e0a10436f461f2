//! PullImage.

use std::path::Path;
use std::sync::Arc;

use proto::v1;
use tonic::Status;

use super::{Service, failure};
use crate::image::registry::{AuthConfig, Keychain, Lookup, PullOptions};
use crate::image::{Blobs, Cancel, Reference};
use crate::metrics;

/// Ends a pull whose caller has gone.
struct CancelOnDrop(Cancel);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// Brings an image into the store; answers its id. CRI: PullImage
///
/// The credentials are for the registry that the image is named after, and for no mirror. Without any those of `auth_file` count.
pub(super) async fn pull_image(
    service: &Service,
    request: v1::PullImageRequest,
) -> Result<v1::PullImageResponse, Status> {
    let name = request.image.unwrap_or_default().image;
    let reference: Reference =
        name.parse().map_err(|error| Status::invalid_argument(format!("image.image: {error}")))?;
    let config = service.settings.now();
    let auth = request.auth.filter(|auth| *auth != v1::AuthConfig::default());
    let credentials = match (auth, &config.auth_file) {
        (None, Some(file)) => of_file(file)?,
        (auth, _) => {
            let auth = auth_config(auth.unwrap_or_default());
            auth.lookup(reference.domain()).map_err(|error| Status::invalid_argument(format!("auth: {error}")))?
        }
    };
    let cancel = Cancel::new();
    let _guard = CancelOnDrop(cancel.clone());
    let blobs = if config.keep_blobs { Blobs::Keep } else { Blobs::Discard };
    let options = PullOptions { platform: None, credentials, cancel, blobs };
    let (store, registry) = (Arc::clone(&service.store), Arc::clone(&service.registry));
    let pull = move || {
        let mut counted = metrics::Pull::begin();
        let pulled = store.pull(&registry, &reference, &options, &mut |progress| counted.progress(&progress));
        counted.end(pulled.as_ref().map_or_else(failure::kind, |_| "ok"));
        pulled
    };
    let pulled = tokio::task::spawn_blocking(pull).await.map_err(|panic| Status::internal(panic.to_string()))?;
    let pulled = pulled.map_err(|error| failure::image(&error))?;
    Ok(v1::PullImageResponse { image_ref: pulled.id.to_string() })
}

/// The node's own credentials; read when a registry asks for some.
fn of_file(file: &Path) -> Result<Lookup, Status> {
    let keychain = Keychain::open(Some(file.to_owned())).map_err(|error| failure::image(&error))?;
    Ok(Arc::new(move |host| keychain.find(host)))
}

fn auth_config(auth: v1::AuthConfig) -> AuthConfig {
    let v1::AuthConfig { username, password, auth, server_address, identity_token, registry_token } = auth;
    AuthConfig { username, password, auth, server_address, identity_token, registry_token }
}
