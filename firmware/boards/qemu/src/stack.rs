//! How deep the stack ever was: it is painted before anything runs, and what is no longer painted was used.
#![expect(
    unsafe_code,
    reason = "what lies below the stack pointer belongs to nobody, and is looked at all the same"
)]

use core::ptr;

const PAINT: u32 = 0x5a5a_a5a5;
/// Below the stack pointer so much stays as it is: painting takes stack itself.
const OWN_BYTES: usize = 256;

unsafe extern "C" {
    /// Where statics end, and the stack may come to (cortex-m-rt).
    static mut _stack_end: u32;
    /// Where the stack begins.
    static _stack_start: u32;
}

fn end() -> *mut u32 {
    &raw mut _stack_end
}

/// Paints what is free of the stack. To be called once, first of all.
pub(crate) fn paint() {
    let here = cortex_m::register::msp::read() as usize - OWN_BYTES;
    let mut word = end();
    while (word as usize) < here {
        // SAFETY: between the statics and the stack pointer, from which it keeps away, there is nothing yet, and no other core.
        unsafe { ptr::write_volatile(word, PAINT) };
        word = word.wrapping_add(1);
    }
}

/// The most bytes that the stack has taken so far.
#[must_use]
pub fn deepest() -> usize {
    let start = (&raw const _stack_start) as usize;
    let mut word = end().cast_const();
    // SAFETY: reads whole words of RAM between the statics and the stack's beginning.
    while (word as usize) < start && unsafe { ptr::read_volatile(word) } == PAINT {
        word = word.wrapping_add(1);
    }
    start - word as usize
}
