//! An I2S microphone at 48 kHz, such as ICS-43434, SPH0645 or INMP441: 24 bits in the left slot of 64.
//!
//! Erasing a sector of the flash that the program runs from stops the processor for 45 ms and more (W25Q data sheets), and the converter
//! fills one of two buffers meanwhile, each of 50 ms. If it took longer, samples are lost: then the time that passed tells how many.

use core::sync::atomic::{AtomicU32, Ordering};

use embassy_executor::{SpawnError, SpawnToken};
use embassy_rp::peripherals::PIO0;
use embassy_rp::pio_programs::i2s::PioI2sIn;
use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;
use embassy_sync::channel::Channel;
use embassy_time::Instant;
use gridpost_firmware::sensors::SensorError;
use gridpost_firmware::sensors::sound_level::{BLOCK, Heard, Microphone, PART};
use static_cell::ConstStaticCell;

/// A sample takes two words: left and right.
const SLOTS: usize = 2;
/// Blocks in a buffer: 50 ms.
const BLOCKS_AT_ONCE: usize = 5;
const WORDS: usize = BLOCKS_AT_ONCE * BLOCK * SLOTS;
/// The time that a buffer takes, in microseconds.
const BUFFER_US: u64 = BLOCKS_AT_ONCE as u64 * 10_000;
/// What a buffer may come later without a sample being lost: the converter's own memory, and this task's turn.
const LATE_US: u64 = 2_000;
/// Blocks that wait: two buffers, 100 ms.
const WAITING: usize = 2 * BLOCKS_AT_ONCE;

static BLOCKS: Channel<CriticalSectionRawMutex, [i32; BLOCK], WAITING> = Channel::new();
/// Samples that were lost.
static LOST: AtomicU32 = AtomicU32::new(0);

/// The task that listens.
pub(crate) fn hear(i2s: PioI2sIn<'static, PIO0, 0>) -> Result<SpawnToken<impl Sized>, SpawnError> {
    listen(i2s)
}

#[embassy_executor::task]
async fn listen(mut i2s: PioI2sIn<'static, PIO0, 0>) {
    static BUFFERS: ConstStaticCell<[[u32; WORDS]; 2]> = ConstStaticCell::new([[0; WORDS]; 2]);
    let [one, other] = BUFFERS.take();
    let (mut filling, mut full) = (one, other);
    i2s.start();
    i2s.read(filling).await;
    let mut before = Instant::now();
    loop {
        core::mem::swap(&mut filling, &mut full);
        let next = i2s.read(filling);
        hand_on(full);
        next.await;
        let now = Instant::now();
        let late = (now - before).as_micros().saturating_sub(BUFFER_US);
        if late > LATE_US {
            // 48 samples a millisecond; seconds at the most, so it fits.
            LOST.fetch_add((late * 48 / 1000) as u32, Ordering::Relaxed);
        }
        before = now;
    }
}

fn hand_on(words: &[u32; WORDS]) {
    for slots in words.as_chunks::<{ BLOCK * SLOTS }>().0 {
        // The left slot's upper 24 bits, with their sign.
        let block = core::array::from_fn(|sample| slots[sample * SLOTS].cast_signed() >> 8);
        if BLOCKS.try_send(block).is_err() {
            LOST.fetch_add(BLOCK as u32, Ordering::Relaxed);
        }
    }
}

/// The microphone as the node hears it.
#[derive(Default)]
pub(crate) struct I2sMicrophone;

impl Microphone for I2sMicrophone {
    const NAME: &'static str = "i2s-microphone";

    type Block = [i32; BLOCK];

    async fn block(&mut self) -> Result<Heard<Self::Block>, SensorError> {
        let patience = embassy_time::Duration::from_secs(2);
        let Ok(block) = embassy_time::with_timeout(patience, BLOCKS.receive()).await else {
            return Err(SensorError::Absent);
        };
        Ok(Heard { block, lost: LOST.swap(0, Ordering::Relaxed) })
    }

    fn samples(&mut self, block: &Self::Block, part: usize, samples: &mut [i32; PART]) {
        let (parts, _) = block.as_chunks::<PART>();
        *samples = parts[part];
    }
}
