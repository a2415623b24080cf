//! When nothing else helps: say what happened on the log and start again.
//!
//! A node on a lamp post has nobody to press its button, and everything that matters is in flash. QEMU, started with
//! `-no-reboot`, ends instead.
#![expect(unsafe_code, reason = "a hard fault handler is unsafe by its signature")]

use core::panic::PanicInfo;

use cortex_m::peripheral::SCB;
use cortex_m_rt::{ExceptionFrame, exception};

use crate::registers::FAULT_STATUS;

/// Starts the board again from the beginning.
pub fn reset() -> ! {
    SCB::sys_reset()
}

#[panic_handler]
fn on_panic(info: &PanicInfo<'_>) -> ! {
    cortex_m::interrupt::disable();
    log::error!("{info}");
    reset()
}

#[exception]
unsafe fn HardFault(frame: &ExceptionFrame) -> ! {
    const CONFIGURABLE_FAULT_STATUS: usize = 0x0;
    const BUS_FAULT_ADDRESS: usize = 0x10;
    log::error!(
        "hard fault at {:#010x}, called from {:#010x}, status {:#010x}, address {:#010x}",
        frame.pc(),
        frame.lr(),
        FAULT_STATUS.read(CONFIGURABLE_FAULT_STATUS),
        FAULT_STATUS.read(BUS_FAULT_ADDRESS),
    );
    reset()
}
