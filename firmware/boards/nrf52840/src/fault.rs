//! When nothing else helps: start again. A node on a lamp post has nobody to press its button, and what matters is in flash.
#![expect(unsafe_code, reason = "a hard fault handler is unsafe by its signature")]

use core::panic::PanicInfo;

use cortex_m::peripheral::SCB;
use cortex_m_rt::{ExceptionFrame, exception};
use embassy_nrf::gpio::Output;
use embassy_time::Timer;

/// Starts the board again from the beginning.
pub(crate) fn reset() -> ! {
    SCB::sys_reset()
}

/// The store cannot be used: the light flashes, ten times a second, until somebody comes.
pub(crate) async fn flash_for_ever(light: &mut Output<'_>) {
    loop {
        light.toggle();
        Timer::after_millis(50).await;
    }
}

#[panic_handler]
fn on_panic(_: &PanicInfo<'_>) -> ! {
    reset()
}

#[exception]
unsafe fn HardFault(_: &ExceptionFrame) -> ! {
    reset()
}
