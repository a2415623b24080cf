//! What can be seen of a running gateway from outside: metrics, health, and what the service manager is told.

use std::{
    collections::BTreeMap,
    fs,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixDatagram,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use gridpost_agent::{keys::Keys, observe::http};
use gridpost_protocol::{frame::to_stream, id::DeviceId, seal::Key};
use gridpost_tests::{
    agent::{GatewayFolder, PATIENCE},
    device::Device,
    program::Program,
};
use rusqlite::Connection;
use rustix::process::Signal;

const DEVICE: DeviceId = DeviceId(0x6770_0000_0000_000a);

/// A gateway with a TCP link and a metrics listener, whose broker is not there, and the key of its device.
fn gateway(more: &str) -> Result<(GatewayFolder, Key)> {
    let gateway = GatewayFolder::new("mqtt://127.0.0.1:1")?;
    gateway.configure(&format!(
        "[gateway]\nid = 'gw-1'\npack = 'pack'\nkeys = 'keys.toml'\nspool = 'spool.db'\n\
         [metrics]\nlisten = '127.0.0.1:0'\n\
         [[link.tcp]]\nname = 'lan'\nlisten = '127.0.0.1:0'\n{more}[uplink]\nbrokers = ['mqtt://127.0.0.1:1']\n",
    ))?;
    let device = DEVICE.to_string();
    gateway.run(&["provision", "--device", &device, "--keys", "keys.toml", "--image", "a.img"])?;
    let key = Keys::load(&gateway.path("keys.toml"))?.get(DEVICE).cloned().context("its key")?;
    Ok((gateway, key))
}

/// Where the TCP link listens, and where metrics and health can be read. Which of them is said first is not settled.
fn addresses(agent: &mut Program) -> Result<(SocketAddr, SocketAddr)> {
    let (mut link, mut metrics) = (None, None);
    loop {
        let (what, address) = agent.wait_for(PATIENCE, |line| {
            let line: serde_json::Value = serde_json::from_str(line).ok()?;
            let address: SocketAddr = line["address"].as_str()?.parse().ok()?;
            Some((line["message"].as_str()?.to_owned(), address))
        })?;
        match what.as_str() {
            "listening" => link = Some(address),
            "metrics and health" => metrics = Some(address),
            _ => {}
        }
        if let (Some(link), Some(metrics)) = (link, metrics) {
            return Ok((link, metrics));
        }
    }
}

/// Sends a request as it is; status, head and body of the answer.
fn ask(address: SocketAddr, request: &str) -> Result<(u16, String, String)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").with_context(|| format!("no answer: {answer:?}"))?;
    let status = head.split(' ').nth(1).context("a status")?.parse()?;
    Ok((status, head.to_ascii_lowercase(), body.to_owned()))
}

fn get(address: SocketAddr, path: &str) -> Result<(u16, String, String)> {
    ask(address, &format!("GET {path} HTTP/1.1\r\nHost: gridpost\r\n\r\n"))
}

/// The page's samples, by name and labels; the page must be what its format says (exposition formats, text-based format).
fn metrics(address: SocketAddr) -> Result<BTreeMap<String, f64>> {
    let (status, head, body) = get(address, "/metrics")?;
    ensure!(status == 200 && head.contains("content-type: text/plain; version=0.0.4"), "{status} {head}");
    let mut types = BTreeMap::new();
    let mut samples = BTreeMap::new();
    for line in body.lines() {
        if let Some(typed) = line.strip_prefix("# TYPE ") {
            let (name, kind) = typed.split_once(' ').context("a type")?;
            ensure!(types.insert(name.to_owned(), kind.to_owned()).is_none(), "{name} comes twice");
        } else if !line.starts_with("# HELP ") {
            let (sample, value) = line.rsplit_once(' ').context("a value")?;
            let name = sample.split('{').next().context("a name")?;
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| {
                name.strip_suffix(end).filter(|base| types.get(*base).is_some_and(|kind| kind == "histogram"))
            });
            let kind = types.get(base.unwrap_or(name)).with_context(|| format!("{name} has no type"))?;
            ensure!((kind == "counter") == name.ends_with("_total"), "{name} is a {kind}");
            ensure!(name.starts_with("gridpost_") || name.starts_with("process_"), "{name}");
            ensure!(samples.insert(sample.to_owned(), value.parse()?).is_none(), "{sample} comes twice");
        }
    }
    Ok(samples)
}

#[test]
fn metrics_say_what_came_what_was_not_taken_and_what_waits() -> Result<()> {
    let (gateway, key) = gateway("")?;
    let mut agent = gateway.launch()?;
    let (link, address) = addresses(&mut agent)?;

    let mut device = Device::connect(link, DEVICE, key, 5)?;
    // Of the hundred records before them nobody will ever hear.
    let frame = device.hello_from(101, 101)?;
    device.send(&frame)?;
    device.wait_for_ack(0)?;
    let frame = device.records(5, 101, 15)?;
    let wire = to_stream(&frame);
    device.link.write_all(&wire[..wire.len() / 2])?;
    device.link.write_all(&[0])?;
    device.send(&frame)?;
    device.wait_for_ack(115)?;
    device.send(&frame)?;
    let frame = device.records(5, 116, 1)?;
    device.send(&frame)?;
    device.wait_for_ack(116)?;

    let found = metrics(address)?;
    let is = |name: &str| found.get(name).copied().with_context(|| format!("no {name} in {found:#?}"));
    for (name, value) in [
        ("gridpost_records_received_total{link=\"lan\"}", 16.0),
        ("gridpost_frames_rejected_total{link=\"lan\",reason=\"damaged\"}", 1.0),
        ("gridpost_frames_rejected_total{link=\"lan\",reason=\"replayed\"}", 1.0),
        ("gridpost_frames_rejected_total{link=\"lan\",reason=\"not_authentic\"}", 0.0),
        ("gridpost_link_up{link=\"lan\"}", 1.0),
        ("gridpost_records_given_up_by_device_total", 100.0),
        ("gridpost_events_made_total{kind=\"gap\",phase=\"gap\"}", 1.0),
        ("gridpost_spool_rows", 1.0),
        ("gridpost_events_published_total", 0.0),
        ("gridpost_events_evicted_total", 0.0),
        ("gridpost_uplink_connected", 0.0),
        ("gridpost_ready", 1.0),
        (&format!("gridpost_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION")), 1.0),
    ] {
        ensure!(is(name)? == value, "{name} is {}", is(name)?);
    }
    ensure!(is("gridpost_spool_bytes")? > 100.0 && is("gridpost_spool_file_bytes")? > 4096.0);
    ensure!(is("gridpost_commit_seconds_count")? >= 4.0);
    ensure!(is("gridpost_commit_seconds_bucket{le=\"+Inf\"}")? == is("gridpost_commit_seconds_count")?);
    // The event's time is the gateway's, of this minute.
    ensure!(is("gridpost_spool_oldest_seconds")? < PATIENCE.as_secs_f64());
    ensure!(is("process_resident_memory_bytes")? > 1e6 && is("process_open_fds")? > 3.0);
    // Devices are no label.
    ensure!(!found.keys().any(|name| name.contains("6770000000")), "{found:#?}");
    Ok(())
}

#[test]
fn health_says_what_is_not_well() -> Result<()> {
    let (gateway, _) = gateway("[[link.serial]]\nname = 'rs485'\nport = 'not-there'\n")?;
    let mut agent = gateway.launch()?;
    let (_, address) = addresses(&mut agent)?;
    let (status, _, body) = get(address, "/healthz")?;
    ensure!(status == 200 && body.contains("\"alive\":true"), "{status} {body}");
    let (status, head, body) = get(address, "/readyz")?;
    ensure!(status == 503 && head.contains("application/json"), "{status} {head}");
    let said: serde_json::Value = serde_json::from_str(&body)?;
    ensure!(said["ready"] == false, "{said}");
    let problems = said["problems"].as_array().context("problems")?;
    ensure!(
        problems.len() == 1 && problems[0].as_str().is_some_and(|one| one.starts_with("link rs485: ")),
        "{said}"
    );
    Ok(())
}

#[test]
fn hostile_requests_are_answered_briefly_and_hold_up_nobody() -> Result<()> {
    let (gateway, _) = gateway("")?;
    let mut agent = gateway.launch()?;
    let (_, address) = addresses(&mut agent)?;
    // All places and more, by those who never finish what they say.
    let slow: Vec<TcpStream> = (0..2 * http::CONNECTIONS_MAX)
        .map(|_| {
            let mut stream = TcpStream::connect(address)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.write_all(b"GET /metrics HTTP/1.1\r\nX: ")?;
            Ok(stream)
        })
        .collect::<Result<_>>()?;
    ensure!(get(address, "/healthz")?.0 == 200, "whoever waits gets a turn");
    for mut stream in slow {
        // Some are told (408), all are hung up on.
        let mut left = Vec::new();
        match stream.read_to_end(&mut left) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            Err(error) => bail!("a slow connection stays: {error}"),
        }
    }

    for (status, request) in [
        (405, "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n".to_owned()),
        (404, "GET /../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n".to_owned()),
        (431, format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(http::REQUEST_BYTES_MAX))),
        (400, "\u{1}\u{2}\u{3} nonsense\r\n\r\n".to_owned()),
        (200, "HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n".to_owned()),
    ] {
        let (found, ..) = ask(address, &request)?;
        ensure!(found == status, "{found} instead of {status} to {:?}", &request[..40.min(request.len())]);
    }
    ensure!(metrics(address)?.len() > 20);
    Ok(())
}

/// The service manager's end.
struct ServiceManager(UnixDatagram);

impl ServiceManager {
    fn listen(path: &Path) -> Result<Self> {
        let _ = fs::remove_file(path);
        Ok(Self(UnixDatagram::bind(path)?))
    }

    /// What came and was not looked at.
    fn drain(&self) -> Result<Vec<String>> {
        self.0.set_nonblocking(true)?;
        let mut said = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            match self.0.recv(&mut buffer) {
                Ok(count) => said.push(String::from_utf8_lossy(&buffer[..count]).into_owned()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(said),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Waits until something is said that contains this.
    fn wait_for(&self, text: &str) -> Result<String> {
        self.0.set_nonblocking(false)?;
        let deadline = Instant::now() + PATIENCE;
        let mut buffer = [0; 4096];
        while let Some(left) = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
        {
            self.0.set_read_timeout(Some(left))?;
            let count = self.0.recv(&mut buffer).with_context(|| format!("waiting for {text:?}"))?;
            let said = String::from_utf8_lossy(&buffer[..count]);
            if said.contains(text) {
                return Ok(said.into_owned());
            }
        }
        bail!("nobody said {text:?} in {PATIENCE:?}")
    }
}

#[test]
fn the_service_manager_is_told_and_a_pipeline_that_gets_nowhere_does_not_feed_the_watchdog() -> Result<()> {
    let (gateway, key) = gateway("")?;
    let manager = ServiceManager::listen(&gateway.path("notify"))?;
    let mut run = gateway.command(&["run", "-c", "gridpost.toml"]);
    run.env("NOTIFY_SOCKET", gateway.path("notify")).env("WATCHDOG_USEC", "8000000");
    let mut agent = Program::start(&mut run)?;
    let (link, address) = addresses(&mut agent)?;
    let ready = manager.wait_for("READY=1")?;
    ensure!(ready.contains("STATUS=0 of ") && ready.contains("no connection to the broker"), "{ready}");
    // Idle, and without a broker: fed all the same, again and again.
    for _ in 0..3 {
        manager.wait_for("WATCHDOG=1")?;
    }

    // Somebody holds the spool's lock: nothing can be committed.
    let holder = Connection::open(gateway.path("spool.db"))?;
    holder.execute_batch("BEGIN IMMEDIATE")?;
    let mut device = Device::connect(link, DEVICE, key, 5)?;
    let hello = device.hello(1)?;
    device.send(&hello)?;
    // It began after the last beat, and took longer than the watchdog waits between two looks at it.
    for _ in 0..2 {
        agent.wait_for_text(PATIENCE, "nothing committed")?;
    }
    manager.drain()?;
    agent.wait_for_text(PATIENCE, "nothing committed")?;
    let said = manager.drain()?;
    ensure!(!said.iter().any(|one| one.contains("WATCHDOG=1")), "{said:?}");
    let (status, _, body) = get(address, "/readyz")?;
    ensure!(status == 503 && body.contains("spool: ") && body.contains("locked"), "{status} {body}");

    holder.execute_batch("ROLLBACK")?;
    manager.wait_for("WATCHDOG=1")?;
    // Nobody sends anything, and still it finds out that it can write again.
    ensure!(get(address, "/readyz")?.0 == 200, "{:?}", get(address, "/readyz")?);
    agent.signal(Signal::TERM)?;
    manager.wait_for("STOPPING=1")?;
    let (status, said) = agent.wait(Duration::from_secs(60))?;
    ensure!(status.success(), "{}", said.join("\n"));
    Ok(())
}
