//! The chip's own flash, erased in slices: as a whole a page takes 85 ms, in which the processor stands still.
//!
//! Product specification, NVMC, partial erase: a page is erased when its slices are as long together as an erase as a whole. The processor
//! stands still for a slice; between two it reads the rest of the flash as ever.

use embassy_nrf::nvmc::Nvmc;
use embassy_nrf::pac::NVMC;
use embassy_nrf::pac::nvmc::vals::Wen;
use embassy_time::Duration;
use gridpost_firmware::own_flash::Slices;

/// As much of an erase as a buffer of the microphone takes easily.
const SLICE_MS: u8 = 5;
/// 90 ms together: some chips take more than 85.
const SLICES: u32 = 18;

/// How this chip's flash is erased.
pub(crate) const fn slices() -> Slices<Nvmc<'static>> {
    Slices { count: SLICES, erase: slice, rest: Duration::from_millis(SLICE_MS as u64) }
}

/// The driver is borrowed so that nobody else works with its registers.
fn slice(_: &mut Nvmc<'static>, page: u32) {
    NVMC.erasepagepartialcfg().write(|config| config.set_duration(SLICE_MS));
    NVMC.config().write(|config| config.set_wen(Wen::Een));
    while !NVMC.ready().read().ready() {}
    NVMC.erasepagepartial().write_value(page);
    while !NVMC.ready().read().ready() {}
    NVMC.config().write(|config| config.set_wen(Wen::Ren));
    while !NVMC.ready().read().ready() {}
}
