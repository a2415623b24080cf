//! `gridpost run`: the gateway, until it is told to stop.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::check::Checked;
use super::exit::{FAILED, Failure, SPOOL_IN_USE};
use super::logging;
use crate::event::cloudevent::SpoolData;
use crate::event::make::District;
use crate::gateway::{Gateway, Parts, StartError, listening_hint};
use crate::observe;
use crate::pack::rollout::Rollout;
use crate::pipeline::system_clock;
use crate::spool::{Salvaged, Spool, SpoolError};

/// Arguments of `gridpost run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The configuration file
    #[arg(short, long, value_name = "FILE", default_value = "/etc/gridpost/gridpost.toml")]
    pub config: PathBuf,
}

/// Runs the gateway until SIGTERM or SIGINT; looks at the pack again on SIGHUP.
///
/// # Errors
/// When configuration, keys, pack or spool cannot be used, or a link cannot listen.
pub fn run(args: &RunArgs) -> Result<(), Failure> {
    logging::start("info");
    let checked = Checked::load(&args.config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::running(format!("cannot start: {error}")))?;
    runtime.block_on(async {
        let unheard = |error| Failure::running(format!("cannot listen for signals: {error}"));
        let mut terminate = signal(SignalKind::terminate()).map_err(unheard)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(unheard)?;
        let mut hangup = signal(SignalKind::hangup()).map_err(unheard)?;
        let (mut spool, salvaged) =
            Spool::open_or_salvage(&checked.config.gateway.spool).map_err(|error| spool_failure(&error))?;
        // With the spool's lock: another agent that runs keeps its pack.
        let packs = Rollout::start(
            &checked.found,
            checked.policy,
            checked.kept,
            checked.config.gateway.pack.clone(),
            Arc::default(),
        )
        .map_err(|error| Failure::running(format!("cannot keep the pack beside the spool: {error}")))?;
        let district = District { pack: checked.found.loaded.pack, gateway: checked.config.gateway.id };
        if let Some(salvaged) = salvaged {
            report_damage(&mut spool, &district, salvaged).map_err(|error| spool_failure(&error))?;
        }
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
        let metrics = match &checked.config.metrics {
            Some(metrics) => Some(observe::http::listen(&metrics.listen).await.map_err(|error| {
                let why = listening_hint(&error);
                Failure::running(format!("[metrics] cannot listen on {}: {error}{why}", metrics.listen))
            })?),
            None => None,
        };
        let gateway = Gateway::start(Parts {
            district,
            packs: Some(packs),
            keys: checked.keys,
            links: checked.config.link,
            uplink: checked.connection,
            spool,
        })
        .await
        .map_err(|error| match &error {
            StartError::Spool(spool) => spool_failure(spool),
            _ => Failure::because(FAILED, &error),
        })?;
        let observed = gateway.observed.clone();
        if let Some(listener) = metrics {
            tokio::spawn(observe::http::run(listener, observed.clone(), CancellationToken::new()));
        }
        tracing::info!("ready");
        tokio::spawn(observe::service::keep_informed(observed));
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hangup.recv() => gateway.reload_pack(),
            }
        }
        tracing::info!("asked to stop; a second signal stops at once");
        observe::service::stopping();
        tokio::select! {
            () = gateway.stop() => tracing::info!("stopped in order"),
            _ = terminate.recv() => tracing::warn!("stopped at once; what is committed waits in the spool"),
            _ = interrupt.recv() => tracing::warn!("stopped at once; what is committed waits in the spool"),
        }
        Ok(())
    })
}

/// Says at the platform and in the log that the spool was damaged.
fn report_damage(spool: &mut Spool, district: &District, salvaged: Salvaged) -> Result<(), SpoolError> {
    let Salvaged { damage, set_aside, events, devices, complete } = salvaged;
    let set_aside = set_aside.display().to_string();
    tracing::error!(
        damage,
        set_aside,
        events,
        devices,
        complete,
        "the spool was damaged; it is set aside, and this gateway goes on with a new one and what could be read. Look at the disk"
    );
    let data = SpoolData { damage, set_aside, events, devices, complete };
    let Some(event) = district.spool_damaged(data, system_clock()) else { return Ok(()) };
    spool.commit(|transaction| transaction.add_event(&event)).map(|_| ())
}

fn spool_failure(error: &SpoolError) -> Failure {
    let code = if matches!(error, SpoolError::InUse { .. }) { SPOOL_IN_USE } else { FAILED };
    Failure::because(code, error)
}
