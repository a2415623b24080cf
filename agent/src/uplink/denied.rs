//! Which topics a broker denied lately.
//!
//! An access list denies a topic, not an event: without this memory every further event on that topic would make its own way to
//! the broker to be refused, and some brokers end the connection each time.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How long a refusal holds for all events on a topic. After that one of them is tried again.
pub const DENIED_FOR: Duration = Duration::from_secs(600);
/// Topics remembered at most: when there are more, the further ones are tried event by event.
pub const TOPICS_MAX: usize = 256;

/// The memory. Lives as long as the uplink.
#[derive(Debug, Default)]
pub struct Denied {
    topics: HashMap<String, Instant>,
}

impl Denied {
    /// The broker refused an event because of its topic.
    pub fn insert(&mut self, topic: &str, now: Instant) {
        self.topics.retain(|_, since| now.duration_since(*since) < DENIED_FOR);
        if self.topics.len() < TOPICS_MAX {
            self.topics.insert(topic.to_owned(), now);
        }
    }

    /// Whether an event on this topic need not be tried now.
    #[must_use]
    pub fn contains(&self, topic: &str, now: Instant) -> bool {
        self.topics.get(topic).is_some_and(|since| now.duration_since(*since) < DENIED_FOR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denied_topic_is_tried_again_after_a_while_and_the_memory_is_bounded() {
        let (mut denied, start) = (Denied::default(), Instant::now());
        for n in 0..TOPICS_MAX + 10 {
            denied.insert(&n.to_string(), start);
        }
        assert!(denied.contains("0", start));
        assert!(!denied.contains(&TOPICS_MAX.to_string(), start));
        assert!(!denied.contains("0", start + DENIED_FOR));
        denied.insert("new", start + DENIED_FOR);
        assert!(denied.contains("new", start + DENIED_FOR));
    }
}
