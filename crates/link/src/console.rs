//! The typed messages of the topic `console`: a terminal, and files both ways (device-link §3.4).

use serde::{Deserialize, Deserializer, Serialize};

use crate::device::Empty;
use crate::frame::Head;
use crate::limits::{FILE_CHUNK_MAX, FILE_NAME_MAX, TERMINAL_TEXT_MAX, WINDOW_MAX};
use crate::{Encoding, Frame, FrameError, Message, Ref, Topic, lenient};

/// The join of a console. Devices before 2.13 send their whole device join, of which nothing more is read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConsoleJoin {
    /// From 2.0.0 on the device transfers files.
    #[serde(deserialize_with = "lenient::text", skip_serializing_if = "Option::is_none")]
    pub console_version: Option<String>,
    /// Protocol level.
    #[serde(deserialize_with = "lenient::text", skip_serializing_if = "Option::is_none")]
    pub device_api_version: Option<String>,
}

/// A part of a file. Chunks are counted anew for every buffer that was read: only the order of arrival tells.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FileChunk {
    /// The file's name, without a folder.
    #[serde(deserialize_with = "file_name")]
    pub filename: String,
    /// Number of the part.
    #[serde(deserialize_with = "chunk")]
    pub chunk: u64,
    /// The bytes in base64, padded.
    #[serde(deserialize_with = "file_data")]
    pub data: String,
}

/// Begins or ends a file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FileMark {
    /// The file's name, without a folder.
    #[serde(deserialize_with = "file_name")]
    pub filename: String,
    /// Who sends it, where a server numbers people.
    #[serde(deserialize_with = "lenient::count", skip_serializing_if = "Option::is_none")]
    pub uploaded_by: Option<u64>,
}

/// Text of a terminal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Data {
    #[serde(deserialize_with = "terminal")]
    pub data: Option<String>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Window {
    #[serde(deserialize_with = "lenient::count")]
    height: Option<u64>,
    #[serde(deserialize_with = "lenient::count")]
    width: Option<u64>,
}

/// What a device says on its console.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromConsole {
    /// The join.
    Join(ConsoleJoin),
    /// Output of the terminal.
    Up(String),
    /// A file follows.
    FileStart(FileMark),
    /// A part of it.
    FileData(FileChunk),
    /// The file ends.
    FileStop(FileMark),
    /// Something that this version does not know.
    Unknown,
}

impl FromConsole {
    /// Reads a frame of the topic `console`. A payload that does not fit its event is [`FromConsole::Unknown`].
    pub fn read(frame: &Frame<'_>) -> Self {
        let payload = &frame.payload;
        match &*frame.event {
            "phx_join" => Self::Join(payload.read().unwrap_or_default()),
            "up" => match payload.read_large() {
                Ok(Data { data: Some(data) }) => Self::Up(data),
                _ => Self::Unknown,
            },
            "file-data/start" => mark(frame).map_or(Self::Unknown, Self::FileStart),
            "file-data" => chunk_of(frame).map_or(Self::Unknown, Self::FileData),
            "file-data/stop" => mark(frame).map_or(Self::Unknown, Self::FileStop),
            _ => Self::Unknown,
        }
    }

    /// The message that a device sends.
    ///
    /// # Errors
    /// Never for a value of this type.
    pub fn encode(&self, encoding: Encoding, join_ref: &Ref, reference: &Ref) -> Result<Message, FrameError> {
        let head = Head {
            encoding,
            join_ref: Some(join_ref),
            reference: Some(reference),
            topic: Topic::Console,
        };
        match self {
            Self::Join(join) => head.put("phx_join", join),
            Self::Up(data) => head.put("up", &text(data)),
            Self::FileStart(mark) => head.put("file-data/start", mark),
            Self::FileData(chunk) => head.put("file-data", chunk),
            Self::FileStop(mark) => head.put("file-data/stop", mark),
            Self::Unknown => head.put("unknown", &Empty {}),
        }
    }
}

/// What a server says on a device's console.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToConsole {
    /// Keystrokes.
    Down(String),
    /// The size of the window.
    WindowSize {
        /// Rows.
        height: u16,
        /// Columns.
        width: u16,
    },
    /// End the shell and start another one.
    Restart,
    /// A file follows.
    FileStart(FileMark),
    /// A part of it.
    FileData(FileChunk),
    /// The file ends.
    FileStop(FileMark),
    /// Something that this version does not know; it is ignored.
    Unknown(String),
}

impl ToConsole {
    /// Reads a push of the topic `console`. One whose payload does not fit is [`ToConsole::Unknown`].
    pub fn read(frame: &Frame<'_>) -> Self {
        let unknown = || Self::Unknown(frame.event.to_string());
        match &*frame.event {
            "dn" => match frame.payload.read_large() {
                Ok(Data { data: Some(data) }) => Self::Down(data),
                _ => unknown(),
            },
            "window_size" => match frame.payload.read() {
                Ok(Window {
                    height: Some(height),
                    width: Some(width),
                }) => Self::WindowSize {
                    height: side(height),
                    width: side(width),
                },
                _ => unknown(),
            },
            "restart" => Self::Restart,
            "file-data/start" => mark(frame).map_or_else(unknown, Self::FileStart),
            "file-data" => chunk_of(frame).map_or_else(unknown, Self::FileData),
            "file-data/stop" => mark(frame).map_or_else(unknown, Self::FileStop),
            _ => unknown(),
        }
    }

    /// The message that a server sends: never with a `ref`.
    ///
    /// # Errors
    /// Never for a value of this type.
    pub fn encode(&self, encoding: Encoding, join_ref: Option<&Ref>) -> Result<Message, FrameError> {
        let head = Head {
            encoding,
            join_ref,
            reference: None,
            topic: Topic::Console,
        };
        match self {
            Self::Down(data) => head.put("dn", &text(data)),
            Self::WindowSize { height, width } => {
                let window = Window {
                    height: Some((*height).into()),
                    width: Some((*width).into()),
                };
                head.put("window_size", &window)
            }
            Self::Restart => head.put("restart", &Empty {}),
            Self::FileStart(mark) => head.put("file-data/start", mark),
            Self::FileData(chunk) => head.put("file-data", chunk),
            Self::FileStop(mark) => head.put("file-data/stop", mark),
            Self::Unknown(event) => head.put(event, &Empty {}),
        }
    }
}

/// Rows or columns as they are taken: from 1 to [`WINDOW_MAX`].
pub(crate) fn side(count: u64) -> u16 {
    count.clamp(1, WINDOW_MAX) as u16
}

pub(crate) fn text(data: &str) -> Data {
    Data {
        data: Some(data.to_owned()),
    }
}

fn mark(frame: &Frame<'_>) -> Option<FileMark> {
    let mark: FileMark = frame.payload.read().ok()?;
    (!mark.filename.is_empty()).then_some(mark)
}

fn chunk_of(frame: &Frame<'_>) -> Option<FileChunk> {
    let chunk: FileChunk = frame.payload.read().ok()?;
    (!chunk.filename.is_empty()).then_some(chunk)
}

fn terminal<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    lenient::raw::<D, TERMINAL_TEXT_MAX>(deserializer)
}

/// A name that would leave its folder is none.
fn file_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let name = lenient::name::<D, FILE_NAME_MAX>(deserializer)?.unwrap_or_default();
    let leaves = name.contains(['/', '\\']) || name == "." || name == "..";
    Ok(if leaves { String::new() } else { name })
}

fn file_data<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    lenient::name::<D, FILE_CHUNK_MAX>(deserializer).map(Option::unwrap_or_default)
}

fn chunk<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    lenient::count(deserializer).map(Option::unwrap_or_default)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(event: &str, payload: &str) -> FromConsole {
        FromConsole::read(&Frame::parse(&format!(r#"["2","9","console","{event}",{payload}]"#)).unwrap())
    }

    #[test]
    fn long_output_is_cut_and_its_control_characters_stay() {
        assert_eq!(
            read("up", r#"{"data":"a\u001b[2D\u0000"}"#),
            FromConsole::Up("a\u{1b}[2D\0".into())
        );
        let long = format!(r#"{{"data":"{}"}}"#, "x".repeat(TERMINAL_TEXT_MAX + 7));
        let FromConsole::Up(data) = read("up", &long) else {
            panic!()
        };
        assert_eq!(data.len(), TERMINAL_TEXT_MAX);
    }

    #[test]
    fn odd_payloads_are_unknown_and_file_names_stay_in_their_folder() {
        for (event, payload) in [
            ("up", "{}"),
            ("up", "[]"),
            ("file-data/start", "{}"),
            ("file-data/start", r#"{"filename":"../x"}"#),
            ("file-data", r#"{"filename":"..","data":"AA=="}"#),
            ("file-data/stop", r#"{"filename":"a/b"}"#),
            ("elsewhere", "{}"),
        ] {
            assert_eq!(read(event, payload), FromConsole::Unknown, "{event} {payload}");
        }
    }

    #[test]
    fn windows_have_a_size() {
        let frame = r#"["2",null,"console","window_size",{"height":0,"width":1e9}]"#;
        let window = ToConsole::read(&Frame::parse(frame).unwrap());
        assert_eq!(window, ToConsole::WindowSize { height: 1, width: 1000 });
    }
}
