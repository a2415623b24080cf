//! A cable that can be cut: a TCP proxy which breaks its connections, or lets them stand and moves nothing.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Bytes moved at once: small, so that connections break within a frame.
const CHUNK_BYTES: usize = 512;

/// What the cable does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Cable {
    /// Everything passes.
    #[default]
    Sound,
    /// Connections stand, and nothing passes: what a broken path looks like to both of its ends.
    Dead,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    cable: Cable,
    /// Counted up at each cut: connections of before are reset.
    cuts: u64,
}

/// The proxy. Dropping it ends it.
pub(super) struct Proxy {
    /// Where it listens.
    pub(super) address: SocketAddr,
    state: watch::Sender<State>,
    accepted: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Listens on a free port, and connects to `to` for everybody who comes.
    pub(super) fn start(handle: &Handle, to: SocketAddr) -> Result<Self> {
        let listener = handle.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
        let address = listener.local_addr()?;
        let (state, seen) = watch::channel(State::default());
        let accepted = Arc::new(AtomicU64::new(0));
        let count = accepted.clone();
        let task = handle.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(join(stream, to, seen.clone()));
            }
        });
        Ok(Self { address, state, accepted, task })
    }

    /// Connections that were ever made.
    pub(super) fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// What the cable does from now on.
    pub(super) fn set(&self, cable: Cable) {
        self.state.send_modify(|state| state.cable = cable);
    }

    /// Resets all connections; new ones can be made.
    pub(super) fn cut(&self) {
        self.state.send_modify(|state| state.cuts += 1);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Two streams as one, until either ends or they are cut.
async fn join(one: TcpStream, to: SocketAddr, mut state: watch::Receiver<State>) {
    let born = state.borrow().cuts;
    // Who connects while the cable is dead hears nothing until it is sound again.
    if state.wait_for(|state| state.cable == Cable::Sound || state.cuts != born).await.is_err() {
        return;
    }
    let Ok(mut other) = TcpStream::connect(to).await else { return };
    let mut one = one;
    let _ = (one.set_nodelay(true), other.set_nodelay(true));
    let cut = {
        let (one_in, one_out) = one.split();
        let (other_in, other_out) = other.split();
        let mut for_cut = state.clone();
        tokio::select! {
            _ = pass(one_in, other_out, state.clone()) => false,
            _ = pass(other_in, one_out, state.clone()) => false,
            _ = for_cut.wait_for(|state| state.cuts != born) => true,
        }
    };
    if cut {
        // Not a goodbye but a reset, which throws away what is under way.
        let _ = rustix::net::sockopt::set_socket_linger(&one, Some(Duration::ZERO));
        let _ = rustix::net::sockopt::set_socket_linger(&other, Some(Duration::ZERO));
    }
}

async fn pass(
    mut from: tokio::net::tcp::ReadHalf<'_>,
    mut to: tokio::net::tcp::WriteHalf<'_>,
    mut state: watch::Receiver<State>,
) -> std::io::Result<()> {
    let mut chunk = [0; CHUNK_BYTES];
    loop {
        let count = from.read(&mut chunk).await?;
        if state.wait_for(|state| state.cable == Cable::Sound).await.is_err() || count == 0 {
            return Ok(());
        }
        to.write_all(&chunk[..count]).await?;
    }
}
