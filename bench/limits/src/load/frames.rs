//! WebSocket frames (RFC 6455): a client's are masked, a server's are not. No extensions.

use std::ops::Range;

pub const OPCODE_BINARY: u8 = 2;
pub const OPCODE_CLOSE: u8 = 8;
pub const OPCODE_PING: u8 = 9;
pub const OPCODE_PONG: u8 = 10;

const LAST: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;
const LENGTH_16: u8 = 126;
const LENGTH_64: u8 = 127;

/// The head of a client's frame that is a message of its own.
pub fn head(opcode: u8, bytes: usize, mask: [u8; 4]) -> Vec<u8> {
    let mut head = vec![LAST | opcode];
    // The shortest form is demanded.
    match bytes {
        0..126 => head.push(MASKED | bytes as u8),
        126..65_536 => {
            head.push(MASKED | LENGTH_16);
            head.extend_from_slice(&(bytes as u16).to_be_bytes());
        }
        _ => {
            head.push(MASKED | LENGTH_64);
            head.extend_from_slice(&(bytes as u64).to_be_bytes());
        }
    }
    head.extend_from_slice(&mask);
    head
}

/// `payload` under its mask, and the other way round.
pub fn masked(payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    let bytes = payload.iter().enumerate();
    bytes.map(|(at, byte)| byte ^ mask[at & 3]).collect()
}

pub struct Frame {
    pub is_last: bool,
    pub opcode: u8,
    /// Where it lies in the bytes.
    pub payload: Range<usize>,
}

/// The first frame of a server's bytes and its end, if it is whole.
pub fn parse(bytes: &[u8], bytes_max: usize) -> Result<Option<(Frame, usize)>, String> {
    let [first, second, rest @ ..] = bytes else {
        return Ok(None);
    };
    if first & RESERVED != 0 || second & MASKED != 0 {
        return Err("sent a frame that no server may send".to_string());
    }
    let (start, length) = match *second {
        LENGTH_16 => match rest.first_chunk() {
            Some(length) => (4, u64::from(u16::from_be_bytes(*length))),
            None => return Ok(None),
        },
        LENGTH_64 => match rest.first_chunk() {
            Some(length) => (10, u64::from_be_bytes(*length)),
            None => return Ok(None),
        },
        length => (2, u64::from(length)),
    };
    if length > bytes_max as u64 {
        return Err(format!(
            "sent a frame of {length} bytes: at most {bytes_max} are read"
        ));
    }
    let end = start + length as usize;
    let frame = Frame {
        is_last: first & LAST != 0,
        opcode: first & 0x0f,
        payload: start..end,
    };
    Ok((bytes.len() >= end).then_some((frame, end)))
}

/// What the payload of a close frame says.
pub fn closed(payload: &[u8]) -> String {
    match payload.split_first_chunk() {
        Some((code, reason)) => format!(
            "closed the WebSocket with {}: {}",
            u16::from_be_bytes(*code),
            String::from_utf8_lossy(reason)
        ),
        None => "closed the WebSocket".to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_takes_every_form_of_length_and_waits_for_the_rest() {
        for (head, length) in [
            (vec![0x82, 5], 5),
            (vec![0x82, 126, 1, 0], 256),
            (vec![0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0], 65_536),
        ] {
            let whole = [&head[..], &vec![0; length]].concat();
            let (frame, end) = parse(&whole, 1 << 20).unwrap().unwrap();
            assert_eq!((frame.payload, end), (head.len()..whole.len(), whole.len()));
            for cut in [0, 1, head.len() - 1, head.len(), whole.len() - 1] {
                assert!(parse(&whole[..cut], 1 << 20).unwrap().is_none());
            }
            assert!(parse(&whole, length - 1).is_err());
        }
    }

    #[test]
    fn parse_refuses_what_a_server_may_not_send() {
        assert!(parse(&[0x82, 0x85], 100).is_err(), "masked");
        assert!(parse(&[0xc2, 5], 100).is_err(), "compressed");
    }

    #[test]
    fn masked_is_its_own_inverse() {
        let mask = [9, 8, 7, 6];
        assert_eq!(masked(&masked(b"millrace", mask), mask), b"millrace");
    }
}
