use std::path::Path;

use gridpost_protocol::id::Seq;
use gridpost_protocol::pack::{FILES, Pack};
use gridpost_protocol::session::gateway::Durable;

use super::*;
use crate::event::cloudevent::CloudEvent;
use crate::uplink::Outbox as _;

const DEVICE: DeviceId = DeviceId(0x6770_0000_0000_000a);
const BEGAN: UnixMillis = UnixMillis(1_790_000_000_000);

/// The sample district, whose devices are silent after ten minutes, and its noise nodes' levels after five.
fn district() -> District {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("sample");
    let texts = FILES.map(|file| {
        let text = std::fs::read_to_string(folder.join(file)).unwrap();
        if file != "rules.toml" {
            return text;
        }
        let without = text.split("\n[[silence]]").next().unwrap_or_default().to_owned();
        without + "\n[[silence]]\nid = \"no-word\"\nmatter = \"0901001\"\nafter = \"10min\"\n"
    });
    let files: Vec<_> = FILES.into_iter().zip(texts.iter().map(|text| text.as_bytes())).collect();
    District { pack: Pack::from_files(&files).unwrap(), gateway: "gw-1".to_owned() }
}

/// A spool that knows the device.
fn spool(dir: &Path) -> Spool {
    let mut spool = Spool::open(&dir.join("spool.db")).unwrap();
    let durable = Durable { cursor: Some(Seq(7)), boot: 1, counter: 1 };
    let row = crate::spool::DeviceRow { durable, replay_from: 0, newest: BEGAN, pack: "0".to_owned() };
    spool.commit(|transaction| transaction.put_device(DEVICE, &row)).unwrap();
    spool
}

/// Ticks each ten seconds, as the pipeline does; what was said, with the minute.
fn listen(
    silences: &mut Silences,
    spool: &mut Spool,
    minutes: std::ops::Range<i64>,
    mut heard: impl FnMut(i64) -> bool,
) -> Vec<(i64, String)> {
    let district = district();
    let mut said = Vec::new();
    for tick in minutes.start * 6..minutes.end * 6 {
        let now = BEGAN.plus(tick * 10_000);
        if tick % 6 == 0 && heard(tick / 6) {
            silences.heard(&district.pack, DEVICE, now);
        }
        let changes = silences.tick(&district, spool, now).unwrap();
        let rows = spool.commit(|transaction| silences.tell(&changes, &district, now, transaction)).unwrap();
        silences.told(&changes);
        said.extend(rows.iter().map(|_| tick / 6).zip(
            changes.iter().map(|one| if one.is_silent { "silent".to_owned() } else { "heard".to_owned() }),
        ));
    }
    said
}

fn events(spool: &Spool) -> Vec<CloudEvent> {
    let rows = spool.outbox().unwrap().read_after(0, 100).unwrap();
    rows.iter().map(|row| serde_json::from_slice(&row.payload).unwrap()).collect()
}

#[test]
fn a_device_that_falls_silent_is_told_once_and_once_that_it_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = spool(dir.path());
    let mut silences = Silences::default();
    let said = listen(&mut silences, &mut spool, 0..60, |minute| !(20..45).contains(&minute));
    // Last heard in minute 19.
    assert_eq!(said, [(29, "silent".to_owned()), (45, "heard".to_owned())]);
    let [silent, over] = &events(&spool)[..] else { panic!("two events") };
    assert_eq!((silent.kind.as_str(), silent.phase.as_str()), ("gridpost.silence", "fault"));
    assert_eq!((silent.matter.as_str(), silent.data.pack.rule.as_deref()), ("0901001", Some("no-word")));
    assert_eq!(silent.data.silence.as_ref().unwrap().after_s, 600.0);
    let (began, ended) = (silent.data.episode.as_ref().unwrap(), over.data.episode.as_ref().unwrap());
    assert_eq!((&began.id, began.revision, ended.revision), (&ended.id, 0, 1));
    assert_eq!((over.phase.as_str(), ended.cause.as_deref()), ("cleared", Some("heard-again")));
}

#[test]
fn a_restart_in_a_silence_neither_repeats_nor_forgets_it_and_counts_anew_before() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = spool(dir.path());
    let never = |_| false;
    assert_eq!(listen(&mut Silences::default(), &mut spool, 0..9, never), [], "nine minutes");
    // Away for an hour: it did not listen.
    assert_eq!(listen(&mut Silences::default(), &mut spool, 69..78, never), [], "nine minutes of this start");
    assert_eq!(listen(&mut Silences::default(), &mut spool, 80..95, never), [(90, "silent".to_owned())]);
    assert_eq!(listen(&mut Silences::default(), &mut spool, 100..150, never), [], "told already");
    let said = listen(&mut Silences::default(), &mut spool, 160..165, |minute| minute == 162);
    assert_eq!(said, [(162, "heard".to_owned())]);
    assert_eq!(events(&spool).len(), 2);
}

#[test]
fn what_could_not_be_committed_is_told_with_the_next_tick() {
    let dir = tempfile::tempdir().unwrap();
    let spool = spool(dir.path());
    let (mut silences, district) = (Silences::default(), district());
    let mut first = None;
    for second in 0..=700 {
        let now = BEGAN.plus(second * 1000);
        let changes = silences.tick(&district, &spool, now).unwrap();
        // Nothing is committed.
        first = first.or_else(|| changes.first().copied());
    }
    let changes = silences.tick(&district, &spool, BEGAN.plus(701_000)).unwrap();
    assert_eq!(changes.first().copied(), first);
    assert!(first.is_some());
}

#[test]
fn a_clock_that_is_set_and_a_device_that_never_spoke_are_not_silence() {
    let dir = tempfile::tempdir().unwrap();
    let spool = spool(dir.path());
    let (mut silences, district) = (Silences::default(), district());
    for day in [0, 1, -1, 2, 30, 3] {
        let now = BEGAN.plus(day * 86_400_000);
        assert_eq!(silences.tick(&district, &spool, now).unwrap(), []);
    }
    for second in 0..7_200 {
        let changes = silences.tick(&district, &spool, BEGAN.plus(second * 1000)).unwrap();
        assert!(changes.len() <= 1, "only the device that has spoken");
    }
}
