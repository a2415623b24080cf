//! The store under power cuts: at every single write of a life full of appends, releases and restarts.

use std::vec::Vec;

use embassy_futures::block_on;
use gridpost_protocol::id::{DeviceId, Seq};
use gridpost_protocol::record::{Log, LogLevel, Record};
use gridpost_protocol::seal::Key;
use gridpost_protocol::time::{Stamp, UptimeMillis};

use super::{STATE_SECTORS, Store, StoreError};
use crate::provision::{Identity, NoIdentity};
use crate::testing::flash::{RamFlash, SECTOR_BYTES};

const SECTORS: usize = 6;
pub(super) type TestStore = Store<RamFlash>;

pub(super) fn flash() -> RamFlash {
    let mut flash = RamFlash::new(SECTORS + 1 + STATE_SECTORS as usize);
    let identity = Identity { device: DeviceId(1), key: Key([1; 32]), first_seq: Seq(100) };
    flash.program(0, &identity.encode());
    flash
}

pub(super) fn open(flash: RamFlash) -> TestStore {
    block_on(Store::open(flash)).unwrap()
}

/// A record that can be told from every other one, of varying length: a line of a log.
fn record(seq: Seq) -> Vec<u8> {
    let text: std::string::String = std::format!("{:1$}", seq.0, 8 + (seq.0 % 80) as usize);
    stored(&Record::Log(Log { level: LogLevel::Info, text: &text }))
}

pub(super) fn stored(record: &Record<'_>) -> Vec<u8> {
    record.store(&Stamp::Uptime { boot: 1, at: UptimeMillis(5) }).unwrap().to_vec()
}

fn contents(store: &mut TestStore) -> Vec<Seq> {
    let mut all = Vec::new();
    block_on(store.read_from(Seq(0), |seq, bytes| {
        assert_eq!(bytes, record(seq), "a record is whole and its own");
        all.push(seq);
        true
    }))
    .unwrap();
    all
}

/// What is known to be true of the node's life, from outside.
#[derive(Default)]
struct Truth {
    appended: Seq,
    released: Seq,
    boot: u32,
}

impl Truth {
    fn check(&mut self, store: &mut TestStore) {
        assert!(store.boot() > self.boot, "boot counter");
        self.boot = store.boot();
        assert!(store.next_seq() > self.appended, "a number would be given twice");
        // At most the record whose append was cut off may be there without having been confirmed. (Before the very
        // first record, numbers may be skipped: no gateway has heard of one.)
        assert!(
            self.appended == Seq::NONE || store.next_seq().0 <= self.appended.0 + 2,
            "numbers are skipped: {} after {}",
            store.next_seq(),
            self.appended
        );
        let all = contents(store);
        assert!(all.is_sorted_by(|a, b| a.0 + 1 == b.0), "{all:?}");
        if self.appended > self.released {
            assert!(all.contains(&self.appended), "the newest is lost");
            assert!(all[0] <= self.released.next().max(Seq(100)), "{} .. {:?}", self.released, all[0]);
        }
        self.appended = all.last().copied().unwrap_or_default().max(self.appended);
    }

    /// Appends, releases, and says when the power went.
    fn live(&mut self, store: &mut TestStore, appends: u64) -> bool {
        for n in 0..appends {
            match block_on(store.append(&record(store.next_seq()))) {
                Ok(seq) => {
                    assert!(seq > self.appended);
                    self.appended = seq;
                }
                Err(_) => return false,
            }
            if n % 7 == 6 {
                let up_to = Seq(self.appended.0 - n % 3);
                // What is being released may be gone, or not.
                self.released = up_to;
                if block_on(store.release(up_to)).is_err() {
                    return false;
                }
            }
        }
        true
    }
}

#[test]
fn the_power_may_go_at_every_single_write() {
    // How many operations the whole story takes when nothing happens to it.
    let mut store = open(flash());
    let before = store.flash_mut().operations;
    assert!(Truth::default().live(&mut store, 260));
    let story = store.flash_mut().operations - before;
    assert!(story > 2_000, "the story goes round the flash: {story}");

    for cut in 0..story + 20 {
        let (mut truth, mut cut_flash) = (Truth::default(), flash());
        cut_flash.cut_after(cut);
        // The cut may fall into the opening, the appending or the releasing.
        let opened: Result<TestStore, _> = block_on(Store::open(cut_flash.clone()));
        let mut flash = match opened {
            Ok(mut store) => {
                truth.check(&mut store);
                truth.live(&mut store, 260);
                store.close()
            }
            Err(StoreError::Flash(_)) => {
                // The copy that was opened is gone with its error: do the same to the original.
                cut_through_open(&mut cut_flash);
                cut_flash
            }
            Err(other) => panic!("{other}"),
        };
        // Twice: a restart may find what the one before left.
        for _ in 0..2 {
            flash.power_on();
            let mut store = open(flash);
            truth.check(&mut store);
            assert!(!store.lost_queue(), "cut {cut}");
            assert!(truth.live(&mut store, 10));
            flash = store.close();
        }
    }
}

/// Opens a store on a borrowed flash, so that what the failed opening did stays.
fn cut_through_open(flash: &mut RamFlash) {
    let opened: Result<Store<&mut RamFlash>, _> = block_on(Store::open(flash));
    assert!(opened.is_err());
}

#[test]
fn a_full_store_gives_up_the_oldest_and_says_how_many() {
    let mut store = open(flash());
    let (mut count, first) = (0u64, store.next_seq());
    while store.evicted() == 0 {
        block_on(store.append(&record(store.next_seq()))).unwrap();
        count += 1;
        assert!(count < 10_000);
    }
    let all = contents(&mut store);
    assert_eq!(store.oldest_seq(), all[0]);
    assert_eq!(store.evicted(), all[0].0 - first.0);
    assert_eq!(all.len() as u64, count - store.evicted());
    let evicted = store.evicted();
    assert_eq!(open(store.close()).evicted(), evicted, "the count survives");
}

#[test]
fn numbering_goes_on_after_everything_was_released() {
    let mut store = open(flash());
    for _ in 0..5 {
        block_on(store.append(&record(store.next_seq()))).unwrap();
    }
    let next = store.next_seq();
    block_on(store.release(Seq(next.0 - 1))).unwrap();
    assert_eq!(store.oldest_seq(), next, "nothing is left to send");
    let store = open(store.close());
    assert_eq!(store.next_seq(), next);
}

#[test]
fn an_unreadable_queue_costs_records_but_no_number_twice() {
    let mut store = open(flash());
    for _ in 0..300 {
        block_on(store.append(&record(store.next_seq()))).unwrap();
    }
    let next = store.next_seq();
    let mut flash = store.close();
    let queue = SECTOR_BYTES * (1 + STATE_SECTORS as usize);
    let noise: Vec<u8> = (0..SECTORS * SECTOR_BYTES).map(|n| (n * 31 % 251) as u8 & 0x5a).collect();
    flash.program(queue, &noise);
    let mut store = open(flash);
    assert!(store.next_seq() >= next);
    let seq = block_on(store.append(&record(store.next_seq()))).unwrap();
    assert_eq!(contents(&mut store), [seq]);
}

#[test]
fn a_node_without_identity_does_not_start() {
    let blank = RamFlash::new(SECTORS + 1 + STATE_SECTORS as usize);
    let opened: Result<TestStore, _> = block_on(Store::open(blank));
    assert!(matches!(opened, Err(StoreError::NoIdentity(NoIdentity::Blank))));
}

#[test]
fn a_flash_that_fails_for_a_moment_does_not_get_a_number_given_twice() {
    // Fails at each operation of an append that evicts, and the store goes on.
    let mut store = open(flash());
    while store.evicted() == 0 {
        block_on(store.append(&record(store.next_seq()))).unwrap();
    }
    let appends = store.next_seq().0 - 100;
    let mut bad = Vec::new();
    for cut in 0..200u64 {
        let mut store = open(flash());
        for _ in 0..appends - 1 {
            block_on(store.append(&record(store.next_seq()))).unwrap();
        }
        store.flash_mut().cut_after(cut);
        if block_on(store.append(&record(store.next_seq()))).is_ok() {
            break;
        }
        // The flash answers again (a brown-out of the flash only): the node runs on.
        store.flash_mut().power_on();
        if block_on(store.append(&record(store.next_seq()))).is_err() {
            continue;
        }
        let mut all = Vec::new();
        block_on(store.read_from(Seq(0), |seq, _| {
            all.push(seq.0);
            true
        }))
        .unwrap();
        if all.windows(2).any(|w| w[0] >= w[1]) {
            bad.push((cut, all[all.len() - 3..].to_vec()));
        }
    }
    assert!(bad.is_empty(), "numbers given twice: {bad:?}");
}

#[test]
fn what_is_appended_after_an_unreadable_queue_survives_a_restart() {
    use sequential_storage::cache::Cache;
    use sequential_storage::queue::{QueueConfig, QueueStorage};
    let mut store = open(flash());
    block_on(store.append(&record(store.next_seq()))).unwrap();
    let mut flash = store.close();
    let sector = SECTOR_BYTES as u32;
    let start = sector * (1 + STATE_SECTORS);
    let end = sector * (1 + STATE_SECTORS + SECTORS as u32);
    // An item longer than this firmware reads: of a later version.
    let mut queue = QueueStorage::new(&mut flash, QueueConfig::new(start..end), Cache::new_uncached());
    block_on(queue.push(&[7; 400], false)).unwrap();
    let mut store = open(flash);
    assert!(store.lost_queue());
    let seq = block_on(store.append(&record(store.next_seq()))).unwrap();
    let mut store = open(store.close());
    assert_eq!(contents(&mut store), [seq], "appended, confirmed, and gone");
}

#[test]
fn the_oldest_is_one_that_can_be_read() {
    let mut store = open(flash());
    for _ in 0..5 {
        block_on(store.append(&record(store.next_seq()))).unwrap();
    }
    let mut flash = store.close();
    // One bit of the third record (102) loses its charge.
    let start = SECTOR_BYTES as u32 * (1 + STATE_SECTORS);
    let mut bytes = vec![0; SECTOR_BYTES];
    block_on(embedded_storage_async::nor_flash::ReadNorFlash::read(&mut flash, start, &mut bytes)).unwrap();
    let at = bytes.windows(8).position(|w| w == 102u64.to_le_bytes()).unwrap();
    let word = at - at % 4;
    let mut damaged = [bytes[word], bytes[word + 1], bytes[word + 2], bytes[word + 3]];
    damaged[at - word] = 0;
    block_on(embedded_storage_async::nor_flash::NorFlash::write(&mut flash, start + word as u32, &damaged))
        .unwrap();
    let mut store = open(flash);
    let mut all = Vec::new();
    block_on(store.read_from(Seq(0), |seq, _| {
        all.push(seq.0);
        true
    }))
    .unwrap();
    assert_eq!(all, [100, 101, 103, 104]);
    block_on(store.release(Seq(101))).unwrap();
    assert_eq!(store.oldest_seq(), Seq(103), "the gateway takes 103 only if it is the oldest");
}
