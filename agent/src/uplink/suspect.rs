//! Finds the event at which a broker hangs up.
//!
//! Some brokers do not refuse what they cannot take but end the connection: at a topic that they cannot map, at a size that
//! they do not announce, with a reason that the client does not know. Sent first on every new connection, one such event
//! would hold up all others for ever. So an event with which the connection ended [`ENDS_BEFORE_ALONE`] times is sent
//! alone, and when it ends as often again, it is set aside like any event that is refused for good.
//!
//! The same goes for one that the broker passes over: it acknowledges what was sent after it, and never this one.
//!
//! A broker that hangs up at *every* event is itself what is wrong: after one event was set aside in this way, the next one
//! is not, before the broker has acknowledged something in between.

/// Connections that end at the same event before it is sent alone; and how many more before it is set aside.
pub const ENDS_BEFORE_ALONE: u32 = 3;

/// Which event is suspected, and how strongly. Lives as long as the uplink.
#[derive(Debug)]
pub struct Suspect {
    row: i64,
    ends: u32,
    /// Whether an event was acknowledged since the last one was set aside.
    broker_takes_events: bool,
}

impl Default for Suspect {
    fn default() -> Self {
        Self { row: 0, ends: 0, broker_takes_events: true }
    }
}

impl Suspect {
    /// Whether the next event is to be sent with nothing else under way.
    #[must_use]
    pub const fn is_to_go_alone(&self) -> bool {
        self.ends >= ENDS_BEFORE_ALONE
    }

    /// The broker acknowledged an event that is not under suspicion.
    pub const fn broker_takes_events(&mut self) {
        self.broker_takes_events = true;
    }

    /// The broker acknowledged everything up to this row.
    pub const fn acknowledged(&mut self, row: i64) {
        self.broker_takes_events = true;
        if row >= self.row {
            self.ends = 0;
        }
    }

    /// The broker ended the connection while this row was the first that was sent and not acknowledged. Returns whether the
    /// row is to be set aside.
    pub const fn ended_at(&mut self, row: i64) -> bool {
        if row != self.row {
            self.row = row;
            self.ends = 0;
        }
        self.ends = self.ends.saturating_add(1);
        if self.ends < 2 * ENDS_BEFORE_ALONE || !self.broker_takes_events {
            return false;
        }
        self.ends = 0;
        self.broker_takes_events = false;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends_until_set_aside(suspect: &mut Suspect, row: i64) -> Option<u32> {
        (1..100).find(|_| suspect.ended_at(row))
    }

    #[test]
    fn an_event_goes_alone_before_it_is_set_aside() {
        let mut suspect = Suspect::default();
        for _ in 0..ENDS_BEFORE_ALONE {
            assert!(!suspect.is_to_go_alone());
            assert!(!suspect.ended_at(7));
        }
        assert!(suspect.is_to_go_alone());
        assert_eq!(ends_until_set_aside(&mut suspect, 7), Some(ENDS_BEFORE_ALONE));
        assert!(!suspect.is_to_go_alone());
    }

    #[test]
    fn a_broker_that_hangs_up_at_every_event_gets_one_set_aside_and_no_more() {
        let mut suspect = Suspect::default();
        assert!(ends_until_set_aside(&mut suspect, 1).is_some());
        assert_eq!(ends_until_set_aside(&mut suspect, 2), None);
        suspect.acknowledged(2);
        assert!(ends_until_set_aside(&mut suspect, 3).is_some());
    }

    #[test]
    fn a_connection_that_breaks_often_but_gets_on_puts_no_event_under_suspicion() {
        let mut suspect = Suspect::default();
        for row in 1..1000 {
            assert!(!suspect.ended_at(row));
            assert!(!suspect.is_to_go_alone());
        }
        suspect.ended_at(1000);
        suspect.ended_at(1000);
        suspect.acknowledged(1000);
        suspect.ended_at(1000);
        assert!(!suspect.is_to_go_alone());
    }
}
