//! What real devices said and were told, as it was recorded: each message is known, or is among those that were sent to see
//! what happens. One line is one event of one link; `tests/system/transcripts.rs` plays the same file to a server.

#![expect(clippy::unwrap_used, reason = "a test: what is not as it should be fails it")]

use muster_link::{
    Frame, FromConsole, FromDevice, FromExtensions, StatusUpdate, ToConsole, ToDevice, ToExtensions, Topic,
};
use serde_json::Value;

fn recorded(key: &str) -> Vec<String> {
    let lines = include_str!("transcripts.jsonl").lines();
    let events = lines.map(|line| serde_json::from_str::<Value>(line).unwrap());
    events
        .filter_map(|event| event[key].as_str().map(str::to_owned))
        .collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(byte).collect()
}

/// Whether the server knows what a device said.
fn is_known_to_servers(frame: &Frame<'_>) -> bool {
    match (frame.topic(), &*frame.event) {
        (Topic::Phoenix, event) => event == "heartbeat",
        (_, "phx_leave") => true,
        (Topic::Device, _) => !matches!(
            FromDevice::read(frame),
            FromDevice::Unknown | FromDevice::Status(StatusUpdate::Unknown(_))
        ),
        (Topic::Console, _) => !matches!(FromConsole::read(frame), FromConsole::Unknown),
        (Topic::Extensions, _) => !matches!(FromExtensions::read(frame), FromExtensions::Unknown),
        (Topic::Unknown, _) => false,
    }
}

#[test]
fn everything_that_devices_said_is_known() {
    let (texts, binaries) = (recorded("device"), recorded("device_hex"));
    assert!(texts.len() > 500 && binaries.len() > 5, "the recordings are not there");
    for text in texts {
        let frame = Frame::parse(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        // They were told to attach one that nobody has.
        let is_answer_to_nonsense = &*frame.event == "nope:error";
        assert!(is_known_to_servers(&frame) != is_answer_to_nonsense, "{text}");
    }
    for binary in binaries {
        let message = bytes(&binary);
        let frame = Frame::parse_binary(&message).unwrap_or_else(|error| panic!("{error}: {binary}"));
        assert!(is_known_to_servers(&frame), "{binary}");
    }
}

#[test]
fn everything_that_devices_were_told_can_be_read() {
    let mut odd = Vec::new();
    for text in recorded("server") {
        let Ok(frame) = Frame::parse(&text) else {
            odd.push(text);
            continue;
        };
        let is_known = match (frame.topic(), &*frame.event) {
            (_, "phx_reply" | "phx_error" | "phx_close") => true,
            (Topic::Device, _) => !matches!(ToDevice::read(&frame), ToDevice::Unknown(_)),
            (Topic::Console, _) => !matches!(ToConsole::read(&frame), ToConsole::Unknown(_)),
            (Topic::Extensions, _) => !matches!(ToExtensions::read(&frame), ToExtensions::Unknown(_)),
            _ => false,
        };
        if !is_known {
            odd.push(text);
        }
    }
    // What they were told to see what they do with it.
    let nonsense = [
        "nonsense",
        "nobody",
        "not json",
        r#""update",{"firmware_url":"https://localhost:8445/v2.fw"}"#,
    ];
    odd.retain(|text| !nonsense.iter().any(|known| text.contains(known)));
    assert!(odd.is_empty(), "{odd:#?}");
}
