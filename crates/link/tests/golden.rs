//! Every message in both directions, in JSON and in MessagePack. The JSON is the specification's, the MessagePack was made
//! from it by another implementation (`golden/pack.py`).

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test: what is not as it should be fails it"
)]

use std::collections::BTreeSet;

use muster_link::{
    Encoding, Frame, FromConsole, FromDevice, FromExtensions, Message, Push, ToConsole, ToDevice, ToExtensions, Topic,
};
use serde_json::Value;

fn lines(json: &'static str, hex: &'static str) -> impl Iterator<Item = (&'static str, Vec<u8>)> {
    assert_eq!(json.lines().count(), hex.lines().count());
    json.lines().zip(hex.lines().map(|line| {
        (0..line.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&line[at..at + 2], 16).unwrap())
            .collect()
    }))
}

#[derive(Debug, PartialEq)]
enum Said {
    Device(FromDevice),
    Console(FromConsole),
    Extensions(FromExtensions),
}

impl Said {
    fn read(frame: &Frame<'_>) -> Self {
        match frame.topic() {
            Topic::Device => Self::Device(FromDevice::read(frame)),
            Topic::Console => Self::Console(FromConsole::read(frame)),
            Topic::Extensions => Self::Extensions(FromExtensions::read(frame)),
            other => panic!("{other:?}"),
        }
    }

    fn encode(&self, encoding: Encoding, frame: &Frame<'_>) -> Message {
        let (join_ref, reference) = (frame.join_ref.as_ref().unwrap(), frame.reference.as_ref().unwrap());
        match self {
            Self::Device(message) => message.encode(encoding, join_ref, reference),
            Self::Console(message) => message.encode(encoding, join_ref, reference),
            Self::Extensions(message) => message.encode(encoding, join_ref, reference),
        }
        .unwrap()
    }

    /// The kind; a new one does not compile until it stands here.
    fn kind(&self) -> Option<&'static str> {
        Some(match self {
            Self::Device(message) => match message {
                FromDevice::Join(_) => "join",
                FromDevice::Progress { .. } => "progress",
                FromDevice::Status(_) => "status",
                FromDevice::FirmwareValidated => "validated",
                FromDevice::Rebooting => "rebooting",
                FromDevice::NetworkInterface(_) => "interface",
                FromDevice::ConnectionTypes(_) => "types",
                FromDevice::Script(_) => "script",
                FromDevice::Unknown => return None,
            },
            Self::Console(message) => match message {
                FromConsole::Join(_) => "console join",
                FromConsole::Up(_) => "up",
                FromConsole::FileStart(_) => "file start",
                FromConsole::FileData(_) => "file data",
                FromConsole::FileStop(_) => "file stop",
                FromConsole::Unknown => return None,
            },
            Self::Extensions(message) => match message {
                FromExtensions::Join(_) => "extensions join",
                FromExtensions::Attached(_) => "attached",
                FromExtensions::Detached(_) => "detached",
                FromExtensions::Error(..) => "error",
                FromExtensions::Health(_) => "health",
                FromExtensions::Location(_) => "location",
                FromExtensions::ShellStatus(_) => "shell status",
                FromExtensions::ShellOutput(_) => "shell output",
                FromExtensions::ShellExited(_) => "shell exited",
                FromExtensions::Log(_) => "log",
                FromExtensions::Identities(_) => "identities",
                FromExtensions::RenewalRequest(_) => "renewal",
                FromExtensions::Other(_) | FromExtensions::Unknown => return None,
            },
        })
    }
}

fn told(frame: &Frame<'_>) -> Push {
    match frame.topic() {
        Topic::Device => ToDevice::read(frame).into(),
        Topic::Console => ToConsole::read(frame).into(),
        Topic::Extensions => ToExtensions::read(frame).into(),
        other => panic!("{other:?}"),
    }
}

/// The kind; a new one does not compile until it stands here.
fn kind(push: &Push) -> Option<&'static str> {
    Some(match push {
        Push::Device(message) => match message {
            ToDevice::Update(_) => "update",
            ToDevice::FirmwareKeys(_) => "firmware keys",
            ToDevice::ArchiveKeys(_) => "archive keys",
            ToDevice::Reboot => "reboot",
            ToDevice::Identify => "identify",
            ToDevice::GetExtensions => "get extensions",
            ToDevice::Archive(_) => "archive",
            ToDevice::RunScript(_) => "script",
            ToDevice::Unknown(_) => return None,
        },
        Push::Console(message) => match message {
            ToConsole::Down(_) => "down",
            ToConsole::WindowSize { .. } => "window",
            ToConsole::Restart => "restart",
            ToConsole::FileStart(_) => "file start",
            ToConsole::FileData(_) => "file data",
            ToConsole::FileStop(_) => "file stop",
            ToConsole::Unknown(_) => return None,
        },
        Push::Extensions(message) => match message {
            ToExtensions::Attach(_) => "attach",
            ToExtensions::Detach(_) => "detach",
            ToExtensions::CheckHealth => "check health",
            ToExtensions::RequestLocation => "request location",
            ToExtensions::RequestShell => "request shell",
            ToExtensions::ShellInput(_) => "shell input",
            ToExtensions::ShellWindow { .. } => "shell window",
            ToExtensions::KillShell(_) => "kill shell",
            ToExtensions::RequestIdentities => "request identities",
            ToExtensions::RenewalIssued(_) => "issued",
            ToExtensions::RenewalRefused(_) => "refused",
            ToExtensions::Unknown(_) => return None,
        },
    })
}

fn same_json(written: Message, golden: &str) {
    let Message::Text(written) = written else {
        panic!("{written:?}")
    };
    let parse = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    assert_eq!(parse(&written), parse(golden));
}

#[test]
fn what_devices_say_is_the_same_in_both_serialisations() {
    let mut kinds = BTreeSet::new();
    for (json, bytes) in lines(include_str!("golden/from.jsonl"), include_str!("golden/from.hex")) {
        let (text, binary) = (Frame::parse(json).unwrap(), Frame::parse_binary(&bytes).unwrap());
        let said = Said::read(&text);
        kinds.insert(said.kind().unwrap_or_else(|| panic!("{json}")));
        assert_eq!(Said::read(&binary), said);
        same_json(said.encode(Encoding::Json, &text), json);
        assert_eq!(
            said.encode(Encoding::MessagePack, &binary),
            Message::Binary(bytes),
            "{json}"
        );
    }
    assert_eq!(kinds.len(), 8 + 5 + 12, "{kinds:?}");
}

#[test]
fn what_servers_say_is_the_same_in_both_serialisations() {
    let mut kinds = BTreeSet::new();
    for (json, bytes) in lines(include_str!("golden/to.jsonl"), include_str!("golden/to.hex")) {
        let (text, binary) = (Frame::parse(json).unwrap(), Frame::parse_binary(&bytes).unwrap());
        let push = told(&text);
        kinds.insert((push.topic().name(), kind(&push).unwrap_or_else(|| panic!("{json}"))));
        assert_eq!(told(&binary), push);
        same_json(push.encode(Encoding::Json, text.join_ref.as_ref()).unwrap(), json);
        let written = push.encode(Encoding::MessagePack, binary.join_ref.as_ref());
        assert_eq!(written.unwrap(), Message::Binary(bytes), "{json}");
        assert_eq!(text.reference, None, "a push has no ref");
    }
    assert_eq!(kinds.len(), 8 + 6 + 11, "{kinds:?}");
}

#[test]
fn replies_are_the_same_in_both_serialisations() {
    for response in [
        serde_json::json!({}),
        serde_json::json!(["health", "geo"]),
        serde_json::json!("detach"),
        serde_json::json!({ "error": "could not connect" }),
    ] {
        let one = muster_link::Ref::from(1);
        let reply = |encoding: Encoding| {
            let status = muster_link::Reply::Ok;
            encoding
                .reply(Some(&one), Some(&one), "device", status, &response)
                .unwrap()
        };
        let Message::Binary(bytes) = reply(Encoding::MessagePack) else {
            panic!()
        };
        let frame = Frame::parse_binary(&bytes).unwrap();
        let payload: Value = frame.payload.read().unwrap();
        assert_eq!(payload, serde_json::json!({ "status": "ok", "response": response }));
        let text = reply(Encoding::Json).into_text();
        assert_eq!(Frame::parse(&text).unwrap().payload.read::<Value>().unwrap(), payload);
    }
}
