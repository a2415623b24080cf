//! Damage that no power cut makes: charge that leaked, regions that were erased.

use std::vec;
use std::vec::Vec;

use embassy_futures::block_on;
use embedded_storage_async::nor_flash::ReadNorFlash;
use gridpost_protocol::id::{DeviceId, Seq};
use gridpost_protocol::seal::Key;

use super::{STATE_SECTORS, Store, StoreError};
use crate::provision::Identity;
use crate::testing::flash::{RamFlash, SECTOR_BYTES};

const SECTORS: usize = 6;
/// The state's region, in bytes from the flash's start.
const STATE: core::ops::Range<usize> = SECTOR_BYTES..SECTOR_BYTES * (1 + STATE_SECTORS as usize);

fn flash() -> RamFlash {
    let mut flash = RamFlash::new(SECTORS + 1 + STATE_SECTORS as usize);
    flash.program(0, &Identity { device: DeviceId(1), key: Key([1; 32]), first_seq: Seq(1) }.encode());
    flash
}

/// The boots that come again when one bit of the state is wrong, every `step`th bit tried.
fn boots_that_come_again(boots: u32, step: usize) -> Vec<(usize, u32)> {
    let mut flash = flash();
    for _ in 0..boots {
        flash = block_on(Store::open(flash)).unwrap().close();
    }
    let mut state = vec![0; STATE.len()];
    block_on(flash.read(STATE.start as u32, &mut state)).unwrap();
    let written = |bit: &usize| state[bit / 8] != 0xff;
    let mut again = Vec::new();
    for bit in (0..state.len() * 8).step_by(step).filter(written) {
        let mut damaged = flash.clone();
        damaged.program(STATE.start + bit / 8, &[state[bit / 8] ^ (1 << (bit % 8))]);
        // A node that does not start repeats nothing either.
        if let Ok(store) = block_on(Store::open(damaged))
            && store.boot() <= boots
        {
            again.push((bit, store.boot()));
        }
    }
    again
}

#[test]
fn a_damaged_bit_never_makes_a_boot_number_come_again() {
    assert_eq!(boots_that_come_again(5, 1), []);
    // Often enough for the state to have gone round its sectors.
    assert_eq!(boots_that_come_again(900, 61), []);
}

#[test]
fn a_node_that_lost_its_counters_does_not_start() {
    let mut store = block_on(Store::open(flash())).unwrap();
    block_on(store.append(b"a record")).unwrap();
    let mut flash = store.close();
    flash.program(STATE.start, &vec![0xff; STATE.len()]);
    for _ in 0..2 {
        let opened: Result<Store<_>, _> = block_on(Store::open(&mut flash));
        assert!(matches!(opened, Err(StoreError::CountersLost)), "the refusal itself counts no boot");
    }
}
