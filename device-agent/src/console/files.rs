//! Files from and to operators (device-link §3.4): small, by plain names, in one folder.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use muster_link::limits::FILE_NAME_MAX;
use muster_link::{FileChunk, FileMark, FromConsole};
use tokio::io::AsyncReadExt;

use crate::link::Voice;

/// A file must be smaller, in bytes.
pub const FILE_MAX: u64 = 10_485_760;
/// Bytes of a message.
const CHUNK_BYTES: usize = 1024;

/// Where files arrive. One at a time; a second beginning gives the first one up.
#[derive(Debug)]
pub(super) struct Inbox {
    directory: PathBuf,
    arriving: Option<Arriving>,
}

#[derive(Debug)]
struct Arriving {
    name: String,
    temporary: PathBuf,
    file: File,
    size: u64,
}

/// Why a file is not taken.
#[derive(Debug, thiserror::Error)]
enum InboxError {
    #[error("the name is not that of a file in a folder")]
    Name,
    #[error("it has {FILE_MAX} bytes or more")]
    Large,
    #[error("it is not base64")]
    NotBase64,
    #[error("nothing of it was announced")]
    NotBegun,
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl Inbox {
    pub(super) fn new(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            arriving: None,
        }
    }

    pub(super) fn start(&mut self, name: &str) {
        let begun = self.begin(name);
        self.told(name, begun);
    }

    pub(super) fn data(&mut self, name: &str, data: &str) {
        let added = self.add(name, data);
        self.told(name, added);
    }

    pub(super) fn stop(&mut self, name: &str) {
        let ended = self.end(name);
        if ended.is_ok() {
            tracing::info!(file.name = name, "file from an operator kept");
        }
        self.told(name, ended);
    }

    /// What went wrong ends the file.
    fn told(&mut self, name: &str, result: Result<(), InboxError>) {
        if let Err(cause) = result {
            tracing::warn!(file.name = name, error = %cause, "file from an operator refused");
            if let Some(arriving) = self.arriving.take() {
                // It may never have been there.
                let _ = fs::remove_file(arriving.temporary);
            }
        }
    }

    fn begin(&mut self, name: &str) -> Result<(), InboxError> {
        if !is_plain(name) {
            return Err(InboxError::Name);
        }
        fs::create_dir_all(&self.directory)?;
        let temporary = self.directory.join(format!(".{}.arriving", std::process::id()));
        self.arriving = Some(Arriving {
            name: name.to_owned(),
            file: File::create(&temporary)?,
            temporary,
            size: 0,
        });
        Ok(())
    }

    fn add(&mut self, name: &str, data: &str) -> Result<(), InboxError> {
        let arriving = self.arriving.as_mut().filter(|arriving| arriving.name == name);
        let arriving = arriving.ok_or(InboxError::NotBegun)?;
        let bytes = STANDARD.decode(data).map_err(|_| InboxError::NotBase64)?;
        arriving.size += bytes.len() as u64;
        if arriving.size >= FILE_MAX {
            return Err(InboxError::Large);
        }
        Ok(arriving.file.write_all(&bytes)?)
    }

    fn end(&mut self, name: &str) -> Result<(), InboxError> {
        let arriving = self.arriving.take_if(|arriving| arriving.name == name);
        let arriving = arriving.ok_or(InboxError::NotBegun)?;
        arriving.file.sync_all()?;
        Ok(fs::rename(arriving.temporary, self.directory.join(arriving.name))?)
    }
}

/// Whether a name is that of a file in a folder and of nothing else.
fn is_plain(name: &str) -> bool {
    let odd = |c: char| c == '/' || c == '\\' || c.is_control();
    !name.is_empty() && name.len() <= FILE_NAME_MAX && !name.starts_with('.') && !name.contains(odd)
}

/// Sends a file in messages of 1 KiB.
pub(super) async fn send(path: &Path, voice: &Voice) -> io::Result<()> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    let filename = name.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let file = tokio::fs::File::open(path).await?;
    let metadata = file.metadata().await?;
    if !metadata.is_file() || metadata.len() >= FILE_MAX {
        return Err(io::Error::other(format!(
            "only files of less than {FILE_MAX} bytes are sent"
        )));
    }
    let mark = FileMark {
        filename: filename.clone(),
        uploaded_by: None,
    };
    voice.say(FromConsole::FileStart(mark.clone())).await;
    let mut file = file.take(FILE_MAX);
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut chunk = 0;
    loop {
        let mut filled = 0;
        while filled < CHUNK_BYTES {
            match file.read(buffer.get_mut(filled..).unwrap_or_default()).await? {
                0 => break,
                read => filled += read,
            }
        }
        if filled == 0 {
            break;
        }
        let data = STANDARD.encode(buffer.get(..filled).unwrap_or_default());
        let filename = filename.clone();
        voice
            .say(FromConsole::FileData(FileChunk { filename, chunk, data }))
            .await;
        chunk += 1;
    }
    voice.say(FromConsole::FileStop(mark)).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;
    use crate::link::{Command, Say};

    #[test]
    fn file_arrives_whole_under_its_name() {
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path().join("data");
        let mut inbox = Inbox::new(&folder);
        inbox.start("a.bin");
        inbox.data("a.bin", "AAECAw==");
        inbox.data("a.bin", "BAU=");
        assert!(!folder.join("a.bin").exists());
        inbox.stop("a.bin");
        assert_eq!(fs::read(folder.join("a.bin")).unwrap(), [0, 1, 2, 3, 4, 5]);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for name in [
            "",
            ".",
            "..",
            "../x",
            "/etc/passwd",
            "a/b",
            "a\\b",
            ".hidden",
            "a\0b",
            "a\nb",
            &"x".repeat(256),
        ] {
            assert!(!is_plain(name), "{name:?}");
            let directory = tempfile::tempdir().unwrap();
            let mut inbox = Inbox::new(directory.path());
            inbox.start(name);
            inbox.data(name, "AAECAw==");
            inbox.stop(name);
            assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "{name:?}");
        }
        assert!(is_plain("log (1).txt"));
    }

    #[test]
    fn large_and_broken_files_leave_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let mut inbox = Inbox::new(directory.path());
        inbox.start("large");
        let megabyte = STANDARD.encode(vec![0; 1 << 20]);
        for _ in 0..10 {
            inbox.data("large", &megabyte);
        }
        inbox.stop("large");
        inbox.start("broken");
        inbox.data("broken", "&&&");
        inbox.stop("broken");
        inbox.data("never begun", "AAECAw==");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn file_is_sent_in_counted_pieces() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log.txt");
        fs::write(&path, vec![7; 2500]).unwrap();
        let (commands, mut heard) = mpsc::channel(16);
        send(&path, &Voice::to(commands)).await.unwrap();
        let mut sizes = Vec::new();
        while let Some(Command::Send(Say::Console(message))) = heard.recv().await {
            match message {
                FromConsole::FileData(piece) => {
                    assert_eq!(piece.chunk, sizes.len() as u64);
                    sizes.push(STANDARD.decode(piece.data).unwrap().len());
                }
                FromConsole::FileStart(mark) | FromConsole::FileStop(mark) => assert_eq!(mark.filename, "log.txt"),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(sizes, [1024, 1024, 452]);
    }
}
