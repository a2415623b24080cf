//! Runs the tasks, and lets the core sleep when none has work.
//!
//! embassy's own Cortex-M executor sleeps with `WFE`, which QEMU 7.2 takes as a no-op, so that an idle board would keep
//! a core of the host busy. This one sleeps with `WFI`. No wake-up is lost: the decision to sleep is made with
//! interrupts masked, and an interrupt that is pending ends `WFI` although it is masked.
#![expect(unsafe_code, reason = "embassy asks its caller to say that polling is not re-entered")]

use core::{
    ptr,
    sync::atomic::{AtomicBool, Ordering},
};

use embassy_executor::{Spawner, raw};
use static_cell::StaticCell;

static EXECUTOR: StaticCell<raw::Executor> = StaticCell::new();
static PENDING: AtomicBool = AtomicBool::new(true);

/// embassy calls this, from tasks and from interrupts, when a task has become ready.
#[unsafe(export_name = "__pender")]
fn pender(_context: *mut ()) {
    PENDING.store(true, Ordering::Release);
}

/// Lets `init` spawn the first tasks, then runs for ever.
pub(crate) fn run(init: impl FnOnce(Spawner)) -> ! {
    let executor = EXECUTOR.init(raw::Executor::new(ptr::null_mut()));
    init(executor.spawner());
    loop {
        // SAFETY: this loop is the only caller, and no task can reach it.
        unsafe { executor.poll() };
        cortex_m::interrupt::disable();
        if !PENDING.swap(false, Ordering::Acquire) {
            cortex_m::asm::wfi();
        }
        // SAFETY: interrupts were on before this loop masked them, so no critical section ends here too early.
        unsafe { cortex_m::interrupt::enable() };
    }
}
