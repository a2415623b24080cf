//! The measurements.

use std::fmt;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use gridpost_agent::config::{LinksConfig, TcpLink};
use gridpost_agent::event::Event;
use gridpost_agent::event::make::District;
use gridpost_agent::gateway::{Gateway, Parts};
use gridpost_agent::intake::RateLimit;
use gridpost_agent::keys::Keys;
use gridpost_agent::spool::Spool;
use gridpost_agent::uplink::config::UplinkConfig;
use gridpost_agent::uplink::topics;
use gridpost_protocol::id::{DeviceId, Seq};
use gridpost_protocol::pack::Pack;
use gridpost_protocol::quantity::Quantity;
use gridpost_protocol::reading::{Milli, Quality, Reading};
use gridpost_protocol::seal::Key;
use gridpost_protocol::time::{ClockQuality, UnixMillis};
use rumqttc::v5::mqttbytes::{QoS, v5::Packet};
use rumqttc::v5::{AsyncClient, Event as ClientEvent, MqttOptions};

use super::device::Device;
use crate::listener::Listener;
use crate::mosquitto::{Mosquitto, MosquittoOptions};

/// Devices of the sample district, all at sites to which the rule below applies.
const DEVICES: u64 = 9;
pub(super) const FIRST_DEVICE: u64 = 0x6770_0000_0000_0001;
/// Publishes under way, for both who publish.
const INFLIGHT: u16 = 100;
/// Events each second when latency is measured, and for how long.
const PACE: u64 = 1_000;
const PACED: Duration = Duration::from_secs(5);

/// Every reading over 35 is an event, and so is every one after it that is not.
const RULE: &[u8] = b"[[rule]]
id = 'bench'
matter = '0501002'
quantity = 'temperature'
above = 35
hold = '0s'
clear = '0s'
";

pub(super) const FILES: &[(&str, &[u8])] = &[
    ("pack.toml", include_bytes!("../../../agent/sample/pack.toml")),
    ("departments.csv", include_bytes!("../../../agent/sample/departments.csv")),
    ("catalogue.csv", include_bytes!("../../../agent/sample/catalogue.csv")),
    ("sites.csv", include_bytes!("../../../agent/sample/sites.csv")),
    ("devices.csv", include_bytes!("../../../agent/sample/devices.csv")),
    ("rules.toml", RULE),
];

/// What was measured.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    /// `fdatasync` of 4 KiB, a second.
    pub syncs: f64,
    /// Rows of readings that SQLite alone commits a second, in groups of 100.
    pub bare_rows: f64,
    /// Records a second that the gateway takes, commits and acknowledges.
    pub records_in: f64,
    /// Payloads that rumqttc alone publishes a second, acknowledged.
    pub bare_publishes: f64,
    /// Events a second out of the spool, acknowledged by the broker.
    pub events_out: f64,
    /// From a reading being sent to its event at the subscriber: the median, and 99 of 100.
    pub latency: [Duration; 2],
    /// Bytes of an event's topic and payload.
    pub event_bytes: usize,
    /// CPU seconds of this process a million records taken (devices and gateway together).
    pub cpu_s_per_million: f64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |part: f64, whole: f64| 100.0 * part / whole;
        writeln!(f, "| what | measured | beside |")?;
        writeln!(f, "|---|---:|---|")?;
        writeln!(f, "| the disk: fdatasync of 4 KiB | {:.0}/s | |", self.syncs)?;
        writeln!(f, "| SQLite alone, groups of 100 | {:.0} rows/s | |", self.bare_rows)?;
        writeln!(
            f,
            "| records in: sealed, over TCP, decided, committed, acknowledged | {:.0}/s | {:.0} % of SQLite alone |",
            self.records_in,
            percent(self.records_in, self.bare_rows)
        )?;
        writeln!(f, "| CPU, devices and gateway | {:.1} s per million records | |", self.cpu_s_per_million)?;
        writeln!(f, "| rumqttc alone, {} under way | {:.0}/s | |", INFLIGHT, self.bare_publishes)?;
        writeln!(
            f,
            "| events out of the spool, acknowledged | {:.0}/s | {:.0} % of rumqttc alone |",
            self.events_out,
            percent(self.events_out, self.bare_publishes)
        )?;
        writeln!(
            f,
            "| from reading sent to event received, at {PACE}/s | p50 {:.1?}, p99 {:.1?} | |",
            self.latency[0], self.latency[1]
        )?;
        write!(f, "| an event | {} bytes | topic and payload |", self.event_bytes)
    }
}

/// Measures all of it, in a folder on the disk that is to be measured. `None` when Mosquitto is lacking.
///
/// # Errors
/// A part does not work.
pub async fn run(folder: &Path, records: u64, events: usize) -> Result<Option<Report>> {
    // Without the last one a broker keeps an event back from its subscriber for up to 40 ms (Nagle's algorithm).
    let extra = format!("max_inflight_messages {INFLIGHT}\nmax_queued_messages 0\nset_tcp_nodelay true");
    let Some(broker) = Mosquitto::start(&MosquittoOptions { extra, ..MosquittoOptions::default() })? else {
        return Ok(None);
    };
    let samples = sample_events(events)?;
    let event_bytes = samples[0].topic.len() + samples[0].payload.len();
    let syncs = syncs(folder)?;
    let bare_rows = bare_rows(folder, records)?;
    let cpu = cpu_s()?;
    let records_in = records_in(folder, &broker, records).await?;
    let cpu_s_per_million = (cpu_s()? - cpu) / records as f64 * 1e6;
    let bare_publishes = bare_publishes(&broker, &samples).await?;
    let events_out = events_out(folder, &broker, &samples).await?;
    let latency = latency(folder, &broker).await?;
    Ok(Some(Report {
        syncs,
        bare_rows,
        records_in,
        bare_publishes,
        events_out,
        latency,
        event_bytes,
        cpu_s_per_million,
    }))
}

fn district() -> Result<District> {
    let pack = Pack::from_files(FILES).map_err(|errors| anyhow::anyhow!("the benchmark's pack: {errors}"))?;
    Ok(District { pack, gateway: "gw-bench".to_owned() })
}

pub(super) fn key(device: DeviceId) -> Key {
    Key(std::array::from_fn(|n| device.0.to_le_bytes()[n % 8] ^ n as u8))
}

fn devices() -> impl Iterator<Item = DeviceId> {
    (0..DEVICES).map(|n| DeviceId(FIRST_DEVICE + n))
}

/// Events as the gateway makes them, each with an id of its own.
fn sample_events(count: usize) -> Result<Vec<Event>> {
    let events: Vec<_> = sample_events_of(FILES, 0)?.take(count).collect();
    ensure!(events.len() == count, "every reading is an event");
    Ok(events)
}

/// As many events as are wanted, of device number `of`, under the first rule that applies to it.
pub(super) fn sample_events_of(
    files: &[(&str, &[u8])],
    of: u64,
) -> Result<impl Iterator<Item = Event> + use<>> {
    let pack = Pack::from_files(files).map_err(|errors| anyhow::anyhow!("the benchmark's pack: {errors}"))?;
    let district = District { pack, gateway: "gw-bench".to_owned() };
    let device = DeviceId(FIRST_DEVICE + of);
    let rules = district.pack.compile_for(device).context("the device")?;
    let source = rules.source[0];
    let mut engine =
        gridpost_protocol::engine::BoxedEngine::boxed(rules.rules).map_err(|e| anyhow::anyhow!("{e}"))?;
    Ok((1..).map_while(move |n| {
        let reading = reading(alternating(n));
        let at = UnixMillis(1_795_399_200_000 + n as i64 * 1000);
        let mut decided = None;
        engine.on_reading(Seq(n), at, &reading, &gridpost_protocol::engine::NoPeriods, |one| {
            decided = Some(one)
        });
        let rule = &district.pack.rules()[source];
        district.decision(device, rule, &engine.rules()[0], &decided?, Seq(n), ClockQuality::Device)
    }))
}

fn reading(value: i32) -> Reading {
    Reading { quantity: Quantity::Temperature, value: Milli(value), quality: Quality::GOOD }
}

/// 36 °C for odd numbers, of which 1 is the first, and 30 °C for even ones.
pub(super) fn alternating(n: u64) -> i32 {
    if n.is_multiple_of(2) { 30_000 } else { 36_000 }
}

fn syncs(folder: &Path) -> Result<f64> {
    let mut file = File::create(folder.join("syncs"))?;
    let (began, mut count) = (Instant::now(), 0);
    while began.elapsed() < Duration::from_secs(1) {
        file.write_all(&[0; 4096])?;
        file.sync_data()?;
        count += 1;
    }
    Ok(f64::from(count) / began.elapsed().as_secs_f64())
}

fn bare_rows(folder: &Path, rows: u64) -> Result<f64> {
    let mut spool = Spool::open(&folder.join("bare.db"))?;
    let (began, group) = (Instant::now(), 100);
    for first in (0..rows).step_by(group) {
        spool.commit(|transaction| {
            (first..first + group as u64).try_for_each(|n| {
                let at = UnixMillis(n as i64 * 1000);
                transaction
                    .add_reading(DeviceId(FIRST_DEVICE), Seq(n), at, ClockQuality::Device, &reading(20_000))
                    .map(drop)
            })
        })?;
    }
    Ok(rows as f64 / began.elapsed().as_secs_f64())
}

async fn gateway(folder: &Path, name: &str, broker: &Mosquitto) -> Result<Gateway> {
    let config = format!("brokers = ['{}']\ninflight = {INFLIGHT}\n", broker.url());
    let uplink: UplinkConfig = toml::from_str(&config)?;
    let tcp = vec![TcpLink { name: "bench".to_owned(), listen: "127.0.0.1:0".to_owned() }];
    Ok(Gateway::start(Parts {
        district: district()?,
        packs: None,
        keys: Keys::from_pairs(devices().map(|device| (device, key(device)))),
        links: LinksConfig { tcp, ..LinksConfig::default() },
        // It is the gateway that is to be measured, and not its bound.
        rate: RateLimit { per_second: RateLimit::MAX, burst: RateLimit::MAX },
        hourly: false,
        uplink: uplink.resolve(folder, "gw-bench")?,
        spool: Spool::open(&folder.join(name))?,
    })
    .await?)
}

async fn records_in(folder: &Path, broker: &Mosquitto, records: u64) -> Result<f64> {
    let gateway = gateway(folder, "records.db", broker).await?;
    let address = *gateway.tcp.first().context("where it listens")?;
    let next = Seq(records / DEVICES + 1);
    let began = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for device in devices() {
        tasks.spawn(async move {
            // Far from any limit: no events.
            let mut device =
                Device::connect(address, device, key(device), |n| 20_000 + (n % 97) as i32).await?;
            device.send_until_acknowledged(next).await
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    let rate = ((next.0 - 1) * DEVICES) as f64 / began.elapsed().as_secs_f64();
    gateway.stop().await;
    Ok(rate)
}

async fn bare_publishes(broker: &Mosquitto, events: &[Event]) -> Result<f64> {
    let mut options = MqttOptions::new("bare", "127.0.0.1", broker.port());
    options.set_outgoing_inflight_upper_limit(INFLIGHT);
    let (client, mut driver) = AsyncClient::new(options, 256);
    let events_owned: Vec<(String, Vec<u8>)> =
        events.iter().map(|event| (event.topic.clone(), event.payload.clone())).collect();
    let began = Instant::now();
    let publishing = tokio::spawn(async move {
        for (topic, payload) in events_owned {
            client.publish(topic, QoS::AtLeastOnce, false, payload).await?;
        }
        Ok::<_, rumqttc::v5::ClientError>(client)
    });
    let mut acknowledged = 0;
    while acknowledged < events.len() {
        if let ClientEvent::Incoming(Packet::PubAck(_)) = driver.poll().await? {
            acknowledged += 1;
        }
    }
    let rate = events.len() as f64 / began.elapsed().as_secs_f64();
    drop(publishing.await??);
    Ok(rate)
}

async fn events_out(folder: &Path, broker: &Mosquitto, events: &[Event]) -> Result<f64> {
    let mut spool = Spool::open(&folder.join("events.db"))?;
    spool.commit(|transaction| events.iter().try_for_each(|event| transaction.add_event(event).map(drop)))?;
    drop(spool);
    let began = Instant::now();
    let gateway = gateway(folder, "events.db", broker).await?;
    let enough = events.len() as u64;
    while gateway.uplink.acknowledged.load(std::sync::atomic::Ordering::Relaxed) < enough {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let rate = events.len() as f64 / began.elapsed().as_secs_f64();
    gateway.stop().await;
    Ok(rate)
}

/// Each device sends a reading a frame, and each reading is an event.
async fn latency(folder: &Path, broker: &Mosquitto) -> Result<[Duration; 2]> {
    let mut listener = Listener::start(broker.port(), topics::ALL_EVENTS).await?;
    let gateway = gateway(folder, "latency.db", broker).await?;
    let address = *gateway.tcp.first().context("where it listens")?;
    let each = PACE * PACED.as_secs() / DEVICES;
    let mut tasks = tokio::task::JoinSet::new();
    let began = Instant::now();
    for (index, device) in devices().enumerate() {
        tasks.spawn(async move {
            let mut device = Device::connect(address, device, key(device), alternating).await?;
            let mut ticks = tokio::time::interval(Duration::from_micros(1_000_000 * DEVICES / PACE));
            let mut sent = Vec::with_capacity(each as usize);
            // Spread, so that they do not all speak at once.
            tokio::time::sleep(Duration::from_micros(1_000_000 / PACE * index as u64)).await;
            for seq in 1..=each {
                ticks.tick().await;
                sent.push(began.elapsed());
                device.send_until_acknowledged(Seq(seq + 1)).await?;
            }
            anyhow::Ok((device_id(index), sent))
        });
    }
    let mut sent = std::collections::HashMap::new();
    while let Some(done) = tasks.join_next().await {
        let (device, times) = done??;
        sent.insert(device, times);
    }
    let expected = (each * DEVICES) as usize;
    let heard = listener.wait_until(|heard| heard.len() >= expected).await?;
    gateway.stop().await;
    let mut latencies: Vec<Duration> = Vec::with_capacity(expected);
    for message in &heard {
        let event: serde_json::Value = serde_json::from_slice(&message.payload)?;
        let device = event["data"]["device"]["id"].as_str().unwrap_or_default();
        let record = event["data"]["quality"]["record"].as_u64().unwrap_or_default();
        if let Some(at) = sent.get(device).and_then(|times| times.get(record as usize - 1)) {
            latencies.push(message.at.duration_since(began).saturating_sub(*at));
        }
    }
    latencies.sort();
    Ok([percentile(&latencies, 50)?, percentile(&latencies, 99)?])
}

/// The value below which so many of 100 are, of sorted ones.
pub(super) fn percentile(sorted: &[Duration], percent: usize) -> Result<Duration> {
    sorted.get(sorted.len() * percent / 100).copied().context("no latencies")
}

fn device_id(index: usize) -> String {
    DeviceId(FIRST_DEVICE + index as u64).to_string()
}

/// CPU seconds that this process has used: fields 14 and 15 of `/proc/self/stat`, in hundredths (proc(5), `USER_HZ`).
fn cpu_s() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The program's name, which may hold anything, ends with the last parenthesis.
    let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |n: usize| fields.get(n).and_then(|field| field.parse::<f64>().ok()).context("no CPU time");
    Ok((ticks(11)? + ticks(12)?) / 100.0)
}
