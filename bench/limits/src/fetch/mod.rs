//! `fetch-load`: consumers that read all partitions of a topic, each over its own connection, from
//! one thread. They look at the headers of batches and not at records.
//!
//! Standard output carries one JSON object a line, as that of `produce-load` does. Exit code 0
//! when every consumer got gapless offsets in whole batches, and all it had to; 1 when not, 2 for
//! a wrong command line.

mod consumer;
mod engine;
mod lag;
mod options;
mod report;
mod stream;

use crate::control::{Control, EARLIEST};
use crate::program::Program;
use crate::wire::FETCH;
use options::Options;
use std::process::ExitCode;

const USAGE: &str = "\
fetch-load --connect HOST:PORT [--topic NAME] [--partitions 8] [--consumers 1]
  [--from latest|earliest] [--warm-up 2] [--duration 10] [--until-end]
  [--max-bytes-per-fetch 52428800] [--partition-bytes 1048576] [--min-bytes 1]
  [--max-wait-ms 500] [--max-bytes N] [--check-crc] [--verify]

  Each consumer reads every partition. The topic must exist within 20 seconds.
  --until-end: from the earliest offset to where the logs end at the start, without a warm-up.
  --verify: reads on after the measurement, uncounted, to where the logs ended then.
  --max-bytes ends the measurement early, when all consumers together have read so much in it.
  --check-crc: checks the CRC-32C of every batch. Offsets and lengths are always checked.";

fn run(options: &Options) -> Result<bool, String> {
    let mut control = Control::connect(&options.connect)?;
    control.require_versions(&[FETCH])?;
    control.expect_topic(&options.topic, options.partitions)?;
    let ends = control.end_offsets(&options.topic, options.partitions)?;
    let start = if options.from_earliest {
        control.offsets(&options.topic, options.partitions, EARLIEST)?
    } else {
        ends.clone()
    };
    let outcome = engine::run(options, &mut control, &start, &ends)?;
    Ok(report::print(options, &outcome, &start))
}

pub fn main() -> ExitCode {
    Program {
        name: "fetch-load",
        usage: USAGE,
        parse: Options::parse,
        seconds_max: |options| (options.warm_up_s + options.duration_s) as u32 + 90,
        run: run,
    }
    .main()
}
