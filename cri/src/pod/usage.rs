//! What containers of pods use, for programs beside the daemon.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::id::Id;
use super::record::{CONTAINERS, IMAGES};

/// The container of a pod that uses the image of this id, if any; `state` is the daemon's directory of what runs.
///
/// # Errors
/// A directory or file that cannot be read: nothing is guessed to be unused.
pub fn user_of_image(state: &Path, image: &str) -> io::Result<Option<Id>> {
    for pod in entries(&state.join("pods"))? {
        for container in entries(&pod.join(CONTAINERS))? {
            let images = match fs::read_to_string(container.join(IMAGES)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                images => images?,
            };
            if images.lines().any(|line| line == image) {
                return Ok(container.file_name().and_then(|name| name.to_str()).and_then(Id::parse));
            }
        }
    }
    Ok(None)
}

fn entries(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(dir) {
        // It may be removed while we look.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_name().to_str().and_then(Id::parse).is_some() {
            found.push(entry.path());
        }
    }
    Ok(found)
}
