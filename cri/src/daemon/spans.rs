//! Traces: spans to a collector, OTLP by gRPC.

use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};

/// How long the collector may take for a batch of spans.
const EXPORT: Duration = Duration::from_secs(5);

/// How long the last spans may take.
const LAST: Duration = Duration::from_secs(3);

/// Spans on their way. They leave in batches, on a thread of their own; when the collector is away they are dropped.
#[derive(Debug)]
pub(super) struct Spans {
    provider: SdkTracerProvider,
}

impl Spans {
    /// Starts, within a runtime of tokio. The collector need not be there.
    ///
    /// # Errors
    /// The address is none.
    pub(super) fn start(url: &str, samples_per_million: u32) -> Result<Spans, ExporterBuildError> {
        let exporter = SpanExporter::builder().with_tonic().with_endpoint(url).with_timeout(EXPORT).build()?;
        let share = f64::from(samples_per_million) / 1_000_000.0;
        let host = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default();
        let attributes = [("service.version", env!("CARGO_PKG_VERSION").to_owned()), ("host.name", host)];
        let attributes = attributes.map(|(key, value)| KeyValue::new(key, value));
        let resource = Resource::builder_empty().with_service_name("rtd").with_attributes(attributes).build();
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(share))))
            .with_resource(resource)
            .build();
        Ok(Spans { provider })
    }

    pub(super) fn tracer(&self) -> SdkTracer {
        self.provider.tracer("rtd")
    }

    /// Sends what is left.
    pub(super) fn end(self) {
        // A collector that is away has no part in how the daemon ends.
        let _ = self.provider.shutdown_with_timeout(LAST);
    }
}
