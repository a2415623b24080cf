//! A node and a gateway in one thread, with a good link between them.

use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use embassy_futures::block_on;
use gridpost_agent::counters::Counters;
use gridpost_agent::event::make::District;
use gridpost_agent::intake::Intake;
use gridpost_agent::keys::Keys;
use gridpost_agent::links::FrameIn;
use gridpost_agent::pipeline::Committer;
use gridpost_agent::spool::Spool;
use gridpost_agent::uplink::Outbox as _;
use gridpost_agent::withdrawn;
use gridpost_firmware::node::{About, Journal, Node, ToSend};
use gridpost_firmware::provision::Identity;
use gridpost_firmware::store::{STATE_SECTORS, Store};
use gridpost_firmware::testing::flash::RamFlash;
use gridpost_firmware::wall::SyncedClock;
use gridpost_protocol::calibration::Calibrate;
use gridpost_protocol::frame::FrameBuf;
use gridpost_protocol::id::{DeviceId, Seq};
use gridpost_protocol::message::ResetCause;
use gridpost_protocol::pack::Pack;
use gridpost_protocol::quantity::Quantity;
use gridpost_protocol::reading::{Milli, Quality, Reading};
use gridpost_protocol::record::Record;
use gridpost_protocol::seal::Key;
use gridpost_protocol::time::{UnixMillis, UptimeMillis};
use gridpost_tests::sim::flash::SolderedFlash;
use serde_json::Value;
use tokio::sync::mpsc;

pub(super) const DEVICE: DeviceId = DeviceId(0x6770_0000_0000_000a);
const SECTORS: usize = 32;
const EPOCH: i64 = 1_790_000_000_000;

const HEAT: &str = "
[[rule]]
id = 'outdoor-work-heat'
matter = '0501002'
quantity = 'temperature'
above = 35
clear = '60s'
interval = '1s'
";

fn devices(line: &str) -> String {
    format!("device,site,model,decides\n6770000000000001,PS-0001,GP-N1,\n{line}")
}

/// What of a pack differs from the sample's.
pub(super) struct Files {
    pub(super) rules: &'static str,
    pub(super) device: &'static str,
}

pub(super) const PACK_OF_GATEWAY: Files =
    Files { rules: HEAT, device: "677000000000000a,PS-0001,GP-E1,gateway\n" };
pub(super) const PACK_OF_DEVICE: Files =
    Files { rules: HEAT, device: "677000000000000a,PS-0001,GP-E1,device\n" };

/// Noise, decided by the gateway.
pub(super) fn noise() -> Files {
    Files {
        rules: "[[rule]]\nid = 'works'\nmatter = '0102003'\nquantity = 'LAeq'\nstatistic = 'last'\nabove = 60\nclear = '3s'\ninterval = '1s'\n",
        ..PACK_OF_GATEWAY
    }
}

pub(super) fn without_the_rule() -> Files {
    Files {
        rules: "[[rule]]\nid = 'other'\nmatter = '0501002'\nquantity = 'humidity'\nabove = 99\ninterval = '1s'\n",
        ..PACK_OF_DEVICE
    }
}

pub(super) fn without_the_device() -> Files {
    Files { device: "", ..PACK_OF_DEVICE }
}

fn district(files: &Files) -> Result<District> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../agent/sample");
    let names = ["pack.toml", "departments.csv", "catalogue.csv", "sites.csv", "devices.csv", "rules.toml"];
    let texts = names.map(|name| match name {
        "devices.csv" => Ok(devices(files.device)),
        "rules.toml" => Ok(files.rules.to_owned()),
        name => std::fs::read_to_string(folder.join(name)),
    });
    let mut given = Vec::new();
    for (name, text) in names.into_iter().zip(texts) {
        given.push((name, text?.into_bytes()));
    }
    let given: Vec<_> = given.iter().map(|(name, text)| (*name, text.as_slice())).collect();
    let pack = Pack::from_files(&given).map_err(|errors| anyhow!("the pack: {errors}"))?;
    Ok(District { pack, gateway: "gw-1".to_owned() })
}

struct Silent;

impl Journal for Silent {
    fn appended(&self, _: Seq) {}
    fn trouble(&self, what: std::fmt::Arguments<'_>) {
        println!("node: {what}");
    }
}

type TestNode = Node<SolderedFlash, SyncedClock, Silent>;

pub(super) struct Bench {
    folder: tempfile::TempDir,
    flash: SolderedFlash,
    node: TestNode,
    /// The second since the node started, and the second at which it did.
    uptime: u64,
    started: u64,
    committer: Option<Committer>,
    answers: (mpsc::Sender<Box<FrameBuf>>, mpsc::Receiver<Box<FrameBuf>>),
}

/// What the platform is told, as far as the tests ask.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) phase: String,
    pub(super) cause: String,
    pub(super) episode: String,
    pub(super) revision: u64,
    pub(super) matter: String,
    pub(super) department: String,
    pub(super) by_device: bool,
}

fn start_node(flash: &SolderedFlash) -> Result<TestNode> {
    let about = About { firmware: "t", board: "t", reset_cause: ResetCause::PowerOn };
    let store = block_on(Store::open_with_ring(flash.clone(), 4)).map_err(|error| anyhow!("{error}"))?;
    Ok(Node::new(store, about, SyncedClock::default(), Silent))
}

impl Bench {
    pub(super) fn new(files: &Files) -> Result<Self> {
        let mut flash = RamFlash::new(SECTORS + 4 + 1 + STATE_SECTORS as usize);
        flash.program(0, &Identity { device: DEVICE, key: Key([3; 32]), first_seq: Seq(1) }.encode());
        let flash = SolderedFlash::new(flash);
        let node = start_node(&flash)?;
        let mut bench = Self {
            folder: tempfile::tempdir()?,
            flash,
            node,
            uptime: 0,
            started: 0,
            committer: None,
            answers: mpsc::channel(64),
        };
        bench.restart_gateway(files)?;
        Ok(bench)
    }

    fn now(&self) -> UnixMillis {
        UnixMillis(EPOCH + ((self.started + self.uptime) * 1000).cast_signed())
    }

    /// Kills the gateway and starts it with this pack.
    pub(super) fn restart_gateway(&mut self, files: &Files) -> Result<()> {
        self.committer = None;
        let district = district(files)?;
        let counters = Arc::new(Counters::default());
        let mut spool = Spool::open(&self.folder.path().join("spool.db"))?;
        let start = spool.next_start(self.now())?;
        withdrawn::clear(&mut spool, &district, &counters, self.now())?;
        let keys = Keys::from_pairs([(DEVICE, Key([3; 32]))]);
        self.committer = Some(Committer::new(spool, Intake::new(Arc::new(district), keys, start, counters)));
        self.node.link_up();
        Ok(())
    }

    /// The node loses its power.
    pub(super) fn restart_node(&mut self) -> Result<()> {
        self.node = start_node(&self.flash)?;
        self.started += self.uptime;
        self.uptime = 0;
        Ok(())
    }

    /// Measures each second, and does not talk.
    pub(super) fn measure(&mut self, seconds: u64, value: i32) -> Result<()> {
        for _ in 0..seconds {
            self.uptime += 1;
            let reading =
                Reading { quantity: Quantity::Temperature, value: Milli(value), quality: Quality::GOOD };
            let kept = block_on(self.node.observe(UptimeMillis(self.uptime * 1000), &reading));
            kept.map_err(|error| anyhow!("{error}"))?;
        }
        Ok(())
    }

    /// Keeps a record, and talks.
    pub(super) fn keep(&mut self, record: &Record<'_>) -> Result<()> {
        self.uptime += 1;
        let kept = block_on(self.node.keep(UptimeMillis(self.uptime * 1000), record));
        kept.map_err(|error| anyhow!("{error}"))?;
        self.talk()
    }

    /// The platform has the gateway calibrate the node's meter; whether the node could be told.
    pub(super) fn calibrate(&mut self, device: DeviceId) -> Result<()> {
        let calibrate = Calibrate { nominal: Milli(94_000), accept_drift: false };
        self.committer.as_mut().context("a gateway")?.calibrate(device, &calibrate)?;
        while let Ok(mut answer) = self.answers.1.try_recv() {
            block_on(self.node.receive(UptimeMillis(self.uptime * 1000 + 2), &mut answer));
        }
        self.talk()
    }

    /// The events that are for the platform, in order.
    pub(super) fn events(&self) -> Result<Vec<Value>> {
        let committer = self.committer.as_ref().context("a gateway")?;
        let rows = committer.spool().outbox()?.read_after(0, usize::MAX).map_err(anyhow::Error::msg)?;
        rows.iter().map(|row| Ok(serde_json::from_slice(&row.payload)?)).collect()
    }

    /// Measures each second, and talks.
    pub(super) fn live(&mut self, seconds: u64, value: i32) -> Result<()> {
        self.talk()?;
        for _ in 0..seconds {
            self.measure(1, value)?;
            self.talk()?;
        }
        Ok(())
    }

    fn talk(&mut self) -> Result<()> {
        let now = UptimeMillis(self.uptime * 1000 + 1);
        let unix = self.now();
        let committer = self.committer.as_mut().context("a gateway")?;
        let mut frame = FrameBuf::new();
        loop {
            match block_on(self.node.transmit(now, false, &mut frame)) {
                Ok(ToSend::Frame(_)) => {}
                Ok(ToSend::NothingUntil(_)) => return Ok(()),
                Err(error) => return Err(anyhow!("{error}")),
            }
            let mut group = [FrameIn {
                link: "test".into(),
                frame: frame.clone(),
                answers: self.answers.0.clone(),
                proof: Arc::default(),
                place: None,
            }];
            committer.persist(&mut group, unix, &[], &[])?;
            committer.answer(unix);
            while let Ok(mut answer) = self.answers.1.try_recv().map(|frame| *frame) {
                block_on(self.node.receive(now, &mut answer));
            }
        }
    }

    /// Everything that is for the platform, in order.
    pub(super) fn said(&self) -> Result<Vec<Said>> {
        let committer = self.committer.as_ref().context("a gateway")?;
        let rows = committer.spool().outbox()?.read_after(0, usize::MAX).map_err(anyhow::Error::msg)?;
        let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        rows.iter()
            .map(|row| {
                let event: Value = serde_json::from_slice(&row.payload)?;
                let episode = &event["data"]["episode"];
                Ok(Said {
                    phase: text(&event["phase"]),
                    cause: text(&episode["cause"]),
                    episode: text(&episode["id"]),
                    revision: episode["revision"].as_u64().unwrap_or(0),
                    matter: text(&event["matter"]),
                    department: text(&event["department"]),
                    by_device: event["data"]["pack"]["share"].is_string(),
                })
            })
            .collect()
    }
}
