//! The access rules that `gridpost acl` writes, at real brokers: who is to get something gets it, and nobody else.
//!
//! A publish that a broker refuses is acknowledged all the same on MQTT 3.1.1, so what was refused shows in what the platform, which
//! reads everything, does not get: publishes go out one after the other, and a last one that is allowed ends the test.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use gridpost_tests::agent::GatewayFolder;
use gridpost_tests::mosquitto::{Mosquitto, MosquittoOptions, find, free_port};
use gridpost_tests::program::Program;
use gridpost_tests::qemu::PARTS_REQUIRED;
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, QoS, SubscribeReasonCode};
use tempfile::TempDir;

/// Long enough for a machine that is busy with everything else; reached only when something hangs.
const PATIENCE: Duration = Duration::from_secs(60);
/// Who publishes what, in order, and whether the platform is to get it.
const PUBLISHES: [(&str, &str, bool); 14] = [
    ("gw-1", "event/housing/01/0102/0102003/gw-1", true),
    ("gw-1", "event/ecology/01/0101/0101001/gw-1", true),
    ("gw-2", "event/housing/01/0102/0102003/gw-2", true),
    ("gw-1", "event/housing/01/0102/0102003/gw-2", false),
    ("housing", "event/housing/01/0102/0102003/gw-1", false),
    ("platform", "event/housing/01/0102/0102003/gw-1", false),
    ("gw-1", "gateway/gw-1/reply/readings", true),
    ("gw-1", "gateway/gw-2/status", false),
    ("housing", "gateway/gw-1/request/readings", false),
    ("platform", "gateway/gw-1/request/readings", true),
    ("housing", "disposition/gw-1/ecology", false),
    ("housing", "disposition/gw-1/housing", true),
    ("housing", "disposition/gw-1", false),
    ("gw-1", "gateway/gw-1/status", true),
];
/// The last of them, which ends the test.
const LAST: &str = "gateway/gw-1/status";
/// Of what the platform gets, what each of the others gets.
const HEARD: [(&str, &[&str]); 4] = [
    ("housing", &["event/housing/01/0102/0102003/gw-1", "event/housing/01/0102/0102003/gw-2", LAST]),
    ("ecology", &["event/ecology/01/0101/0101001/gw-1", LAST]),
    ("gw-1", &["gateway/gw-1/request/readings", "disposition/gw-1/housing"]),
    ("gw-2", &[]),
];

fn topic(rest: &str) -> String {
    format!("gridpost/1/440310/{rest}")
}

/// The file that the command writes for the sample district and two gateways.
fn acl(format: &str) -> Result<String> {
    let folder = GatewayFolder::new("mqtt://127.0.0.1:1")?;
    folder.run(&["acl", "--format", format, "--gateway", "gw-1", "gw-2"])
}

struct Client {
    client: AsyncClient,
    driver: EventLoop,
    heard: Vec<String>,
}

impl Client {
    async fn connect(user: &str, port: u16) -> Result<Self> {
        // A broker that just started its JetStream may hang up on the first to come.
        for _ in 0..20 {
            let mut options = MqttOptions::new(format!("client-{user}"), "127.0.0.1", port);
            options.set_credentials(user, "secret").set_keep_alive(Duration::from_secs(60));
            let (client, driver) = AsyncClient::new(options, 16);
            let mut this = Self { client, driver, heard: Vec::new() };
            if this.next(|packet| matches!(packet, Packet::ConnAck(_)).then_some(())).await.is_ok() {
                return Ok(this);
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        bail!("{user} is not let in")
    }

    /// Polls until a packet is what is wanted; keeps the messages that come meanwhile.
    async fn next<T>(&mut self, wanted: impl Fn(&Packet) -> Option<T>) -> Result<T> {
        let found = tokio::time::timeout(PATIENCE, async {
            loop {
                let Event::Incoming(packet) = self.driver.poll().await? else { continue };
                if let Packet::Publish(message) = &packet {
                    self.heard.push(message.topic.clone());
                }
                if let Some(found) = wanted(&packet) {
                    return anyhow::Ok(found);
                }
            }
        });
        found.await.context("the broker does not answer")?
    }

    /// Whether the broker takes the subscription.
    async fn subscribe(&mut self, filter: &str) -> Result<bool> {
        self.client.subscribe(filter, QoS::AtLeastOnce).await?;
        self.next(|packet| match packet {
            Packet::SubAck(answer) => Some(!answer.return_codes.contains(&SubscribeReasonCode::Failure)),
            _ => None,
        })
        .await
    }

    async fn publish(&mut self, topic: &str) -> Result<()> {
        self.client.publish(topic, QoS::AtLeastOnce, false, "{}").await?;
        self.next(|packet| matches!(packet, Packet::PubAck(_)).then_some(())).await
    }

    async fn wait_for(&mut self, topic: &str) -> Result<()> {
        if self.heard.iter().any(|heard| heard == topic) {
            return Ok(());
        }
        self.next(|packet| matches!(packet, Packet::Publish(message) if message.topic == topic).then_some(()))
            .await
    }

    /// Everything that was sent to it before: the broker answers in order.
    async fn settle(&mut self) -> Result<()> {
        self.subscribe("gridpost/1/440310/nothing").await.map(drop)
    }
}

/// Everybody subscribes, everybody publishes; then each has what is for it.
async fn everybody_gets_what_is_theirs(port: u16, filters: impl Fn(&str) -> Vec<String>) -> Result<()> {
    let mut clients = BTreeMap::new();
    for user in ["platform", "housing", "ecology", "gw-1", "gw-2"] {
        let mut client = Client::connect(user, port).await?;
        for filter in filters(user) {
            ensure!(client.subscribe(&filter).await?, "{user} may not subscribe to {filter}");
        }
        clients.insert(user, client);
    }
    for (user, rest, _) in PUBLISHES {
        clients.get_mut(user).context("a client")?.publish(&topic(rest)).await?;
    }
    let platform = clients.get_mut("platform").context("the platform")?;
    platform.wait_for(&topic(LAST)).await?;
    let allowed: Vec<_> =
        PUBLISHES.iter().filter(|(.., allowed)| *allowed).map(|(_, rest, _)| topic(rest)).collect();
    ensure!(platform.heard == allowed, "the platform heard {:#?}", platform.heard);
    for (user, heard) in HEARD {
        let client = clients.get_mut(user).context("a client")?;
        for rest in heard {
            client.wait_for(&topic(rest)).await.with_context(|| format!("{user} waits for {rest}"))?;
        }
        client.settle().await?;
        let expected: Vec<_> = heard.iter().map(|rest| topic(rest)).collect();
        ensure!(client.heard == expected, "{user} heard {:#?}", client.heard);
    }
    Ok(())
}

#[tokio::test]
async fn mosquitto_keeps_departments_and_gateways_apart() -> Result<()> {
    let options = MosquittoOptions { acl: Some(acl("mosquitto")?), ..MosquittoOptions::default() };
    let Some(broker) = Mosquitto::start(&options)? else { return Ok(()) };
    // It takes any subscription, and filters what it delivers.
    everybody_gets_what_is_theirs(broker.port(), |_| vec!["gridpost/#".to_owned()]).await?;
    // A stranger gets nothing; what is retained would come before the answer to the next subscription.
    let mut stranger = Client::connect("stranger", broker.port()).await?;
    stranger.subscribe("#").await?;
    stranger.publish(&topic("event/housing/01/0102/0102003/stranger")).await?;
    stranger.settle().await?;
    ensure!(stranger.heard.is_empty(), "a stranger heard {:?}", stranger.heard);
    Ok(())
}

#[tokio::test]
async fn a_gateway_needs_no_more_than_its_rules_at_mosquitto() -> Result<()> {
    let options = MosquittoOptions { acl: Some(acl("mosquitto")?), ..MosquittoOptions::default() };
    let Some(broker) = Mosquitto::start(&options)? else { return Ok(()) };
    let mut platform = Client::connect("platform", broker.port()).await?;
    ensure!(platform.subscribe("gridpost/1/440310/#").await?);
    for (user, let_in) in [("gw-2", false), ("gw-1", true)] {
        let gateway = GatewayFolder::new(&broker.url())?;
        let configuration = fs::read_to_string(gateway.path("gridpost.toml"))?;
        gateway.configure(&format!("{configuration}username = '{user}'\npassword_file = 'secret'\n"))?;
        let mut secret =
            OpenOptions::new().create_new(true).write(true).mode(0o600).open(gateway.path("secret"))?;
        secret.write_all(b"secret")?;
        gateway.run(&[
            "provision",
            "--device",
            "677000000000000a",
            "--keys",
            "keys.toml",
            "--image",
            "flash.img",
        ])?;
        // Ready or not: what it is denied may be said before.
        let mut agent = gateway.launch()?;
        if let_in {
            platform.wait_for(&topic("gateway/gw-1/status")).await?;
        } else {
            // The gateway is gw-1, and this user is not.
            agent.wait_for_text(PATIENCE, "gateway/gw-1/status")?;
            ensure!(platform.heard.is_empty(), "{:?}", platform.heard);
        }
        agent.kill9()?;
    }
    Ok(())
}

#[tokio::test]
async fn nats_keeps_departments_and_gateways_apart() -> Result<()> {
    let Some(program) = find("nats-server") else {
        ensure!(
            std::env::var_os(PARTS_REQUIRED).is_none(),
            "NATS is not installed: apt-get install nats-server"
        );
        eprintln!("\n*** LEFT OUT: this test needs NATS. apt-get install nats-server ***\n");
        return Ok(());
    };
    let folder = TempDir::with_prefix("gridpost-nats-acl-")?;
    let (port, mqtt) = (free_port()?, free_port()?);
    fs::write(folder.path().join("access.conf"), acl("nats")?)?;
    fs::write(
        folder.path().join("nats.conf"),
        format!(
            "server_name: n\nlisten: \"127.0.0.1:{port}\"\njetstream {{ store_dir: \"{}\" }}\n\
             mqtt {{ listen: \"127.0.0.1:{mqtt}\" }}\ninclude \"access.conf\"\n",
            folder.path().join("store").display()
        ),
    )?;
    let mut command = Command::new(program);
    command.arg("-c").arg(folder.path().join("nats.conf"));
    for variable in acl("nats")?.lines().filter_map(|line| line.split_once("password: $")) {
        command.env(variable.1.split(',').next().context("a variable")?, "secret");
    }
    let mut server = Program::start(&mut command)?;
    server.wait_for_text(PATIENCE, "Server is ready")?;

    let own = |user: &str| {
        let filters: &[&str] = match user {
            "platform" => &["#"],
            "housing" => &["event/housing/#", "gateway/+/status"],
            "ecology" => &["event/ecology/#", "gateway/+/status"],
            "gw-1" => &["gateway/gw-1/request/+", "disposition/gw-1/#"],
            _ => &["gateway/gw-2/request/+", "disposition/gw-2/#"],
        };
        filters.iter().map(|filter| topic(filter)).collect()
    };
    everybody_gets_what_is_theirs(mqtt, own).await?;
    // A subscription that goes beyond what is allowed is refused.
    for (user, filter) in [("housing", "event/#"), ("gw-1", "gateway/+/request/+"), ("gw-1", "event/#")] {
        let mut client = Client::connect(user, mqtt).await?;
        ensure!(!client.subscribe(&topic(filter)).await?, "{user} may subscribe to {filter}");
    }
    // NATS' own protocol would let a department listen to what is delivered to others.
    let mut native = TcpStream::connect(("127.0.0.1", port))?;
    native.set_read_timeout(Some(PATIENCE))?;
    native.write_all(b"CONNECT {\"user\":\"housing\",\"pass\":\"secret\",\"verbose\":false}\r\nSUB $MQTT.sub.> 1\r\nPING\r\n")?;
    let mut answer = String::new();
    native.read_to_string(&mut answer)?;
    ensure!(answer.contains("-ERR 'Authorization Violation'") && !answer.contains("PONG"), "{answer}");
    Ok(())
}
