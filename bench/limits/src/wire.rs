//! Kafka's non-flexible encoding: big-endian integers, strings with an i16 length, arrays with an
//! i32 count, frames with an i32 length; and the numbers of the few requests that are used here.

pub const PRODUCE: i16 = 0;
pub const FETCH: i16 = 1;
pub const LIST_OFFSETS: i16 = 2;
pub const METADATA: i16 = 3;
pub const API_VERSIONS: i16 = 18;
pub const CREATE_TOPICS: i16 = 19;

/// The version of each request that the programs speak: all of them non-flexible, none removed
/// by Kafka 4 (KIP-896).
pub const SPOKEN: [(i16, i16); 6] = [
    (PRODUCE, 7),
    (FETCH, 11),
    (LIST_OFFSETS, 1),
    (METADATA, 4),
    (API_VERSIONS, 0),
    (CREATE_TOPICS, 4),
];

pub const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
pub const CORRUPT_MESSAGE: i16 = 2;
pub const TOPIC_ALREADY_EXISTS: i16 = 36;

/// Frame length, request key, version, correlation id: what differs from request to request.
pub const PREFIX_BYTES: usize = 12;

pub fn version_of(key: i16) -> i16 {
    SPOKEN
        .iter()
        .find(|one| one.0 == key)
        .map_or(-1, |one| one.1)
}

#[derive(Default)]
pub struct Writer {
    pub bytes: Vec<u8>,
}

impl Writer {
    /// A frame that `finish` gives its length; a request's header is written already.
    pub fn request(key: i16, correlation_id: i32) -> Writer {
        let mut writer = Writer::default();
        writer
            .i32(0)
            .i16(key)
            .i16(version_of(key))
            .i32(correlation_id);
        writer.string("limits");
        writer
    }

    pub fn response(correlation_id: i32) -> Writer {
        let mut writer = Writer::default();
        writer.i32(0).i32(correlation_id);
        writer
    }

    pub fn i8(&mut self, value: i8) -> &mut Writer {
        self.bytes.push(value as u8);
        self
    }

    pub fn i16(&mut self, value: i16) -> &mut Writer {
        self.bytes.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub fn i32(&mut self, value: i32) -> &mut Writer {
        self.bytes.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub fn i64(&mut self, value: i64) -> &mut Writer {
        self.bytes.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub fn string(&mut self, value: &str) -> &mut Writer {
        self.i16(value.len() as i16);
        self.bytes.extend_from_slice(value.as_bytes());
        self
    }

    pub fn null_string(&mut self) -> &mut Writer {
        self.i16(-1)
    }

    pub fn finish(mut self) -> Vec<u8> {
        let length = (self.bytes.len() - 4) as i32;
        self.bytes[..4].copy_from_slice(&length.to_be_bytes());
        self.bytes
    }
}

/// The bytes do not hold what the message must hold.
#[derive(Debug)]
pub struct Malformed;

impl std::fmt::Display for Malformed {
    fn fmt(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
        formatter.write_str("a message is cut short or malformed")
    }
}

pub struct Reader<'a> {
    bytes: &'a [u8],
    pub at: usize,
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, at: 0 }
    }

    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let end = self.at.checked_add(count).ok_or(Malformed)?;
        let taken = self.bytes.get(self.at..end).ok_or(Malformed)?;
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.take(N)?.try_into().map_err(|_| Malformed)
    }

    pub fn i8(&mut self) -> Result<i8, Malformed> {
        Ok(i8::from_be_bytes(self.array()?))
    }

    pub fn i16(&mut self) -> Result<i16, Malformed> {
        Ok(i16::from_be_bytes(self.array()?))
    }

    pub fn i32(&mut self) -> Result<i32, Malformed> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    pub fn i64(&mut self) -> Result<i64, Malformed> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    /// The bytes of a string; of a null one as well, where the caller does not care.
    pub fn string(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.i16()?;
        self.take(usize::try_from(length).unwrap_or(0))
    }

    /// The count of an array; 0 for a null one. No more than the bytes left could hold.
    pub fn count(&mut self) -> Result<usize, Malformed> {
        let count = usize::try_from(self.i32()?).unwrap_or(0);
        if count <= self.bytes.len() - self.at {
            Ok(count)
        } else {
            Err(Malformed)
        }
    }
}
