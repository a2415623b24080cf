//! The few numbers that a node keeps beside its records.

use core::ops::Range;

use embedded_storage_async::nor_flash::NorFlash;
use sequential_storage::Error as StorageError;
use sequential_storage::cache::{Cache, Uncached};
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

type StateMap<'f, F> = MapStorage<u8, &'f mut F, Cache<Uncached, Uncached, Uncached, u8>>;

fn map<'f, F: NorFlash>(flash: &'f mut F, range: &Range<u32>) -> StateMap<'f, F> {
    MapStorage::new(flash, MapConfig::new(range.clone()), Cache::new_uncached())
}

/// A number of four or eight bytes.
pub(super) async fn get_number<F: NorFlash>(
    flash: &mut F,
    range: &Range<u32>,
    key: u8,
) -> Result<Option<u64>, StorageError<F::Error>> {
    let mut buffer = [0; ITEM_BYTES_MAX];
    let bytes = get_bytes(flash, range, key, &mut buffer).await?;
    Ok(bytes.and_then(|bytes| {
        let mut number = [0; 8];
        number.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(u64::from_le_bytes(number))
    }))
}

pub(super) async fn put_u64<F: NorFlash>(
    flash: &mut F,
    range: &Range<u32>,
    key: u8,
    value: u64,
) -> Result<(), StorageError<F::Error>> {
    put_bytes(flash, range, key, &value.to_le_bytes()).await
}

pub(super) async fn put_u32<F: NorFlash>(
    flash: &mut F,
    range: &Range<u32>,
    key: u8,
    value: u32,
) -> Result<(), StorageError<F::Error>> {
    put_bytes(flash, range, key, &value.to_le_bytes()).await
}

/// What is there under this key, if anything.
pub(super) async fn get_bytes<'b, F: NorFlash>(
    flash: &mut F,
    range: &Range<u32>,
    key: u8,
    buffer: &'b mut [u8; ITEM_BYTES_MAX],
) -> Result<Option<&'b [u8]>, StorageError<F::Error>> {
    map(flash, range).fetch_item(buffer, &key).await
}

pub(super) async fn put_bytes<F: NorFlash>(
    flash: &mut F,
    range: &Range<u32>,
    key: u8,
    value: &[u8],
) -> Result<(), StorageError<F::Error>> {
    map(flash, range).store_item(&mut [0; ITEM_BYTES_MAX], &key, &value).await
}

/// The number of the newest boot; [`None`] when there was none, or nothing is left of it.
pub(super) async fn newest_boot<F: NorFlash>(
    flash: &mut F,
    range: &Range<u32>,
) -> Result<Option<u32>, StorageError<F::Error>> {
    let one = get_number(flash, range, BOOT).await?;
    let other = get_number(flash, range, BOOT_AGAIN).await?;
    // It was written as four bytes.
    Ok(one.max(other).map(|boot| u32::try_from(boot).unwrap_or(u32::MAX)))
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
