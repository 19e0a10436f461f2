//! Between the image store and the rest.

use anyhow::anyhow;
use cri::image::{Error, ImageConfig};

/// What the container's configuration needs of an image's.
pub(crate) fn spec_image(config: &ImageConfig) -> cri::spec::Image {
    cri::spec::Image {
        entrypoint: config.entrypoint.clone(),
        cmd: config.cmd.clone(),
        env: config.env.clone(),
        user: config.user.clone(),
        working_dir: config.working_dir.clone(),
        volumes: config.volumes.clone(),
        stop_signal: config.stop_signal.clone(),
        labels: config.labels.clone(),
        exposed_ports: config.exposed_ports.clone(),
        healthcheck: config.healthcheck.clone(),
    }
}

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
