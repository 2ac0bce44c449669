//! The result of a run as one JSON line, and the judgement whether it counts.

use super::Payload;
use super::engine::Outcome;
use super::options::Options;
use crate::json::quoted_or_null;
use crate::wire::{PRODUCE, version_of};

/// Why the run proves nothing, if so.
fn problem_of(outcome: &Outcome, start: &[i64], end: &[i64]) -> Option<String> {
    if let Some(first) = outcome.broken.first() {
        return Some(format!(
            "{} connections broke; {first}",
            outcome.broken.len()
        ));
    }
    if !outcome.errors.is_empty() {
        return Some(format!("error codes {:?}", outcome.errors));
    }
    if outcome.unanswered > 0 {
        return Some(format!(
            "{} requests were never answered",
            outcome.unanswered
        ));
    }
    for partition in 0..start.len() {
        let events = outcome.acknowledged[partition] as i64;
        if end[partition] - start[partition] != events {
            return Some(format!(
                "partition {partition}: acknowledged {events} events, its end offset went from {} \
                 to {}",
                start[partition], end[partition]
            ));
        }
        let highest = outcome.highest_offsets[partition];
        if highest >= 0 && highest != end[partition] {
            return Some(format!(
                "partition {partition}: the last acknowledged batch ends at {highest}, the log at \
                 {}",
                end[partition]
            ));
        }
    }
    if outcome.requests > 0 {
        return None;
    }
    Some(match outcome.without_credit {
        0 => "nothing was acknowledged in the measurement".to_string(),
        count => format!(
            "nothing was acknowledged in the measurement: {count} connections had too few credits \
             for one request; use fewer connections or smaller requests"
        ),
    })
}

/// Prints the result line. Returns whether the run counts.
pub fn print(
    options: &Options,
    payload: &Payload,
    outcome: &Outcome,
    start: &[i64],
    end: &[i64],
) -> bool {
    let seconds = (outcome.measured_ns as f64 / 1e9).max(1e-9);
    let requests = outcome.requests as f64;
    let bytes = outcome.requests * payload.batch_bytes as u64;
    let problem = problem_of(outcome, start, end);
    let errors: Vec<String> = outcome
        .errors
        .iter()
        .map(|(code, count)| format!("\"{code}\":{count}"))
        .collect();
    let partitions: Vec<String> = (0..start.len())
        .map(|partition| {
            format!(
                "{{\"partition\":{partition},\"startOffset\":{},\"acknowledgedEvents\":{},\
                 \"endOffset\":{}}}",
                start[partition], outcome.acknowledged[partition], end[partition]
            )
        })
        .collect();
    println!(
        "{{\"event\":\"result\",\"protocol\":\"{}\",\"mode\":\"{}\",\"rate\":{},\
         \"produceVersion\":{},\"connections\":{},\"partitions\":{},\"inFlight\":{},\
         \"acks\":{},\"eventBytes\":{},\"eventsPerRequest\":{},\"batchBytes\":{},\"seconds\":{seconds:.6},\"stoppedBy\":\"{}\",\
         \"requests\":{},\"bytes\":{bytes},\"requestsPerSecond\":{:.1},\"eventsPerSecond\":{:.1},\
         \"bytesPerSecond\":{:.0},\"latencyMicros\":{},\"serviceMicros\":{},\"offered\":{},\
         \"overdue\":{},\"unanswered\":{},\"connectionsWithoutCredit\":{},\
         \"errors\":{{{}}},\"brokenConnections\":{},\"clientCpuSeconds\":{:.6},\
         \"byPartition\":[{}],\"verified\":{},\"problem\":{}}}",
        if options.websocket {
            "websocket"
        } else {
            "kafka"
        },
        if options.rate.is_some() {
            "open"
        } else {
            "closed"
        },
        options
            .rate
            .map_or("null".to_string(), |rate| rate.to_string()),
        if options.websocket {
            "null".to_string()
        } else {
            version_of(PRODUCE).to_string()
        },
        options.connections,
        options.partitions,
        options.in_flight,
        options.acks,
        options.event_bytes,
        payload.events_per_request,
        payload.batch_bytes,
        outcome.stopped_by,
        outcome.requests,
        requests / seconds,
        requests * payload.events_per_request as f64 / seconds,
        bytes as f64 / seconds,
        outcome.latency.to_json_micros(),
        outcome.service.to_json_micros(),
        outcome.offered,
        outcome.overdue,
        outcome.unanswered,
        outcome.without_credit,
        errors.join(","),
        outcome.broken.len(),
        outcome.client_cpu_ns as f64 / 1e9,
        partitions.join(","),
        problem.is_none(),
        quoted_or_null(problem.as_deref()),
    );
    problem.is_none()
}
