//! Who may stay on a link that anybody can reach: a connection has to show that a device of this gateway is behind it.
//!
//! Links look into no frame, so the intake tells them: it marks a connection's [`Proof`] for each frame that is authentic.
//! Bounds: [`UNPROVEN_PER_PEER_MAX`] connections from one peer without proof, [`CONNECTIONS_PER_PEER_MAX`] with it (many
//! devices may share an address behind a mobile network's NAT), [`PROOF_WITHIN`] until the first authentic frame,
//! [`NOISE_BYTES_MAX`] bytes without one. A connection that has proven itself may be silent for as long as it likes.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Connections from one peer that have not proven themselves.
pub const UNPROVEN_PER_PEER_MAX: usize = 64;
/// Connections from one peer: a quarter of what a listener takes, so that no peer takes all.
pub const CONNECTIONS_PER_PEER_MAX: usize = 1024;
/// How long a connection may take until its first authentic frame. A device says hello at once.
pub const PROOF_WITHIN: Duration = Duration::from_secs(60);
/// Bytes without an authentic frame among them. A device has at most four frames (2 KiB) under way and repeats them when
/// they are not answered, so a gateway that is busy for a while cuts off nobody.
pub const NOISE_BYTES_MAX: usize = 64 * 1024;
/// How often a link warns of what it refuses or cuts off.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// What the intake found on a connection.
#[derive(Debug, Default)]
pub struct Proof(AtomicU64);

impl Proof {
    /// A frame from there was authentic.
    pub fn authentic(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn is_given(&self) -> bool {
        self.count() > 0
    }
}

/// Why a connection is not wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unwanted {
    /// Nothing authentic came in time.
    NoProof,
    /// Too much came that is not authentic.
    Noise,
    /// There are too many from there.
    TooMany,
}

impl Unwanted {
    /// What to tell the gateway's keeper.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::NoProof => "it sent no frame that can be authenticated in time",
            Self::Noise => "it sent noise: too many bytes without a frame that can be authenticated",
            Self::TooMany => "there are too many connections from there",
        }
    }
}

/// Watches one connection's bytes.
#[derive(Debug)]
pub struct Watch {
    proof: Arc<Proof>,
    since: Instant,
    seen: u64,
    noise: usize,
}

impl Watch {
    /// A connection that has just been made.
    #[must_use]
    pub fn new(proof: Arc<Proof>) -> Self {
        Self { proof, since: Instant::now(), seen: 0, noise: 0 }
    }

    /// Until when it must have proven itself; [`None`] when it has.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        (!self.proof.is_given()).then_some(self.since + PROOF_WITHIN)
    }

    /// So many bytes came. Whether that is still bearable.
    #[must_use]
    pub fn took(&mut self, bytes: usize) -> bool {
        let count = self.proof.count();
        if count != self.seen {
            (self.seen, self.noise) = (count, 0);
        }
        self.noise += bytes;
        self.noise <= NOISE_BYTES_MAX
    }
}

/// The connections of one listener, by peer.
#[derive(Debug, Default)]
pub struct Peers(Mutex<HashMap<IpAddr, Vec<Arc<Proof>>>>);

impl Peers {
    /// A place for one more connection, if its peer has not too many.
    #[must_use]
    pub fn admit(self: &Arc<Self>, ip: IpAddr) -> Option<Place> {
        let peer = peer_of(ip);
        let mut peers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let connections = peers.entry(peer).or_default();
        let unproven = connections.iter().filter(|proof| !proof.is_given()).count();
        if unproven >= UNPROVEN_PER_PEER_MAX || connections.len() >= CONNECTIONS_PER_PEER_MAX {
            return None;
        }
        let proof = Arc::new(Proof::default());
        connections.push(proof.clone());
        Some(Place { peers: self.clone(), peer, proof })
    }

    fn leave(&self, peer: IpAddr, proof: &Arc<Proof>) {
        let mut peers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(connections) = peers.get_mut(&peer) {
            connections.retain(|one| !Arc::ptr_eq(one, proof));
            if connections.is_empty() {
                peers.remove(&peer);
            }
        }
    }
}

/// Whoever has one address of a /64 of IPv6 has all of them.
fn peer_of(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        v4 => v4,
    }
}

/// A connection's place; dropping it makes room.
#[derive(Debug)]
pub struct Place {
    peers: Arc<Peers>,
    peer: IpAddr,
    /// What the connection has shown.
    pub proof: Arc<Proof>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.peers.leave(self.peer, &self.proof);
    }
}

/// Says something now and then, however often it happens.
#[derive(Debug, Default)]
pub struct Warnings(Mutex<(Option<Instant>, u64)>);

impl Warnings {
    /// Whether to say it now; and if so, how often it was not said since the last time.
    #[must_use]
    pub fn due(&self) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if state.0.is_some_and(|last| now.duration_since(last) < WARN_EVERY) {
            state.1 += 1;
            return None;
        }
        state.0 = Some(now);
        Some(std::mem::take(&mut state.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_peer_has_few_places_until_its_devices_prove_themselves() {
        let peers = Arc::new(Peers::default());
        let mut places: Vec<_> =
            (0..UNPROVEN_PER_PEER_MAX).map(|_| peers.admit(ip("10.0.0.1")).unwrap()).collect();
        assert!(peers.admit(ip("10.0.0.1")).is_none());
        assert!(peers.admit(ip("::ffff:10.0.0.1")).is_none(), "the same peer");
        assert!(peers.admit(ip("10.0.0.2")).is_some());
        places[0].proof.authentic();
        places.push(peers.admit(ip("10.0.0.1")).unwrap());
        assert!(peers.admit(ip("10.0.0.1")).is_none());
        places.pop();
        assert!(peers.admit(ip("10.0.0.1")).is_some());

        while places.len() < CONNECTIONS_PER_PEER_MAX {
            places.iter().for_each(|place| place.proof.authentic());
            places.push(peers.admit(ip("10.0.0.1")).unwrap());
        }
        places.iter().for_each(|place| place.proof.authentic());
        assert!(peers.admit(ip("10.0.0.1")).is_none(), "not all places for one peer, proven or not");
        drop(places);
        assert!(peers.0.lock().unwrap().is_empty(), "nothing is kept of those who left");
    }

    #[test]
    fn an_ipv6_network_is_one_peer() {
        let peers = Arc::new(Peers::default());
        let _places: Vec<_> = (0..UNPROVEN_PER_PEER_MAX)
            .map(|n| peers.admit(ip(&format!("2001:db8::{n:x}"))).unwrap())
            .collect();
        assert!(peers.admit(ip("2001:db8::ffff:1")).is_none());
        assert!(peers.admit(ip("2001:db8:0:1::1")).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn what_happens_often_is_said_now_and_then() {
        let warnings = Warnings::default();
        assert_eq!(warnings.due(), Some(0));
        assert_eq!((warnings.due(), warnings.due()), (None, None));
        tokio::time::advance(WARN_EVERY).await;
        assert_eq!(warnings.due(), Some(2));
    }
}
