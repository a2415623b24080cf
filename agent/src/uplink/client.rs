//! The only file that knows the MQTT client library (rumqttc), both its MQTT 5 and its 3.1.1 half.
//!
//! A [`Client`] lives as long as one connection: the library's own memory of unacknowledged publishes is dropped with it
//! (it loses messages on a reconnect without session, and mixes acknowledgements of two connections), and the spool's
//! cursor begins again at the first event that is not acknowledged.

use std::time::Duration;

use bytes::Bytes;
use rumqttc::v5::mqttbytes::v5::{
    LastWill as LastWill5, Packet as Packet5, PubAckReason, PublishProperties,
    SubscribeReasonCode as SubReason5,
};
use rumqttc::v5::{self, mqttbytes::QoS as QoS5};
use rumqttc::{
    NetworkOptions, Outgoing, Packet, QoS, SubscribeReasonCode as SubReason311, TlsConfiguration, Transport,
};

use super::config::{Broker, Connection, Version};

/// The longest packet that is taken or sent, in bytes. An event is below 4 KiB.
pub const PACKET_BYTES_MAX: u32 = 256 * 1024;
/// How long a connection may take to be made.
const CONNECT_S_MAX: u64 = 10;
/// A publish's bytes beside topic and payload: header, packet id, properties.
const PUBLISH_OVERHEAD_BYTES: usize = 64;

/// A message that the broker publishes for this gateway when it goes away without a word, or that it publishes itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retained {
    /// The topic.
    pub topic: String,
    /// The payload.
    pub payload: Vec<u8>,
}

/// How a message came, and what is to be done about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    /// The packet to acknowledge where the connection does not do that by itself; 0 for one that needs none.
    pub packet: u16,
    /// It was published before this subscription, and the broker kept it.
    pub retained: bool,
    /// Where an answer is wanted, and what is to go with it (MQTT 5, 4.10).
    pub respond: Option<Respond>,
}

/// Where an answer is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Respond {
    /// The response topic.
    pub topic: String,
    /// The correlation data.
    pub correlation: Option<Bytes>,
}

/// What happened on the connection.
#[derive(Debug)]
pub enum Step {
    /// The broker accepted the connection.
    Connected {
        /// How many publishes the broker takes without having acknowledged them.
        receive_max: u16,
        /// The longest packet that the broker takes, in bytes.
        packet_max: u32,
    },
    /// The next submitted publish was written, with this packet id.
    Sent(u16),
    /// The broker has it.
    Acknowledged(u16),
    /// The broker will never take it.
    Refused(u16, String),
    /// The broker does not take it now.
    NotNow(String),
    /// The broker granted the subscription.
    Subscribed,
    /// The broker refused the subscription.
    NotSubscribed(String),
    /// A message for a subscription.
    Message {
        /// Its topic.
        topic: String,
        /// Its payload.
        payload: Bytes,
        /// How it came.
        delivery: Delivery,
    },
    /// Our goodbye was written.
    SaidGoodbye,
    /// Nothing that matters here.
    Other,
}

/// The client cannot take another request now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// Puts requests into a connection.
#[derive(Clone, Debug)]
pub enum Requests {
    /// MQTT 5.
    V5(v5::AsyncClient),
    /// MQTT 3.1.1.
    V311(rumqttc::AsyncClient),
}

/// Drives a connection.
pub struct Driver {
    events: EventLoop,
    /// Why the connection is over.
    over: Option<String>,
}

#[allow(clippy::large_enum_variant, reason = "there is one a connection")]
enum EventLoop {
    V5(v5::EventLoop),
    V311(rumqttc::EventLoop),
}

impl From<EventLoop> for Driver {
    fn from(events: EventLoop) -> Self {
        Self { events, over: None }
    }
}

/// Opens a connection without a session; it is made when the driver is first polled.
#[must_use]
pub fn open(connection: &Connection, broker: &Broker, will: Option<Retained>) -> (Requests, Driver) {
    open_with(connection, broker, will, None)
}

/// How a connection receives.
#[derive(Clone, Copy, Debug)]
pub struct Receiving {
    /// Whether what the broker keeps for this client id is to be gone on with.
    pub resume: bool,
    /// For how many seconds the broker keeps the session when the client is away. MQTT 3.1.1 knows no such time.
    pub keep_s: u32,
    /// Whether messages are acknowledged with [`Requests::acknowledge`], and not by themselves.
    pub by_hand: bool,
    /// The longest packet that is taken, in bytes. On MQTT 5 the broker leaves out a longer one, on 3.1.1 it ends the connection.
    pub packet_bytes_max: u32,
    /// How many messages the broker sends without having their acknowledgement (MQTT 5).
    pub unacknowledged_max: u16,
}

/// Opens a connection for receiving, with the session that the broker has for this client id, and keeps for `keep_s`
/// seconds when the client is away. MQTT 3.1.1 knows no such time: there the broker's own setting holds. Not for
/// publishing: what a session resends collides with what the spool resends.
#[must_use]
pub fn open_in_session(connection: &Connection, broker: &Broker, keep_s: u32) -> (Requests, Driver) {
    let receiving = Receiving {
        resume: true,
        keep_s,
        by_hand: false,
        packet_bytes_max: PACKET_BYTES_MAX,
        unacknowledged_max: u16::MAX,
    };
    open_with(connection, broker, None, Some(receiving))
}

/// Opens a connection for receiving, as [`open_in_session`], in every detail as said.
#[must_use]
pub fn open_to_receive(connection: &Connection, broker: &Broker, receiving: Receiving) -> (Requests, Driver) {
    open_with(connection, broker, None, Some(receiving))
}

fn open_with(
    connection: &Connection,
    broker: &Broker,
    will: Option<Retained>,
    receiving: Option<Receiving>,
) -> (Requests, Driver) {
    let transport = match &connection.tls {
        Some(config) if broker.tls => Transport::Tls(TlsConfiguration::Rustls(config.clone())),
        _ => Transport::Tcp,
    };
    let keep_alive = Duration::from_secs(u64::from(connection.keep_alive_s));
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    network.set_connection_timeout(CONNECT_S_MAX);
    // Room for the window, and for what is not a publish.
    let requests_max = usize::from(connection.inflight) + 8;
    let clean = receiving.is_none_or(|receiving| !receiving.resume);
    let by_hand = receiving.is_some_and(|receiving| receiving.by_hand);
    let packet_max = receiving.map_or(PACKET_BYTES_MAX, |receiving| receiving.packet_bytes_max);
    match connection.version {
        Version::V5 => {
            let mut options = v5::MqttOptions::new(&connection.client_id, &broker.host, broker.port);
            options
                .set_transport(transport)
                .set_keep_alive(keep_alive)
                .set_clean_start(clean)
                .set_session_expiry_interval(receiving.map(|receiving| receiving.keep_s))
                .set_receive_maximum(receiving.map(|receiving| receiving.unacknowledged_max))
                .set_manual_acks(by_hand)
                .set_max_packet_size(Some(packet_max))
                .set_connection_timeout(CONNECT_S_MAX)
                .set_outgoing_inflight_upper_limit(connection.inflight)
                .set_network_options(network);
            if let Some((user, password)) = &connection.credentials {
                options.set_credentials(user, password);
            }
            if let Some(will) = will {
                options.set_last_will(LastWill5::new(
                    will.topic,
                    will.payload,
                    QoS5::AtLeastOnce,
                    true,
                    None,
                ));
            }
            let (client, driver) = v5::AsyncClient::new(options, requests_max);
            (Requests::V5(client), EventLoop::V5(driver).into())
        }
        Version::V311 => {
            let mut options = rumqttc::MqttOptions::new(&connection.client_id, &broker.host, broker.port);
            options
                .set_transport(transport)
                .set_keep_alive(keep_alive)
                .set_clean_session(clean)
                .set_manual_acks(by_hand)
                .set_max_packet_size(packet_max as usize, PACKET_BYTES_MAX as usize)
                .set_inflight(connection.inflight);
            if let Some((user, password)) = &connection.credentials {
                options.set_credentials(user, password);
            }
            if let Some(will) = will {
                options.set_last_will(rumqttc::LastWill::new(
                    will.topic,
                    will.payload,
                    QoS::AtLeastOnce,
                    true,
                ));
            }
            let (client, mut driver) = rumqttc::AsyncClient::new(options, requests_max);
            driver.set_network_options(network);
            (Requests::V311(client), EventLoop::V311(driver).into())
        }
    }
}

/// How long a publish is on the wire at most, in bytes.
#[must_use]
pub fn publish_bytes(topic: &str, payload: &[u8]) -> usize {
    topic.len() + payload.len() + PUBLISH_OVERHEAD_BYTES
}

impl Requests {
    /// Publishes with QoS 1. Never waits.
    ///
    /// # Errors
    /// [`Full`] when the client has too many requests waiting.
    pub fn publish(
        &self,
        topic: String,
        payload: Vec<u8>,
        retain: bool,
        content_type: &str,
    ) -> Result<(), Full> {
        match self {
            Self::V5(client) => {
                let properties = PublishProperties {
                    content_type: Some(content_type.to_owned()),
                    ..PublishProperties::default()
                };
                client
                    .try_publish_with_properties(topic, QoS5::AtLeastOnce, retain, payload, properties)
                    .map_err(|_| Full)
            }
            Self::V311(client) => {
                client.try_publish(topic, QoS::AtLeastOnce, retain, payload).map_err(|_| Full)
            }
        }
    }

    /// Publishes an answer with QoS 1; on MQTT 5 with what the question asked to go with it. Never waits.
    ///
    /// # Errors
    /// [`Full`] when the client has too many requests waiting.
    pub fn answer(
        &self,
        topic: String,
        payload: Vec<u8>,
        correlation: Option<Bytes>,
        content_type: &str,
    ) -> Result<(), Full> {
        let Self::V5(client) = self else { return self.publish(topic, payload, false, content_type) };
        let properties = PublishProperties {
            content_type: Some(content_type.to_owned()),
            correlation_data: correlation,
            ..PublishProperties::default()
        };
        client
            .try_publish_with_properties(topic, QoS5::AtLeastOnce, false, payload, properties)
            .map_err(|_| Full)
    }

    /// Publishes a question with QoS 1; on MQTT 5 with where the answer is wanted, and so that no broker keeps it longer than
    /// `expires_s` seconds for a receiver that is away. Never waits.
    ///
    /// # Errors
    /// [`Full`] when the client has too many requests waiting.
    pub fn ask(
        &self,
        topic: String,
        payload: Vec<u8>,
        respond: &Respond,
        expires_s: u32,
    ) -> Result<(), Full> {
        let Self::V5(client) = self else { return self.publish(topic, payload, false, "application/json") };
        let properties = PublishProperties {
            content_type: Some("application/json".to_owned()),
            response_topic: Some(respond.topic.clone()),
            correlation_data: respond.correlation.clone(),
            message_expiry_interval: Some(expires_s),
            ..PublishProperties::default()
        };
        client
            .try_publish_with_properties(topic, QoS5::AtLeastOnce, false, payload, properties)
            .map_err(|_| Full)
    }

    /// Acknowledges a message on a connection that does not do that by itself. Never waits.
    ///
    /// # Errors
    /// [`Full`] when the client has too many requests waiting.
    pub fn acknowledge(&self, packet: u16) -> Result<(), Full> {
        match self {
            Self::V5(client) => {
                let mut message = v5::mqttbytes::v5::Publish::new("", QoS5::AtLeastOnce, Bytes::new(), None);
                message.pkid = packet;
                client.try_ack(&message).map_err(|_| Full)
            }
            Self::V311(client) => {
                let mut message = rumqttc::Publish::new("", QoS::AtLeastOnce, Vec::new());
                message.pkid = packet;
                client.try_ack(&message).map_err(|_| Full)
            }
        }
    }

    /// Subscribes with QoS 0: the broker keeps nothing of it for a client that is away. Never waits.
    ///
    /// # Errors
    /// [`Full`] when the client has too many requests waiting.
    pub fn subscribe_unkept(&self, filter: &str) -> Result<(), Full> {
        match self {
            Self::V5(client) => client.try_subscribe(filter, QoS5::AtMostOnce).map_err(|_| Full),
            Self::V311(client) => client.try_subscribe(filter, QoS::AtMostOnce).map_err(|_| Full),
        }
    }

    /// Subscribes with QoS 1. Never waits.
    ///
    /// # Errors
    /// [`Full`] when the client has too many requests waiting.
    pub fn subscribe(&self, filter: &str) -> Result<(), Full> {
        match self {
            Self::V5(client) => client.try_subscribe(filter, QoS5::AtLeastOnce).map_err(|_| Full),
            Self::V311(client) => client.try_subscribe(filter, QoS::AtLeastOnce).map_err(|_| Full),
        }
    }

    /// Says goodbye, so that the broker does not publish the will. Never waits.
    ///
    /// # Errors
    /// [`Full`] when the client has too many requests waiting.
    pub fn disconnect(&self) -> Result<(), Full> {
        match self {
            Self::V5(client) => client.try_disconnect().map_err(|_| Full),
            Self::V311(client) => client.try_disconnect().map_err(|_| Full),
        }
    }
}

impl Driver {
    /// Moves the connection on. Not to be dropped before it is done, and not to be polled for anything new after an error.
    ///
    /// # Errors
    /// The connection is over; the text says why, for a technician.
    pub async fn poll(&mut self) -> Result<Step, String> {
        if self.over.is_none() {
            let polled = match &mut self.events {
                EventLoop::V5(driver) => driver.poll().await.map(step5).map_err(|error| explain5(&error)),
                EventLoop::V311(driver) => {
                    driver.poll().await.map(step311).map_err(|error| explain311(&error))
                }
            };
            match polled {
                Ok(step) => return Ok(step),
                Err(reason) => self.over = Some(reason),
            }
        }
        // What was received together with the end of the connection was received: a broker may say why it refuses an event
        // and hang up in one breath. The library keeps it, but reports the error first.
        let left = match &mut self.events {
            EventLoop::V5(driver) => driver.state.events.pop_front().map(step5),
            EventLoop::V311(driver) => driver.state.events.pop_front().map(step311),
        };
        left.map_or_else(|| Err(self.over.clone().unwrap_or_default()), Ok)
    }
}

fn step5(event: v5::Event) -> Step {
    match event {
        v5::Event::Incoming(Packet5::ConnAck(ack)) => {
            let properties = ack.properties.as_ref();
            Step::Connected {
                receive_max: properties.and_then(|p| p.receive_max).unwrap_or(u16::MAX),
                packet_max: properties.and_then(|p| p.max_packet_size).unwrap_or(PACKET_BYTES_MAX),
            }
        }
        v5::Event::Incoming(Packet5::PubAck(ack)) => puback(ack.pkid, ack.reason),
        v5::Event::Incoming(Packet5::Publish(publish)) => {
            let properties = publish.properties.unwrap_or_default();
            let correlation = properties.correlation_data;
            Step::Message {
                topic: String::from_utf8_lossy(&publish.topic).into_owned(),
                payload: publish.payload,
                delivery: Delivery {
                    packet: publish.pkid,
                    retained: publish.retain,
                    respond: properties.response_topic.map(|topic| Respond { topic, correlation }),
                },
            }
        }
        v5::Event::Incoming(Packet5::SubAck(ack)) => {
            let granted = |reason: &SubReason5| matches!(reason, SubReason5::Success(_));
            suback(ack.return_codes.iter().find(|reason| !granted(reason)))
        }
        v5::Event::Outgoing(Outgoing::Publish(packet)) => Step::Sent(packet),
        v5::Event::Outgoing(Outgoing::Disconnect) => Step::SaidGoodbye,
        _ => Step::Other,
    }
}

/// What an acknowledgement means (MQTT 5, 3.4.2.1). Whatever is not success is no delivery.
fn puback(packet: u16, reason: PubAckReason) -> Step {
    match reason {
        // Nobody listens now: the broker took it, and that is what it promised.
        PubAckReason::Success | PubAckReason::NoMatchingSubscribers => Step::Acknowledged(packet),
        PubAckReason::NotAuthorized | PubAckReason::TopicNameInvalid | PubAckReason::PayloadFormatInvalid => {
            Step::Refused(packet, format!("{reason:?}"))
        }
        PubAckReason::QuotaExceeded
        | PubAckReason::UnspecifiedError
        | PubAckReason::ImplementationSpecificError
        | PubAckReason::PacketIdentifierInUse => Step::NotNow(format!("{reason:?}")),
    }
}

/// What the answer to a subscription means: the client library passes on a refusal like a grant.
fn suback(refusal: Option<&impl std::fmt::Debug>) -> Step {
    refusal.map_or(Step::Subscribed, |reason| Step::NotSubscribed(format!("{reason:?}")))
}

fn step311(event: rumqttc::Event) -> Step {
    match event {
        rumqttc::Event::Incoming(Packet::ConnAck(_)) => {
            Step::Connected { receive_max: u16::MAX, packet_max: PACKET_BYTES_MAX }
        }
        rumqttc::Event::Incoming(Packet::PubAck(ack)) => Step::Acknowledged(ack.pkid),
        rumqttc::Event::Incoming(Packet::Publish(publish)) => {
            let delivery = Delivery { packet: publish.pkid, retained: publish.retain, respond: None };
            Step::Message { topic: publish.topic, payload: publish.payload, delivery }
        }
        rumqttc::Event::Incoming(Packet::SubAck(ack)) => {
            let granted = |reason: &SubReason311| matches!(reason, SubReason311::Success(_));
            suback(ack.return_codes.iter().find(|reason| !granted(reason)))
        }
        rumqttc::Event::Outgoing(Outgoing::Publish(packet)) => Step::Sent(packet),
        rumqttc::Event::Outgoing(Outgoing::Disconnect) => Step::SaidGoodbye,
        _ => Step::Other,
    }
}

/// Whether a connection ended because the library was sent more than it takes.
#[must_use]
pub fn is_too_large(reason: &str) -> bool {
    let reason = reason.to_ascii_lowercase();
    reason.contains("payload size limit exceeded")
        || (reason.contains("max payload size") && reason.contains("exceeded"))
}

const BAD_CREDENTIALS: &str = "the broker refuses the user name or password; look at username, password_file and \
                               GRIDPOST_MQTT_PASSWORD, and at the broker's own list";
const NOT_AUTHORIZED: &str = "the broker does not allow this gateway to connect; look at its user name or certificate, \
                              and at the broker's access list";

fn explain5(error: &v5::ConnectionError) -> String {
    use rumqttc::v5::mqttbytes::v5::ConnectReturnCode::{BadUserNamePassword, NotAuthorized};
    match error {
        v5::ConnectionError::ConnectionRefused(BadUserNamePassword) => BAD_CREDENTIALS.to_owned(),
        v5::ConnectionError::ConnectionRefused(NotAuthorized) => NOT_AUTHORIZED.to_owned(),
        other => with_causes(other),
    }
}

fn explain311(error: &rumqttc::ConnectionError) -> String {
    use rumqttc::ConnectReturnCode::{BadUserNamePassword, NotAuthorized};
    match error {
        rumqttc::ConnectionError::ConnectionRefused(BadUserNamePassword) => BAD_CREDENTIALS.to_owned(),
        rumqttc::ConnectionError::ConnectionRefused(NotAuthorized) => NOT_AUTHORIZED.to_owned(),
        other => with_causes(other),
    }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_success_is_a_delivery_and_a_full_broker_is_no_refusal_for_good() {
        use PubAckReason as R;
        for delivered in [R::Success, R::NoMatchingSubscribers] {
            assert!(matches!(puback(7, delivered), Step::Acknowledged(7)));
        }
        for refused in [R::NotAuthorized, R::TopicNameInvalid, R::PayloadFormatInvalid] {
            assert!(matches!(puback(7, refused), Step::Refused(7, _)));
        }
        for later in [R::QuotaExceeded, R::UnspecifiedError, R::ImplementationSpecificError] {
            assert!(matches!(puback(7, later), Step::NotNow(_)));
        }
    }
}
