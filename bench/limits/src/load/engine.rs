//! The connections and the clock that drives them.
//!
//! Open loop: request i of the whole schedule is due at `begin + i / rate` and belongs to connection
//! i mod N, whether or not that connection has room for it. So request j of connection c is due at
//! `begin + (j·N + c) / rate`, and a backlog is a counter, never a queue.

use super::Payload;
use super::connection::{Answer, Connection, Sent, connect};
use super::options::Options;
use crate::histogram::Histogram;
use crate::json::announce;
use crate::net::{self, EDGE, Epoll, Moved, READABLE, WRITABLE};
use crate::time::{now_ns, process_cpu_ns};
use std::collections::BTreeMap;

const DRAIN_NS: u64 = 10_000_000_000;

#[derive(PartialEq)]
enum Phase {
    WarmUp,
    Measure,
    Drain,
}

/// What a run has counted. Times are those of the measurement, without warm-up and drain, except
/// where a field says "whole run".
pub struct Outcome {
    pub measured_ns: u64,
    pub requests: u64,
    /// From the intended send time to the response; of requests that were due in the measurement.
    pub latency: Histogram,
    /// From the first byte's sending to the response.
    pub service: Histogram,
    /// Requests that were to be sent in the measurement; closed loop: that were sent.
    pub offered: u64,
    /// Whole run: due when sending stopped, and never sent. Counted in `latency` with their age then.
    pub overdue: u64,
    /// Whole run: sent and not answered by the end of the drain.
    pub unanswered: u64,
    /// Connections that had too few credits for a request when sending stopped.
    pub without_credit: usize,
    /// Whole run: error code → responses.
    pub errors: BTreeMap<i16, u64>,
    /// Whole run: connections that broke, or sent what is no response.
    pub broken: Vec<String>,
    /// Whole run: events, by partition.
    pub acknowledged: Vec<u64>,
    /// Whole run: by partition, one past the last offset of the latest acknowledged batch.
    pub highest_offsets: Vec<i64>,
    pub client_cpu_ns: u64,
    pub stopped_by: &'static str,
}

struct Engine<'a> {
    options: &'a Options,
    payload: &'a Payload,
    connections: Vec<Connection>,
    phase: Phase,
    begin_ns: u64,
    measure_from_ns: u64,
    /// Nanoseconds between two requests of the schedule; 0: closed loop.
    interval_ns: f64,
    bytes_begun: u64,
    /// Empty between two calls; kept for its memory.
    answers: Vec<Answer>,
    outcome: Outcome,
}

pub fn run(options: &Options, payload: &Payload) -> Result<Outcome, String> {
    let mut connections = Vec::with_capacity(options.connections);
    for index in 0..options.connections {
        connections.push(connect(options, payload, index)?);
    }
    let begin_ns = now_ns();
    let measure_from_ns = begin_ns + (options.warm_up_s * 1e9) as u64;
    let outcome = Outcome {
        measured_ns: 0,
        requests: 0,
        latency: Histogram::default(),
        service: Histogram::default(),
        offered: 0,
        overdue: 0,
        unanswered: 0,
        without_credit: 0,
        errors: BTreeMap::new(),
        broken: Vec::new(),
        acknowledged: vec![0; options.partitions],
        highest_offsets: vec![-1; options.partitions],
        client_cpu_ns: 0,
        stopped_by: "time",
    };
    let engine = Engine {
        options,
        payload,
        connections,
        phase: Phase::WarmUp,
        begin_ns,
        measure_from_ns,
        interval_ns: options.rate.map_or(0.0, |rate| 1e9 / rate),
        bytes_begun: 0,
        answers: Vec::new(),
        outcome,
    };
    engine
        .run()
        .map_err(|error| format!("epoll failed: {error}"))
}

impl Engine<'_> {
    fn run(mut self) -> std::io::Result<Outcome> {
        // A timer that fires 50 µs late would count as the broker's latency.
        unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1) };
        let mut epoll = Epoll::new()?;
        for (index, connection) in self.connections.iter().enumerate() {
            epoll.add(connection.fd(), index as u64, READABLE | WRITABLE | EDGE)?;
        }
        for index in 0..self.connections.len() {
            self.take_answers(index); // What came with the handshake.
            self.pump(index);
        }
        let mut next_due = 0u64; // Place in the schedule.
        let mut end_ns = self.measure_from_ns + (self.options.duration_s * 1e9) as u64;
        let mut cpu_ns = 0;
        let mut measured_from_ns = 0;
        loop {
            let now = now_ns();
            if self.phase == Phase::WarmUp && now >= self.measure_from_ns {
                self.phase = Phase::Measure;
                cpu_ns = process_cpu_ns();
                announce("measure-start");
                measured_from_ns = now_ns();
            }
            let is_full = self.bytes_begun >= self.options.bytes_max;
            let is_alive = self.connections.iter().any(|one| one.is_open);
            if self.phase != Phase::Drain && (now >= end_ns || is_full || !is_alive) {
                if self.phase == Phase::Measure {
                    self.outcome.measured_ns = now_ns() - measured_from_ns;
                    self.outcome.client_cpu_ns = process_cpu_ns() - cpu_ns;
                }
                announce("measure-end");
                self.outcome.stopped_by = match (is_alive, now >= end_ns) {
                    (false, _) => "connections",
                    (true, true) => "time",
                    (true, false) => "bytes",
                };
                self.phase = Phase::Drain;
                let starved = self.connections.iter().filter(|one| one.is_starved());
                self.outcome.without_credit = starved.count();
                self.count_overdue(now.min(end_ns));
                end_ns = now + DRAIN_NS;
            }
            if self.phase == Phase::Drain && (now >= end_ns || self.is_idle()) {
                break;
            }
            let mut wake_ns = end_ns;
            if self.phase == Phase::WarmUp {
                wake_ns = wake_ns.min(self.measure_from_ns);
            }
            if self.phase != Phase::Drain && self.interval_ns > 0.0 {
                while self.due_ns(next_due) <= now {
                    let index = (next_due % self.connections.len() as u64) as usize;
                    self.outcome.offered += u64::from(self.is_measured(self.due_ns(next_due)));
                    self.connections[index].due += 1;
                    self.pump(index);
                    next_due += 1;
                }
                wake_ns = wake_ns.min(self.due_ns(next_due));
            }
            let count = epoll.wait(Some(wake_ns.saturating_sub(now_ns())))?;
            for event in 0..count {
                let (token, readiness) = epoll.event(event);
                self.handle(token as usize, readiness);
            }
        }
        self.outcome.unanswered = self
            .connections
            .iter()
            .map(|one| one.unanswered.len() as u64)
            .sum();
        Ok(self.outcome)
    }

    fn due_ns(&self, place: u64) -> u64 {
        self.begin_ns + (place as f64 * self.interval_ns) as u64
    }

    fn is_measured(&self, intended_ns: u64) -> bool {
        intended_ns >= self.measure_from_ns
    }

    fn is_idle(&self) -> bool {
        self.connections
            .iter()
            .all(|one| !one.is_open || one.unanswered.is_empty())
    }

    /// What was due and is not sent waited at least until now: leaving it out would flatter.
    fn count_overdue(&mut self, now: u64) {
        let count = self.connections.len() as u64;
        for index in 0..self.connections.len() {
            let connection = &self.connections[index];
            let (due, next) = (
                connection.due,
                connection.done + u64::from(connection.is_writing),
            );
            for j in next..next + due {
                let intended_ns = self.due_ns(j * count + index as u64);
                if self.is_measured(intended_ns) {
                    self.outcome.latency.record(now.saturating_sub(intended_ns));
                }
            }
            self.outcome.overdue += due;
            self.connections[index].due = 0;
        }
    }

    fn handle(&mut self, index: usize, readiness: u32) {
        if !self.connections[index].is_open {
            return;
        }
        if readiness & READABLE != 0 || readiness & !(READABLE | WRITABLE) != 0 {
            self.receive(index);
        }
        if readiness & WRITABLE != 0 {
            self.connections[index].is_writable = true;
        }
        self.pump(index);
    }

    /// Begins and writes requests until the connection is full, nothing is due, or none may begin.
    fn pump(&mut self, index: usize) {
        while self.connections[index].is_open {
            if !self.connections[index].is_writing {
                let may_begin = self.may_begin(index);
                if !self.write_control(index) || !may_begin {
                    return;
                }
                self.begin_request(index);
            }
            if !self.write(index) {
                return;
            }
        }
    }

    fn may_begin(&mut self, index: usize) -> bool {
        let connection = &mut self.connections[index];
        self.phase != Phase::Drain
            && connection.is_writable
            && connection.unanswered.len() < self.options.in_flight
            && (self.interval_ns == 0.0 || connection.due > 0)
            && connection.has_credit()
    }

    fn begin_request(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        let started_ns = now_ns();
        let intended_ns = if self.interval_ns == 0.0 {
            self.outcome.offered += u64::from(started_ns >= self.measure_from_ns);
            started_ns
        } else {
            connection.due -= 1;
            let place = connection.done * self.options.connections as u64 + index as u64;
            self.begin_ns + (place as f64 * self.interval_ns) as u64
        };
        let id = connection.begin(self.payload);
        connection.unanswered.push_back(Sent {
            id,
            intended_ns,
            started_ns,
        });
        self.bytes_begun += self.payload.batch_bytes as u64;
    }

    /// Writes what is to be said between two requests. Returns whether all has gone out.
    fn write_control(&mut self, index: usize) -> bool {
        let connection = &mut self.connections[index];
        let fd = connection.fd();
        let Some(websocket) = &mut connection.websocket else {
            return true;
        };
        while connection.is_writable && !websocket.control.is_empty() {
            match net::send(fd, &websocket.control, false) {
                Moved::Bytes(count) => drop(websocket.control.drain(..count)),
                Moved::WouldBlock => connection.is_writable = false,
                Moved::Closed(error) => {
                    self.fail(index, error.to_string());
                    return false;
                }
            }
        }
        websocket.control.is_empty()
    }

    /// Writes on. Returns whether the request has gone out whole.
    fn write(&mut self, index: usize) -> bool {
        let connection = &mut self.connections[index];
        let body = &connection.request(self.payload).body;
        let prefix_bytes = connection.prefix.len();
        while connection.is_writable {
            let sent = connection.sent_bytes;
            let first = &connection.prefix[sent.min(prefix_bytes)..];
            let second = &body[sent.saturating_sub(prefix_bytes)..];
            match net::send_two(connection.fd(), first, second) {
                Moved::Bytes(count) => connection.sent_bytes += count,
                Moved::WouldBlock => connection.is_writable = false,
                Moved::Closed(error) => {
                    self.fail(index, error.to_string());
                    return false;
                }
            }
            if connection.sent_bytes == prefix_bytes + body.len() {
                connection.is_writing = false;
                connection.done += 1;
                if self.options.acks == 0
                    && let Some(sent) = connection.unanswered.pop_front()
                {
                    self.acknowledge(index, sent, -1);
                }
                return true;
            }
        }
        false
    }

    fn receive(&mut self, index: usize) {
        loop {
            let connection = &mut self.connections[index];
            connection.received.reserve(1024);
            let room = connection.received.capacity() - connection.received.len();
            let fd = connection.fd();
            let count = match net::receive(fd, &mut connection.received) {
                Moved::Bytes(0) => return self.fail(index, "closed by the broker".to_string()),
                Moved::Bytes(count) => count,
                Moved::WouldBlock => return,
                Moved::Closed(error) => return self.fail(index, error.to_string()),
            };
            self.take_answers(index);
            if !self.connections[index].is_open {
                return;
            }
            if count < room {
                return; // A short read has emptied the socket.
            }
        }
    }

    fn take_answers(&mut self, index: usize) {
        let mut answers = std::mem::take(&mut self.answers);
        let taken = self.connections[index].take(&mut answers);
        for answer in answers.drain(..) {
            match self.connections[index].answered(answer.id) {
                None => self.fail(index, format!("answered {}, out of turn", answer.id)),
                Some(sent) if answer.error == 0 => {
                    self.acknowledge(index, sent, answer.base_offset);
                }
                Some(_) => *self.outcome.errors.entry(answer.error).or_default() += 1,
            }
        }
        self.answers = answers;
        if let Err(problem) = taken {
            self.fail(index, problem);
        }
    }

    fn acknowledge(&mut self, index: usize, sent: Sent, base_offset: i64) {
        let partition = self.connections[index].partition;
        let events = self.payload.events_per_request as u64;
        self.outcome.acknowledged[partition] += events;
        if base_offset >= 0 {
            let highest = &mut self.outcome.highest_offsets[partition];
            *highest = (*highest).max(base_offset + events as i64);
        }
        if self.phase == Phase::Measure {
            self.outcome.requests += 1;
        }
        if self.is_measured(sent.intended_ns) {
            let now = now_ns();
            self.outcome.latency.record(now - sent.intended_ns);
            self.outcome.service.record(now - sent.started_ns);
        }
    }

    fn fail(&mut self, index: usize, problem: String) {
        self.connections[index].is_open = false;
        let _ = self.connections[index]
            .stream
            .shutdown(std::net::Shutdown::Both);
        self.outcome
            .broken
            .push(format!("connection {index}: {problem}"));
    }
}
