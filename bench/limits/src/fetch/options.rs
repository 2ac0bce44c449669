//! What one run of the consumers does.

use crate::args::Args;

pub struct Options {
    pub connect: String,
    pub topic: String,
    pub partitions: usize,
    pub consumers: usize,
    pub from_earliest: bool,
    pub warm_up_s: f64,
    pub duration_s: f64,
    /// `fetch.max.bytes`: of one response.
    pub fetch_bytes: i32,
    /// `max.partition.fetch.bytes`: of one partition in a response.
    pub partition_bytes: i32,
    pub min_bytes: i32,
    /// Batch bytes of all consumers together after which the measurement ends early.
    pub bytes_max: u64,
    pub max_wait_ms: i32,
    /// Ends when everything has been read that was there at the start.
    pub until_end: bool,
    pub check_crc: bool,
    /// Reads on after the measurement until everything has arrived that was there at its end.
    pub verify: bool,
}

const NAMES: [&str; 12] = [
    "connect",
    "topic",
    "partitions",
    "consumers",
    "from",
    "warm-up",
    "duration",
    "max-bytes-per-fetch",
    "partition-bytes",
    "min-bytes",
    "max-bytes",
    "max-wait-ms",
];
const FLAGS: [&str; 3] = ["until-end", "check-crc", "verify"];

const BYTES_MAX: i32 = 1 << 30;

impl Options {
    pub fn parse(arguments: impl Iterator<Item = String>) -> Result<Options, String> {
        let args = Args::parse(arguments, &NAMES, &FLAGS)?;
        let connect = args.text("connect", "");
        if connect.is_empty() {
            return Err("--connect HOST:PORT is needed".to_string());
        }
        let until_end = args.flag("until-end");
        let from_earliest = match args.text("from", if until_end { "earliest" } else { "latest" }) {
            from if from == "earliest" => true,
            from if from == "latest" && !until_end => false,
            from if from == "latest" => return Err("--until-end reads from earliest".into()),
            from => return Err(format!("--from {from}: must be earliest or latest")),
        };
        // What is there at the start is all there is to measure.
        let (warm_up_s, duration_s) = if until_end { (0.0, 600.0) } else { (2.0, 10.0) };
        Ok(Options {
            connect,
            topic: args.text("topic", "limits"),
            partitions: args.number("partitions", 8, 1, 10_000)?,
            consumers: args.number("consumers", 1, 1, 1000)?,
            from_earliest,
            warm_up_s: args.number("warm-up", warm_up_s, 0.0, 600.0)?,
            duration_s: args.number("duration", duration_s, 0.05, 3600.0)?,
            fetch_bytes: args.number("max-bytes-per-fetch", 50 << 20, 1, BYTES_MAX)?,
            partition_bytes: args.number("partition-bytes", 1 << 20, 1, BYTES_MAX)?,
            min_bytes: args.number("min-bytes", 1, 0, BYTES_MAX)?,
            bytes_max: args.number("max-bytes", u64::MAX, 1, u64::MAX)?,
            max_wait_ms: args.number("max-wait-ms", 500, 0, 60_000)?,
            until_end,
            check_crc: args.flag("check-crc"),
            verify: args.flag("verify"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        Options::parse(line.split_whitespace().map(str::to_string))
    }

    #[test]
    fn parse_until_end_begins_at_the_start_and_measures_at_once() {
        let options = parse("--connect a:1 --until-end").unwrap();
        assert!(options.from_earliest);
        assert_eq!(options.warm_up_s, 0.0);
        assert!(parse("--connect a:1 --until-end --from latest").is_err());
        assert!(!parse("--connect a:1").unwrap().from_earliest);
    }
}
