//! The few numbers that a node keeps beside its records.

use core::ops::Range;

use embedded_storage_async::nor_flash::NorFlash;
use sequential_storage::Error as StorageError;
use sequential_storage::cache::Cache;
use sequential_storage::map::{MapConfig, MapStorage};

/// The number of the newest boot.
const BOOT: u8 = 1;
/// Sequence numbers below this may have been given.
pub(super) const RESERVED: u8 = 2;
/// Records given up.
pub(super) const EVICTED: u8 = 3;
/// The number of the newest boot once more: the map steps over a damaged item and would give the one before.
const BOOT_AGAIN: u8 = 4;

/// The first record that was given up and whose loss no gateway knows of yet; 0 for none.
pub(super) const LOST_FROM: u8 = 5;

/// The share that the node runs.
pub(super) const SHARE: u8 = 6;
/// The sensitivity of the last calibration, with its record.
pub(super) const CALIBRATION: u8 = 8;
/// The sensors that were told to fail.
pub(super) const FAILING: u8 = 9;
/// The first of the rules' memories.
pub(super) const MEMORY_FIRST: u8 = 32;

/// A key and the longest value, in whole words of any flash: items are moved through a buffer of this size.
pub(super) const ITEM_BYTES_MAX: usize = 384;

macro_rules! number {
    ($get:ident, $put:ident, $type:ty) => {
        pub(super) async fn $get<F: NorFlash>(
            flash: &mut F,
            range: &Range<u32>,
            key: u8,
        ) -> Result<Option<$type>, StorageError<F::Error>> {
            let mut map =
                MapStorage::<u8, _, _>::new(flash, MapConfig::new(range.clone()), Cache::new_uncached());
            map.fetch_item(&mut [0; ITEM_BYTES_MAX], &key).await
        }

        pub(super) async fn $put<F: NorFlash>(
            flash: &mut F,
            range: &Range<u32>,
            key: u8,
            value: $type,
        ) -> Result<(), StorageError<F::Error>> {
            let mut map =
                MapStorage::<u8, _, _>::new(flash, MapConfig::new(range.clone()), Cache::new_uncached());
            map.store_item(&mut [0; ITEM_BYTES_MAX], &key, &value).await
        }
    };
}

number!(get_u32, put_u32, u32);
number!(get_u64, put_u64, u64);

/// What is there under this key, if anything.
pub(super) async fn get_bytes<'b, F: NorFlash>(
    flash: &mut F,
    range: &Range<u32>,
    key: u8,
    buffer: &'b mut [u8; ITEM_BYTES_MAX],
) -> Result<Option<&'b [u8]>, StorageError<F::Error>> {
    let mut map = MapStorage::<u8, _, _>::new(flash, MapConfig::new(range.clone()), Cache::new_uncached());
    map.fetch_item(buffer, &key).await
}

pub(super) async fn put_bytes<F: NorFlash>(
    flash: &mut F,
    range: &Range<u32>,
    key: u8,
    value: &[u8],
) -> Result<(), StorageError<F::Error>> {
    let mut map = MapStorage::<u8, _, _>::new(flash, MapConfig::new(range.clone()), Cache::new_uncached());
    map.store_item(&mut [0; ITEM_BYTES_MAX], &key, &value).await
}

/// The number of the newest boot; [`None`] when there was none, or nothing is left of it.
pub(super) async fn newest_boot<F: NorFlash>(
    flash: &mut F,
    range: &Range<u32>,
) -> Result<Option<u32>, StorageError<F::Error>> {
    let one = get_u32(flash, range, BOOT).await?;
    let other = get_u32(flash, range, BOOT_AGAIN).await?;
    Ok(one.max(other))
}

/// Counts a boot. A power cut in between leaves the two apart, and the larger one counts.
pub(super) async fn put_boot<F: NorFlash>(
    flash: &mut F,
    range: &Range<u32>,
    boot: u32,
) -> Result<(), StorageError<F::Error>> {
    put_u32(flash, range, BOOT, boot).await?;
    put_u32(flash, range, BOOT_AGAIN, boot).await
}
