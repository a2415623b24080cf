//! The heart of the gateway: one thread that takes frames in groups, commits their effects in one transaction, and then
//! answers. It is the only writer of the spool.
//!
//! Frames that came while a transaction was being committed make the next group, so a busy gateway commits large groups and
//! an idle one commits at once; nothing waits for a timer. A transaction that fails (a full disk) leaves everything as it
//! was: nothing is acknowledged, devices keep their records, and the next group is tried after [`RETRY_AFTER`].

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use gridpost_protocol::calibration::Calibrate;
use gridpost_protocol::id::DeviceId;
use gridpost_protocol::time::UnixMillis;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::counters::Counters;
use crate::decide::District;
use crate::evicted;
use crate::inbound::{self, Inbound};
use crate::intake::{Intake, NotTold};
use crate::links::FrameIn;
use crate::observe::heartbeat::{BEAT_EVERY, Heartbeat};
use crate::pack::rollout::{Offer, Rollout};
use crate::requests::Ask;
use crate::spool::{Spool, SpoolError};
use crate::uplink::Refused;
use crate::withdrawn;

/// Frames in one transaction: at 47 readings in a frame, 6,000 rows.
pub const FRAMES_AT_ONCE: usize = 128;
/// How long to wait after a transaction failed.
pub const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What the pipeline is connected to.
#[derive(Debug)]
pub struct Ends {
    /// From the links. Closed at shutdown.
    pub frames: mpsc::Receiver<FrameIn>,
    /// To the uplink: the newest committed event.
    pub committed: watch::Sender<i64>,
    /// From the uplink: these rows are with the platform. Closed at shutdown, after the frames.
    pub released: mpsc::Receiver<RangeInclusive<i64>>,
    /// From the uplink: the broker refused this event for good.
    pub refused: mpsc::Receiver<Refused>,
    /// Where the pack is kept and others come from; without it the pack stays.
    pub packs: Option<Rollout>,
    /// Beaten whenever what had come is committed, or nothing has come. Not while commits fail, except for want of room: that
    /// is mended by somebody else, and not by starting again.
    pub heartbeat: Arc<Heartbeat>,
    /// From the platform. Closed at shutdown, with the frames.
    pub inbound: mpsc::Receiver<Inbound>,
}

/// Starts the pipeline's thread; it ends when all its inputs are closed.
///
/// # Errors
/// When the system cannot start a thread.
pub fn start(
    spool: Spool,
    intake: Intake,
    ends: Ends,
    counters: Arc<Counters>,
    clock: fn() -> UnixMillis,
) -> std::io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    thread::Builder::new().name("pipeline".to_owned()).spawn(move || {
        let mut pipeline =
            Pipeline { committer: Committer::new(spool, intake), counters, clock, packs: None };
        runtime.block_on(pipeline.run(ends));
    })
}

/// What the pipeline does with a group of frames, without threads, channels or a clock.
#[derive(Debug)]
pub struct Committer {
    spool: Spool,
    intake: Intake,
}

impl Committer {
    /// Over an open spool, and an intake with this start's number.
    #[must_use]
    pub fn new(spool: Spool, intake: Intake) -> Self {
        Self { spool, intake }
    }

    /// The spool, as of the last commit.
    #[must_use]
    pub fn spool(&self) -> &Spool {
        &self.spool
    }

    /// Makes the effects of a group of frames durable, with the rows (`release`) that are with the platform and what it refused.
    ///
    /// # Errors
    /// When the transaction failed: nothing happened, nothing may be answered, and devices will send again.
    pub fn persist(
        &mut self,
        group: &mut [FrameIn],
        now: UnixMillis,
        release: &[RangeInclusive<i64>],
        refusals: &[Refused],
    ) -> Result<(), SpoolError> {
        let done = self.transaction(group, now, release, refusals);
        if done.is_err() {
            self.intake.rolled_back();
        }
        done
    }

    /// Answers what was made durable by [`Self::persist`]. Returns the newest event's row, when there is a new one.
    pub fn answer(&mut self, now: UnixMillis) -> Option<i64> {
        self.intake.committed(now)
    }

    /// Whether the spool can be written to, after it could not: writes something that nobody needs.
    ///
    /// # Errors
    /// When it still cannot.
    pub fn probe(&mut self, now: UnixMillis) -> Result<(), SpoolError> {
        self.spool.commit(|transaction| transaction.note_probe(now))
    }

    /// Decides by another pack from here on: ends what it withdraws, and loads the rest anew, as a start does. Returns the newest
    /// event's row.
    ///
    /// # Errors
    /// When the spool fails; the old pack decides then, and this is to be tried again.
    pub fn activate(
        &mut self,
        district: Arc<District>,
        counters: &Arc<Counters>,
        now: UnixMillis,
    ) -> Result<i64, SpoolError> {
        withdrawn::clear(&mut self.spool, &district, counters, now)?;
        self.intake.change_district(district);
        self.intake.committed(now);
        self.spool.newest_event()
    }

    /// The district that decides.
    #[must_use]
    pub fn district(&self) -> &Arc<District> {
        self.intake.district()
    }

    /// Tells who is not heard any more, and who is again. Returns the newest event's row, when there is a new one.
    ///
    /// # Errors
    /// When the spool fails: nothing is told, and the next tick tries again.
    pub fn tick(&mut self, now: UnixMillis) -> Result<Option<i64>, SpoolError> {
        if self.spool.health().damage().is_some() || !self.intake.notice_silence(&mut self.spool, now)? {
            return Ok(None);
        }
        Ok(self.intake.committed(now))
    }

    /// Counts the devices that were heard lately.
    pub fn count_heard(&self, now: UnixMillis) {
        self.intake.count_heard(now);
    }

    /// Makes the effect of what came from the platform durable.
    ///
    /// # Errors
    /// When the transaction failed: nothing happened, and it is to be tried again.
    pub fn persist_inbound(&mut self, inbound: &Inbound, now: UnixMillis) -> Result<(), SpoolError> {
        let intake = &mut self.intake;
        let done = self.spool.commit(|transaction| {
            inbound::take(inbound, intake, now, transaction)?;
            intake.finish(now, transaction)
        });
        if done.is_err() {
            self.intake.rolled_back();
        }
        done
    }

    /// Answers what only this thread knows. It is no matter when nobody waits for it any more.
    fn answer_desk(&mut self, ask: Ask) {
        match ask {
            Ask::Overview(answer) => drop(answer.send(self.intake.overview())),
            Ask::Calibrate { device, calibrate, answer } => {
                let _ = answer.send(self.calibrate(device, &calibrate));
            }
            Ask::Fetch { device, fetch, answer } => drop(answer.send(self.intake.fetch(device, &fetch))),
        }
    }

    /// Has a device calibrate its meter; what comes of it arrives as a record.
    ///
    /// # Errors
    /// When the device cannot be told now.
    pub fn calibrate(&mut self, device: DeviceId, calibrate: &Calibrate) -> Result<(), NotTold> {
        self.intake.calibrate(device, calibrate)
    }

    fn transaction(
        &mut self,
        group: &mut [FrameIn],
        now: UnixMillis,
        release: &[RangeInclusive<i64>],
        refusals: &[Refused],
    ) -> Result<(), SpoolError> {
        let intake = &mut self.intake;
        intake.prepare(group, &self.spool)?;
        self.spool.commit(|transaction| {
            for frame in group {
                intake.take(frame, now, transaction)?;
            }
            intake.finish(now, transaction)?;
            for one in refusals {
                transaction.refuse_event(one.id, &one.reason)?;
            }
            for rows in release {
                transaction.release_events(rows)?;
            }
            if let Some(row) = evicted::tell(transaction, intake.district(), now)? {
                intake.event_added(row);
            }
            Ok(())
        })
    }
}

struct Pipeline {
    committer: Committer,
    counters: Arc<Counters>,
    clock: fn() -> UnixMillis,
    packs: Option<Rollout>,
}

impl Pipeline {
    async fn run(&mut self, ends: Ends) {
        let Ends { mut frames, committed, mut released, mut refused, mut inbound, heartbeat, packs } = ends;
        self.packs = packs;
        let mut committed = Some(committed);
        let mut group = Vec::with_capacity(FRAMES_AT_ONCE);
        let (mut release, mut refusals) = (Vec::new(), Vec::new());
        let mut look = interval(BEAT_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failing = false;
        let (mut frames_open, mut released_open, mut refused_open) = (true, true, true);
        let mut inbound_open = true;
        // What came from the platform and could not be committed yet; until it is, nothing further is taken.
        let mut waiting: Option<(Inbound, Instant)> = None;
        while frames_open || released_open || refused_open || inbound_open {
            tokio::select! {
                one = inbound.recv(), if inbound_open && waiting.is_none() => match one {
                    Some(one) => waiting = self.take_inbound(one, committed.as_ref()),
                    None => inbound_open = false,
                },
                () = until(waiting.as_ref().map(|(_, again)| *again)), if waiting.is_some() => {
                    // On the way out it is not tried again: the broker keeps it.
                    waiting = waiting
                        .take()
                        .filter(|_| frames_open)
                        .and_then(|(one, _)| self.take_inbound(one, committed.as_ref()));
                }
                count = frames.recv_many(&mut group, FRAMES_AT_ONCE), if frames_open => {
                    frames_open = count > 0;
                }
                rows = released.recv(), if released_open => match rows {
                    Some(rows) => release.push(rows),
                    None => released_open = false,
                },
                one = refused.recv(), if refused_open => match one {
                    Some(one) => refusals.push(one),
                    None => refused_open = false,
                },
                _ = look.tick() => self.look(committed.as_ref()),
            }
            // What has come meanwhile goes along, at no cost of its own.
            while let Ok(rows) = released.try_recv() {
                release.push(rows);
            }
            while let Ok(one) = refused.try_recv() {
                refusals.push(one);
            }
            match self.commit(&mut group, &release, &refusals, failing) {
                Ok(newest) => {
                    failing = false;
                    heartbeat.beat();
                    release.clear();
                    refusals.clear();
                    if let (Some(newest), Some(committed)) = (newest, &committed) {
                        committed.send_replace(newest);
                    }
                }
                Err(SpoolError::Damaged { what, .. } | SpoolError::TakenAway { what, .. }) => {
                    // The gateway knows, and begins anew with what can be read: until this one is stopped it only lets go.
                    tracing::error!(
                        what,
                        "the spool is damaged or was taken away: nothing committed, nothing acknowledged; devices keep their records"
                    );
                    release.clear();
                    refusals.clear();
                }
                Err(error) => {
                    failing = true;
                    if matches!(error, SpoolError::Full { .. }) {
                        heartbeat.beat();
                    }
                    // What is with the platform makes room: alone, it does not fail with what there is no room for.
                    if self.commit(&mut [], &release, &refusals, false).is_ok() {
                        release.clear();
                        refusals.clear();
                    }
                    tracing::error!(%error, "nothing committed, nothing acknowledged; devices keep their records. Trying again in {RETRY_AFTER:?}");
                    tokio::time::sleep(RETRY_AFTER).await;
                }
            }
            group.clear();
            if !frames_open {
                // Tells the uplink that no further event will come: it drains, and then closes its ends.
                committed = None;
            }
        }
    }

    /// What is to be seen to each second.
    fn look(&mut self, committed: Option<&watch::Sender<i64>>) {
        let now = (self.clock)();
        self.committer.count_heard(now);
        match self.committer.tick(now) {
            Ok(Some(newest)) => {
                if let Some(committed) = committed {
                    committed.send_replace(newest);
                }
            }
            Ok(None) => {}
            Err(error) => tracing::error!(%error, "who is silent cannot be told yet; it is tried again"),
        }
    }

    /// Takes what came from the platform; gives it back when it could not be committed, with when to try again.
    fn take_inbound(
        &mut self,
        inbound: Inbound,
        committed: Option<&watch::Sender<i64>>,
    ) -> Option<(Inbound, Instant)> {
        if let Inbound::Ask(ask) = inbound {
            self.committer.answer_desk(ask);
            return None;
        }
        if let (Inbound::PackFile(Some(policy)), Some(packs)) = (&inbound, &mut self.packs) {
            packs.go_by(policy.clone());
        }
        let offer = match &inbound {
            Inbound::Pack(message) if self.packs.is_some() => Some(match &message.payload {
                Ok(piece) => Offer::Platform(piece),
                Err(long) => Offer::TooLong { bytes: long.bytes, most: long.most },
            }),
            Inbound::PackFile(_) => Some(Offer::File),
            _ => None,
        };
        if let Some(offer) = offer {
            match self.look_at_pack(offer) {
                Ok(newest) => {
                    if let (Some(newest), Some(committed)) = (newest, committed) {
                        committed.send_replace(newest);
                    }
                }
                Err(error) => {
                    tracing::error!(%error, "the new pack cannot be kept or activated; the one that runs goes on. Trying again in {RETRY_AFTER:?}");
                    return Some((inbound, Instant::now() + RETRY_AFTER));
                }
            }
            if let Inbound::Pack(message) = inbound {
                message.receipt.durable();
            }
            return None;
        }
        if let Err(error) = self.committer.persist_inbound(&inbound, (self.clock)()) {
            tracing::error!(%error, "what came from the platform is not committed and not acknowledged. Trying again in {RETRY_AFTER:?}");
            return Some((inbound, Instant::now() + RETRY_AFTER));
        }
        if let (Some(newest), Some(committed)) = (self.committer.answer((self.clock)()), committed) {
            committed.send_replace(newest);
        }
        match inbound {
            Inbound::Disposition(message) | Inbound::Pack(message) => message.receipt.durable(),
            Inbound::Ask(_) | Inbound::PackFile(_) => {}
        }
        None
    }

    /// Looks at a pack that is offered, and activates it when it is to run. Between two groups of frames, and so between two
    /// readings. Returns the newest event's row when it was activated.
    fn look_at_pack(&mut self, offer: Offer<'_>) -> Result<Option<i64>, String> {
        let Some(packs) = &mut self.packs else { return Ok(None) };
        let Some(pack) = packs.offer(offer).map_err(|error| error.to_string())? else { return Ok(None) };
        let gateway = self.committer.district().gateway.clone();
        let district = Arc::new(District { pack, gateway });
        let newest = self
            .committer
            .activate(Arc::clone(&district), &self.counters, (self.clock)())
            .map_err(|error| error.to_string())?;
        packs.runs(&district.pack);
        Ok(Some(newest))
    }

    fn commit(
        &mut self,
        group: &mut [FrameIn],
        release: &[RangeInclusive<i64>],
        refusals: &[Refused],
        failing: bool,
    ) -> Result<Option<i64>, SpoolError> {
        if self.committer.spool().health().damage().is_some() {
            return Ok(None);
        }
        if group.is_empty() && release.is_empty() && refusals.is_empty() {
            if failing {
                self.committer.probe((self.clock)())?;
            }
            return Ok(None);
        }
        self.committer.persist(group, (self.clock)(), release, refusals)?;
        Ok(self.committer.answer((self.clock)()))
    }
}

/// Sleeps until then.
async fn until(then: Option<Instant>) {
    tokio::time::sleep_until(then.unwrap_or_else(Instant::now)).await;
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        tracing::info!("pipeline ended: {}", self.counters.summary());
    }
}

/// The gateway's clock.
#[must_use]
pub fn system_clock() -> UnixMillis {
    UnixMillis(jiff::Timestamp::now().as_millisecond())
}
