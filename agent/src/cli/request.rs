//! `gridpost request`: asks a gateway something over its broker, and prints the answer.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use clap::{ArgGroup, Args, ValueEnum};
use gridpost_protocol::id::DeviceId;
use gridpost_protocol::quantity::Quantity;
use serde_json::{Map, Value, json};

use super::exit::Failure;
use super::watch::plain_broker;
use super::{logging, print};
use crate::config::{Config, folder_of};
use crate::requests::NAMES;
use crate::uplink::client::{self, Driver, Requests, Respond, Step};
use crate::uplink::config::{Connection, Version};
use crate::uplink::topics;

/// How long to wait for the gateway's retained status, which says in which division it is.
const STATUS_WITHIN: Duration = Duration::from_secs(5);

/// Arguments of `gridpost request`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("from_where").required(true).args(["config", "broker"]))]
pub struct RequestArgs {
    /// What to ask for: status, readings, summaries, seconds, calibrate
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Use the broker, credentials and certificates of this configuration, and ask its gateway unless another is named
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Or this broker, such as mqtt://localhost:1883
    #[arg(long, value_name = "URL")]
    pub broker: Option<String>,
    /// Speak MQTT 3.1.1 to that broker instead of 5
    #[arg(long, requires = "broker")]
    pub mqtt311: bool,
    /// Which gateway
    #[arg(long, value_name = "ID")]
    pub gateway: Option<String>,
    /// Seconds to wait for the answer
    #[arg(long, value_name = "S", default_value_t = 30)]
    pub timeout: u32,
    /// About which device
    #[arg(long, value_name = "ID")]
    pub device: Option<DeviceId>,
    /// Only this quantity; may be repeated where several can be asked for
    #[arg(long = "quantity", value_name = "NAME")]
    pub quantities: Vec<Quantity>,
    /// From this time on, such as 2026-11-22T22:00:00+08:00
    #[arg(long, value_name = "TIME", value_parser = crate::trial::given::time)]
    pub from: Option<jiff::Timestamp>,
    /// To this time, not included
    #[arg(long, value_name = "TIME", value_parser = crate::trial::given::time)]
    pub to: Option<jiff::Timestamp>,
    /// How many rows at most
    #[arg(long, value_name = "N")]
    pub limit: Option<u32>,
    /// The rows after these: what an answer calls `next`
    #[arg(long, value_name = "NEXT")]
    pub after: Option<String>,
    /// The request's own keys as a JSON object, as in README.md, instead of these
    #[arg(long, value_name = "JSON", conflicts_with_all = ["device", "quantities", "from", "to", "limit", "after"])]
    pub json: Option<String>,
    /// The answer as JSON, or its rows as CSV (readings, summaries)
    #[arg(long, value_enum, default_value_t = Format::Json)]
    pub format: Format,
}

/// How an answer is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// As it is.
    Json,
    /// A line of headers, and a line each row.
    Csv,
}

/// Asks, and prints the answer's `result` as JSON.
///
/// # Errors
/// When the command is not used as it is to be, the broker or the gateway does not answer, or the gateway answers with an error.
pub fn request(args: &RequestArgs) -> Result<(), Failure> {
    logging::start("error");
    let (connection, gateway) = whom(args)?;
    let question = question(args)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::running(format!("cannot start: {error}")))?;
    let result = runtime.block_on(async {
        let asking = ask(connection, &gateway, &args.name, question, args.timeout);
        tokio::time::timeout(Duration::from_secs(u64::from(args.timeout)), asking).await.unwrap_or_else(|_| {
            Err(Failure::running(format!(
                "no answer from {gateway} within {} s: it is away, or the broker's access list keeps one from the other",
                args.timeout
            )))
        })
    })?;
    if args.format == Format::Csv {
        let text =
            csv(&result).ok_or_else(|| Failure::usage("--format csv: this answer has no rows; use json"))?;
        print::all(&text)?;
        if !result["next"].is_null() {
            print::aside(&format!("there are more rows: --after {}", result["next"]));
        }
        if result["truncated"] == true {
            print::aside("there are more seconds than fit: ask again, --from the last one on");
        }
        return Ok(());
    }
    let text = serde_json::to_string_pretty(&result).map_err(|error| Failure::running(error.to_string()))?;
    print::all(&format!("{text}\n"))
}

/// The rows of an answer. Its cells are numbers and words without commas; whatever else an answer holds does not get into a cell.
fn csv(result: &Value) -> Option<String> {
    // Named as `explain --readings-csv` reads them.
    let seconds: Option<Vec<Value>> = result["seconds"].as_array().map(|pairs| {
        let row = |pair: &Value| {
            json!({
                "device": result["device"], "quantity": result["quantity"], "time": pair[0], "value": pair[1],
            })
        };
        pairs.iter().map(row).collect()
    });
    let others = || ["readings", "minutes"].into_iter().find_map(|key| result[key].as_array());
    let rows = match &seconds {
        Some(rows) => rows,
        None => others()?,
    };
    let Some(Value::Object(first)) = rows.first() else { return Some(String::new()) };
    let columns: Vec<&String> = first.keys().collect();
    let cell = |value: &Value| match value {
        Value::String(text) => text.chars().filter(|c| !c.is_control() && !matches!(c, ',' | '"')).collect(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    let header: Vec<String> = columns.iter().map(|name| cell(&Value::String((*name).clone()))).collect();
    let mut text = header.join(",") + "\n";
    for row in rows {
        let cells: Vec<String> = columns.iter().map(|name| cell(&row[name.as_str()])).collect();
        text += &(cells.join(",") + "\n");
    }
    Some(text)
}

fn whom(args: &RequestArgs) -> Result<(Connection, String), Failure> {
    let id = format!("gridpost-request-{:08x}", fastrand::u32(..));
    let (connection, gateway) = match (&args.broker, &args.config) {
        (Some(broker), _) => {
            let mut connection = Connection::plain(plain_broker(broker)?, id);
            if args.mqtt311 {
                connection.version = Version::V311;
            }
            (connection, args.gateway.clone())
        }
        (None, Some(path)) => {
            let config = Config::load(path).map_err(|error| Failure::configuration(&error))?;
            let mut connection = config
                .uplink
                .resolve(&folder_of(path), &config.gateway.id)
                .map_err(|error| Failure::in_configuration(path, &error))?;
            connection.client_id = id;
            (connection, args.gateway.clone().or(Some(config.gateway.id)))
        }
        (None, None) => return Err(Failure::usage("name a broker or a configuration")),
    };
    let gateway = gateway.ok_or_else(|| Failure::usage("--gateway: which gateway is asked?"))?;
    for (what, name) in [("--gateway", &gateway), ("NAME", &args.name)] {
        if !topics::is_segment(name) {
            return Err(Failure::usage(format!(
                "{what}: {name:?} cannot stand in a topic: letters, digits, - and _"
            )));
        }
    }
    Ok((connection, gateway))
}

fn question(args: &RequestArgs) -> Result<Map<String, Value>, Failure> {
    let Some(json) = &args.json else { return Ok(question_of_flags(args)) };
    serde_json::from_str(json).map_err(|error| {
        Failure::usage(format!("--json: {error}; it is an object, such as '{{\"limit\": 10}}'"))
    })
}

fn question_of_flags(args: &RequestArgs) -> Map<String, Value> {
    let mut question = Map::new();
    let mut put = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            question.insert(key.to_owned(), value);
        }
    };
    put("device", args.device.map(|device| device.to_string().into()));
    put("from", args.from.map(|at| at.to_string().into()));
    put("to", args.to.map(|at| at.to_string().into()));
    put("limit", args.limit.map(Value::from));
    // A row is a number, a device is none.
    let row = |next: &String| match next.parse::<i64>() {
        Ok(row) if args.name != "status" => Value::from(row),
        _ => Value::from(next.as_str()),
    };
    put("after", args.after.as_ref().map(row));
    let names: Vec<Value> = args.quantities.iter().map(|one| one.to_string().into()).collect();
    match (args.name.as_str(), names.as_slice()) {
        (_, []) => {}
        ("seconds", [one]) => put("quantity", Some(one.clone())),
        _ => put("quantities", Some(names.into())),
    }
    question
}

/// Asks once. Does not come back while nobody answers.
async fn ask(
    connection: Connection,
    gateway: &str,
    name: &str,
    question: Map<String, Value>,
    timeout_s: u32,
) -> Result<Value, Failure> {
    let Some(broker) = connection.brokers.first() else { return Err(Failure::usage("no broker is named")) };
    let (requests, driver) = client::open(&connection, broker, None);
    let mut asking = Asking { requests, driver, broker: broker.to_string() };
    let filters = [topics::status("+", gateway), topics::reply("+", gateway, name)];
    asking.subscribe(&filters).await?;
    let division = tokio::time::timeout(STATUS_WITHIN, asking.division(gateway)).await.unwrap_or_else(|_| {
        Err(Failure::running(format!("the broker knows no gateway {gateway:?}: it has never been there, or its status may not be read")))
    })?;
    let id = format!("{:016x}", fastrand::u64(..));
    let mut body = question;
    body.insert("id".to_owned(), id.clone().into());
    let respond = Respond {
        topic: topics::reply(&division, gateway, name),
        correlation: Some(Bytes::from(id.clone().into_bytes())),
    };
    asking
        .requests
        .ask(
            topics::request(&division, gateway, name),
            Value::Object(body).to_string().into_bytes(),
            &respond,
            timeout_s,
        )
        .map_err(|_| Failure::running("the client takes no more requests"))?;
    let mut reply = asking.reply(&id).await?;
    match reply.get("error") {
        None => Ok(reply["result"].take()),
        Some(error) => {
            let said = |key| print::without_controls(error[key].as_str().unwrap_or_default());
            let names = if NAMES.contains(&name) {
                String::new()
            } else {
                format!(" (this version of the command knows {})", NAMES.join(", "))
            };
            Err(Failure::running(format!(
                "{gateway}: {}: {}; {}{names}",
                said("kind"),
                said("what"),
                said("way_out")
            )))
        }
    }
}

struct Asking {
    requests: Requests,
    driver: Driver,
    broker: String,
}

impl Asking {
    async fn step(&mut self) -> Result<Step, Failure> {
        self.driver.poll().await.map_err(|reason| Failure::running(format!("{}: {reason}", self.broker)))
    }

    async fn subscribe(&mut self, filters: &[String]) -> Result<(), Failure> {
        let mut left = filters.len();
        while left > 0 {
            match self.step().await? {
                Step::Connected { .. } => {
                    for filter in filters {
                        self.requests
                            .subscribe(filter)
                            .map_err(|_| Failure::running("the client takes no more requests"))?;
                    }
                }
                Step::Subscribed => left -= 1,
                Step::NotSubscribed(reason) => {
                    return Err(Failure::running(format!(
                        "{}: the broker refuses the subscription to {} ({reason}); look at its access list",
                        self.broker,
                        filters.join(" or ")
                    )));
                }
                _ => {}
            }
            // The gateway's status may come before the last subscription is granted: it is asked for once more below.
        }
        Ok(())
    }

    /// The division of the gateway, by its retained status, which comes with a subscription.
    async fn division(&mut self, gateway: &str) -> Result<String, Failure> {
        self.requests
            .subscribe(&topics::status("+", gateway))
            .map_err(|_| Failure::running("the client takes no more requests"))?;
        loop {
            let Step::Message { topic, payload, .. } = self.step().await? else { continue };
            let Some(division) = topic.strip_prefix("gridpost/1/").and_then(|rest| rest.split('/').next())
            else {
                continue;
            };
            if topic != topics::status(division, gateway) {
                continue;
            }
            let status: Value = serde_json::from_slice(&payload).unwrap_or_default();
            if status["status"] == "offline" {
                return Err(Failure::running(format!("the gateway {gateway} is offline, says the broker")));
            }
            return Ok(division.to_owned());
        }
    }

    async fn reply(&mut self, id: &str) -> Result<Value, Failure> {
        loop {
            let Step::Message { payload, delivery, .. } = self.step().await? else { continue };
            let Ok(reply) = serde_json::from_slice::<Value>(&payload) else { continue };
            if reply["id"] == id {
                return Ok(reply);
            }
            // What was too large or came while the gateway was busy was not looked into: it has no id.
            let ours = delivery.respond.is_none() && reply["id"].is_null() && reply.get("error").is_some();
            if ours {
                return Ok(reply);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn seconds_are_rows_that_explain_reads() {
        let answer = json!({
            "device": "6770000000000001", "quantity": "LAeq", "unit": "dB", "truncated": false,
            "seconds": [["2026-11-22T23:00:00.000+08:00", 71.4], ["2026-11-22T23:00:01.000+08:00", 70]],
        });
        let text = super::csv(&answer).unwrap();
        let mut given = Vec::new();
        crate::trial::given::rows(text.as_bytes(), None, &mut given).unwrap();
        let values: Vec<_> =
            given.iter().map(|(at, device, reading)| (at.0, device.0, reading.value.0)).collect();
        let (at, device) = (1_795_359_600_000, 0x6770_0000_0000_0001);
        assert_eq!(values, [(at, device, 71_400), (at + 1000, device, 70_000)]);
        assert_eq!(super::csv(&json!({"seconds": []})).unwrap(), "");
        assert!(super::csv(&json!({"level_db": 94})).is_none());
    }
}
