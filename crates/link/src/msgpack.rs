//! MessagePack, as far as the link needs it (device-link §2.4): a message is read into a tree, and a tree is written.
//!
//! Reading is bounded: nesting by [`DEPTH_MAX`], values by [`NODES_MAX`], and a length that the bytes cannot hold is refused
//! before anything is allocated for it. Times are RFC 3339 texts in the tree and extension type -1 on the wire; `bin` is text.

use serde_json::{Map, Number, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::limits::{DEPTH_MAX, NODES_MAX};

/// The extension type of times.
const TIMESTAMP: u8 = 0xff;

/// Why bytes are not a message in MessagePack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MessagePackError {
    /// They end within a value.
    #[error("ends within a value")]
    Short,
    /// Something follows the value.
    #[error("goes on after its value")]
    Long,
    /// A byte that begins no value.
    #[error("has a byte that begins no value")]
    Marker,
    /// A key of a map that is neither text nor a number.
    #[error("has a key that is no text")]
    Key,
    /// Nested deeper than [`DEPTH_MAX`].
    #[error("is nested too deep")]
    Deep,
    /// More values than [`NODES_MAX`].
    #[error("has too many values")]
    Many,
}

type Result<T> = std::result::Result<T, MessagePackError>;

/// Reads one value; nothing may follow it.
pub(crate) fn read(bytes: &[u8]) -> Result<Value> {
    let mut reader = Reader { bytes, nodes: 0 };
    let value = reader.value(0)?;
    if reader.bytes.is_empty() {
        Ok(value)
    } else {
        Err(MessagePackError::Long)
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    nodes: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(count).ok_or(MessagePackError::Short)?;
        self.bytes = rest;
        Ok(taken)
    }

    /// A big-endian number of `count` bytes, at most 8.
    fn number(&mut self, count: usize) -> Result<u64> {
        Ok(self
            .take(count)?
            .iter()
            .fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn length(&mut self, count: usize) -> Result<usize> {
        usize::try_from(self.number(count)?).map_err(|_| MessagePackError::Short)
    }

    fn value(&mut self, depth: usize) -> Result<Value> {
        if depth > DEPTH_MAX {
            return Err(MessagePackError::Deep);
        }
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return Err(MessagePackError::Many);
        }
        let marker = self.take(1)?.first().copied().ok_or(MessagePackError::Short)?;
        Ok(match marker {
            0x00..=0x7f => marker.into(),
            0x80..=0x8f => self.map(usize::from(marker & 0x0f), depth)?,
            0x90..=0x9f => self.array(usize::from(marker & 0x0f), depth)?,
            0xa0..=0xbf => self.text(usize::from(marker & 0x1f))?,
            0xc0 => Value::Null,
            0xc2 => false.into(),
            0xc3 => true.into(),
            0xc4 | 0xd9 => self.sized(1, Self::text)?,
            0xc5 | 0xda => self.sized(2, Self::text)?,
            0xc6 | 0xdb => self.sized(4, Self::text)?,
            0xc7 => self.sized(1, Self::extension)?,
            0xc8 => self.sized(2, Self::extension)?,
            0xc9 => self.sized(4, Self::extension)?,
            0xca => float(f64::from(f32::from_bits(self.number(4)? as u32))),
            0xcb => float(f64::from_bits(self.number(8)?)),
            0xcc => self.number(1)?.into(),
            0xcd => self.number(2)?.into(),
            0xce => self.number(4)?.into(),
            0xcf => self.number(8)?.into(),
            0xd0 => i64::from(self.number(1)? as i8).into(),
            0xd1 => i64::from(self.number(2)? as i16).into(),
            0xd2 => i64::from(self.number(4)? as i32).into(),
            0xd3 => (self.number(8)? as i64).into(),
            0xd4..=0xd8 => self.extension(1 << (marker - 0xd4))?,
            0xdc => self.sized(2, |reader, count| reader.array(count, depth))?,
            0xdd => self.sized(4, |reader, count| reader.array(count, depth))?,
            0xde => self.sized(2, |reader, count| reader.map(count, depth))?,
            0xdf => self.sized(4, |reader, count| reader.map(count, depth))?,
            0xe0..=0xff => i64::from(marker as i8).into(),
            0xc1 => return Err(MessagePackError::Marker),
        })
    }

    fn sized(&mut self, count: usize, read: impl FnOnce(&mut Self, usize) -> Result<Value>) -> Result<Value> {
        let length = self.length(count)?;
        read(self, length)
    }

    /// What is not UTF-8 is kept as far as it is.
    fn text(&mut self, length: usize) -> Result<Value> {
        Ok(String::from_utf8_lossy(self.take(length)?).into_owned().into())
    }

    fn array(&mut self, count: usize, depth: usize) -> Result<Value> {
        if count > self.bytes.len() {
            return Err(MessagePackError::Short);
        }
        let mut array = Vec::with_capacity(count.min(NODES_MAX));
        for _ in 0..count {
            array.push(self.value(depth + 1)?);
        }
        Ok(array.into())
    }

    fn map(&mut self, count: usize, depth: usize) -> Result<Value> {
        if count > self.bytes.len() / 2 {
            return Err(MessagePackError::Short);
        }
        let mut map = Map::new();
        for _ in 0..count {
            let key = match self.value(depth + 1)? {
                Value::String(key) => key,
                Value::Number(key) => key.to_string(),
                _ => return Err(MessagePackError::Key),
            };
            map.insert(key, self.value(depth + 1)?);
        }
        Ok(map.into())
    }

    /// A time as text; any other extension is nothing.
    fn extension(&mut self, length: usize) -> Result<Value> {
        let kind = self.take(1)?.first().copied();
        let bytes = self.take(length)?;
        let time = (kind == Some(TIMESTAMP)).then(|| time_of(bytes)).flatten();
        Ok(time.map_or(Value::Null, Value::from))
    }
}

fn float(number: f64) -> Value {
    Number::from_f64(number).map_or(Value::Null, Value::Number)
}

/// The three forms of a timestamp: 4, 8 and 12 bytes.
fn time_of(bytes: &[u8]) -> Option<String> {
    let (seconds, nanos) = match bytes.len() {
        4 => (i64::from(u32::from_be_bytes(bytes.try_into().ok()?)), 0),
        8 => {
            let both = u64::from_be_bytes(bytes.try_into().ok()?);
            ((both & 0x3_ffff_ffff) as i64, (both >> 34) as u32)
        }
        12 => {
            let (nanos, seconds) = bytes.split_first_chunk::<4>()?;
            let seconds = i64::from_be_bytes(seconds.try_into().ok()?);
            (seconds, u32::from_be_bytes(*nanos))
        }
        _ => return None,
    };
    let time = OffsetDateTime::from_unix_timestamp(seconds)
        .ok()?
        .replace_nanosecond(nanos)
        .ok()?;
    time.format(&Rfc3339).ok()
}

/// Writes a value. Texts at `times`, which are JSON pointers, go as times where they are some.
pub(crate) fn write(value: &Value, times: &[&str]) -> Vec<u8> {
    let mut writer = Writer {
        bytes: Vec::with_capacity(128),
        times: times.iter().filter_map(|pointer| value.pointer(pointer)).collect(),
    };
    writer.value(value);
    writer.bytes
}

struct Writer<'a> {
    bytes: Vec<u8>,
    times: Vec<&'a Value>,
}

impl Writer<'_> {
    fn value(&mut self, value: &Value) {
        match value {
            Value::Null => self.bytes.push(0xc0),
            Value::Bool(flag) => self.bytes.push(if *flag { 0xc3 } else { 0xc2 }),
            Value::Number(number) => self.number(number),
            Value::String(text) => {
                let is_time = self.times.iter().any(|time| std::ptr::eq(*time, value));
                if !(is_time && self.time(text)) {
                    self.text(text);
                }
            }
            Value::Array(array) => {
                self.head(array.len(), (0x90, 16), None, (0xdc, 0xdd));
                for one in array {
                    self.value(one);
                }
            }
            Value::Object(map) => {
                self.head(map.len(), (0x80, 16), None, (0xde, 0xdf));
                for (key, one) in map {
                    self.text(key);
                    self.value(one);
                }
            }
        }
    }

    /// The shortest head of a text, an array or a map of this length.
    fn head(&mut self, length: usize, short: (u8, usize), byte: Option<u8>, long: (u8, u8)) {
        match (byte, u8::try_from(length), u16::try_from(length)) {
            (_, Ok(length), _) if usize::from(length) < short.1 => self.bytes.push(short.0 | length),
            (Some(marker), Ok(length), _) => self.bytes.extend([marker, length]),
            (_, _, Ok(length)) => self.marked(long.0, &length.to_be_bytes()),
            _ => self.marked(long.1, &(length as u32).to_be_bytes()),
        }
    }

    fn marked(&mut self, marker: u8, bytes: &[u8]) {
        self.bytes.push(marker);
        self.bytes.extend(bytes);
    }

    fn text(&mut self, text: &str) {
        self.head(text.len(), (0xa0, 32), Some(0xd9), (0xda, 0xdb));
        self.bytes.extend(text.as_bytes());
    }

    fn number(&mut self, number: &Number) {
        match (number.as_u64(), number.as_i64()) {
            (Some(number), _) => self.unsigned(number),
            (None, Some(number)) => self.negative(number),
            _ => self.marked(0xcb, &number.as_f64().unwrap_or_default().to_be_bytes()),
        }
    }

    fn unsigned(&mut self, number: u64) {
        match number {
            0..0x80 => self.bytes.push(number as u8),
            0x80..0x100 => self.marked(0xcc, &[number as u8]),
            0x100..0x1_0000 => self.marked(0xcd, &(number as u16).to_be_bytes()),
            0x1_0000..0x1_0000_0000 => self.marked(0xce, &(number as u32).to_be_bytes()),
            _ => self.marked(0xcf, &number.to_be_bytes()),
        }
    }

    fn negative(&mut self, number: i64) {
        match number {
            -32.. => self.bytes.push(number as i8 as u8),
            -0x80..-32 => self.marked(0xd0, &(number as i8).to_be_bytes()),
            -0x8000..-0x80 => self.marked(0xd1, &(number as i16).to_be_bytes()),
            -0x8000_0000..-0x8000 => self.marked(0xd2, &(number as i32).to_be_bytes()),
            _ => self.marked(0xd3, &number.to_be_bytes()),
        }
    }

    /// A time, in its shortest form; false when the text is none.
    fn time(&mut self, text: &str) -> bool {
        let Ok(time) = OffsetDateTime::parse(text, &Rfc3339) else {
            return false;
        };
        let (seconds, nanos) = (time.unix_timestamp(), time.nanosecond());
        match (u32::try_from(seconds), nanos) {
            (Ok(seconds), 0) => {
                self.marked(0xd6, &[TIMESTAMP]);
                self.bytes.extend(seconds.to_be_bytes());
            }
            _ if (0..1 << 34).contains(&seconds) => {
                self.marked(0xd7, &[TIMESTAMP]);
                self.bytes
                    .extend((u64::from(nanos) << 34 | seconds as u64).to_be_bytes());
            }
            _ => {
                self.marked(0xc7, &[12, TIMESTAMP]);
                self.bytes.extend(nanos.to_be_bytes());
                self.bytes.extend(seconds.to_be_bytes());
            }
        }
        true
    }
}

#[cfg(test)]
mod tests;
