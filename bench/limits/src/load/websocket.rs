//! Produce over `millrace.v1`, the broker's binary WebSocket protocol
//! (src/wire/websocket/README.md): prebuilt masked messages, credits, and what else a client must
//! answer.

use super::Prebuilt;
use super::connection::Answer;
use super::frames::{self, Frame, OPCODE_BINARY, OPCODE_CLOSE, OPCODE_PING, OPCODE_PONG};
use super::messages::{self, with_length};
use super::options::Options;
use crate::msgpack::{Malformed, Writer};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const SUBPROTOCOL: &str = "millrace.v1";
/// The key and its answer of RFC 6455, 1.3: it proves that a WebSocket server answers, not more.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
const HANDSHAKE_BYTES_MAX: usize = 16 * 1024;
const MESSAGE_BYTES_MAX: usize = 256 * 1024;
/// What a produce message costs beyond its length.
const MESSAGE_COST_BYTES: usize = 512;
/// Pongs and credits that wait to be sent: more, and the server asks faster than it reads.
const CONTROL_BYTES_MAX: usize = 64 * 1024;
const TIMEOUT: Duration = Duration::from_secs(10);

pub fn request(options: &Options, partition: usize, batch: &[u8], mask: [u8; 4]) -> Prebuilt {
    let mut envelope = Writer::default();
    envelope.map(4).text("type").text("produce").text("id");
    let id_at = envelope.bytes.len() + 1;
    envelope.u32(0).text("acks").small(options.acks as i8);
    envelope.text("partitions").array(1).array(3);
    envelope.text(&options.topic);
    envelope.u32(partition as u32).u32(batch.len() as u32);
    let message = with_length(&envelope.bytes, batch);
    // In the message the envelope's length goes before.
    let id_at = 4 + id_at;
    let head = frames::head(OPCODE_BINARY, message.len(), mask);
    let masked = frames::masked(&message, mask);
    let (id, body) = masked.split_at(id_at + 4);
    Prebuilt {
        prefix: [&head[..], id].concat(),
        id_at: head.len() + id_at,
        id_mask: std::array::from_fn(|index| mask[(id_at + index) & 3]),
        body: body.to_vec(),
        credits: (message.len() + MESSAGE_COST_BYTES) as u64,
    }
}

/// The state of one connection.
pub struct WebSocket {
    /// Bytes that may be sent, and what one message takes of them.
    pub credits: u64,
    pub cost: u64,
    /// Messages that may be under way.
    in_flight: usize,
    under_way: usize,
    /// More credits were asked for, and the server has not forgotten it.
    has_asked: bool,
    /// A message whose last fragment has not come.
    fragments: Vec<u8>,
    is_in_fragments: bool,
    /// Masked frames to send between messages.
    pub control: Vec<u8>,
}

/// Upgrades `stream`, which blocks, and waits for the server's hello. `received` gets what came
/// behind it.
pub fn open(
    stream: &mut TcpStream,
    options: &Options,
    request: &Prebuilt,
    received: &mut Vec<u8>,
) -> Result<WebSocket, String> {
    let problem = |error: std::io::Error| format!("the WebSocket handshake failed: {error}");
    stream.set_read_timeout(Some(TIMEOUT)).map_err(problem)?;
    stream.set_write_timeout(Some(TIMEOUT)).map_err(problem)?;
    let ask = format!(
        "GET /ws HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\
         Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n",
        options.connect
    );
    stream.write_all(ask.as_bytes()).map_err(problem)?;
    let end = loop {
        if let Some(end) = received.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        if received.len() > HANDSHAKE_BYTES_MAX {
            return Err("the answer to the WebSocket handshake does not end".to_string());
        }
        read_more(stream, received)?;
    };
    check_handshake(&received[..end])?;
    received.drain(..end);
    let mut websocket = WebSocket {
        credits: 0,
        cost: request.credits,
        in_flight: options.in_flight,
        under_way: 0,
        has_asked: false,
        fragments: Vec::new(),
        is_in_fragments: false,
        control: Vec::new(),
    };
    loop {
        if let Some(message) = websocket.next_message(received)? {
            websocket.begin(&message)?;
            return Ok(websocket);
        }
        read_more(stream, received)?;
    }
}

fn read_more(stream: &mut TcpStream, received: &mut Vec<u8>) -> Result<(), String> {
    let mut bytes = [0; 4096];
    match stream.read(&mut bytes) {
        Ok(0) => Err("the broker closed a WebSocket before its hello".to_string()),
        Ok(count) => {
            received.extend_from_slice(&bytes[..count]);
            Ok(())
        }
        Err(error) => Err(format!("no hello on a WebSocket: {error}")),
    }
}

fn check_handshake(answer: &[u8]) -> Result<(), String> {
    let answer = String::from_utf8_lossy(answer);
    let mut lines = answer.split("\r\n");
    let status = lines.next().unwrap_or("");
    if status.split(' ').nth(1) != Some("101") {
        return Err(format!("no WebSocket at /ws: {status}"));
    }
    let mut is_accepted = false;
    let mut is_spoken = false;
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        is_accepted |= name.eq_ignore_ascii_case("sec-websocket-accept") && value == ACCEPT;
        is_spoken |= name.eq_ignore_ascii_case("sec-websocket-protocol") && value == SUBPROTOCOL;
    }
    if is_accepted && is_spoken {
        Ok(())
    } else {
        Err(format!("the server does not speak {SUBPROTOCOL} at /ws"))
    }
}

fn malformed(_: Malformed) -> String {
    "sent what is no message of millrace.v1".to_string()
}

impl WebSocket {
    /// Takes the server's hello.
    fn begin(&mut self, hello: &[u8]) -> Result<(), String> {
        let said = messages::read(hello).map_err(malformed)?;
        if said.kind == "error" {
            return Err(format!(
                "the broker answered error {}: {}",
                said.code, said.message
            ));
        }
        if said.kind != "hello" {
            return Err(format!(
                "the broker began with {}, not with hello",
                said.kind
            ));
        }
        let bytes = self.cost - MESSAGE_COST_BYTES as u64;
        if bytes > said.message_bytes_max {
            return Err(format!(
                "a message of {bytes} bytes is more than the broker's limit of {}: use smaller \
                 --request-bytes",
                said.message_bytes_max
            ));
        }
        if self.in_flight as u64 > said.requests_max {
            return Err(format!(
                "--in-flight {} is more than the broker's limit of {}",
                self.in_flight, said.requests_max
            ));
        }
        self.credits = said.credits;
        self.ask_for_credits();
        Ok(())
    }

    /// Whether a message may be sent now; asks for credits if not.
    pub fn may_send(&mut self) -> bool {
        if self.credits >= self.cost {
            return true;
        }
        self.ask_for_credits();
        false
    }

    pub fn spend(&mut self) {
        self.credits -= self.cost;
        self.under_way += 1;
    }

    fn ask_for_credits(&mut self) {
        let wanted = self.in_flight as u64 * self.cost;
        let window = self.credits + self.under_way as u64 * self.cost;
        if window >= wanted || self.has_asked {
            return;
        }
        self.has_asked = true;
        self.send_credits("requestCredits", wanted);
    }

    fn send_credits(&mut self, kind: &str, bytes: u64) {
        let mut envelope = Writer::default();
        envelope.map(2).text("type").text(kind).text("bytes");
        envelope.u32(bytes.min(i32::MAX as u64) as u32);
        self.send_control(OPCODE_BINARY, &with_length(&envelope.bytes, &[]));
    }

    fn send_control(&mut self, opcode: u8, payload: &[u8]) {
        // The mask protects others from pages in browsers, which this is not.
        let mask = [0x5a, 0xc3, 0x96, 0x3c];
        let head = frames::head(opcode, payload.len(), mask);
        self.control.extend_from_slice(&head);
        self.control
            .extend_from_slice(&frames::masked(payload, mask));
    }

    /// Takes the whole messages out of `received` and does what they ask for.
    pub fn take(
        &mut self,
        received: &mut Vec<u8>,
        answers: &mut Vec<Answer>,
    ) -> Result<(), String> {
        while let Some(message) = self.next_message(received)? {
            let said = messages::read(&message).map_err(malformed)?;
            match (said.kind, said.id) {
                ("credits", _) => self.credits += said.bytes,
                ("recall", _) => self.give_back(said.bytes),
                ("produced", Some(id)) => {
                    self.restore(said.kept);
                    answers.push(Answer {
                        id: id as u32 as i32,
                        error: said.error as i16,
                        base_offset: said.base_offset,
                    });
                }
                ("error", Some(id)) => {
                    self.restore(said.kept);
                    answers.push(Answer {
                        id: id as u32 as i32,
                        error: said.code as i16,
                        base_offset: -1,
                    });
                }
                ("error", None) => return Err(format!("error {}: {}", said.code, said.message)),
                (kind, _) => return Err(format!("sent {kind}, which nothing asked for")),
            }
        }
        if self.control.len() > CONTROL_BYTES_MAX {
            return Err("asks for more than it reads answers of".to_string());
        }
        Ok(())
    }

    /// A message is answered: what it cost may be sent again, without what the server kept.
    fn restore(&mut self, kept: u64) {
        self.under_way = self.under_way.saturating_sub(1);
        self.credits += self.cost.saturating_sub(kept);
        self.has_asked &= kept == 0;
    }

    /// Gives what is not needed for the messages that may still be sent; and what is too little
    /// for one, which keeps the place in line.
    fn give_back(&mut self, asked: u64) {
        let messages = self.in_flight.saturating_sub(self.under_way) as u64;
        let needed = messages.min(self.credits / self.cost) * self.cost;
        let given = asked.min(self.credits - needed);
        self.credits -= given;
        self.has_asked &= given == 0;
        self.send_credits("yieldCredits", given);
    }

    /// The next whole message; answers pings on the way.
    fn next_message(&mut self, received: &mut Vec<u8>) -> Result<Option<Vec<u8>>, String> {
        loop {
            let Some((frame, end)) = frames::parse(received, MESSAGE_BYTES_MAX)? else {
                return Ok(None);
            };
            let Frame {
                is_last,
                opcode,
                payload,
            } = frame;
            let payload = received[payload].to_vec();
            received.drain(..end);
            match opcode {
                OPCODE_PING => self.send_control(OPCODE_PONG, &payload),
                OPCODE_PONG => {}
                OPCODE_CLOSE => return Err(frames::closed(&payload)),
                OPCODE_BINARY | 0 if (opcode == 0) == self.is_in_fragments => {
                    if self.fragments.len() + payload.len() > MESSAGE_BYTES_MAX {
                        return Err("sent a message that is too long".to_string());
                    }
                    self.is_in_fragments = !is_last;
                    self.fragments.extend_from_slice(&payload);
                    if is_last {
                        return Ok(Some(std::mem::take(&mut self.fragments)));
                    }
                }
                _ => return Err(format!("sent a frame with opcode {opcode} out of place")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::msgpack::Reader;

    fn options() -> Options {
        let line = "--connect a:1 --topic t --websocket --kafka a:2 --in-flight 3";
        Options::parse(line.split(' ').map(str::to_string)).unwrap()
    }

    fn websocket() -> WebSocket {
        WebSocket {
            credits: 0,
            cost: 1000,
            in_flight: 3,
            under_way: 0,
            has_asked: false,
            fragments: Vec::new(),
            is_in_fragments: false,
            control: Vec::new(),
        }
    }

    /// A server's frame with an envelope.
    fn frame(envelope: &Writer) -> Vec<u8> {
        let message = with_length(&envelope.bytes, &[]);
        assert!(message.len() < 126);
        [&[0x82, message.len() as u8][..], &message].concat()
    }

    fn credits(kind: &str, bytes: u32) -> Vec<u8> {
        let mut envelope = Writer::default();
        envelope
            .map(2)
            .text("type")
            .text(kind)
            .text("bytes")
            .u32(bytes);
        frame(&envelope)
    }

    fn produced(id: u32, kept: Option<u32>) -> Vec<u8> {
        let mut envelope = Writer::default();
        envelope.map(if kept.is_some() { 4 } else { 3 });
        envelope.text("type").text("produced").text("id").u32(id);
        envelope.text("partitions").array(1).array(5);
        envelope.small(0).u32(77).small(-1).small(0);
        envelope.bytes.push(0xc0);
        if let Some(kept) = kept {
            envelope.text("kept").u32(kept);
        }
        frame(&envelope)
    }

    /// Kinds and bytes of the messages that wait to be sent.
    fn sent(websocket: &mut WebSocket) -> Vec<(String, u64)> {
        let mut found = Vec::new();
        let mut bytes = std::mem::take(&mut websocket.control);
        while !bytes.is_empty() {
            let length = usize::from(bytes[1] & 0x7f);
            let mask = bytes[2..6].try_into().unwrap();
            let message = frames::masked(&bytes[6..6 + length], mask);
            let said = messages::read(&message).unwrap();
            found.push((said.kind.to_string(), said.bytes));
            bytes.drain(..6 + length);
        }
        found
    }

    #[test]
    fn request_is_a_masked_message_whose_id_can_be_put_in() {
        let mask = [1, 2, 3, 4];
        for batch in [vec![7u8; 10], vec![7; 1000], vec![7; 70_000]] {
            let request = request(&options(), 5, &batch, mask);
            let mut prefix = request.prefix.clone();
            for (index, byte) in 0x0102_0304u32.to_be_bytes().iter().enumerate() {
                prefix[request.id_at + index] = byte ^ request.id_mask[index];
            }
            let whole = [&prefix[..], &request.body].concat();
            let head = frames::head(OPCODE_BINARY, request.credits as usize - 512, mask);
            assert_eq!(whole[..head.len()], head);
            let message = frames::masked(&whole[head.len()..], mask);
            assert_eq!(message.len() as u64 + 512, request.credits);
            assert!(message.ends_with(&batch));
            let length = u32::from_be_bytes(message[..4].try_into().unwrap()) as usize;
            assert_eq!(length + 4 + batch.len(), message.len());
            let mut reader = Reader::new(&message[4..4 + length]);
            assert_eq!(reader.map(), Ok(4));
            assert_eq!((reader.text(), reader.text()), (Ok("type"), Ok("produce")));
            assert_eq!(
                (reader.text(), reader.integer()),
                (Ok("id"), Ok(0x0102_0304))
            );
            assert_eq!((reader.text(), reader.integer()), (Ok("acks"), Ok(1)));
            assert_eq!(reader.text(), Ok("partitions"));
            assert_eq!((reader.array(), reader.array()), (Ok(1), Ok(3)));
            assert_eq!((reader.text(), reader.integer()), (Ok("t"), Ok(5)));
            assert_eq!(reader.integer(), Ok(batch.len() as i64));
            assert!(reader.is_at_end());
        }
    }

    #[test]
    fn take_counts_credits_and_asks_again_once_some_were_kept() {
        let mut websocket = websocket();
        let mut answers = Vec::new();
        assert!(!websocket.may_send());
        assert!(!websocket.may_send(), "asks once");
        assert_eq!(sent(&mut websocket), [("requestCredits".to_string(), 3000)]);
        let mut received = credits("credits", 1500);
        websocket.take(&mut received, &mut answers).unwrap();
        assert!(websocket.may_send());
        websocket.spend();
        assert_eq!(websocket.credits, 500);
        received = [produced(9, Some(600)), produced(10, None)].concat();
        received.truncate(received.len() - 1);
        websocket.take(&mut received, &mut answers).unwrap();
        assert_eq!(answers.len(), 1, "the second one is not whole");
        assert_eq!((answers[0].id, answers[0].base_offset), (9, 77));
        assert_eq!(websocket.credits, 900);
        assert!(!websocket.may_send());
        assert_eq!(sent(&mut websocket), [("requestCredits".to_string(), 3000)]);
    }

    #[test]
    fn take_gives_back_what_it_does_not_need() {
        let mut websocket = websocket();
        let mut received = [credits("credits", 3400), credits("recall", 1000)].concat();
        websocket.take(&mut received, &mut Vec::new()).unwrap();
        assert_eq!(sent(&mut websocket), [("yieldCredits".to_string(), 400)]);
        assert_eq!(websocket.credits, 3000);
    }

    #[test]
    fn take_joins_fragments_and_answers_pings_between_them() {
        let mut websocket = websocket();
        let whole = credits("credits", 5);
        let (first, second) = whole[2..].split_at(7);
        let mut received = [
            &[0x02, 7][..],
            first,
            &[0x89, 2, b'h', b'i'],
            &[0x80, second.len() as u8],
            second,
        ]
        .concat();
        websocket.take(&mut received, &mut Vec::new()).unwrap();
        assert_eq!(websocket.credits, 5);
        assert_eq!(websocket.control[..2], [0x8a, 0x82]);
    }

    #[test]
    fn take_says_why_the_server_closed() {
        let mut received = [&[0x88, 6, 0x0f, 0xa8][..], b"over"].concat();
        let problem = websocket().take(&mut received, &mut Vec::new());
        assert!(problem.unwrap_err().contains("4008: over"));
        let mut received = vec![0x80, 0];
        assert!(websocket().take(&mut received, &mut Vec::new()).is_err());
    }
}
