//! The result of a run as one JSON line, and the judgement whether it counts.

use super::engine::Outcome;
use super::options::Options;
use crate::json::quoted_or_null;
use crate::wire::{FETCH, version_of};

/// Why the run proves nothing, if so.
fn problem_of(options: &Options, outcome: &Outcome) -> Option<String> {
    if let Some(first) = outcome.broken.first() {
        let count = outcome.broken.len();
        return Some(format!("{count} consumers broke; {first}"));
    }
    if !outcome.is_complete {
        let what = if options.until_end {
            "when the measurement began"
        } else {
            "when the measurement ended"
        };
        return Some(format!(
            "a consumer has not read all that was there {what}: its positions are {:?}",
            outcome.positions
        ));
    }
    let bytes: u64 = outcome.counts.iter().map(|count| count.bytes).sum();
    (bytes == 0).then(|| "nothing was read in the measurement".to_string())
}

/// Prints the result line. Returns whether the run counts.
pub fn print(options: &Options, outcome: &Outcome, start: &[i64]) -> bool {
    let seconds = (outcome.measured_ns as f64 / 1e9).max(1e-9);
    let sum = |of: fn(&super::engine::Count) -> u64| -> u64 { outcome.counts.iter().map(of).sum() };
    let (bytes, events) = (sum(|count| count.bytes), sum(|count| count.events));
    let requests = sum(|count| count.requests);
    let problem = problem_of(options, outcome);
    let errors: Vec<String> = outcome
        .errors
        .iter()
        .map(|(code, count)| format!("\"{code}\":{count}"))
        .collect();
    let consumers: Vec<String> = outcome
        .counts
        .iter()
        .map(|count| {
            format!(
                "{{\"bytes\":{},\"events\":{},\"requests\":{}}}",
                count.bytes, count.events, count.requests
            )
        })
        .collect();
    let partitions: Vec<String> = (0..start.len())
        .map(|partition| {
            format!(
                "{{\"partition\":{partition},\"startOffset\":{},\"endOffset\":{},\
                 \"highWatermark\":{}}}",
                start[partition], outcome.positions[partition], outcome.high_watermarks[partition]
            )
        })
        .collect();
    println!(
        "{{\"event\":\"result\",\"fetchVersion\":{},\"consumers\":{},\"partitions\":{},\
         \"from\":\"{}\",\"untilEnd\":{},\"checkCrc\":{},\"maxBytesPerFetch\":{},\
         \"partitionBytes\":{},\"minBytes\":{},\"maxWaitMs\":{},\"seconds\":{seconds:.6},\
         \"stoppedBy\":\"{}\",\"requests\":{requests},\"emptyResponses\":{},\"bytes\":{bytes},\
         \"events\":{events},\"truncatedBytes\":{},\"requestsPerSecond\":{:.1},\
         \"eventsPerSecond\":{:.1},\"bytesPerSecond\":{:.0},\"latencyMicros\":{},\
         \"lagEventsMax\":{},\"lagBytesMax\":{},\"lagMsMax\":{:.3},\"lagMsP99\":{:.3},\
         \"lagMsIsLowerBound\":{},\"errors\":{{{}}},\"brokenConnections\":{},\
         \"clientCpuSeconds\":{:.6},\"byConsumer\":[{}],\"byPartition\":[{}],\"verified\":{},\
         \"problem\":{}}}",
        version_of(FETCH),
        options.consumers,
        options.partitions,
        if options.from_earliest {
            "earliest"
        } else {
            "latest"
        },
        options.until_end,
        options.check_crc,
        options.fetch_bytes,
        options.partition_bytes,
        options.min_bytes,
        options.max_wait_ms,
        outcome.stopped_by,
        sum(|count| count.empty),
        sum(|count| count.truncated_bytes),
        requests as f64 / seconds,
        events as f64 / seconds,
        bytes as f64 / seconds,
        outcome.latency.to_json_micros(),
        outcome.lag_events_max,
        outcome.lag_bytes_max,
        outcome.lag.quantile(1.0) as f64 / 1e6,
        outcome.lag.quantile(0.99) as f64 / 1e6,
        outcome.lag_is_lower_bound,
        errors.join(","),
        outcome.broken.len(),
        outcome.client_cpu_ns as f64 / 1e9,
        consumers.join(","),
        partitions.join(","),
        problem.is_none(),
        quoted_or_null(problem.as_deref()),
    );
    problem.is_none()
}
