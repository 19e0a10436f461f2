//! All that is counted.

use std::sync::{LazyLock, OnceLock};

use prometheus_client::encoding::text::encode;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use super::process::Process;

/// One label.
pub(super) type One = [(&'static str, &'static str); 1];

/// Two labels.
pub(super) type Two = [(&'static str, &'static str); 2];

/// What is counted, by labels.
pub(super) struct Metrics {
    pub(super) rpc_duration: Family<Two, Histogram>,
    pub(super) rpcs_in_flight: Family<One, Gauge>,
    pub(super) phase_duration: Family<Two, Histogram>,
    pub(super) phases_in_flight: Family<Two, Gauge>,
    pub(super) pulls: Family<One, Counter>,
    pub(super) pull_bytes: Counter,
    pub(super) pull_duration: Histogram,
    reloads: Family<One, Counter>,
    valid: Gauge,
    registry: Registry,
}

/// The one of the process.
pub(super) static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::new);

/// From half a millisecond to 17 minutes: lists are fast, and a call on a stuck volume is not.
const CALLS: [f64; 14] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 120.0];

/// From 50 µs on: a start of a pod is some milliseconds in all.
const PHASES: [f64; 14] =
    [0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0];

/// From a tenth of a second to an hour.
const PULLS: [f64; 10] = [0.1, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0];

impl Metrics {
    fn new() -> Metrics {
        let rpc_duration =
            Family::<Two, Histogram>::new_with_constructor((|| Histogram::new(CALLS)) as fn() -> Histogram);
        let phase_duration =
            Family::<Two, Histogram>::new_with_constructor((|| Histogram::new(PHASES)) as fn() -> Histogram);
        let mut metrics = Metrics {
            rpc_duration,
            rpcs_in_flight: Family::default(),
            phase_duration,
            phases_in_flight: Family::default(),
            pulls: Family::default(),
            pull_bytes: Counter::default(),
            pull_duration: Histogram::new(PULLS),
            reloads: Family::default(),
            valid: Gauge::default(),
            registry: Registry::default(),
        };
        metrics.valid.set(1);
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        // Metrics of the process have names without a prefix, as everywhere.
        self.registry.register_collector(Box::new(Process));
        let registry = self.registry.sub_registry_with_prefix("rtd");
        registry.register("build", "The program", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        let help = "Time of calls of the CRI that have ended; streams last until the client has enough";
        registry.register_with_unit("rpc_duration", help, Unit::Seconds, self.rpc_duration.clone());
        registry.register("rpcs_in_flight", "Calls that have not ended", self.rpcs_in_flight.clone());
        let help = "Time of steps of operations";
        registry.register_with_unit("phase_duration", help, Unit::Seconds, self.phase_duration.clone());
        registry.register("phases_in_flight", "Steps that have not ended", self.phases_in_flight.clone());
        registry.register("image_pulls", "Pulls that have ended, by result", self.pulls.clone());
        let help = "Compressed bytes of layers that came from registries";
        registry.register_with_unit("image_pull", help, Unit::Bytes, self.pull_bytes.clone());
        let help = "Time of pulls that succeeded";
        registry.register_with_unit("image_pull_duration", help, Unit::Seconds, self.pull_duration.clone());
        registry.register(
            "config_reloads",
            "Readings of the configuration after the first, by result",
            self.reloads.clone(),
        );
        registry.register("config_valid", "Whether the last reading found nothing wrong", self.valid.clone());
        registry.register_collector(Box::new(Pods));
    }
}

/// Notes that the configuration was read again.
pub fn config_read(valid: bool) {
    METRICS.reloads.get_or_create(&[("result", if valid { "ok" } else { "refused" })]).inc();
    METRICS.valid.set(valid.into());
}

/// All metrics as OpenMetrics text.
#[must_use]
pub fn text() -> String {
    let mut text = String::new();
    encode(&mut text, &METRICS.registry).expect("a string takes all");
    text
}

/// How many there are, by state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Pods: (state, number).
    pub pods: Vec<(&'static str, u64)>,
    /// Containers: (state, number).
    pub containers: Vec<(&'static str, u64)>,
}

/// Who knows the numbers.
static COUNTS: OnceLock<Box<dyn Fn() -> Counts + Send + Sync>> = OnceLock::new();

/// Says who knows how many pods and containers there are; it is asked at each scrape and must not wait. The first word counts.
pub fn counts_from(source: impl Fn() -> Counts + Send + Sync + 'static) {
    let _ = COUNTS.set(Box::new(source));
}

#[derive(Debug)]
struct Pods;

impl Collector for Pods {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Some(source) = COUNTS.get() else { return Ok(()) };
        let Counts { pods, containers } = source();
        for (name, help, counts) in
            [("pods", "Pods by state.", pods), ("containers", "Containers by state.", containers)]
        {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (state, count) in counts {
                let label: One = [("state", state)];
                ConstGauge::new(count).encode(metric.encode_family(&label)?)?;
            }
        }
        Ok(())
    }
}
