//! An event that happened in a case, by the words of what is published.

use gridpost_protocol::event::{Decision, Phase};
use gridpost_protocol::id::DeviceId;
use gridpost_protocol::pack::PackRule;
use gridpost_protocol::time::UnixMillis;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::event::silence::HEARD_AGAIN;
use crate::trial::listening::Silent;

/// An event that happened.
pub(super) struct Happened<'p> {
    pub(super) device: DeviceId,
    pub(super) what: What<'p>,
}

/// What it is.
pub(super) enum What<'p> {
    /// A rule decided on readings.
    Decided(&'p PackRule, Decision),
    /// A device fell silent, or is heard again.
    Silent(Silent<'p>),
}

impl<'p> From<Silent<'p>> for Happened<'p> {
    fn from(silent: Silent<'p>) -> Self {
        Self { device: silent.device, what: What::Silent(silent) }
    }
}

impl Happened<'_> {
    pub(super) fn phase(&self) -> &'static str {
        match &self.what {
            What::Decided(_, decision) => decision.phase.as_str(),
            What::Silent(silent) if silent.is_silent => "fault",
            What::Silent(_) => Phase::Cleared.as_str(),
        }
    }

    pub(super) fn rule(&self) -> &str {
        match &self.what {
            What::Decided(rule, _) => rule.id.as_str(),
            What::Silent(silent) => silent.rule.id.as_str(),
        }
    }

    pub(super) fn matter(&self) -> &str {
        match &self.what {
            What::Decided(rule, _) => rule.matter.as_str(),
            What::Silent(silent) => silent.rule.matter.as_str(),
        }
    }

    pub(super) fn cause(&self) -> &'static str {
        match &self.what {
            What::Decided(_, decision) => decision.cause.map_or("", |cause| cause.as_str()),
            What::Silent(silent) if silent.is_silent => "",
            What::Silent(_) => HEARD_AGAIN,
        }
    }

    pub(super) fn severity(&self) -> u8 {
        match &self.what {
            What::Decided(_, decision) => decision.severity,
            What::Silent(_) => 0,
        }
    }

    pub(super) fn at(&self) -> UnixMillis {
        match &self.what {
            What::Decided(_, decision) => decision.at,
            What::Silent(silent) => silent.at,
        }
    }

    /// For people, in the site's time.
    pub(super) fn text(&self, start: UnixMillis, zone: &TimeZone) -> String {
        let local = |at: UnixMillis| {
            Timestamp::from_millisecond(at.0)
                .map(|at| at.to_zoned_datetime(zone.clone()).strftime("%F %T").to_string())
                .unwrap_or_default()
        };
        let after = SignedDuration::from_millis(self.at().since(start));
        let cause = match self.cause() {
            "" => String::new(),
            cause => format!(" ({cause})"),
        };
        let what = match &self.what {
            What::Decided(_, decision) => {
                format!("{} against {}, severity {}", decision.value, decision.limit, decision.severity)
            }
            What::Silent(silent) => {
                let of = silent.rule.quantity.map_or("nothing".to_owned(), |what| format!("no {what}"));
                format!("{of} heard since {}", local(silent.since))
            }
        };
        format!(
            "{} rule {} matter {} at {} ({after:#}): {what}, device {}{cause}",
            self.phase(),
            self.rule(),
            self.matter(),
            local(self.at()),
            self.device
        )
    }
}
