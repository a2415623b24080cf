//! The metrics' page, in Prometheus' text format 0.0.4, and the one place where metrics have their names: `gridpost_`, what is
//! counted, the unit, and `_total` for what only grows (which the encoder adds).
//!
//! Labels take few values: links as configured, reasons, kinds and phases as in the code. Devices are no label: a city has many.

use std::fmt;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use gridpost_protocol::time::UnixMillis;
use jiff::Timestamp;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, prometheus_text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use super::{Observed, process};
use crate::counters::Rejected;
use crate::spool::Seen;

/// The page's content type.
pub use prometheus_client::encoding::prometheus_text::CONTENT_TYPE;

/// In the counters, and here by kind and phase: only what is durable.
const BY_KIND: &str = "events_made";

/// The page. Blocks while it looks into the spool.
///
/// # Errors
/// None that can happen: text is written into memory.
pub fn page(observed: &std::sync::Arc<Observed>) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(observed.clone()));
    let mut page = String::new();
    prometheus_text::encode(&mut page, &registry)?;
    Ok(page)
}

impl Collector for Observed {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        self.gateway(&mut page)?;
        self.links(&mut page)?;
        self.counted(&mut page)?;
        self.events(&mut page)?;
        self.spool(&mut page)?;
        self.uplink(&mut page)?;
        process(&mut page)
    }
}

impl Observed {
    fn gateway(&self, page: &mut Page<'_>) -> fmt::Result {
        let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        page.put("gridpost_build", "The program that runs", MetricType::Info, &build)?;
        let started = self.started.as_millisecond() as f64 / 1000.0;
        page.gauge("gridpost_start_time_seconds", "When the gateway started, Unix time", started)?;
        let stuck = self.stuck().len();
        page.gauge("gridpost_stages_stuck", "Stages that do not get round: pipeline, uplink", stuck as f64)?;
        let ready = f64::from(u8::from(self.problems().is_empty()));
        page.gauge("gridpost_ready", "1 when /readyz says so", ready)?;
        let heard = self.counters.devices_heard.load(Ordering::Relaxed);
        page.gauge(
            "gridpost_devices_heard",
            "Devices heard in the last 15 minutes, authentically",
            heard as f64,
        )?;
        let devices = self.counters.devices.load(Ordering::Relaxed);
        page.gauge("gridpost_devices", "Devices in the pack that decides", devices as f64)
    }

    fn links(&self, page: &mut Page<'_>) -> fmt::Result {
        let links = self.counters.links();
        page.counters(
            "gridpost_records_received",
            "Records received for the first time, and committed",
            links.iter().map(|(name, link)| ([("link", &**name)], link.records())),
        )?;
        let rejected = links.iter().flat_map(|(name, link)| {
            Rejected::ALL.into_iter().map(move |why| (name, why.to_string(), link.rejected(why)))
        });
        let rejected: Vec<_> = rejected.collect();
        page.counters(
            "gridpost_frames_rejected",
            "Frames that were not taken, by reason",
            rejected
                .iter()
                .map(|(name, why, count)| ([("link", &***name), ("reason", why.as_str())], *count)),
        )?;
        page.gauges(
            "gridpost_link_up",
            "1 while devices can come in: the socket listens, the serial port is open",
            links
                .iter()
                .map(|(name, link)| ([("link", &**name)], f64::from(u8::from(link.why_closed().is_none())))),
        )
    }

    fn counted(&self, page: &mut Page<'_>) -> fmt::Result {
        for counted in self.counters.all().filter(|counted| counted.name != BY_KIND) {
            let name = format!("gridpost_{}", counted.name);
            page.counters(
                &name,
                counted.what.trim_end_matches('.'),
                [([], counted.count)] as [([(&str, &str); 0], u64); 1],
            )?;
        }
        Ok(())
    }

    fn events(&self, page: &mut Page<'_>) -> fmt::Result {
        let made = self.tally.events_made();
        page.counters(
            "gridpost_events_made",
            "Events put into the spool, durably, by kind and phase",
            made.iter().map(|(labels, count)| ([("kind", labels.kind), ("phase", labels.phase)], *count)),
        )
    }

    fn spool(&self, page: &mut Page<'_>) -> fmt::Result {
        let totals = self.tally.totals();
        page.gauge("gridpost_spool_rows", "Events that wait for the platform", totals.events as f64)?;
        page.gauge("gridpost_spool_bytes", "What they take, in bytes", totals.event_bytes as f64)?;
        page.counter(
            "gridpost_events_evicted",
            "Events given up because the spool was full, since it was made",
            totals.events_evicted.unsigned_abs(),
        )?;
        page.counter(
            "gridpost_events_refused_dropped",
            "Refused events given up because there were too many, since the spool was made",
            totals.refused_dropped.unsigned_abs(),
        )?;
        page.counter(
            "gridpost_readings_evicted",
            "Readings kept as evidence that went before their time because there were too many, since the spool was made",
            totals.readings_evicted.unsigned_abs(),
        )?;
        page.counter(
            "gridpost_minutes_evicted",
            "Values of minutes of devices that decide themselves that went before their time because there were too many, since the spool was made",
            totals.minutes_evicted.unsigned_abs(),
        )?;
        page.put(
            "gridpost_commit_seconds",
            "How long transactions took that were committed",
            MetricType::Histogram,
            self.tally.commit_seconds(),
        )?;
        let failing = f64::from(u8::from(self.tally.last_failure().is_some()));
        page.gauge("gridpost_spool_failing", "1 while the last transaction failed", failing)?;
        // Left out when the spool cannot be read now: no number is better than a wrong one.
        let seen = self.spool.lock().unwrap_or_else(PoisonError::into_inner).look();
        match seen {
            Ok(Seen { oldest, refused, file_bytes }) => {
                let now = Timestamp::now().as_millisecond();
                let oldest =
                    oldest.map_or(0.0, |UnixMillis(at)| (now.saturating_sub(at)).max(0) as f64 / 1000.0);
                page.gauge(
                    "gridpost_spool_oldest_seconds",
                    "Age of the event that waits longest, by its own time; 0 when none waits",
                    oldest,
                )?;
                page.gauge(
                    "gridpost_spool_refused_rows",
                    "Events that a broker refused and that wait for a person",
                    refused as f64,
                )?;
                page.gauge(
                    "gridpost_spool_file_bytes",
                    "The spool's file, without its write-ahead log",
                    file_bytes as f64,
                )
            }
            Err(error) => {
                tracing::debug!(%error, "the spool cannot be looked at");
                Ok(())
            }
        }
    }

    fn uplink(&self, page: &mut Page<'_>) -> fmt::Result {
        let uplink = &self.uplink;
        let connected = f64::from(u8::from(uplink.connected.load(Ordering::Relaxed)));
        page.gauge("gridpost_uplink_connected", "1 while there is a connection to the broker", connected)?;
        for (name, help, count) in [
            ("gridpost_uplink_connections", "Connections made to a broker", &uplink.connections),
            (
                "gridpost_events_published",
                "Events sent to the broker, repetitions included",
                &uplink.published,
            ),
            ("gridpost_events_acknowledged", "Events that the broker acknowledged", &uplink.acknowledged),
            ("gridpost_events_refused", "Events that the broker refused for good", &uplink.refused),
        ] {
            page.counter(name, help, count.load(Ordering::Relaxed))?;
        }
        Ok(())
    }
}

fn process(page: &mut Page<'_>) -> fmt::Result {
    let Some(stats) = process::read() else { return Ok(()) };
    page.put(
        "process_cpu_seconds",
        "User and system time",
        MetricType::Counter,
        &ConstCounter::new(stats.cpu_s),
    )?;
    page.gauge("process_resident_memory_bytes", "Resident memory", stats.resident_bytes as f64)?;
    page.gauge("process_virtual_memory_bytes", "Virtual memory", stats.virtual_bytes as f64)?;
    page.gauge("process_threads", "Threads", stats.threads as f64)?;
    page.gauge("process_open_fds", "Open file descriptors", stats.open_fds as f64)?;
    let Some(max_fds) = stats.max_fds else { return Ok(()) };
    page.gauge("process_max_fds", "How many file descriptors may be open", max_fds as f64)
}

/// Writes metrics one after the other.
struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    fn put(&mut self, name: &str, help: &str, kind: MetricType, metric: &impl EncodeMetric) -> fmt::Result {
        metric.encode(self.0.encode_descriptor(name, help, None, kind)?)
    }

    fn counter(&mut self, name: &str, help: &str, count: u64) -> fmt::Result {
        self.put(name, help, MetricType::Counter, &ConstCounter::new(count))
    }

    fn gauge(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        self.put(name, help, MetricType::Gauge, &ConstGauge::new(value))
    }

    fn counters<'l, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        each: impl IntoIterator<Item = ([(&'l str, &'l str); N], u64)>,
    ) -> fmt::Result {
        let mut encoder = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, count) in each {
            ConstCounter::new(count).encode(encoder.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn gauges<'l, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        each: impl IntoIterator<Item = ([(&'l str, &'l str); N], f64)>,
    ) -> fmt::Result {
        let mut encoder = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in each {
            ConstGauge::new(value).encode(encoder.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
