//! What one run of the generator does.

use crate::args::Args;

pub struct Options {
    pub connect: String,
    /// The address for what stands around the load.
    pub kafka: String,
    /// The load goes over the broker's WebSocket protocol.
    pub websocket: bool,
    pub topic: String,
    pub partitions: usize,
    pub connections: usize,
    /// The most bytes of a request's record batch.
    pub request_bytes: usize,
    pub event_bytes: usize,
    /// Instead of as many as fit `request_bytes`.
    pub events_per_request: Option<usize>,
    /// Requests that may be unanswered on a connection.
    pub in_flight: usize,
    /// −1 (all), 0 or 1.
    pub acks: i16,
    pub warm_up_s: f64,
    pub duration_s: f64,
    /// Requests a second over all connections; None: closed loop.
    pub rate: Option<f64>,
    /// Batch bytes after which the run ends early.
    pub bytes_max: u64,
    /// Different prebuilt requests for each partition.
    pub variants: usize,
    pub seed: u64,
    /// Settings of the topic, for its creation.
    pub topic_configs: Vec<(String, String)>,
}

const CONFIG_BYTES_MAX: usize = 4096;

const NAMES: [&str; 17] = [
    "connect",
    "kafka",
    "topic",
    "partitions",
    "connections",
    "request-bytes",
    "event-bytes",
    "events-per-request",
    "in-flight",
    "acks",
    "warm-up",
    "duration",
    "rate",
    "max-bytes",
    "variants",
    "seed",
    "topic-config",
];

impl Options {
    pub fn parse(arguments: impl Iterator<Item = String>) -> Result<Options, String> {
        let args = Args::parse(arguments, &NAMES, &["websocket"])?;
        let connect = args.text("connect", "");
        if connect.is_empty() {
            return Err("--connect HOST:PORT is needed".to_string());
        }
        let websocket = args.flag("websocket");
        if websocket != args.optional::<String>("kafka")?.is_some() {
            return Err("--websocket and --kafka HOST:PORT belong together".to_string());
        }
        let acks = match args.text("acks", "1").as_str() {
            "all" | "-1" => -1,
            "0" => 0,
            "1" => 1,
            other => return Err(format!("--acks {other}: must be all, 0 or 1")),
        };
        let events_per_request = args.optional::<usize>("events-per-request")?;
        if events_per_request.is_some_and(|count| count == 0 || count > 1_000_000) {
            return Err("--events-per-request must be 1 to 1000000".to_string());
        }
        let rate = args.optional::<f64>("rate")?;
        if rate.is_some_and(|rate| !(0.001..=10_000_000.0).contains(&rate)) {
            return Err("--rate must be 0.001 to 10000000".to_string());
        }
        if acks == 0 && rate.is_none() {
            return Err(
                "--acks 0 needs a --rate: without responses nothing closes the loop".into(),
            );
        }
        if acks == 0 && websocket {
            return Err("--acks 0 is not for --websocket".to_string());
        }
        Ok(Options {
            kafka: args.text("kafka", &connect),
            connect,
            websocket,
            topic: args.text("topic", "limits"),
            partitions: args.number("partitions", 8, 1, 10_000)?,
            connections: args.number("connections", 64, 1, 10_000)?,
            request_bytes: args.number("request-bytes", 65_536, 1, 64 << 20)?,
            event_bytes: args.number("event-bytes", 1024, 0, 16 << 20)?,
            events_per_request,
            in_flight: args.number("in-flight", 1, 1, 1000)?,
            acks,
            warm_up_s: args.number("warm-up", 2.0, 0.0, 600.0)?,
            duration_s: args.number("duration", 10.0, 0.05, 3600.0)?,
            rate,
            bytes_max: args.number("max-bytes", u64::MAX, 1, u64::MAX)?,
            variants: args.number("variants", 2, 1, 64)?,
            seed: args.number("seed", 1, 0, u64::MAX)?,
            topic_configs: topic_configs(args.all("topic-config"))?,
        })
    }
}

/// Splits each NAME=VALUE; a value may be empty.
fn topic_configs(given: &[String]) -> Result<Vec<(String, String)>, String> {
    let split = |one: &String| match one.split_once('=') {
        Some((name, value)) if !name.is_empty() && one.len() <= CONFIG_BYTES_MAX => {
            Ok((name.to_string(), value.to_string()))
        }
        _ => Err(format!("--topic-config {one}: must be NAME=VALUE")),
    };
    given.iter().map(split).collect()
}
