//! Packets that are longer than a connection takes: on MQTT 5 the broker keeps them back, on 3.1.1 the connection ends with them, and
//! a session, or a retained pack, would bring them again for ever. So each time the next connection is made in another way, so that
//! as much as possible of what else waits is received:
//!
//! | the connection that ended | the next one |
//! | --- | --- |
//! | took packets of the usual length | takes longer ones, to refuse what is in them |
//! | went on with a session | gives up what the broker kept |
//! | had nothing but what is retained | leaves out the topic of packs, until the gateway's next start |
//! | left that out too | begins without a session again, as long as somebody sends such packets |

use super::PACK_BYTES_MAX;

/// A packet's bytes beside its payload: topic (with the longest ids, 300) and properties.
const OVERHEAD_BYTES: usize = 4 * 1024;
/// The longest packet that is taken usually.
pub(super) const PACKET_BYTES_MAX: usize = PACK_BYTES_MAX + OVERHEAD_BYTES;
/// The longest packet that is taken to be refused.
pub(super) const LONG_PACKET_BYTES_MAX: usize = 32 << 20;

/// How a connection is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Manner {
    /// The longest packet.
    pub(super) packet_bytes_max: usize,
    /// Whether to go on with the session that the broker keeps.
    pub(super) resume: bool,
    /// Whether packs are listened to.
    pub(super) packs: bool,
}

impl Default for Manner {
    fn default() -> Self {
        Self { packet_bytes_max: PACKET_BYTES_MAX, resume: true, packs: true }
    }
}

impl Manner {
    /// After a packet that was too long; says what is given up.
    pub(super) fn too_long(&mut self) -> &'static str {
        if self.packet_bytes_max < LONG_PACKET_BYTES_MAX {
            self.packet_bytes_max = LONG_PACKET_BYTES_MAX;
            "nothing is given up: it is taken on the next connection, to be refused"
        } else if self.resume {
            self.resume = false;
            "what the broker kept for this gateway is given up"
        } else if self.packs {
            self.packs = false;
            "until its next start this gateway takes packs as files only; remove what is retained on its pack topic"
        } else {
            "what the broker kept for this gateway is given up"
        }
    }

    /// After a connection that ended otherwise.
    pub(super) fn ended(&mut self) {
        self.resume = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_given_up_than_must_be_and_there_is_no_circle() {
        let mut manner = Manner::default();
        // A disposition that is merely long is refused on the second connection, in the session.
        manner.too_long();
        assert_eq!(manner, Manner { packet_bytes_max: LONG_PACKET_BYTES_MAX, ..Manner::default() });
        manner.ended();
        assert!(manner.resume && manner.packs);
        // One that nobody can take costs the session, once.
        manner.too_long();
        assert!(!manner.resume && manner.packs);
        manner.ended();
        assert!(manner.resume && manner.packs);
        // What comes without a session is retained.
        manner.too_long();
        manner.too_long();
        assert!(!manner.resume && !manner.packs);
        manner.ended();
        assert!(manner.resume && !manner.packs);
        manner.too_long();
        assert!(!manner.resume);
    }
}
