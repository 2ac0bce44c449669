//! The part of MessagePack that `millrace.v1` needs of a producer: maps with string keys, strings,
//! integers, arrays. What is not of interest is passed over, whatever it is; no extension types.

/// Values within values.
const DEPTH_MAX: usize = 16;

#[derive(Default)]
pub struct Writer {
    pub bytes: Vec<u8>,
}

impl Writer {
    /// The head of a map of `count` keys, fewer than 16.
    pub fn map(&mut self, count: u8) -> &mut Writer {
        assert!(count < 16);
        self.bytes.push(0x80 | count);
        self
    }

    /// The head of an array of `count` values, fewer than 16.
    pub fn array(&mut self, count: u8) -> &mut Writer {
        assert!(count < 16);
        self.bytes.push(0x90 | count);
        self
    }

    pub fn text(&mut self, value: &str) -> &mut Writer {
        match value.len() {
            length @ 0..32 => self.bytes.push(0xa0 | length as u8),
            length => {
                let length = u16::try_from(length).expect("names are short");
                self.bytes.push(0xda);
                self.bytes.extend_from_slice(&length.to_be_bytes());
            }
        }
        self.bytes.extend_from_slice(value.as_bytes());
        self
    }

    /// Five bytes for any value, so that one can be put in the place of another.
    pub fn u32(&mut self, value: u32) -> &mut Writer {
        self.bytes.push(0xce);
        self.bytes.extend_from_slice(&value.to_be_bytes());
        self
    }

    /// −32 to 127.
    pub fn small(&mut self, value: i8) -> &mut Writer {
        assert!(value >= -32);
        self.bytes.push(value as u8);
        self
    }
}

/// The bytes are not the value that they should be.
#[derive(Debug, PartialEq)]
pub struct Malformed;

type Result<T> = std::result::Result<T, Malformed>;

pub struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes }
    }

    pub fn is_at_end(&self) -> bool {
        self.bytes.is_empty()
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(count).ok_or(Malformed)?;
        self.bytes = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    /// A big-endian number of `bytes` bytes, 8 at most.
    fn number(&mut self, bytes: usize) -> Result<u64> {
        let taken = self.take(bytes)?.iter();
        Ok(taken.fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    /// A count of values to come. There cannot be more of them than bytes.
    fn count(&mut self, bytes: usize) -> Result<usize> {
        let count = self.number(bytes)? as usize;
        if count <= self.bytes.len() {
            Ok(count)
        } else {
            Err(Malformed)
        }
    }

    /// The number of a map's pairs.
    pub fn map(&mut self) -> Result<usize> {
        match self.byte()? {
            head @ 0x80..=0x8f => Ok(usize::from(head & 0x0f)),
            0xde => self.count(2),
            0xdf => self.count(4),
            _ => Err(Malformed),
        }
    }

    /// The number of an array's values.
    pub fn array(&mut self) -> Result<usize> {
        match self.byte()? {
            head @ 0x90..=0x9f => Ok(usize::from(head & 0x0f)),
            0xdc => self.count(2),
            0xdd => self.count(4),
            _ => Err(Malformed),
        }
    }

    pub fn text(&mut self) -> Result<&'a str> {
        let length = match self.byte()? {
            head @ 0xa0..=0xbf => usize::from(head & 0x1f),
            0xd9 => self.count(1)?,
            0xda => self.count(2)?,
            0xdb => self.count(4)?,
            _ => return Err(Malformed),
        };
        std::str::from_utf8(self.take(length)?).map_err(|_| Malformed)
    }

    /// An integer of any width, or a float of whole value; ±2^53.
    pub fn integer(&mut self) -> Result<i64> {
        let value = match self.byte()? {
            head @ 0x00..=0x7f => i64::from(head),
            head @ 0xe0..=0xff => i64::from(head as i8),
            0xca => return whole(f64::from(f32::from_bits(self.number(4)? as u32))),
            0xcb => return whole(f64::from_bits(self.number(8)?)),
            0xcc => self.number(1)? as i64,
            0xcd => self.number(2)? as i64,
            0xce => self.number(4)? as i64,
            0xcf => i64::try_from(self.number(8)?).map_err(|_| Malformed)?,
            0xd0 => i64::from(self.number(1)? as i8),
            0xd1 => i64::from(self.number(2)? as i16),
            0xd2 => i64::from(self.number(4)? as i32),
            0xd3 => self.number(8)? as i64,
            _ => return Err(Malformed),
        };
        if value.unsigned_abs() <= 1 << 53 {
            Ok(value)
        } else {
            Err(Malformed)
        }
    }

    /// Consumes a nil, if it is one.
    pub fn is_nil(&mut self) -> bool {
        let is_nil = self.bytes.first() == Some(&0xc0);
        if is_nil {
            self.bytes = &self.bytes[1..];
        }
        is_nil
    }

    /// Passes over one value.
    pub fn skip(&mut self) -> Result<()> {
        self.skip_at(0)
    }

    fn skip_at(&mut self, depth: usize) -> Result<()> {
        if depth > DEPTH_MAX {
            return Err(Malformed);
        }
        let head = self.byte()?;
        let (bytes, values) = match head {
            0x00..=0x7f | 0xe0..=0xff | 0xc0 | 0xc2 | 0xc3 => (0, 0),
            0x80..=0x8f => (0, 2 * usize::from(head & 0x0f)),
            0x90..=0x9f => (0, usize::from(head & 0x0f)),
            0xa0..=0xbf => (usize::from(head & 0x1f), 0),
            0xcc | 0xd0 => (1, 0),
            0xcd | 0xd1 => (2, 0),
            0xce | 0xd2 | 0xca => (4, 0),
            0xcf | 0xd3 | 0xcb => (8, 0),
            0xc4 | 0xd9 => (self.count(1)?, 0),
            0xc5 | 0xda => (self.count(2)?, 0),
            0xc6 | 0xdb => (self.count(4)?, 0),
            0xdc => (0, self.count(2)?),
            0xdd => (0, self.count(4)?),
            0xde => (0, 2 * self.count(2)?),
            0xdf => (0, 2 * self.count(4)?),
            _ => return Err(Malformed), // 0xc1 and extension types
        };
        self.take(bytes)?;
        for _ in 0..values {
            self.skip_at(depth + 1)?;
        }
        Ok(())
    }
}

fn whole(value: f64) -> Result<i64> {
    if value.fract() == 0.0 && value.abs() <= (1u64 << 53) as f64 {
        Ok(value as i64)
    } else {
        Err(Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integer_reads_every_width() {
        let cases: [(&[u8], i64); 11] = [
            (&[0x7f], 127),
            (&[0xff], -1),
            (&[0xe0], -32),
            (&[0xcc, 0xff], 255),
            (&[0xcd, 1, 0], 256),
            (&[0xce, 0xff, 0xff, 0xff, 0xff], 0xffff_ffff),
            (&[0xcf, 0, 0, 1, 0, 0, 0, 0, 0], 1 << 40),
            (&[0xd0, 0x80], -128),
            (&[0xd1, 0xff, 0x7f], -129),
            (&[0xd2, 0x80, 0, 0, 0], i32::MIN as i64),
            (&[0xcb, 0x42, 0x70, 0, 0, 0, 0, 0, 0], 1 << 40),
        ];
        for (bytes, value) in cases {
            let mut reader = Reader::new(bytes);
            assert_eq!(reader.integer(), Ok(value));
            assert!(reader.is_at_end());
            let mut reader = Reader::new(bytes);
            assert_eq!(reader.skip(), Ok(()));
            assert!(reader.is_at_end());
        }
        let half = [0xcb, 0x3f, 0xe0, 0, 0, 0, 0, 0, 0];
        assert_eq!(Reader::new(&half).integer(), Err(Malformed));
        let huge = [0xcf, 0xff, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(Reader::new(&huge).integer(), Err(Malformed));
    }

    #[test]
    fn reader_takes_what_writer_made() {
        let mut writer = Writer::default();
        let long = "x".repeat(300);
        writer.map(2).text("a").u32(7);
        writer.text(&long).array(2).small(-1).text("b");
        let mut reader = Reader::new(&writer.bytes);
        assert_eq!(reader.map(), Ok(2));
        assert_eq!((reader.text(), reader.integer()), (Ok("a"), Ok(7)));
        assert_eq!(reader.text(), Ok(long.as_str()));
        assert_eq!((reader.array(), reader.integer()), (Ok(2), Ok(-1)));
        assert_eq!(reader.text(), Ok("b"));
        assert!(reader.is_at_end());
        let mut reader = Reader::new(&writer.bytes);
        assert_eq!(reader.skip(), Ok(()));
        assert!(reader.is_at_end());
        for cut in 0..writer.bytes.len() {
            assert!(Reader::new(&writer.bytes[..cut]).skip().is_err());
        }
    }

    #[test]
    fn skip_refuses_depth_length_and_extensions_without_end() {
        assert!(Reader::new(&[0x91; 100]).skip().is_err());
        assert!(Reader::new(&[0xdd, 0xff, 0xff, 0xff, 0xff]).skip().is_err());
        assert!(Reader::new(&[0xc6, 0xff, 0xff, 0xff, 0xff]).skip().is_err());
        assert!(Reader::new(&[0xd4, 1, 1]).skip().is_err());
    }
}
