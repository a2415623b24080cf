//! Rules tried without a gateway: a pack, readings of its devices in the order in which they come, and what the rules say about
//! them. What rule authors test and what `gridpost explain` shows is the engine itself, not a second opinion.

pub mod cases;
pub mod explain;
pub mod given;
pub mod listening;

use std::collections::HashMap;
use std::sync::Arc;

use gridpost_protocol::engine::{BoxedEngine, EngineError, Outcome, Verdict};
use gridpost_protocol::event::Decision;
use gridpost_protocol::id::{DeviceId, Seq};
use gridpost_protocol::pack::{AtSite, Pack, PackRule, SitePeriods, Surroundings};
use gridpost_protocol::reading::Reading;
use gridpost_protocol::rule::Rule;
use gridpost_protocol::time::UnixMillis;

/// One device's rules at work.
struct Running {
    site: usize,
    engine: BoxedEngine,
    /// Of each rule, which of the pack's it is.
    source: Arc<[usize]>,
    periods: SitePeriods,
    seq: Seq,
}

/// A pack's rules on trial.
pub struct Trial<'p> {
    pack: &'p Pack,
    devices: HashMap<DeviceId, Running>,
    around: HashMap<usize, Surroundings>,
}

/// What a reading came to.
pub struct Took<'p> {
    /// What the rules say, in their order, each with its rule.
    pub said: Vec<(&'p PackRule, Decision)>,
    /// What each rule of the reading's quantity made of it, with the rule as it is compiled for the device.
    pub verdicts: Vec<(&'p PackRule, Rule, Verdict)>,
    /// What became of the reading.
    pub outcome: Outcome,
}

/// Why a reading cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    /// The pack does not place the device.
    #[error("device {0} is not in the pack's devices.csv")]
    Unplaced(DeviceId),
    /// The device's rules cannot run.
    #[error("device {device}: {error}")]
    Engine {
        /// Which.
        device: DeviceId,
        /// Why.
        error: EngineError,
    },
}

impl<'p> Trial<'p> {
    /// A trial in which nothing has been measured yet.
    #[must_use]
    pub fn new(pack: &'p Pack) -> Self {
        Self { pack, devices: HashMap::new(), around: HashMap::new() }
    }

    /// Takes the next reading.
    ///
    /// # Errors
    /// When the device is not in the pack.
    pub fn take(
        &mut self,
        device: DeviceId,
        at: UnixMillis,
        reading: &Reading,
    ) -> Result<Took<'p>, TrialError> {
        let pack = self.pack;
        let running = match self.devices.entry(device) {
            std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::hash_map::Entry::Vacant(place) => place.insert(Running::new(pack, device)?),
        };
        let site = running.site;
        let around = self.around.entry(site).or_insert_with(|| pack.surroundings_of(&pack.sites()[site]));
        around.take(at, reading);
        running.seq = running.seq.next();
        let at_site = AtSite { periods: &running.periods, around };
        let (mut said, mut verdicts) = (Vec::new(), Vec::new());
        let outcome = running.engine.on_reading_explained(
            running.seq,
            at,
            reading,
            &at_site,
            |decision| said.push(decision),
            |verdict| verdicts.push(verdict),
        );
        let rule = |index: usize| &pack.rules()[running.source[index]];
        Ok(Took {
            said: said.into_iter().map(|decision| (rule(decision.rule.into()), decision)).collect(),
            verdicts: verdicts
                .into_iter()
                .map(|verdict| (rule(verdict.rule), running.engine.rules()[verdict.rule].clone(), verdict))
                .collect(),
            outcome,
        })
    }
}

impl Running {
    fn new(pack: &Pack, device: DeviceId) -> Result<Self, TrialError> {
        let (Some(compiled), Some(placed)) = (pack.compile_for(device), pack.device(device)) else {
            return Err(TrialError::Unplaced(device));
        };
        Ok(Self {
            site: placed.site,
            engine: BoxedEngine::boxed(compiled.rules)
                .map_err(|error| TrialError::Engine { device, error })?,
            source: compiled.source,
            periods: pack.periods_for(pack.site_of(placed)),
            seq: Seq::NONE,
        })
    }
}
