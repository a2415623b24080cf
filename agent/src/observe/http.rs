//! Metrics and health over HTTP: `/metrics`, `/healthz`, `/readyz`. Read only, and on this machine only unless the configuration says
//! otherwise.
//!
//! Whoever connects is not trusted. Bounds: [`CONNECTIONS_MAX`] at a time (more wait to be accepted), [`REQUEST_BYTES_MAX`]
//! of a request's head within [`REQUEST_WITHIN`], one answer a connection, all of it within [`CONNECTION_MAX`]. A body is not
//! read.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{Observed, exposition};
use crate::links::backoff::Backoff;

/// Connections at a time.
pub const CONNECTIONS_MAX: usize = 16;
/// The longest head of a request, in bytes.
pub const REQUEST_BYTES_MAX: usize = 8192;
/// How long a request's head may take to come.
pub const REQUEST_WITHIN: Duration = Duration::from_secs(5);
/// How long a connection may last, from its first byte to the last of the answer.
pub const CONNECTION_MAX: Duration = Duration::from_secs(10);

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

/// Opens the listening socket.
///
/// # Errors
/// When the address is not one of this machine's, or is in use.
pub async fn listen(address: &str) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Answers until shutdown.
pub async fn run(listener: TcpListener, observed: Arc<Observed>, shutdown: CancellationToken) {
    if let Ok(address) = listener.local_addr() {
        tracing::info!(%address, "metrics and health");
    }
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut backoff = Backoff::default();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => return,
            accepted = async {
                // The semaphore is never closed.
                let place = places.clone().acquire_owned().await.ok();
                (listener.accept().await, place)
            } => accepted,
        };
        match accepted {
            (Ok((stream, peer)), place) => {
                let observed = observed.clone();
                tokio::spawn(async move {
                    match timeout(CONNECTION_MAX, serve(stream, observed)).await {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => tracing::debug!(%peer, %error, "no answer about metrics or health"),
                        Err(_) => tracing::debug!(%peer, "a connection for metrics or health took too long"),
                    }
                    drop(place);
                });
            }
            (Err(error), _) => {
                let wait = backoff.failed(std::time::Instant::now());
                tracing::warn!(%error, "cannot accept a connection for metrics; trying again in {wait:.1?}");
                sleep(wait).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, observed: Arc<Observed>) -> hyper::Result<()> {
    let service = service_fn(move |request: Request<Incoming>| {
        let observed = observed.clone();
        async move { Ok::<_, Infallible>(answer(request.method(), request.uri().path(), observed).await) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_WITHIN)
        .max_buf_size(REQUEST_BYTES_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

async fn answer(method: &Method, path: &str, observed: Arc<Observed>) -> Response<Full<Bytes>> {
    if *method != Method::GET && *method != Method::HEAD {
        let mut response = page(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET and HEAD\n".to_owned());
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    // Looks into files: not on a thread that others wait for.
    let path = path.to_owned();
    tokio::task::spawn_blocking(move || match path.as_str() {
        "/metrics" => match exposition::page(&observed) {
            Ok(text) => page(StatusCode::OK, exposition::CONTENT_TYPE, text),
            Err(error) => page(StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("{error}\n")),
        },
        "/healthz" => health("alive", &observed.stuck(), None),
        "/readyz" => health("ready", &observed.problems(), Some(&observed)),
        "/" => page(StatusCode::OK, TEXT, "gridpost: /metrics, /healthz, /readyz\n".to_owned()),
        _ => page(StatusCode::NOT_FOUND, TEXT, "there are /metrics, /healthz and /readyz\n".to_owned()),
    })
    .await
    .unwrap_or_else(|error| page(StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("{error}\n")))
}

/// 200 when there is no problem, else 503; and the problems, in JSON.
fn health(what: &str, problems: &[String], observed: Option<&Observed>) -> Response<Full<Bytes>> {
    let mut said = serde_json::json!({ what: problems.is_empty(), "problems": problems });
    if let Some(observed) = observed {
        said["status"] = observed.status_line().into();
    }
    let status = if problems.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    page(status, JSON, format!("{said}\n"))
}

fn page(status: StatusCode, content_type: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
