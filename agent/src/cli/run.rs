//! `gridpost run`: the gateway, until it is told to stop.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::check::Checked;
use super::exit::{FAILED, Failure, SPOOL_IN_USE};
use super::logging;
use crate::config::{Config, folder_of};
use crate::event::cloudevent::SpoolData;
use crate::event::make::District;
use crate::gateway::{Gateway, Parts, StartError, listening_hint};
use crate::observe;
use crate::pack::rollout::{Policy, Rollout};
use crate::pipeline::system_clock;
use crate::spool::{Damage, Salvaged, Spool, SpoolError};

/// Arguments of `gridpost run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The configuration file
    #[arg(short, long, value_name = "FILE", default_value = "/etc/gridpost/gridpost.toml")]
    pub config: PathBuf,
}

/// Two damaged spools within this time are not one accident: the disk does not keep what is written to it.
const SET_ASIDE_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// Runs the gateway until SIGTERM or SIGINT; looks at the pack, and at which ones are to be taken, again on SIGHUP. When the spool is found damaged meanwhile, it begins anew with what can be read; and when
/// the clock is set that no earlier start had.
///
/// # Errors
/// When configuration, keys, pack or spool cannot be used, or a link cannot listen.
pub fn run(args: &RunArgs) -> Result<(), Failure> {
    logging::start("info");
    let mut checked = Checked::load(&args.config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::running(format!("cannot start: {error}")))?;
    runtime.block_on(async {
        let unheard = |error| Failure::running(format!("cannot listen for signals: {error}"));
        let mut terminate = signal(SignalKind::terminate()).map_err(unheard)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(unheard)?;
        let mut hangup = signal(SignalKind::hangup()).map_err(unheard)?;
        let mut began = Instant::now();
        let (mut damage, mut set_aside) = (None::<Damage>, None::<Instant>);
        loop {
            let (is_damaged, mut has_clock) = (damage.is_some(), false);
            let metrics = match &checked.config.metrics {
                Some(metrics) => Some(observe::http::listen(&metrics.listen).await.map_err(|error| {
                    let why = listening_hint(&error);
                    Failure::running(format!("[metrics] cannot listen on {}: {error}{why}", metrics.listen))
                })?),
                None => None,
            };
            let gateway = start(checked, damage.take()).await?;
            let (observed, unobserved) = (gateway.observed.clone(), CancellationToken::new());
            let serving = metrics.map(|listener| {
                tokio::spawn(observe::http::run(listener, observed.clone(), unobserved.clone()))
            });
            let informing = tokio::spawn(observe::service::keep_informed(observed));
            tracing::info!(took = ?began.elapsed(), "ready");
            if is_damaged {
                set_aside = Some(Instant::now());
            }
            loop {
                tokio::select! {
                    _ = terminate.recv() => tracing::info!("asked to stop; a second signal stops at once"),
                    _ = interrupt.recv() => tracing::info!("asked to stop; a second signal stops at once"),
                    found = gateway.damaged() => damage = Some(found),
                    () = gateway.clock_set() => {
                        tracing::info!("the clock has been set: starting anew, so that devices that heard an earlier gateway hear this one");
                        has_clock = true;
                    }
                    _ = hangup.recv() => {
                        gateway.reload_pack(policy_again(&args.config));
                        continue;
                    }
                }
                break;
            }
            if damage.is_none() && !has_clock {
                observe::service::stopping();
            }
            let in_order = tokio::select! {
                () = gateway.stop() => true,
                _ = terminate.recv() => false,
                _ = interrupt.recv() => false,
            };
            if !in_order {
                tracing::warn!("stopped at once; what is committed waits in the spool");
                return Ok(());
            }
            match &damage {
                None if has_clock => {}
                None => {
                    tracing::info!("stopped in order");
                    return Ok(());
                }
                Some(found) if set_aside.is_some_and(|at| at.elapsed() < SET_ASIDE_AGAIN_AFTER) => {
                    return Err(Failure::running(again(found)));
                }
                Some(_) => {}
            }
            informing.abort();
            unobserved.cancel();
            if let Some(serving) = serving {
                // Its address is to be free again.
                let _ = serving.await;
            }
            began = Instant::now();
            checked = Checked::load(&args.config)?;
        }
    })
}

/// The second time within [`SET_ASIDE_AGAIN_AFTER`].
fn again(found: &Damage) -> String {
    match found {
        Damage::Inside(what) => format!(
            "the spool is damaged again: {what}. Its disk does not keep what is written to it; look at it"
        ),
        Damage::TakenAway(what) => {
            format!(
                "the spool was taken away again: {what}. Find out which program does that, and start again"
            )
        }
    }
}

/// Which packs are taken, as the configuration says by now; [`None`] when it cannot be read, and all stays as it was.
fn policy_again(path: &Path) -> Option<Policy> {
    let config = Config::load(path).map_err(|error| error.to_string());
    let policy = config.and_then(|config| {
        config.pack.policy(&folder_of(path)).map_err(|error| format!("{}: {error}", path.display()))
    });
    policy.inspect_err(|why| tracing::error!("which packs are taken stays as it was: {why}")).ok()
}

/// Opens the spool, of which `damage` is known, and starts a gateway over it.
async fn start(checked: Checked, damage: Option<Damage>) -> Result<Gateway, Failure> {
    // What lies at the path of one that was taken away is looked at as at any start.
    let damage = match damage {
        Some(Damage::Inside(what)) => Some(what),
        Some(Damage::TakenAway(_)) | None => None,
    };
    let Checked { config, mut found, policy, kept, keys, connection } = checked;
    let district = District { pack: found.loaded.pack, gateway: config.gateway.id.clone() };
    // The spool's lock first: another agent that runs keeps its pack.
    let path = &config.gateway.spool;
    let (mut spool, salvaged) = Spool::open_or_salvage(path, config.spool.limits(), damage, |salvaged| {
        let Salvaged { damage, set_aside, events, dropped, devices, complete } = salvaged.clone();
        let set_aside = set_aside.map(|file| file.display().to_string());
        let data = SpoolData { damage, set_aside, events, dropped, devices, complete };
        district.spool_damaged(data, system_clock())
    })
    .map_err(|error| spool_failure(&error))?;
    if let Some(Salvaged { damage, set_aside, events, dropped, devices, complete }) = salvaged {
        if let Some(set_aside) = set_aside {
            tracing::error!(
                damage,
                set_aside = %set_aside.display(),
                events,
                dropped,
                devices,
                complete,
                "the spool was damaged; it is set aside, and this gateway goes on with a new one and what could be read. Look at the disk"
            );
        } else {
            tracing::error!(
                damage,
                events,
                devices,
                "something of the spool is missing; this gateway goes on with what is there. Events that had not been sent may be gone; devices send again what they hold"
            );
        }
    }
    found.loaded.pack = district.pack;
    let packs = Rollout::start(&found, policy, kept, config.gateway.pack.clone(), Arc::default())
        .map_err(|error| Failure::running(format!("cannot keep the pack beside the spool: {error}")))?;
    let district = District { pack: found.loaded.pack, gateway: district.gateway };
    // Somebody may have mended the broker's access list meanwhile.
    let again = spool.send_refused_again().map_err(|error| spool_failure(&error))?;
    if again > 0 {
        tracing::info!(events = again, "events that the broker had refused are tried again");
    }
    let waiting = spool.events_waiting().map_err(|error| spool_failure(&error))?;
    let pack = &district.pack;
    tracing::info!(
        gateway = district.gateway,
        pack = pack.name,
        version = pack.version,
        digest = pack.digest().short(),
        devices = pack.devices().len(),
        rules = pack.rules().len(),
        events_waiting = waiting,
        "gridpost {}",
        env!("CARGO_PKG_VERSION")
    );
    for note in pack.notes() {
        tracing::warn!("the pack: {note}");
    }
    Gateway::start(Parts {
        district,
        packs: Some(packs),
        keys,
        links: config.link,
        rate: config.devices.rate(),
        hourly: config.summaries.hourly,
        uplink: connection,
        spool,
    })
    .await
    .map_err(|error| match &error {
        StartError::Spool(spool) => spool_failure(spool),
        _ => Failure::because(FAILED, &error),
    })
}

fn spool_failure(error: &SpoolError) -> Failure {
    let code = if matches!(error, SpoolError::InUse { .. }) { SPOOL_IN_USE } else { FAILED };
    Failure::because(code, error)
}
