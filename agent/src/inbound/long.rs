//! Packets that are longer than a connection takes: on MQTT 5 the broker keeps them back, on 3.1.1 the connection ends with them, and
//! a session, or a retained pack, would bring them again for ever. So each time the next connection is made in another way, so that
//! as much as possible of what else waits is received:
//!
//! | the connection that ended | the next one |
//! | --- | --- |
//! | took packets of the usual length | takes longer ones, to refuse what is in them |
//! | took longer ones | begins a session anew: what the broker kept is given up |
//! | had just begun a session, so it got what is retained | leaves out the topic of packs, until somebody says that there is another one |
//!
//! A session is begun anew by a connection that does nothing else, at the broker that has it.

use std::time::Duration;

use super::PACK_BYTES_MAX;

/// A packet's bytes beside its payload: topic (with the longest ids, 300) and properties.
const OVERHEAD_BYTES: usize = 4 * 1024;
/// The longest packet that is taken usually.
pub(super) const PACKET_BYTES_MAX: usize = PACK_BYTES_MAX + OVERHEAD_BYTES;
/// The longest packet that is taken to be refused.
pub(super) const LONG_PACKET_BYTES_MAX: usize = 32 << 20;
/// Retained messages come within this time of a subscription; what comes later was sent just then.
pub(super) const RETAINED_WITHIN: Duration = Duration::from_secs(10);

/// How a connection is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Manner {
    /// The longest packet.
    pub(super) packet_bytes_max: usize,
    /// The broker, by its place in the configuration, whose session is to be given up first.
    pub(super) forget_at: Option<usize>,
    /// Whether the session has just begun, so that what comes is retained.
    fresh: bool,
    /// Whether packs are listened to.
    pub(super) packs: bool,
}

impl Default for Manner {
    fn default() -> Self {
        Self { packet_bytes_max: PACKET_BYTES_MAX, forget_at: None, fresh: false, packs: true }
    }
}

/// What a packet that was too long costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cost {
    /// Nothing: it is taken on the next connection, to be refused.
    Nothing,
    /// What the broker kept for this gateway.
    Session,
    /// That, and packs over MQTT.
    Packs,
}

impl Manner {
    /// After a packet that was too long, from a broker by its place in the configuration.
    pub(super) fn too_long(&mut self, broker: usize) -> Cost {
        if self.packet_bytes_max < LONG_PACKET_BYTES_MAX {
            self.packet_bytes_max = LONG_PACKET_BYTES_MAX;
            return Cost::Nothing;
        }
        self.forget_at = Some(broker);
        if self.fresh && self.packs {
            self.packs = false;
            return Cost::Packs;
        }
        Cost::Session
    }

    /// The broker has forgotten the session.
    pub(super) fn forgotten(&mut self) {
        (self.forget_at, self.fresh) = (None, true);
    }

    /// All that is retained has come.
    pub(super) fn stands(&mut self) {
        self.fresh = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_given_up_than_must_be_and_there_is_no_circle() {
        let mut manner = Manner::default();
        // A disposition that is merely long is refused on the second connection, in the session.
        assert_eq!(manner.too_long(0), Cost::Nothing);
        assert_eq!(manner, Manner { packet_bytes_max: LONG_PACKET_BYTES_MAX, ..Manner::default() });
        // One that nobody can take costs the session, of its broker, once: connections that fail meanwhile change nothing.
        assert_eq!(manner.too_long(1), Cost::Session);
        assert_eq!(manner.forget_at, Some(1));
        manner.forgotten();
        assert_eq!(manner.forget_at, None);
        manner.stands();
        // Another one on another day does, too, and packs are not concerned.
        assert_eq!(manner.too_long(1), Cost::Session);
        manner.forgotten();
        // What comes with a session that has just begun is retained.
        assert_eq!(manner.too_long(1), Cost::Packs);
        manner.forgotten();
        assert!(!manner.packs && manner.forget_at.is_none());
        assert_eq!(manner.too_long(1), Cost::Session);
    }
}
