//! An I2S microphone at 48 kHz, such as ICS-43434, SPH0645 or INMP441: 24 bits in the left slot of 64.
//!
//! Erasing a sector of the flash that the program runs from stops the processor for 45 ms and more (W25Q data sheets), and the converter
//! fills one of two buffers meanwhile, each of 50 ms. If it took longer, samples are lost: then the time that passed tells how many.

use core::sync::atomic::AtomicU32;

use embassy_executor::{SpawnError, SpawnToken};
use embassy_rp::peripherals::PIO0;
use embassy_rp::pio_programs::i2s::PioI2sIn;
use embassy_time::Instant;
use gridpost_firmware::sensors::SensorError;
use gridpost_firmware::sensors::sound_level::{BLOCK, Heard, Microphone, PART};
use gridpost_firmware::sensors::waiting::{Filling, Line, Waiting, ends};
use static_cell::{ConstStaticCell, StaticCell};

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

type Block = [i32; BLOCK];

/// Samples that were lost.
static LOST: AtomicU32 = AtomicU32::new(0);

/// The task that listens, and the microphone as the node hears it.
pub(crate) fn hear(
    i2s: PioI2sIn<'static, PIO0, 0>,
) -> (Result<SpawnToken<impl Sized>, SpawnError>, &'static mut I2sMicrophone) {
    static PLACES: ConstStaticCell<[Block; WAITING]> = ConstStaticCell::new([[0; BLOCK]; WAITING]);
    static MICROPHONE: StaticCell<I2sMicrophone> = StaticCell::new();
    static LINE: StaticCell<Line<Block>> = StaticCell::new();
    let (filling, waiting) = ends(LINE.init(Line::new(PLACES.take())), &LOST);
    (listen(i2s, filling), MICROPHONE.init(I2sMicrophone { waiting }))
}

#[embassy_executor::task]
async fn listen(mut i2s: PioI2sIn<'static, PIO0, 0>, mut filling: Filling<Block>) {
    static BUFFERS: ConstStaticCell<[[u32; WORDS]; 2]> = ConstStaticCell::new([[0; WORDS]; 2]);
    let [one, other] = BUFFERS.take();
    let (mut current, mut full) = (one, other);
    i2s.start();
    i2s.read(current).await;
    let mut before = Instant::now();
    loop {
        core::mem::swap(&mut current, &mut full);
        let next = i2s.read(current);
        hand_on(full, &mut filling);
        next.await;
        let now = Instant::now();
        let late = (now - before).as_micros().saturating_sub(BUFFER_US);
        if late > LATE_US {
            // 48 samples a millisecond; seconds at the most, so it fits.
            filling.lose((late * 48 / 1000) as u32);
        }
        before = now;
    }
}

fn hand_on(words: &[u32; WORDS], filling: &mut Filling<Block>) {
    for slots in words.as_chunks::<{ BLOCK * SLOTS }>().0 {
        filling.put(BLOCK as u32, |block| {
            for (sample, slots) in block.iter_mut().zip(slots.as_chunks::<SLOTS>().0) {
                // The left slot's upper 24 bits, with their sign.
                *sample = slots[0].cast_signed() >> 8;
            }
        });
    }
}

/// The microphone as the node hears it.
pub(crate) struct I2sMicrophone {
    waiting: Waiting<Block>,
}

impl Microphone for I2sMicrophone {
    const NAME: &'static str = "i2s-microphone";

    /// Waits in its place.
    type Block = ();

    async fn block(&mut self) -> Result<Heard<()>, SensorError> {
        self.waiting.next().await
    }

    fn samples(&mut self, (): &(), part: usize, samples: &mut [i32; PART]) {
        let Some(block) = self.waiting.block() else { return };
        let (parts, _) = block.as_chunks::<PART>();
        *samples = parts[part];
    }
}
