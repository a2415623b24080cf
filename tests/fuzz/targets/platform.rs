//! What comes over MQTT: questions and dispositions for the gateway, and what a person watches.

use std::cell::RefCell;
use std::sync::{Arc, Mutex};

use gridpost_agent::cli::print;
use gridpost_agent::counters::Counters;
use gridpost_agent::event::make::District;
use gridpost_agent::inbound::listen::Address;
use gridpost_agent::inbound::{Inbound, Message};
use gridpost_agent::intake::Intake;
use gridpost_agent::keys::Keys;
use gridpost_agent::pipeline::Committer;
use gridpost_agent::requests::{self, Desk, REPLY_BYTES_MAX, Reply, Request};
use gridpost_agent::spool::{OutboxReader, Spool};
use gridpost_agent::trial::explain;
use gridpost_agent::uplink::client::Respond;
use gridpost_agent::uplink::topics::{self, ToGateway};
use gridpost_agent::uplink::{Outbox as _, UplinkStatus};
use gridpost_protocol::id::{DeviceId, Seq};
use gridpost_protocol::pack::Pack;
use gridpost_protocol::session::gateway::Gap;
use gridpost_protocol::time::UnixMillis;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// A name, and what it does with the bytes.
type Target = (&'static str, fn(&[u8]));

/// The targets.
pub(crate) const TARGETS: &[Target] = &[
    ("topics", topic),
    ("requests", |data| GATEWAY.with_borrow_mut(|gateway| gateway.asked(data))),
    ("dispositions", |data| GATEWAY.with_borrow_mut(|gateway| gateway.disposed(data))),
    ("watched", watched),
];

const NAME: &str = "gw-1";
const DIVISION: &str = "440310";
const DEVICE: DeviceId = DeviceId(0x6770_0000_0000_0001);
/// 2026-11-22T15:00:00Z.
const NOW: UnixMillis = UnixMillis(1_795_359_600_000);

thread_local! {
    static GATEWAY: RefCell<Gateway> = RefCell::new(Gateway::new());
}

fn district() -> District {
    macro_rules! sample {
        ($($name:literal),*) => {
            [$(($name, include_bytes!(concat!("../../../agent/sample/", $name)).as_slice())),*]
        };
    }
    let files =
        sample!("pack.toml", "departments.csv", "catalogue.csv", "sites.csv", "devices.csv", "rules.toml");
    District { pack: Pack::from_files(&files).expect("the sample is a pack"), gateway: NAME.to_owned() }
}

/// A gateway with one case, which a loss of records raised: what of it takes messages of the platform.
struct Gateway {
    committer: Committer,
    outbox: OutboxReader,
    desk: Desk,
    runtime: tokio::runtime::Runtime,
    _folder: tempfile::TempDir,
}

impl Gateway {
    fn new() -> Self {
        // In memory where that can be had: each message is a commit.
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        let folder = folder.expect("there is a place for temporary files");
        let mut spool = Spool::open(&folder.path().join("spool.db")).expect("a new spool");
        let district = Arc::new(district());
        let lost =
            district.gap(DEVICE, Gap { first: Seq(1), last: Seq(9) }, NOW).expect("a device of the pack");
        spool.commit(|transaction| transaction.add_event(&lost)).expect("a spool that can be written to");
        let desk = Desk {
            address: Address { division: DIVISION.to_owned(), gateway: NAME.to_owned() },
            session: 1,
            spool: Arc::new(Mutex::new(spool.reader().expect("a spool that can be read"))),
            // Nobody is there: what only the pipeline knows is refused.
            pipeline: mpsc::channel(1).0,
            counters: Arc::default(),
            uplink: Arc::new(UplinkStatus::default()),
            pack: None,
        };
        let outbox = spool.outbox().expect("a spool that can be read");
        let intake = Intake::new(district, Keys::default(), 1, Arc::new(Counters::default()));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        Self { committer: Committer::new(spool, intake), outbox, desk, runtime, _folder: folder }
    }

    /// The first line is what is asked for and, behind a blank, where the answer is wanted; the rest is the question. Each is answered once,
    /// where the asker may be answered, and within bounds.
    fn asked(&mut self, data: &[u8]) {
        let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
        let (line, payload) = data.split_at(end);
        let Ok(line) = std::str::from_utf8(line) else { return };
        let (name, respond) = line.split_once(' ').map_or((line, None), |(name, to)| (name, Some(to)));
        let request = Request {
            name: name.to_owned(),
            payload: payload.get(1..).unwrap_or_default().to_vec().into(),
            respond: respond.map(|topic| Respond { topic: topic.to_owned(), correlation: None }),
        };
        let reply: Reply = self.runtime.block_on(async {
            let ((ask, asked), (answer, mut answers)) = (mpsc::channel(1), mpsc::channel(1));
            ask.send(request).await.expect("there is room");
            tokio::select! {
                () = requests::run(self.desk.clone(), asked, answer, CancellationToken::new()) => unreachable!("it is asked"),
                reply = answers.recv() => reply.expect("each question is answered"),
            }
        });
        assert!(topics::is_answerable(DIVISION, NAME, &reply.topic), "{}", reply.topic);
        assert!(reply.payload.len() <= REPLY_BYTES_MAX, "{}", reply.payload.len());
        is_answer(&reply.payload);
    }

    /// A disposition of the platform, or with `@` and a name in the first line of that department. Each is answered once, and whatever it
    /// says there is one case.
    fn disposed(&mut self, data: &[u8]) {
        let (department, payload) = match data.strip_prefix(b"@") {
            Some(rest) => {
                let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
                let (department, payload) = rest.split_at(end);
                let Ok(department) = std::str::from_utf8(department) else { return };
                if !topics::is_segment(department) {
                    return;
                }
                (Some(department.to_owned()), payload.get(1..).unwrap_or_default())
            }
            None => (None, data),
        };
        let before = self.committer.spool().newest_event().expect("a spool that can be read");
        let message = Inbound::Disposition(Message::of_nobody(payload.to_vec().into(), department));
        self.committer.persist_inbound(&message, NOW).expect("a spool that can be written to");
        let after = self.committer.answer(NOW).expect("each disposition is answered");
        assert_eq!(after, before + 1);
        let rows = self.outbox.read_after(before, 8).expect("a spool that can be read");
        assert_eq!(rows.len(), 1);
        assert!(topics::is_answerable(DIVISION, NAME, &rows[0].topic), "{}", rows[0].topic);
        is_answer(&rows[0].payload);
        self.committer.persist(&mut [], NOW, &[0..=after], &[]).expect("a spool that can be written to");
    }
}

/// What is answered is JSON, and says either what was asked for or what to do.
fn is_answer(payload: &[u8]) {
    let said: serde_json::Value = serde_json::from_slice(payload).expect("an answer is JSON");
    assert_eq!(said["gateway"], NAME);
    assert_ne!(said.get("result").is_some(), said.get("error").is_some(), "{said}");
    if let Some(error) = said.get("error") {
        assert!(
            ["kind", "what", "way_out"]
                .iter()
                .all(|key| error[key].as_str().is_some_and(|text| !text.is_empty())),
            "{said}"
        );
    }
}

/// The topic of a message that came down.
fn topic(data: &[u8]) {
    let Ok(topic) = std::str::from_utf8(data) else { return };
    match topics::to_gateway(DIVISION, NAME, topic) {
        Some(ToGateway::Request(name)) => assert_eq!(topics::request(DIVISION, NAME, name), topic),
        Some(ToGateway::Disposition(None)) => assert_eq!(topics::disposition(DIVISION, NAME), topic),
        Some(ToGateway::Disposition(Some(department))) => assert!(topics::is_segment(department)),
        Some(ToGateway::Pack) => assert_eq!(topics::pack(DIVISION, NAME), topic),
        None => {}
    }
    if topics::is_answerable(DIVISION, NAME, topic) {
        assert!(topics::is_publishable(topic) && !topic.contains(['+', '#', '\0']), "{topic:?}");
    }
}

/// What `gridpost watch` and `gridpost explain` receive: whoever may publish there may have written it, and a terminal obeys.
fn watched(data: &[u8]) {
    static DISTRICT: std::sync::LazyLock<District> = std::sync::LazyLock::new(district);
    let harmless = |text: &str| assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
    if let Some(said) = print::status(data) {
        harmless(&said);
    }
    for event in print::harmless(data).unwrap_or_default() {
        harmless(&print::event(&event, false));
        harmless(&explain::event(&event, &DISTRICT.pack));
    }
}
