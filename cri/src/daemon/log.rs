//! The log on the standard error output.

use std::io::IsTerminal;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::Registry;
use tracing_subscriber::reload;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use super::spans::Spans;
use crate::config::{Config, LogFormat, LogLevel};

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// There is one already.
    #[error("the log: {0}")]
    Set(#[from] TryInitError),
    /// The collector of traces cannot be reached in principle.
    #[error("otlp_endpoint {url:?}: {source}")]
    Endpoint {
        /// Its address.
        url: String,
        /// Why.
        source: opentelemetry_otlp::ExporterBuildError,
    },
}

/// The log, and the traces where there is a collector.
#[derive(Debug)]
pub struct Log {
    level: Level,
    spans: Option<Spans>,
}

/// The level of the log; it can be changed.
#[derive(Debug, Clone)]
pub struct Level(reload::Handle<Targets, Registry>);

impl Log {
    /// Starts the log of the process, within a runtime of tokio.
    ///
    /// # Errors
    /// See [`LogError`].
    pub fn start(config: &Config) -> Result<Log, LogError> {
        let (filter, handle) = reload::Layer::new(targets(config.log_level));
        // A message that cannot be written has nowhere else to go: writing of that would go the same way.
        let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).log_internal_errors(false);
        let lines = match config.log_format {
            LogFormat::Json => lines.json().flatten_event(true).with_span_list(false).boxed(),
            LogFormat::Text => {
                let lines = lines.with_ansi(std::io::stderr().is_terminal()).with_target(false);
                // systemd(1) sets it for services whose output goes to the journal, which has times of its own.
                if std::env::var_os("JOURNAL_STREAM").is_some() { lines.without_time().boxed() } else { lines.boxed() }
            }
        };
        let spans = config.otlp_endpoint.as_ref().map(|endpoint| {
            let failed = |source| LogError::Endpoint { url: endpoint.url().to_owned(), source };
            Spans::start(endpoint.url(), config.otlp_samples_per_million.get()).map_err(failed)
        });
        let spans = spans.transpose()?;
        let traces = spans.as_ref().map(|spans| {
            // Only our own: what libraries do is no step of ours.
            let own = Targets::new().with_target("cri", LevelFilter::INFO);
            tracing_opentelemetry::layer()
                .with_tracer(spans.tracer())
                .with_location(false)
                .with_threads(false)
                .with_filter(own)
        });
        tracing_subscriber::registry().with(lines.with_filter(filter)).with(traces).try_init()?;
        Ok(Log { level: Level(handle), spans })
    }

    /// What changes its level.
    #[must_use]
    pub fn level(&self) -> Level {
        self.level.clone()
    }

    /// Sends the last spans; waits for some seconds at most. Not to be called within a runtime of tokio.
    pub fn end(self) {
        if let Some(spans) = self.spans {
            spans.end();
        }
    }
}

impl Level {
    /// Changes the level.
    pub fn set(&self, level: LogLevel) {
        // The only failure is that there is no log any more.
        let _ = self.0.reload(targets(level));
    }
}

/// Our own lines from `level` on; of libraries only what may be wrong, but where all is asked for.
fn targets(level: LogLevel) -> Targets {
    let (own, others) = match level {
        LogLevel::Error => (LevelFilter::ERROR, LevelFilter::ERROR),
        LogLevel::Warn => (LevelFilter::WARN, LevelFilter::WARN),
        LogLevel::Info => (LevelFilter::INFO, LevelFilter::WARN),
        LogLevel::Debug => (LevelFilter::DEBUG, LevelFilter::WARN),
        LogLevel::Trace => (LevelFilter::TRACE, LevelFilter::DEBUG),
    };
    Targets::new().with_default(others).with_targets(["cri", "rtd", "runtime", "shim"].map(|name| (name, own)))
}
