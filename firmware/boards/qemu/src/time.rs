//! The clock and the alarm behind `embassy_time`: 1 MHz, no periodic tick.
//!
//! Timer 1 counts microseconds down from 2^32; it interrupts nobody and is extended to 64 bits here. SysTick is the
//! alarm: set to the next expiry, but never farther away than its 24 bits reach. An alarm that comes early finds nothing
//! due and is set again, so SysTick's own rate is not what time is measured by.

use core::cell::RefCell;

use critical_section::Mutex;
use embassy_time_driver::Driver;
use embassy_time_queue_utils::Queue;

use crate::registers::{Registers, SYSTICK, TIMERS};

/// Timer 1: its counter, what it is reloaded with, and two values to match that are left unused.
const TIMER1: Registers = TIMERS.part(0x00, 0x10);
const COUNTER: usize = 0x00;
const RELOAD: usize = 0x04;
/// The control register of all timers; timer 1 has the lowest four bits.
const TIMER_CONTROL: usize = 0x30;
const TIMER1_ENABLE: u32 = 1 << 0;
const TIMER1_CLOCK_1MHZ: u32 = 1 << 1;

const SYSTICK_CONTROL: usize = 0x0;
const SYSTICK_RELOAD: usize = 0x4;
const SYSTICK_VALUE: usize = 0x8;
/// Enabled, with its interrupt, counting the core's clock.
const SYSTICK_RUN: u32 = 0b111;
/// The core's clock, in cycles a microsecond.
const CORE_MHZ: u32 = 200;
/// The longest alarm in microseconds: 2^24 cycles of a 200 MHz clock, less a little. It also bounds how long the
/// 32-bit counter goes unread.
const ALARM_MAX_US: u64 = 83_000;
/// The shortest alarm in microseconds; a shorter one would interrupt the very code that sets it.
const ALARM_MIN_US: u64 = 5;

struct Clock {
    state: Mutex<RefCell<State>>,
}

struct State {
    /// Microseconds since [`init`], as of the last reading of the counter.
    now: u64,
    /// The counter's value then, counted upwards.
    counted: u32,
    queue: Queue,
}

embassy_time_driver::time_driver_impl!(static CLOCK: Clock = Clock {
    state: Mutex::new(RefCell::new(State { now: 0, counted: 0, queue: Queue::new() })),
});

/// Starts the clock at zero.
pub(crate) fn init() {
    TIMER1.write(RELOAD, u32::MAX);
    TIMERS.write(TIMER_CONTROL, TIMER1_ENABLE | TIMER1_CLOCK_1MHZ);
    set_alarm(ALARM_MAX_US);
}

/// The alarm has gone off: wakes the tasks whose time has come.
pub(crate) fn on_alarm() {
    critical_section::with(|token| CLOCK.state.borrow_ref_mut(token).wake_due());
}

impl State {
    fn now(&mut self) -> u64 {
        let counted = u32::MAX - TIMER1.read(COUNTER);
        self.now += u64::from(counted.wrapping_sub(self.counted));
        self.counted = counted;
        self.now
    }

    /// Wakes what is due and sets the alarm for what is not.
    fn wake_due(&mut self) {
        let now = self.now();
        let next = self.queue.next_expiration(now);
        set_alarm(next.saturating_sub(now));
    }
}

impl Driver for Clock {
    fn now(&self) -> u64 {
        critical_section::with(|token| self.state.borrow_ref_mut(token).now())
    }

    fn schedule_wake(&self, at: u64, waker: &core::task::Waker) {
        critical_section::with(|token| {
            let mut state = self.state.borrow_ref_mut(token);
            if state.queue.schedule_wake(at, waker) {
                state.wake_due();
            }
        });
    }
}

fn set_alarm(microseconds: u64) {
    // The bounds keep this below 2^24, so nothing is cut off.
    let cycles = microseconds.clamp(ALARM_MIN_US, ALARM_MAX_US) as u32 * CORE_MHZ;
    SYSTICK.write(SYSTICK_RELOAD, cycles - 1);
    SYSTICK.write(SYSTICK_VALUE, 0);
    SYSTICK.write(SYSTICK_CONTROL, SYSTICK_RUN);
}
