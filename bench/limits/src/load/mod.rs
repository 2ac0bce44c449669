//! `produce-load`: prebuilt Produce requests over many connections, from one thread; over Kafka's
//! protocol or the broker's WebSocket protocol.
//!
//! Standard output carries one JSON object a line: `{"event":"measure-start"}` and
//! `{"event":"measure-end"}` at those instants, so that a harness can sample the broker, and last
//! `{"event":"result", …}`. Exit code 0 when every response was good and the partitions' end offsets
//! equal what was acknowledged, 1 when not, 2 for a wrong command line.

mod connection;
mod engine;
mod frames;
mod kafka;
mod messages;
mod options;
mod report;
mod websocket;

use crate::batch;
use crate::control::Control;
use crate::program::Program;
use crate::time;
use crate::wire::{CREATE_TOPICS, PRODUCE};
use options::Options;
use std::process::ExitCode;

const USAGE: &str = "\
produce-load --connect HOST:PORT [--topic NAME] [--partitions 8] [--connections 64]
  [--request-bytes 65536] [--event-bytes 1024] [--events-per-request N] [--in-flight 1]
  [--acks all|0|1] [--warm-up 2] [--duration 10] [--rate REQUESTS/S] [--max-bytes N]
  [--variants 2] [--seed 1] [--topic-config NAME=VALUE]…

  [--websocket --kafka HOST:PORT]

  Without --rate: closed loop, as fast as the broker answers. With it: open loop; latency counts
  from the intended send time, and the schedule does not wait for the broker.
  --request-bytes bounds a request's record batch; it holds at least one event.
  --max-bytes ends the measurement early, so that the disk cannot fill.
  --websocket speaks millrace.v1 at /ws of --connect; the topic and its offsets are asked for at the
  port of --kafka.
  --topic-config sets one of the topic's settings when it is created, which then must happen here:
  retention.bytes=…, segment.bytes=…, flush.messages=1.";

/// A request, shared by every connection to its partition.
pub struct Prebuilt {
    /// What goes before `body`: with the id in it, which differs from request to request.
    pub prefix: Vec<u8>,
    /// Where the id's four bytes stand in `prefix`, and what they are XORed with.
    pub id_at: usize,
    pub id_mask: [u8; 4],
    pub body: Vec<u8>,
    /// What it takes of a connection's credits; 0 without any.
    pub credits: u64,
}

pub struct Payload {
    /// By partition, then variant.
    pub requests: Vec<Vec<Prebuilt>>,
    pub events_per_request: usize,
    /// Bytes of one record batch, which is what a log keeps.
    pub batch_bytes: usize,
}

fn build_payload(options: &Options) -> Payload {
    let events = options
        .events_per_request
        .unwrap_or_else(|| batch::events_that_fit(options.request_bytes, options.event_bytes));
    let timestamp_ms = time::wall_ms();
    let mut random = batch::Random::new(options.seed);
    let mut batch_bytes = 0;
    let mut request = |partition: usize| {
        let batch = batch::build(events, options.event_bytes, timestamp_ms, &mut random);
        batch_bytes = batch.len();
        if options.websocket {
            websocket::request(options, partition, &batch, random.mask())
        } else {
            kafka::request(options, partition, &batch)
        }
    };
    let requests = (0..options.partitions)
        .map(|partition| (0..options.variants).map(|_| request(partition)).collect())
        .collect();
    Payload {
        requests,
        events_per_request: events,
        batch_bytes,
    }
}

fn run(options: &Options) -> Result<bool, String> {
    let payload = build_payload(options);
    let mut control = Control::connect(&options.kafka)?;
    control.require_versions(&[PRODUCE, CREATE_TOPICS])?;
    control.ensure_topic(&options.topic, options.partitions, &options.topic_configs)?;
    let start_offsets = control.end_offsets(&options.topic, options.partitions)?;
    let outcome = engine::run(options, &payload)?;
    // The offsets below the high watermark may trail the last acknowledgement, and with acks=0
    // requests may still be under way.
    let expected: Vec<i64> = start_offsets
        .iter()
        .zip(&outcome.acknowledged)
        .map(|(start, acknowledged)| start + *acknowledged as i64)
        .collect();
    let deadline = time::now_ns() + 10_000_000_000;
    // A broker closes what has been idle for as long as a long run: ten minutes.
    let mut control = Control::connect(&options.kafka)?;
    let mut end_offsets = control.end_offsets(&options.topic, options.partitions)?;
    while end_offsets != expected && time::now_ns() < deadline {
        std::thread::sleep(std::time::Duration::from_millis(20));
        end_offsets = control.end_offsets(&options.topic, options.partitions)?;
    }
    let verified = report::print(options, &payload, &outcome, &start_offsets, &end_offsets);
    Ok(verified)
}

pub fn main() -> ExitCode {
    Program {
        name: "produce-load",
        usage: USAGE,
        parse: Options::parse,
        seconds_max: |options| (options.warm_up_s + options.duration_s) as u32 + 60,
        run: run,
    }
    .main()
}
