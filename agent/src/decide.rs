//! Where the rules of one device stand on this gateway: the protocol's engine, restored from the spool and stored in it.
//!
//! A restart restores each rule's state and fills the windows with the stored readings, so it decides what it would have decided
//! without it. The reading, the state that changed by it, the event and the cursor are committed together.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use gridpost_protocol::engine::{BoxedEngine, RuleState};
use gridpost_protocol::event::{Cause, Phase};
use gridpost_protocol::id::{DeviceId, Seq};
use gridpost_protocol::pack::{AtSite, RuleId, SitePeriods, Surroundings};
use gridpost_protocol::reading::Reading;
use gridpost_protocol::session::gateway::Durable;
use gridpost_protocol::time::{ClockQuality, UnixMillis};

use crate::event::Event;
pub use crate::event::make::District;
use crate::event::make::Provenance;
use crate::spool::{DeviceRow, LastCalibration, Spool, SpoolError, Transaction};

/// Stands in the spool for "the device decides itself": no stored reading is to be replayed.
const DEVICE_DECIDES: i64 = i64::MAX;
/// Stands in the spool for "no reading yet".
const NEVER: UnixMillis = UnixMillis(i64::MIN);

/// The rules of one device at work.
#[derive(Debug)]
pub struct Decider {
    device: DeviceId,
    engine: BoxedEngine,
    /// Of each of the engine's rules, which of the pack's it is.
    source: Arc<[usize]>,
    periods: SitePeriods,
    /// What the other devices at its site measured, where its rules ask.
    around: Arc<Mutex<Surroundings>>,
    /// The first reading that a replay may begin with.
    replay_from: i64,
    /// Rules whose state is not stored yet.
    changed: BTreeSet<usize>,
    /// The device's last accepted calibration.
    calibration: Option<LastCalibration>,
}

impl Decider {
    /// Restores the rules of a device that is in the pack.
    ///
    /// # Errors
    /// When the spool cannot be read.
    pub fn load(district: &District, device: DeviceId, spool: &Spool) -> Result<Self, SpoolError> {
        let pack = &district.pack;
        let (rules, periods) = match (pack.compile_for(device), pack.device(device)) {
            (Some(rules), Some(placed)) => (rules, pack.periods_for(pack.site_of(placed))),
            _ => unreachable_device(device),
        };
        let mut engine = engine_of(rules.rules);
        let row = spool.device(device)?;
        let replay_from = row.as_ref().map_or(0, |row| row.replay_from);
        let newest = row.map(|row| row.newest).filter(|newest| *newest != NEVER);

        let mut states = Vec::new();
        for (id, bytes) in spool.rule_states(device)? {
            let index = rules.source.iter().position(|rule| pack.rules()[*rule].id.as_str() == id);
            match (index, read_state(&bytes)) {
                (Some(index), Ok(state)) => states.push((index, state)),
                (Some(_), Err(error)) => {
                    tracing::error!(%device, rule = id, %error, "a rule's stored state cannot be read; the rule begins anew");
                }
                (None, Ok(state)) if state.open().is_some() => {
                    // Else `withdrawn` would have cleared it at the start.
                    tracing::warn!(%device, rule = id, "a rule is no longer in the pack; its open episode was begun by an earlier version of gridpost, and stays open at the platform");
                }
                (None, _) => {}
            }
        }
        engine.restore(newest, states);
        if let Some(newest) = newest {
            let since = newest.plus(-engine.replay_span_ms());
            spool.readings(device, replay_from, since, |stored| engine.replay(stored.at, &stored.reading))?;
        }
        let calibration = spool.calibration(device)?;
        let (source, changed, around) = (rules.source, BTreeSet::new(), Arc::default());
        Ok(Self { device, engine, source, periods, around, replay_from, changed, calibration })
    }

    /// The device was calibrated: events from here on say so.
    pub const fn calibrated(&mut self, last: LastCalibration) {
        self.calibration = Some(last);
    }

    /// Lets its rules know what the devices at its site measure.
    pub fn stand_in(&mut self, around: Arc<Mutex<Surroundings>>) {
        self.around = around;
    }

    /// Takes a reading that is stored as `row`, and hands out the events that it causes, each with its rule and whether the
    /// episode goes on. Returns whether it came too late.
    #[allow(clippy::too_many_arguments, reason = "what is known of a reading")]
    pub fn on_reading(
        &mut self,
        district: &District,
        row: i64,
        seq: Seq,
        at: UnixMillis,
        clock: ClockQuality,
        reading: &Reading,
        mut emit: impl FnMut(&RuleId, bool, Event),
    ) -> bool {
        if self.replay_from == DEVICE_DECIDES {
            // It leaves deciding to this gateway again.
            self.replay_from = row;
        }
        let mut decisions = heapless::Vec::<_, { gridpost_protocol::engine::RULES_MAX }>::new();
        // Only the pipeline's thread asks: nobody waits.
        let around = self.around.lock().unwrap_or_else(PoisonError::into_inner);
        let at_site = AtSite { periods: &self.periods, around: &around };
        let outcome = self.engine.on_reading(seq, at, reading, &at_site, |decision| {
            // At most one a rule.
            let _ = decisions.push(decision);
        });
        drop(around);
        if outcome.restarted {
            tracing::warn!(device = %self.device, "the device's clock was set back; its windows begin anew");
            self.replay_from = row;
        }
        self.changed.extend(outcome.changed.iter());
        for decision in &decisions {
            let index = usize::from(decision.rule);
            let rule = &district.pack.rules()[self.source[index]];
            let compiled = &self.engine.rules()[index];
            let provenance =
                Provenance { clock, calibration: self.calibration, trend: self.engine.trend(index) };
            if let Some(event) = district.decision(self.device, rule, compiled, decision, seq, provenance) {
                tracing::info!(device = %self.device, rule = %rule.id, phase = %decision.phase, value = %decision.value, limit = %decision.limit, id = event.id, "event");
                emit(&rule.id, decision.phase != Phase::Cleared, event);
            }
        }
        outcome.late
    }

    /// From here on the device decides itself: ends what is open here, and hands out the events of that.
    pub fn hand_over(
        &mut self,
        district: &District,
        seq: Seq,
        at: UnixMillis,
        clock: ClockQuality,
        mut emit: impl FnMut(&RuleId, Event),
    ) {
        self.engine.forget();
        self.replay_from = DEVICE_DECIDES;
        for index in 0..self.engine.rules().len() {
            self.changed.insert(index);
            let Some(decision) = self.engine.withdraw(index, Cause::HandedOver, at) else { continue };
            let rule = &district.pack.rules()[self.source[index]];
            let compiled = &self.engine.rules()[index];
            let provenance = Provenance { clock, calibration: self.calibration, trend: None };
            if let Some(event) = district.decision(self.device, rule, compiled, &decision, seq, provenance) {
                tracing::info!(device = %self.device, rule = %rule.id, id = event.id, "the device decides itself from here on; the gateway's episode ends");
                emit(&rule.id, event);
            }
        }
    }

    /// Puts what changed into the transaction, with what is durable of the device.
    ///
    /// # Errors
    /// When the transaction fails.
    pub fn store(
        &mut self,
        district: &District,
        device: DeviceId,
        durable: Durable,
        transaction: &Transaction<'_>,
    ) -> rusqlite::Result<()> {
        for index in std::mem::take(&mut self.changed) {
            let rule = &district.pack.rules()[self.source[index]];
            let state = write_state(&self.engine.states()[index])
                .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
            transaction.put_rule_state(device, rule.id.as_str(), &state)?;
        }
        let row = DeviceRow {
            durable,
            replay_from: self.replay_from,
            newest: self.engine.newest().unwrap_or(NEVER),
            pack: district.pack.digest().short(),
        };
        transaction.put_device(device, &row)
    }
}

/// A state as it is stored: its bytes, and behind them what they lack.
fn write_state(state: &RuleState) -> postcard::Result<Vec<u8>> {
    let mut bytes = postcard::to_allocvec(state)?;
    bytes.push(state.excluded());
    Ok(bytes)
}

/// Also as an earlier version stored it.
fn read_state(bytes: &[u8]) -> postcard::Result<RuleState> {
    let (state, rest) = postcard::take_from_bytes::<RuleState>(bytes)?;
    Ok(state.with_excluded(rest.first().copied().unwrap_or(0)))
}

#[expect(
    clippy::expect_used,
    reason = "a pack that loaded has only rules that run, and no more for a device than an engine holds"
)]
fn engine_of(rules: Arc<[gridpost_protocol::rule::Rule]>) -> BoxedEngine {
    BoxedEngine::boxed(rules).expect("checked when the pack was loaded")
}

#[expect(clippy::panic, reason = "the intake loads only devices that the pack knows")]
fn unreachable_device(device: DeviceId) -> ! {
    panic!("device {device} is not in the pack")
}
