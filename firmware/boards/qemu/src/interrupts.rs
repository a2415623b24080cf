//! Which interrupt goes to which driver.
#![expect(
    unsafe_code,
    reason = "interrupts are numbered and enabled by hand: no device crate describes this chip"
)]

use cortex_m::{interrupt::InterruptNumber, peripheral::NVIC};
use cortex_m_rt::exception;

/// The interrupt lines that the drivers use, by their number in the AST1030.
#[derive(Clone, Copy)]
#[repr(u16)]
enum Line {
    Uart5 = 8,
}

// SAFETY: every number is a line of the AST1030's interrupt controller, and stays the same.
unsafe impl InterruptNumber for Line {
    fn number(self) -> u16 {
        self as u16
    }
}

/// Opens the lines. Each driver still decides in its own registers what it wants to hear.
pub(crate) fn enable() {
    // SAFETY: called once, before the executor runs; no critical section relies on these lines being masked.
    unsafe { NVIC::unmask(Line::Uart5) }
}

#[exception]
fn SysTick() {
    crate::time::on_alarm();
}

#[exception]
unsafe fn DefaultHandler(line: i16) {
    if line == Line::Uart5 as i16 {
        crate::link::on_interrupt();
    } else {
        log::error!("interrupt {line} has no handler");
        crate::fault::reset()
    }
}
