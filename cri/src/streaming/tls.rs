//! Certificate and key of the server, and the authorities of its clients; read again when the files change.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig};

/// Where certificate and key are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The certificate and those that lead from it to an authority, in PEM.
    pub certificate: PathBuf,
    /// Its private key, in PEM.
    pub key: PathBuf,
    /// Authorities of which a client must show a certificate, in PEM; without them none is asked for.
    pub client_ca: Option<PathBuf>,
}

/// Why certificate and key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be looked at.
    #[error("stat({path:?}): {source}")]
    Stat {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A file cannot be read, or is no PEM.
    #[error("{path:?}: {source}")]
    Pem {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: pem::Error,
    },
    /// The authorities of clients cannot be used.
    #[error("{path:?}: {problem}")]
    Authorities {
        /// The file.
        path: PathBuf,
        /// Why not.
        problem: String,
    },
    /// They do not belong together, or are of a kind that is not known.
    #[error("{certificate:?} and {key:?}: {source}")]
    Pair {
        /// File of the certificate.
        certificate: PathBuf,
        /// File of the key.
        key: PathBuf,
        /// Why not.
        source: rustls::Error,
    },
}

/// What tells one version of a file from the next: modification time in nanoseconds, size, inode.
type Stamp = (i64, i64, u64, u64);

/// The configuration of new connections.
pub(super) struct Reloading {
    files: Files,
    state: Mutex<State>,
}

struct State {
    config: Arc<ServerConfig>,
    /// The files as they were when they were last read, well or not.
    seen: Vec<Stamp>,
}

impl Reloading {
    /// Reads both files.
    ///
    /// # Errors
    /// They cannot be used.
    pub(super) fn open(files: Files) -> Result<Reloading, Error> {
        // Looked at first: a change while they are read is seen by the next connection.
        let seen = stamps(&files)?;
        let config = load(&files)?;
        Ok(Reloading { files, state: Mutex::new(State { config, seen }) })
    }

    /// What a new connection uses. The error is that of files that have changed and cannot be used; it is told once for each
    /// change, and what was good before goes on being used.
    pub(super) fn config(&self) -> (Arc<ServerConfig>, Option<Error>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // Files that are gone for a moment are being replaced.
        let Ok(now) = stamps(&self.files) else { return (Arc::clone(&state.config), None) };
        if now == state.seen {
            return (Arc::clone(&state.config), None);
        }
        state.seen = now;
        let error = match load(&self.files) {
            Ok(config) => {
                state.config = config;
                None
            }
            Err(error) => Some(error),
        };
        (Arc::clone(&state.config), error)
    }
}

fn stamps(files: &Files) -> Result<Vec<Stamp>, Error> {
    let all = [Some(&files.certificate), Some(&files.key), files.client_ca.as_ref()];
    all.into_iter().flatten().map(|path| stamp(path)).collect()
}

fn stamp(path: &Path) -> Result<Stamp, Error> {
    let data = std::fs::metadata(path).map_err(|source| Error::Stat { path: path.to_owned(), source })?;
    Ok((data.mtime(), data.mtime_nsec(), data.size(), data.ino()))
}

fn load(files: &Files) -> Result<Arc<ServerConfig>, Error> {
    let bad = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::Pem { path, source }
    };
    let chain = CertificateDer::pem_file_iter(&files.certificate).map_err(bad(&files.certificate))?;
    let chain: Vec<_> = chain.collect::<Result<_, _>>().map_err(bad(&files.certificate))?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(bad(&files.key))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = match &files.client_ca {
        Some(path) => verifier(path, &provider)?,
        None => WebPkiClientVerifier::no_client_auth(),
    };
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_client_cert_verifier(verifier).with_single_cert(chain, key));
    config.map(Arc::new).map_err(|source| {
        let Files { certificate, key, .. } = files.clone();
        Error::Pair { certificate, key, source }
    })
}

/// What checks the certificates of clients.
fn verifier(path: &Path, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ClientCertVerifier>, Error> {
    let bad = |problem: String| Error::Authorities { path: path.to_owned(), problem };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| bad(error.to_string()))? {
        let certificate = certificate.map_err(|error| bad(error.to_string()))?;
        roots.add(certificate).map_err(|error| bad(error.to_string()))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    builder.build().map_err(|error| bad(error.to_string()))
}
