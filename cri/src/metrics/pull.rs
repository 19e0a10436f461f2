//! Pulls of images.

use std::collections::HashMap;
use std::time::Instant;

use super::registry::METRICS;
use crate::image::{Digest, Progress};

/// A pull under way.
#[derive(Debug)]
pub struct Pull {
    began: Instant,
    layers: HashMap<Digest, u64>,
}

impl Pull {
    /// Begins.
    #[must_use]
    pub fn begin() -> Pull {
        Pull { began: Instant::now(), layers: HashMap::new() }
    }

    /// Counts what arrived.
    pub fn progress(&mut self, progress: &Progress) {
        match progress {
            Progress::Downloading { layer, done, .. } => {
                let before = self.layers.insert(layer.clone(), *done).unwrap_or(0);
                METRICS.pull_bytes.inc_by(done.saturating_sub(before));
            }
            // What is there already did not come in this pull.
            Progress::Resumed { layer, at } => {
                self.layers.insert(layer.clone(), *at);
            }
            _ => {}
        }
    }

    /// Notes the end: `ok`, or a word for the kind of failure, of a fixed set.
    pub fn end(self, result: &'static str) {
        METRICS.pulls.get_or_create(&[("result", result)]).inc();
        if result == "ok" {
            METRICS.pull_duration.observe(self.began.elapsed().as_secs_f64());
        }
    }
}
