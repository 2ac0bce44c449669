//! Sockets: accept, receive into blocks, cut frames, send responses; and the hand-over to the
//! second thread where there is one.
//!
//! A connection owns the block it receives into. With one thread the block's frames are handled in
//! place. With two the block goes to the writer, a spare one takes its place, and it comes back
//! with the responses; a connection has at most `AWAY_MAX` blocks away, then it is not read.
//!
//! Fetches never leave this thread: they wait here for data, looked at whenever something was
//! written, and are answered from the files.

use super::Options;
use super::answers::{Answers, Block};
use super::appender::{Appender, make_files};
use super::fetch::{self, Answer};
use super::log::Log;
use super::sender::{Sender, Sent};
use super::writer::{Work, start_writer};
use crate::net::{self, Doorbell, Epoll, Moved, READABLE, WRITABLE};
use crate::time::now_ns;
use crate::wire::FETCH;
use std::io::{Error, Result, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;

const LISTENER: u64 = u64::MAX;
const DOORBELL: u64 = u64::MAX - 1;
const BLOCK_BYTES: usize = 256 * 1024;
/// Key, version and correlation id.
const FRAME_BYTES_MIN: usize = 8;
const FRAME_BYTES_MAX: usize = 64 << 20;
const FETCH_KEY: [u8; 2] = FETCH.to_be_bytes();
const CONNECTIONS_MAX: usize = 10_000;
const AWAY_MAX: usize = 4;

struct Connection {
    stream: TcpStream,
    receiving: Vec<u8>,
    sending: Vec<u8>,
    sent: usize,
    /// Blocks at the writer.
    away: usize,
    interest: u32,
    /// Has responses that wait for the appender's flush.
    is_waiting: bool,
    fetching: Fetching,
}

/// A connection has one fetch under way, and nothing else meanwhile.
enum Fetching {
    Nothing,
    /// Until there is enough, or until then.
    Waits {
        request: fetch::Request,
        until_ns: u64,
    },
    Sends(Answer),
}

struct Network {
    epoll: Epoll,
    listener: TcpListener,
    connections: Vec<Option<Connection>>,
    work: Work,
    /// Emptied blocks, the last used first, so that warm memory is used again.
    spare: Vec<Block>,
    /// Connections whose responses wait for the flush at the end of the turn.
    waiting: Vec<usize>,
    log: Arc<Log>,
    /// The log's version at the last look for fetches that can be answered.
    seen_version: u64,
    /// Connections whose fetch waits.
    fetches: Vec<usize>,
    sender: Sender,
}

pub fn serve(options: &Options) -> Result<()> {
    let listener = TcpListener::bind(&options.listen)?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let log = Arc::new(Log::new(make_files(options)?));
    let appender = Appender::new(options, Arc::clone(&log));
    let host = address.ip().to_string();
    let answers = Answers::new(appender, Arc::clone(&log), host, address.port());
    let epoll = Epoll::new()?;
    epoll.add(listener.as_raw_fd(), LISTENER, READABLE)?;
    let work = if options.writers == 0 {
        Work::Here(Box::new(answers))
    } else {
        let doorbell = Arc::new(Doorbell::new()?);
        epoll.add(doorbell.fd(), DOORBELL, READABLE)?;
        start_writer(answers, doorbell)?
    };
    println!("listening {address}");
    std::io::stdout().flush()?;
    let (connections, spare, waiting) = (Vec::new(), Vec::new(), Vec::new());
    Network {
        epoll,
        listener,
        connections,
        work,
        spare,
        waiting,
        sender: Sender::new(Arc::clone(&log), options),
        log,
        seen_version: 0,
        fetches: Vec::new(),
    }
    .run()
}

impl Network {
    fn run(mut self) -> Result<()> {
        loop {
            let timeout_ns = self
                .next_deadline_ns()
                .map(|at| at.saturating_sub(now_ns()));
            let count = self.epoll.wait(timeout_ns)?;
            for event in 0..count {
                match self.epoll.event(event) {
                    (LISTENER, _) => self.accept()?,
                    (DOORBELL, _) => self.take_back()?,
                    (token, readiness) => self.move_bytes(token as usize, readiness)?,
                }
            }
            self.end_turn()?;
        }
    }

    fn accept(&mut self) -> Result<()> {
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            if self.connections.len() >= CONNECTIONS_MAX {
                return Err(Error::other("too many connections in one life"));
            }
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            // Numbers are not used again: a block that comes back late finds nobody.
            self.epoll
                .add(stream.as_raw_fd(), self.connections.len() as u64, READABLE)?;
            self.connections.push(Some(Connection {
                stream,
                receiving: Vec::with_capacity(BLOCK_BYTES),
                sending: Vec::new(),
                sent: 0,
                away: 0,
                interest: READABLE,
                is_waiting: false,
                fetching: Fetching::Nothing,
            }));
        }
    }

    fn move_bytes(&mut self, index: usize, readiness: u32) -> Result<()> {
        if readiness & WRITABLE != 0 {
            self.send(index)?;
        }
        if readiness & !WRITABLE == 0 {
            return Ok(());
        }
        let Some(connection) = &mut self.connections[index] else {
            return Ok(());
        };
        let fd = connection.stream.as_raw_fd();
        match net::receive(fd, &mut connection.receiving) {
            Moved::WouldBlock => return Ok(()),
            Moved::Bytes(0) | Moved::Closed(_) => {
                self.connections[index] = None;
                return Ok(());
            }
            Moved::Bytes(_) => {}
        }
        self.take_frames(index)
    }

    /// Cuts the whole frames out of what was received and has them handled.
    fn take_frames(&mut self, index: usize) -> Result<()> {
        let Some(connection) = &mut self.connections[index] else {
            return Ok(());
        };
        let bytes = &connection.receiving;
        let mut block = self.spare.pop().unwrap_or_else(|| Block {
            connection: 0,
            bytes: Vec::with_capacity(BLOCK_BYTES),
            frames: Vec::new(),
            responses: Vec::new(),
            is_broken: false,
        });
        let mut at = 0;
        let mut wanted = 4;
        while let Some(length) = bytes.get(at..at + 4) {
            let length = u32::from_be_bytes([length[0], length[1], length[2], length[3]]) as usize;
            if !(FRAME_BYTES_MIN..=FRAME_BYTES_MAX).contains(&length) {
                self.connections[index] = None;
                return Ok(());
            }
            wanted = 4 + length;
            if bytes.len() - at < wanted {
                break;
            }
            block.frames.push(at + 4..at + wanted);
            at += wanted;
            wanted = 4;
        }
        let is_fetch = |frame: &std::ops::Range<usize>| bytes[frame.start..][..2] == FETCH_KEY;
        let has_fetch = block.frames.iter().any(is_fetch);
        if has_fetch || !matches!(connection.fetching, Fetching::Nothing) {
            let frames = std::mem::take(&mut block.frames);
            self.spare.push(block);
            return self.take_fetch(index, &frames);
        }
        if at == 0 {
            // The rest of the frame must find room, and a little of the next one.
            let room = wanted + 4096;
            if connection.receiving.capacity() < room {
                connection
                    .receiving
                    .reserve_exact(room - connection.receiving.len());
            }
            self.spare.push(block);
            return Ok(());
        }
        block.connection = index;
        block.is_broken = false;
        match &mut self.work {
            Work::Here(answers) => {
                std::mem::swap(&mut block.bytes, &mut connection.receiving);
                answers.handle(&mut block)?;
                std::mem::swap(&mut block.bytes, &mut connection.receiving);
                connection.receiving.copy_within(at.., 0);
                connection
                    .receiving
                    .truncate(connection.receiving.len() - at);
                let is_flushed = answers.appender.is_flushed();
                connection.sending.extend_from_slice(&block.responses);
                block.responses.clear();
                if block.is_broken {
                    self.connections[index] = None;
                } else if is_flushed && !connection.is_waiting {
                    self.send(index)?;
                } else if !connection.is_waiting {
                    connection.is_waiting = true;
                    self.waiting.push(index);
                }
                self.spare.push(block);
            }
            Work::Writer { to, .. } => {
                std::mem::swap(&mut block.bytes, &mut connection.receiving);
                connection.receiving.clear();
                let room = (block.bytes.len() - at).max(wanted) + 4096;
                if connection.receiving.capacity() < room {
                    connection.receiving.reserve_exact(room);
                }
                connection.receiving.extend_from_slice(&block.bytes[at..]);
                connection.away += 1;
                to.send(block)
                    .map_err(|_| Error::other("the writer is gone"))?;
                self.update_interest(index)?;
            }
        }
        Ok(())
    }

    /// `frames` are those that were received, of which one is a fetch, or some came while one was
    /// under way. A client that does not wait for its answer is sent away.
    fn take_fetch(&mut self, index: usize, frames: &[std::ops::Range<usize>]) -> Result<()> {
        let Some(connection) = &mut self.connections[index] else {
            return Ok(());
        };
        let is_alone = connection.away == 0
            && connection.sending.is_empty()
            && matches!(connection.fetching, Fetching::Nothing)
            && matches!(frames, [only] if only.end == connection.receiving.len());
        let request = if is_alone {
            fetch::parse(&connection.receiving[frames[0].clone()]).ok()
        } else {
            None
        };
        connection.receiving.clear();
        let Some(request) = request else {
            self.connections[index] = None;
            return Ok(());
        };
        connection.fetching = Fetching::Waits {
            until_ns: now_ns() + request.max_wait_ms * 1_000_000,
            request,
        };
        if !self.try_answer(index)? {
            self.fetches.push(index);
        }
        Ok(())
    }

    /// Begins to answer a waiting fetch if it need not wait any more. False: it waits on.
    fn try_answer(&mut self, index: usize) -> Result<bool> {
        let Some(connection) = &mut self.connections[index] else {
            return Ok(true);
        };
        let Fetching::Waits { request, until_ns } = &connection.fetching else {
            return Ok(true);
        };
        if now_ns() < *until_ns && !fetch::is_ready(request, &self.log) {
            return Ok(false);
        }
        connection.fetching = Fetching::Sends(fetch::answer(request, &self.log));
        self.send(index)?;
        Ok(true)
    }

    fn next_deadline_ns(&self) -> Option<u64> {
        let until = |index: &usize| match &self.connections[*index] {
            Some(Connection {
                fetching: Fetching::Waits { until_ns, .. },
                ..
            }) => *until_ns,
            _ => 0,
        };
        self.fetches.iter().map(until).min()
    }

    /// Answers the fetches for which there is enough now, or whose time is over.
    fn look_at_fetches(&mut self) -> Result<()> {
        if self.fetches.is_empty() {
            return Ok(());
        }
        let version = self.log.version();
        let is_due = self.next_deadline_ns().is_some_and(|at| at <= now_ns());
        if version == self.seen_version && !is_due {
            return Ok(());
        }
        self.seen_version = version;
        for index in std::mem::take(&mut self.fetches) {
            if !self.try_answer(index)? {
                self.fetches.push(index);
            }
        }
        Ok(())
    }

    fn take_back(&mut self) -> Result<()> {
        let Work::Writer { from, doorbell, .. } = &self.work else {
            return Ok(());
        };
        doorbell.clear();
        let blocks: Vec<Block> = from.try_iter().collect();
        for mut block in blocks {
            let index = block.connection;
            if block.is_broken {
                self.connections[index] = None;
            }
            if let Some(connection) = &mut self.connections[index] {
                connection.away -= 1;
                connection.sending.extend_from_slice(&block.responses);
                self.send(index)?;
            }
            block.responses.clear();
            block.bytes.clear();
            self.spare.push(block);
        }
        Ok(())
    }

    /// Writes what the turn has gathered, and sends the responses that waited for it.
    fn end_turn(&mut self) -> Result<()> {
        if let Work::Here(answers) = &mut self.work {
            answers.appender.flush()?;
        }
        for index in std::mem::take(&mut self.waiting) {
            if let Some(connection) = &mut self.connections[index] {
                connection.is_waiting = false;
                self.send(index)?;
            }
        }
        self.look_at_fetches()
    }

    fn send(&mut self, index: usize) -> Result<()> {
        let Some(connection) = &mut self.connections[index] else {
            return Ok(());
        };
        while connection.sent < connection.sending.len() {
            let fd = connection.stream.as_raw_fd();
            match net::send_two(fd, &connection.sending[connection.sent..], &[]) {
                Moved::Bytes(count) => connection.sent += count,
                Moved::WouldBlock => break,
                Moved::Closed(_) => {
                    self.connections[index] = None;
                    return Ok(());
                }
            }
        }
        if connection.sent == connection.sending.len() {
            connection.sending.clear();
            connection.sent = 0;
            if let Fetching::Sends(answer) = &mut connection.fetching {
                match self.sender.send(&connection.stream, answer)? {
                    Sent::Whole => connection.fetching = Fetching::Nothing,
                    Sent::Partly => {}
                    Sent::Closed => {
                        self.connections[index] = None;
                        return Ok(());
                    }
                }
            }
        }
        self.update_interest(index)
    }

    fn update_interest(&mut self, index: usize) -> Result<()> {
        let Some(connection) = &mut self.connections[index] else {
            return Ok(());
        };
        let reads = if connection.away < AWAY_MAX {
            READABLE
        } else {
            0
        };
        let is_sending =
            !connection.sending.is_empty() || matches!(connection.fetching, Fetching::Sends(_));
        let writes = if is_sending { WRITABLE } else { 0 };
        if connection.interest != reads | writes {
            connection.interest = reads | writes;
            let fd = connection.stream.as_raw_fd();
            self.epoll.change(fd, index as u64, connection.interest)?;
        }
        Ok(())
    }
}
