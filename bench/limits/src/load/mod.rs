//! `produce-load`: prebuilt Produce requests over many connections, from one thread.
//!
//! Standard output carries one JSON object a line: `{"event":"measure-start"}` and
//! `{"event":"measure-end"}` at those instants, so that a harness can sample the broker, and last
//! `{"event":"result", …}`. Exit code 0 when every response was good and the partitions' end offsets
//! equal what was acknowledged, 1 when not, 2 for a wrong command line.

mod connection;
mod engine;
mod options;
mod report;

use crate::batch;
use crate::control::Control;
use crate::time;
use crate::wire::{CREATE_TOPICS, PREFIX_BYTES, PRODUCE, Writer};
use options::Options;
use std::process::ExitCode;

const USAGE: &str = "\
produce-load --connect HOST:PORT [--topic NAME] [--partitions 8] [--connections 64]
  [--request-bytes 65536] [--event-bytes 1024] [--events-per-request N] [--in-flight 1]
  [--acks all|0|1] [--warm-up 2] [--duration 10] [--rate REQUESTS/S] [--max-bytes N]
  [--variants 2] [--seed 1] [--topic-config NAME=VALUE]…

  Without --rate: closed loop, as fast as the broker answers. With it: open loop; latency counts
  from the intended send time, and the schedule does not wait for the broker.
  --request-bytes bounds a request's record batch; it holds at least one event.
  --max-bytes ends the measurement early, so that the disk cannot fill.
  --topic-config sets one of the topic's settings when it is created, which then must happen here:
  retention.bytes=…, segment.bytes=…, flush.messages=1.";

/// A Produce request after its first 12 bytes, shared by every request to its partition.
pub struct Prebuilt {
    pub body: Vec<u8>,
    pub frame_length: i32,
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
        let mut body = Writer::default();
        body.string("limits")
            .null_string()
            .i16(options.acks)
            .i32(30_000);
        body.i32(1)
            .string(&options.topic)
            .i32(1)
            .i32(partition as i32)
            .i32(batch.len() as i32);
        body.bytes.extend_from_slice(&batch);
        let frame_length = (PREFIX_BYTES - 4 + body.bytes.len()) as i32;
        Prebuilt {
            body: body.bytes,
            frame_length,
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
    let mut control = Control::connect(&options.connect)?;
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
    let mut end_offsets = control.end_offsets(&options.topic, options.partitions)?;
    while end_offsets != expected && time::now_ns() < deadline {
        std::thread::sleep(std::time::Duration::from_millis(20));
        end_offsets = control.end_offsets(&options.topic, options.partitions)?;
    }
    let verified = report::print(options, &payload, &outcome, &start_offsets, &end_offsets);
    Ok(verified)
}

pub fn main() -> ExitCode {
    if std::env::args().any(|argument| argument == "--help") {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("produce-load: {problem}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    time::bound_lifetime((options.warm_up_s + options.duration_s) as u32 + 60);
    match run(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(problem) => {
            eprintln!("produce-load: {problem}");
            ExitCode::FAILURE
        }
    }
}
