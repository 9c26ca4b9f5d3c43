//! A websocket as a client needs it (RFC 6455): text out, masked; text, ping and close in. No extensions.

use anyhow::bail;

/// The largest message that is taken.
const MESSAGE_MAX: usize = 1024 * 1024;

const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// A message from the server.
#[derive(Debug, PartialEq, Eq)]
pub enum Message {
    /// A text.
    Text(String),
    /// To be answered with the same bytes.
    Ping(Vec<u8>),
    /// The server closes, with this code.
    Close(Option<u16>),
    /// Nothing to a client without extensions.
    Other,
}

/// A text as one masked frame.
pub fn text(payload: &str, mask: [u8; 4]) -> Vec<u8> {
    frame(TEXT, payload.as_bytes(), mask)
}

/// The answer to a ping.
pub fn pong(payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    frame(PONG, payload, mask)
}

fn frame(opcode: u8, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(payload.len() + 14);
    frame.push(0x80 | opcode);
    match payload.len() {
        short @ 0..=125 => frame.push(0x80 | short as u8),
        middle @ 126..=0xffff => {
            frame.push(0x80 | 0x7e);
            frame.extend_from_slice(&(middle as u16).to_be_bytes());
        }
        long => {
            frame.push(0x80 | 0x7f);
            frame.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

/// Takes the first whole message off `bytes`; `None` while it is not whole.
pub fn take(bytes: &mut Vec<u8>) -> anyhow::Result<Option<Message>> {
    let Some((start, length)) = head(bytes)? else {
        return Ok(None);
    };
    let Some(payload) = bytes.get(start..start + length) else {
        return Ok(None);
    };
    let message = match bytes[0] & 0x0f {
        TEXT => Message::Text(std::str::from_utf8(payload)?.to_owned()),
        PING => Message::Ping(payload.to_vec()),
        CLOSE => Message::Close(payload.first_chunk().map(|code| u16::from_be_bytes(*code))),
        _ => Message::Other,
    };
    bytes.drain(..start + length);
    if bytes.is_empty() {
        // An idle link keeps no buffer.
        *bytes = Vec::new();
    }
    Ok(Some(message))
}

/// Where the payload of the first frame begins and how long it is.
fn head(bytes: &[u8]) -> anyhow::Result<Option<(usize, usize)>> {
    let [first, second, rest @ ..] = bytes else {
        return Ok(None);
    };
    if first & 0xf0 != 0x80 {
        bail!("the server sent a message in parts, or with reserved bits");
    }
    if second & 0x80 != 0 {
        bail!("the server masked a frame");
    }
    let (start, length) = match second & 0x7f {
        126 => match rest.first_chunk::<2>() {
            Some(length) => (4, u16::from_be_bytes(*length) as usize),
            None => return Ok(None),
        },
        127 => match rest.first_chunk::<8>() {
            Some(length) => (10, usize::try_from(u64::from_be_bytes(*length))?),
            None => return Ok(None),
        },
        short => (2, short as usize),
    };
    if length > MESSAGE_MAX {
        bail!("the server sent a message of {length} bytes");
    }
    Ok(Some((start, length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unmasked(opcode: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = frame(opcode, payload, [0; 4]);
        let key = frame.len() - payload.len() - 4;
        frame.drain(key..key + 4);
        frame[1] &= 0x7f;
        frame
    }

    #[test]
    fn messages_of_every_length_come_through_in_any_pieces() {
        for length in [0, 1, 125, 126, 65_535, 65_536] {
            let payload = "x".repeat(length);
            let mut sent = unmasked(TEXT, payload.as_bytes());
            sent.extend(unmasked(PING, b"p"));
            let mut bytes = Vec::new();
            let mut messages = Vec::new();
            for piece in sent.chunks(1000) {
                bytes.extend_from_slice(piece);
                while let Some(message) = take(&mut bytes).unwrap() {
                    messages.push(message);
                }
            }
            assert_eq!(messages, [Message::Text(payload), Message::Ping(b"p".to_vec())]);
            assert_eq!(bytes.capacity(), 0);
        }
    }

    #[test]
    fn the_mask_is_applied() {
        assert_eq!(text("ab", [1, 2, 3, 4]), [0x81, 0x82, 1, 2, 3, 4, b'a' ^ 1, b'b' ^ 2]);
    }

    #[test]
    fn what_a_server_must_not_send_is_an_error() {
        assert!(take(&mut vec![0x01, 0]).is_err());
        assert!(take(&mut vec![0x81, 0x80, 0, 0, 0, 0]).is_err());
        let mut close = unmasked(CLOSE, &1001_u16.to_be_bytes());
        assert_eq!(take(&mut close).unwrap(), Some(Message::Close(Some(1001))));
    }
}
