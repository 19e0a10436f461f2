//! Between the image store and the rest.

use anyhow::anyhow;
use cri::image::Error;

/// Adds what to do next.
pub(crate) fn explain(error: Error, query: &str) -> anyhow::Error {
    match error {
        Error::NotFound { .. } => {
            if let Err(problem) = query.parse::<cri::image::Reference>() {
                return anyhow!("{query:?} is no image name: {problem}");
            }
            anyhow!("no image {query:?}: load one with rtctl load -i FILE; rtctl images lists what is there")
        }
        other => other.into(),
    }
}
