//! Which rules a device is told to run itself, and whether it does.

use gridpost_protocol::engine::PrecomputedPeriods;
use gridpost_protocol::frame::FrameBuf;
use gridpost_protocol::id::DeviceId;
use gridpost_protocol::message::{ShareHead, ShareRule, ShareStatus};
use gridpost_protocol::session::gateway::GatewaySession;
use gridpost_protocol::session::node::SessionError;
use gridpost_protocol::share::NO_SHARE;
use gridpost_protocol::time::UnixMillis;

use crate::event::make::District;

/// For how many days ahead a device is told when it is day.
const PERIODS_DAYS: u16 = 20;
/// How often it is told anew, in milliseconds.
const PERIODS_EVERY_MS: i64 = 24 * 3600 * 1000;

/// What this gateway knows of a device's share.
#[derive(Debug, Default)]
pub(super) struct DeviceShare {
    /// What the pack has for it.
    of_pack: u32,
    /// What it is to run: that, unless it refused it.
    wanted: u32,
    /// What it says that it runs.
    running: u32,
    /// What it said that it cannot run.
    refused: Option<u32>,
    /// When it was last told when it is day.
    told_at: Option<UnixMillis>,
}

/// What to tell a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tell {
    /// Nothing.
    Nothing,
    /// The head, with the periods.
    Periods,
    /// The head and all rules.
    Rules,
}

impl DeviceShare {
    /// Of a device of the pack.
    pub(super) fn new(district: &District, device: DeviceId) -> Self {
        let wanted = match district.pack.share_for(device) {
            Some(Ok(share)) => share.id(),
            Some(Err(error)) => {
                tracing::warn!(%device, "the device cannot run its rules itself ({error}); this gateway decides for it");
                NO_SHARE
            }
            None => NO_SHARE,
        };
        Self { of_pack: wanted, wanted, ..Self::default() }
    }

    /// Another pack is there. Its periods may be others even where the rules are the same.
    pub(super) fn change(&mut self, district: &District, device: DeviceId) -> Tell {
        let running = self.running;
        *self = Self { running, ..Self::new(district, device) };
        match (self.running == self.wanted, self.wanted == NO_SHARE) {
            (true, true) => Tell::Nothing,
            (true, false) => Tell::Periods,
            (false, _) => Tell::Rules,
        }
    }

    /// The device started, or its link came back.
    pub(super) fn hello(&mut self, running: u32) -> Tell {
        self.running = running;
        self.wanted = self.of_pack;
        self.refused = None;
        if running == self.wanted { Tell::Periods } else { Tell::Rules }
    }

    /// The device said how it is: whatever did not arrive is told again.
    pub(super) fn status(&mut self, now: UnixMillis) -> Tell {
        if self.running != self.wanted && self.refused != Some(self.wanted) {
            return Tell::Rules;
        }
        let old = self.told_at.is_none_or(|told| !(0..PERIODS_EVERY_MS).contains(&now.since(told)));
        if self.wanted != NO_SHARE && old { Tell::Periods } else { Tell::Nothing }
    }

    /// The device said what it runs.
    pub(super) fn said(&mut self, device: DeviceId, status: &ShareStatus) {
        self.running = status.running;
        match status.refused {
            Some((share, error)) => {
                self.refused = Some(share);
                tracing::error!(%device, share = format_args!("{share:08x}"), %error,
                    "the device does not run its share of the pack (is its firmware older than the rules?); this gateway decides for it");
                if share == self.wanted {
                    // Its next hello tries again: it may have been given other firmware.
                    self.wanted = NO_SHARE;
                }
            }
            None if status.running == self.wanted => {
                tracing::info!(%device, share = format_args!("{:08x}", status.running), "the device runs its share of the pack");
            }
            None => {}
        }
    }

    /// The share that it says it runs, and the one that it is to run.
    pub(super) const fn running_and_wanted(&self) -> (u32, u32) {
        (self.running, self.wanted)
    }

    /// The frames that tell it.
    pub(super) fn frames(
        &mut self,
        tell: Tell,
        district: &District,
        device: DeviceId,
        session: &mut GatewaySession,
        now: UnixMillis,
    ) -> Vec<Result<FrameBuf, SessionError>> {
        if tell == Tell::Nothing {
            return Vec::new();
        }
        self.told_at = Some(now);
        let share = match district.pack.share_for(device) {
            Some(Ok(share)) if self.wanted != NO_SHARE => share,
            _ => {
                let head = ShareHead { share: NO_SHARE, rules: 0, periods: PrecomputedPeriods::default() };
                return vec![session.share(&head)];
            }
        };
        let periods = district.pack.device(device).map(|placed| {
            district.pack.periods_for(district.pack.site_of(placed)).precomputed(now, PERIODS_DAYS)
        });
        // A share has at most SHARE_RULES_MAX rules, so their number and indices fit.
        let rules = share.rules().len() as u8;
        let head = ShareHead { share: self.wanted, rules, periods: periods.unwrap_or_default() };
        let mut frames = vec![session.share(&head)];
        if tell == Tell::Rules {
            for (index, (name, rule)) in share.names().iter().zip(share.rules()).enumerate() {
                let rule = ShareRule { share: self.wanted, index: index as u8, name, rule: rule.clone() };
                frames.push(session.share_rule(&rule));
            }
        }
        frames
    }
}

#[cfg(test)]
mod tests {
    use gridpost_protocol::share::ShareError;

    use super::*;

    const DEVICE: DeviceId = DeviceId(0x6770_0000_0000_0001);
    const OLD: u32 = 5;
    const NEW: u32 = 7;

    #[test]
    fn a_device_that_refuses_its_share_leaves_deciding_to_the_gateway_until_its_next_start() {
        let now = UnixMillis(1_790_000_000_000);
        let mut share =
            DeviceShare { of_pack: NEW, wanted: NEW, told_at: Some(now), ..DeviceShare::default() };
        assert_eq!(share.hello(OLD), Tell::Rules);
        share.said(DEVICE, &ShareStatus { running: OLD, refused: Some((NEW, ShareError::TooManyRules)) });
        // It runs the old one still: it is told to run none, and not the refused one again and again.
        assert_eq!(share.running_and_wanted(), (OLD, NO_SHARE));
        assert_eq!(share.status(now), Tell::Rules);
        share.said(DEVICE, &ShareStatus { running: NO_SHARE, refused: None });
        assert_eq!(share.running_and_wanted(), (NO_SHARE, NO_SHARE), "the gateway decides");
        assert_eq!(share.status(now), Tell::Nothing);
        // What it refuses of another pack says nothing about this one.
        assert_eq!(share.hello(NO_SHARE), Tell::Rules);
        share
            .said(DEVICE, &ShareStatus { running: NO_SHARE, refused: Some((OLD, ShareError::TooManyRules)) });
        assert_eq!(share.running_and_wanted(), (NO_SHARE, NEW));
        share.said(DEVICE, &ShareStatus { running: NEW, refused: None });
        assert_eq!(share.running_and_wanted(), (NEW, NEW));
    }
}
