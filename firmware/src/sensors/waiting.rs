//! Blocks of a microphone that wait for the meter, each in its place: the driver fills it there, and the meter reads it there.

use core::sync::atomic::{AtomicU32, Ordering};

use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use embassy_sync::zerocopy_channel::{Channel, Receiver, Sender};
use embassy_time::{Duration, with_timeout};

use super::SensorError;
use super::sound_level::Heard;

/// A microphone that is silent for so long is not there.
const PATIENCE: Duration = Duration::from_secs(2);

/// The blocks, and how many samples were lost because there was no room for theirs.
pub type Line<B> = Channel<'static, NoopRawMutex, B>;

/// Where the driver puts blocks.
pub struct Filling<B: 'static> {
    blocks: Sender<'static, NoopRawMutex, B>,
    lost: &'static AtomicU32,
}

/// Where the meter takes them from.
pub struct Waiting<B: 'static> {
    blocks: Receiver<'static, NoopRawMutex, B>,
    lost: &'static AtomicU32,
    /// The meter has not done with the first.
    is_read: bool,
}

/// Both ends of a line; `lost` counts samples that found no room.
pub fn ends<B>(line: &'static mut Line<B>, lost: &'static AtomicU32) -> (Filling<B>, Waiting<B>) {
    let (to, from) = line.split();
    (Filling { blocks: to, lost }, Waiting { blocks: from, lost, is_read: false })
}

impl<B> Filling<B> {
    /// Has a block of so many samples filled; without room for it they are lost.
    pub fn put(&mut self, samples: u32, fill: impl FnOnce(&mut B)) {
        match self.blocks.try_send() {
            Some(place) => {
                fill(place);
                self.blocks.send_done();
            }
            None => self.lose(samples),
        }
    }

    /// So many samples were lost before they came here.
    pub fn lose(&mut self, samples: u32) {
        self.lost.fetch_add(samples, Ordering::Relaxed);
    }
}

impl<B> Waiting<B> {
    /// Waits for the next block, which [`Self::block`] then is; the one before is done with.
    ///
    /// # Errors
    /// [`SensorError::Absent`] when none comes for two seconds.
    pub async fn next(&mut self) -> Result<Heard<()>, SensorError> {
        if core::mem::take(&mut self.is_read) {
            self.blocks.receive_done();
        }
        let came = with_timeout(PATIENCE, self.blocks.receive()).await.is_ok();
        if !came {
            return Err(SensorError::Absent);
        }
        self.is_read = true;
        Ok(Heard { block: (), lost: self.lost.swap(0, Ordering::Relaxed) })
    }

    /// The block that came last.
    pub fn block(&mut self) -> Option<&B> {
        if !self.is_read {
            return None;
        }
        self.blocks.try_receive().map(|block| &*block)
    }
}

#[cfg(test)]
mod tests {
    use embassy_futures::block_on;

    use super::*;

    fn line<const N: usize>() -> &'static mut Line<[i16; 4]> {
        std::boxed::Box::leak(std::boxed::Box::new(Line::new(std::boxed::Box::leak(std::boxed::Box::new(
            [[0; 4]; N],
        )))))
    }

    #[test]
    fn blocks_come_in_order_and_what_finds_no_room_is_counted() {
        static LOST: AtomicU32 = AtomicU32::new(0);
        let (mut to, mut from) = ends(line::<2>(), &LOST);
        assert!(from.block().is_none());
        for value in 1..=3 {
            to.put(4, |block| block.fill(value));
        }
        assert_eq!(block_on(from.next()).unwrap().lost, 4);
        assert_eq!(from.block(), Some(&[1; 4]));
        assert_eq!(from.block(), Some(&[1; 4]), "as often as it is asked for");
        // The place of the first is not free yet.
        to.put(4, |block| block.fill(4));
        to.lose(9);
        assert_eq!(block_on(from.next()).unwrap().lost, 13);
        assert_eq!(from.block(), Some(&[2; 4]));
        to.put(4, |block| block.fill(5));
        assert_eq!(block_on(from.next()).unwrap().lost, 0);
        assert_eq!(from.block(), Some(&[5; 4]));
    }
}
