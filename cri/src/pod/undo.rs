//! What could not be undone at once is tried again, with growing pauses, until it succeeds: a plugin that does not answer a DEL today may
//! tomorrow, and nobody else knows of a pod that did not come about.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use super::engine::{Engine, blocking};
use super::error::Error;
use super::record::PodRecord;
use crate::network::cni;

/// Pause before the first attempt; each further one is twice as long.
const FIRST: Duration = Duration::from_secs(5);

/// Longest pause.
const LONGEST: Duration = Duration::from_secs(300);

/// What is still to be undone.
#[derive(Debug, Clone)]
pub(super) enum Debt {
    /// A pod that did not come about: all of it.
    Pod(Box<PodRecord>, PathBuf),
    /// An attachment by CNI of which nothing else is left.
    Attachment(cni::ContainerId),
}

/// How it stands with one.
#[derive(Debug, Clone)]
struct Standing {
    attempts: u32,
    error: String,
}

/// All that is still to be undone, by the id of the pod.
#[derive(Debug, Default)]
pub(super) struct Debts(Mutex<BTreeMap<String, Standing>>);

impl Debts {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Standing>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For whoever asks in detail: each pod, how often it was tried, and what was met last.
    pub(super) fn describe(&self) -> Value {
        let describe = |(id, standing): (&String, &Standing)| json!({"pod": id, "attempts": standing.attempts, "error": standing.error});
        self.lock().iter().map(describe).collect()
    }
}

impl Debt {
    fn id(&self) -> String {
        match self {
            Debt::Pod(record, _) => record.id.to_string(),
            Debt::Attachment(container) => container.as_str().to_owned(),
        }
    }
}

impl Engine {
    /// Tries again and again; `error` is what the first attempt met, of which somebody has been told.
    pub(super) fn undo_later(&self, debt: Debt, error: &Error) {
        let (id, engine) = (debt.id(), self.clone());
        let standing = Standing { attempts: 1, error: error.to_string() };
        if self.0.debts.lock().insert(id.clone(), standing).is_some() {
            // It is being tried already.
            return;
        }
        tokio::spawn(async move {
            let debt = Arc::new(debt);
            let mut pause = FIRST;
            loop {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST);
                let (own, debt) = (engine.clone(), Arc::clone(&debt));
                let Err(error) = blocking(move || own.undo_debt(&debt)).await else { break };
                let mut debts = engine.0.debts.lock();
                let Some(standing) = debts.get_mut(&id) else { break };
                standing.attempts += 1;
                standing.error = error.to_string();
                let (attempts, next) = (standing.attempts, pause.as_secs());
                drop(debts);
                tracing::warn!(attempts, next_in_s = next, "pod sandbox {id} that did not come about: {error}");
            }
            engine.0.debts.lock().remove(&id);
            tracing::info!("pod sandbox {id} that did not come about is undone");
        });
    }

    fn undo_debt(&self, debt: &Debt) -> Result<(), Error> {
        match debt {
            Debt::Pod(record, dir) => self.undo_pod(record, dir),
            Debt::Attachment(container) => self.0.network.delete_attachment(container),
        }
    }
}
