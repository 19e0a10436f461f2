//! The socket: one owner, nobody else's file is removed.

use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::sys::stat::{Mode, umask};
use tokio::net::{UnixListener, UnixStream};

/// Why the socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Another program answers there.
    #[error("{}: another program listens there; stop it, or choose another socket", path.display())]
    Taken {
        /// The socket.
        path: PathBuf,
    },
    /// There is something that is no socket.
    #[error("{}: there is something that is no socket; remove it, or choose another path", path.display())]
    NoSocket {
        /// The path.
        path: PathBuf,
    },
    /// The kernel refused.
    #[error("{call}: {source}")]
    Call {
        /// The call.
        call: String,
        /// The answer.
        source: std::io::Error,
    },
}

/// Listens on a unix socket that only root may connect to (mode 0600). A socket that a program left behind is replaced.
///
/// # Errors
/// See [`ListenError`].
pub async fn listen(path: &Path) -> Result<UnixListener, ListenError> {
    let failed = |call: &'static str| {
        let call = format!("{call}({path:?})");
        move |source| ListenError::Call { call, source }
    };
    if let Some(dir) = path.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o755).create(dir).map_err(failed("mkdir"))?;
    }
    match std::fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => return Err(ListenError::NoSocket { path: path.into() }),
        Ok(_) if UnixStream::connect(path).await.is_ok() => return Err(ListenError::Taken { path: path.into() }),
        Ok(_) => std::fs::remove_file(path).map_err(failed("unlink"))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed("stat")(error)),
    }
    let before = umask(Mode::from_bits_truncate(0o177));
    let listener = UnixListener::bind(path);
    umask(before);
    let listener = listener.map_err(failed("bind"))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(failed("chmod"))?;
    Ok(listener)
}
