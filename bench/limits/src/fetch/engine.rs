//! The consumers' connections in one thread: ask, receive into one buffer that all share, ask
//! again.

use super::consumer::Consumer;
use super::lag::Watermark;
use super::options::Options;
use crate::control::Control;
use crate::histogram::Histogram;
use crate::json::announce;
use crate::net::{self, Epoll, Moved, READABLE, WRITABLE};
use crate::time::{now_ns, process_cpu_ns};
use std::collections::BTreeMap;

/// Small enough to stay in the processor's cache.
const BUFFER_BYTES: usize = 256 * 1024;
/// Receives of one connection before the others have their turn.
const RECEIVES_IN_TURN: usize = 4;
const DRAIN_NS: u64 = 30_000_000_000;

#[derive(Clone, Copy, PartialEq)]
enum Phase {
    WarmUp,
    Measure,
    /// Reads on to where the logs ended when the measurement did.
    Drain,
}

/// One consumer's share of the measurement.
#[derive(Clone, Copy, Default)]
pub struct Count {
    pub requests: u64,
    /// Responses without a batch: the wait was over.
    pub empty: u64,
    pub bytes: u64,
    pub events: u64,
    pub truncated_bytes: u64,
}

/// What a run has found. Of the measurement, without warm-up and drain, except where a field says
/// "whole run".
pub struct Outcome {
    pub measured_ns: u64,
    /// By consumer.
    pub counts: Vec<Count>,
    /// From the begin of a request to the last byte of a response that has batches.
    pub latency: Histogram,
    /// One value for each partition of each response, and at the end.
    pub lag: Histogram,
    pub lag_is_lower_bound: bool,
    pub lag_events_max: u64,
    pub lag_bytes_max: u64,
    /// Whole run: error code → partitions of responses.
    pub errors: BTreeMap<i16, u64>,
    /// Whole run: consumers that broke, or were sent what must not be.
    pub broken: Vec<String>,
    /// Whole run, by partition: the position of the consumer that is behind the others.
    pub positions: Vec<i64>,
    /// Whole run, by partition: the highest watermark that was seen.
    pub high_watermarks: Vec<i64>,
    pub client_cpu_ns: u64,
    pub stopped_by: &'static str,
    /// With `verify` or `until_end`: every consumer has read what it had to.
    pub is_complete: bool,
}

struct Engine<'a> {
    options: &'a Options,
    consumers: Vec<Consumer>,
    watermarks: Vec<Watermark>,
    epoll: Epoll,
    buffer: Vec<u8>,
    phase: Phase,
    /// Where a consumer is done; none: never.
    ends: Option<Vec<i64>>,
    responses: u64,
    /// Of all consumers.
    measured_bytes: u64,
    outcome: Outcome,
}

/// `start` are the positions to begin with, `ends` the logs' ends at the start.
pub fn run(
    options: &Options,
    control: &mut Control,
    start: &[i64],
    ends: &[i64],
) -> Result<Outcome, String> {
    let problem = |error| format!("epoll failed: {error}");
    let consumers = (0..options.consumers)
        .map(|index| Consumer::connect(options, index, start))
        .collect::<Result<Vec<Consumer>, String>>()?;
    let epoll = Epoll::new().map_err(problem)?;
    for (index, consumer) in consumers.iter().enumerate() {
        epoll
            .add(consumer.fd(), index as u64, READABLE)
            .map_err(problem)?;
    }
    let now = now_ns();
    let mut watermarks: Vec<Watermark> = Vec::new();
    for end in ends {
        let mut watermark = Watermark::default();
        watermark.note(now, *end);
        watermarks.push(watermark);
    }
    let engine = Engine {
        options,
        consumers,
        watermarks,
        epoll,
        buffer: Vec::with_capacity(BUFFER_BYTES),
        phase: Phase::WarmUp,
        ends: options.until_end.then(|| ends.to_vec()),
        responses: 0,
        measured_bytes: 0,
        outcome: Outcome {
            measured_ns: 0,
            counts: vec![Count::default(); options.consumers],
            latency: Histogram::default(),
            lag: Histogram::default(),
            lag_is_lower_bound: false,
            lag_events_max: 0,
            lag_bytes_max: 0,
            errors: BTreeMap::new(),
            broken: Vec::new(),
            positions: Vec::new(),
            high_watermarks: Vec::new(),
            client_cpu_ns: 0,
            stopped_by: "time",
            is_complete: !options.verify && !options.until_end,
        },
    };
    engine.run(control)
}

impl Engine<'_> {
    fn run(mut self, control: &mut Control) -> Result<Outcome, String> {
        let begin_ns = now_ns();
        let measure_from_ns = begin_ns + (self.options.warm_up_s * 1e9) as u64;
        let mut end_ns = measure_from_ns + (self.options.duration_s * 1e9) as u64;
        let mut cpu_ns = process_cpu_ns();
        let mut measured_from_ns = begin_ns;
        if self.options.warm_up_s == 0.0 {
            self.phase = Phase::Measure;
            announce("measure-start");
        }
        for index in 0..self.consumers.len() {
            self.ask(index);
        }
        loop {
            let now = now_ns();
            if self.phase == Phase::WarmUp && now >= measure_from_ns {
                self.phase = Phase::Measure;
                cpu_ns = process_cpu_ns();
                announce("measure-start");
                measured_from_ns = now_ns();
            }
            let is_busy = self.consumers.iter().any(|one| one.is_asking);
            let is_full = self.measured_bytes >= self.options.bytes_max;
            if self.phase != Phase::Drain && (now >= end_ns || !is_busy || is_full) {
                if self.phase == Phase::Measure {
                    self.outcome.measured_ns = now_ns() - measured_from_ns;
                    self.outcome.client_cpu_ns = process_cpu_ns() - cpu_ns;
                    self.note_last_lags();
                }
                announce("measure-end");
                self.outcome.stopped_by = match (self.outcome.broken.is_empty(), is_busy) {
                    (false, false) => "connections",
                    (true, false) => "end",
                    (_, true) if now < end_ns => "bytes",
                    (_, true) => "time",
                };
                self.phase = Phase::Drain;
                end_ns = now_ns() + DRAIN_NS;
                if self.options.verify && !self.options.until_end {
                    let (topic, partitions) = (&self.options.topic, self.options.partitions);
                    self.ends = Some(control.end_offsets(topic, partitions)?);
                }
            }
            if self.phase == Phase::Drain && (self.is_done() || now_ns() >= end_ns) {
                break;
            }
            let wake_ns = match self.phase {
                Phase::WarmUp => measure_from_ns,
                _ => end_ns,
            };
            let wait_ns = wake_ns.saturating_sub(now_ns());
            let count = self
                .epoll
                .wait(Some(wait_ns))
                .map_err(|error| format!("epoll failed: {error}"))?;
            for event in 0..count {
                let (token, readiness) = self.epoll.event(event);
                self.handle(token as usize, readiness);
            }
        }
        Ok(self.finish())
    }

    /// Nothing is left to be read on for.
    fn is_done(&self) -> bool {
        let Some(ends) = &self.ends else {
            return true;
        };
        let is_read_out = |one: &Consumer| !one.is_open || one.has_reached(ends);
        self.outcome.stopped_by == "connections"
            || self.options.until_end
            || self.consumers.iter().all(is_read_out)
    }

    fn finish(mut self) -> Outcome {
        if let Some(ends) = &self.ends {
            self.outcome.is_complete = self.consumers.iter().all(|one| one.has_reached(ends));
        }
        self.outcome.positions = self.lowest_positions();
        self.outcome.high_watermarks = self.watermarks.iter().map(Watermark::highest).collect();
        self.outcome
    }

    fn lowest_positions(&self) -> Vec<i64> {
        let lowest = |partition: usize| {
            let positions = self.consumers.iter();
            positions
                .map(|one| one.reading.positions[partition])
                .min()
                .unwrap_or(0)
        };
        (0..self.options.partitions).map(lowest).collect()
    }

    fn handle(&mut self, index: usize, readiness: u32) {
        if readiness & WRITABLE != 0 {
            self.write(index);
        }
        if readiness & !WRITABLE != 0 {
            self.receive(index);
        }
    }

    /// Asks for more, if there is anything that this consumer has still to read.
    fn ask(&mut self, index: usize) {
        let consumer = &mut self.consumers[index];
        if !consumer.is_open
            || self
                .ends
                .as_ref()
                .is_some_and(|ends| consumer.has_reached(ends))
        {
            return;
        }
        consumer.ask(self.options, now_ns());
        self.write(index);
    }

    fn write(&mut self, index: usize) {
        let consumer = &mut self.consumers[index];
        while consumer.is_open && consumer.request_sent < consumer.request.len() {
            let rest = &consumer.request[consumer.request_sent..];
            match net::send_two(consumer.fd(), rest, &[]) {
                Moved::Bytes(count) => consumer.request_sent += count,
                Moved::WouldBlock => break,
                Moved::Closed(error) => return self.fail(index, error.to_string()),
            }
        }
        let awaits_room = consumer.request_sent < consumer.request.len();
        if consumer.is_open && awaits_room != consumer.awaits_room {
            consumer.awaits_room = awaits_room;
            let interest = READABLE | if awaits_room { WRITABLE } else { 0 };
            if let Err(error) = self.epoll.change(consumer.fd(), index as u64, interest) {
                self.fail(index, error.to_string());
            }
        }
    }

    fn receive(&mut self, index: usize) {
        for _ in 0..RECEIVES_IN_TURN {
            let consumer = &mut self.consumers[index];
            if !consumer.is_open {
                return;
            }
            self.buffer.clear();
            let count = match net::receive(consumer.fd(), &mut self.buffer) {
                Moved::Bytes(0) => return self.fail(index, "closed by the broker".to_string()),
                Moved::Bytes(count) => count,
                Moved::WouldBlock => return,
                Moved::Closed(error) => return self.fail(index, error.to_string()),
            };
            let before = self.read_so_far(index);
            let consumer = &mut self.consumers[index];
            let fed = consumer.responses.feed(&self.buffer, &mut consumer.reading);
            self.count(index, before);
            match fed {
                Err(problem) => return self.fail(index, problem),
                Ok(true) => self.end_response(index),
                Ok(false) => {}
            }
            if count < self.buffer.capacity() {
                return; // A short read has emptied the socket.
            }
        }
    }

    fn read_so_far(&self, index: usize) -> (u64, u64, u64) {
        let reading = &self.consumers[index].reading;
        (reading.bytes, reading.events, reading.truncated_bytes)
    }

    /// Adds what was read since `before` to the measurement.
    fn count(&mut self, index: usize, before: (u64, u64, u64)) {
        let now = self.read_so_far(index);
        if self.phase == Phase::Measure {
            let count = &mut self.outcome.counts[index];
            count.bytes += now.0 - before.0;
            self.measured_bytes += now.0 - before.0;
            count.events += now.1 - before.1;
            count.truncated_bytes += now.2 - before.2;
        }
    }

    fn end_response(&mut self, index: usize) {
        let now = now_ns();
        let consumer = &mut self.consumers[index];
        if let Err(problem) = consumer.end_response(self.options) {
            for code in &consumer.reading.response.errors {
                *self.outcome.errors.entry(*code).or_default() += 1;
            }
            return self.fail(index, problem);
        }
        for (partition, high_watermark) in &consumer.reading.response.watermarks {
            self.watermarks[*partition].note(now, *high_watermark);
        }
        if self.phase == Phase::Measure {
            let count = &mut self.outcome.counts[index];
            count.requests += 1;
            if consumer.reading.response.bytes == 0 {
                count.empty += 1;
            } else {
                self.outcome.latency.record(now - consumer.asked_ns);
            }
            let watermarks = std::mem::take(&mut consumer.reading.response.watermarks);
            for (partition, _) in watermarks {
                self.note_lag(index, partition, now);
            }
        }
        self.responses += 1;
        if self.responses.is_multiple_of(1024) {
            let lowest = self.lowest_positions();
            for (watermark, position) in self.watermarks.iter_mut().zip(lowest) {
                watermark.forget_below(position);
            }
        }
        self.ask(index);
    }

    fn note_lag(&mut self, index: usize, partition: usize, now: u64) {
        let reading = &self.consumers[index].reading;
        let position = reading.positions[partition];
        let watermark = &self.watermarks[partition];
        let events = watermark.highest().saturating_sub(position).max(0) as u64;
        let lag = watermark.lag(position, now);
        let outcome = &mut self.outcome;
        outcome.lag.record(lag.ns);
        outcome.lag_is_lower_bound |= lag.is_lower_bound;
        outcome.lag_events_max = outcome.lag_events_max.max(events);
        // What was not read yet is taken to be like what was.
        let event_bytes = reading.bytes as f64 / reading.events.max(1) as f64;
        let bytes = (events as f64 * event_bytes) as u64;
        outcome.lag_bytes_max = outcome.lag_bytes_max.max(bytes);
    }

    /// A consumer that was not answered for long has a lag too.
    fn note_last_lags(&mut self) {
        let now = now_ns();
        for index in 0..self.consumers.len() {
            for partition in 0..self.options.partitions {
                self.note_lag(index, partition, now);
            }
        }
    }

    fn fail(&mut self, index: usize, problem: String) {
        let consumer = &mut self.consumers[index];
        consumer.is_open = false;
        consumer.is_asking = false;
        let _ = consumer.stream.shutdown(std::net::Shutdown::Both);
        self.outcome
            .broken
            .push(format!("consumer {index}: {problem}"));
    }
}
