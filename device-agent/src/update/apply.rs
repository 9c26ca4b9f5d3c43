//! Writing firmware to the other slot while its bytes arrive.

use std::fmt::Write;
use std::io::{self, Read};
use std::path::PathBuf;

use bytes::{Buf, Bytes};
use muster_fwup::{ApplyOptions, Archive, Env, Event, FileTarget, Metadata, PublicKey};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

/// A part of the file on its way from the download.
#[derive(Debug)]
pub enum Chunk {
    /// How long the whole file is.
    Length(u64),
    /// The next bytes.
    Data {
        /// Where in the file they stand.
        at: u64,
        /// The bytes.
        bytes: Bytes,
    },
    /// There are no more.
    End,
}

/// What is to be applied where, and what it must be.
#[derive(Debug, Clone)]
pub struct Order {
    /// The disk.
    pub disk: PathBuf,
    /// The task, by its beginning.
    pub task: String,
    /// Keys whose signature is trusted.
    pub keys: Vec<PublicKey>,
    /// The firmware that was told.
    pub uuid: String,
    /// The file of [`ApplyOptions::reboot_param`].
    pub reboot_param: Option<PathBuf>,
    /// The running firmware's product, if it is known; other products are refused.
    pub product: Option<String>,
    /// The same for the platform.
    pub platform: Option<String>,
    /// The same for the architecture.
    pub architecture: Option<String>,
}

/// Why firmware was not applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The archive or the disk is at fault.
    #[error("FWUP error: {0}")]
    Fwup(#[from] muster_fwup::Error),
    /// The disk cannot be opened.
    #[error("Update failed: cannot open the disk: {0}")]
    NoDisk(io::Error),
    /// No key is there to verify it with.
    #[error("{}", super::machine::NO_KEYS)]
    NoKeys,
    /// It is other firmware than was told.
    #[error("Update failed: the file is firmware {found}, the server told {told}")]
    OtherFirmware {
        /// In the file.
        found: String,
        /// By the server.
        told: String,
    },
    /// It is for other devices.
    #[error("Update failed: the firmware is for {what} `{found}`, this device is `{ours}`")]
    OtherDevice {
        /// What differs.
        what: &'static str,
        /// In the file.
        found: String,
        /// In the running slot.
        ours: String,
    },
}

/// Verifies and applies; nothing is written before the signature and the metadata are found good.
///
/// # Errors
/// When the firmware is not what it should be, or writing fails; the running slot is untouched then.
pub fn apply(order: &Order, reader: impl Read + Send, mut progress: impl FnMut(u8)) -> Result<(), ApplyError> {
    // Without keys `open` would take unsigned firmware.
    if order.keys.is_empty() {
        return Err(ApplyError::NoKeys);
    }
    let archive = Archive::open(reader, &order.keys, &Env::new())?;
    check(order, archive.metadata())?;
    let mut target = FileTarget::open(&order.disk).map_err(ApplyError::NoDisk)?;
    let options = ApplyOptions {
        reboot_param: order.reboot_param.clone(),
        ..ApplyOptions::default()
    };
    archive.apply(&mut target, &order.task, &options, &mut |event| match event {
        Event::Progress(percent) => progress(percent),
        Event::Info(text) => tracing::info!(text, "firmware says"),
    })?;
    Ok(())
}

fn check(order: &Order, metadata: &Metadata) -> Result<(), ApplyError> {
    let found = metadata.uuid.to_string();
    if !found.eq_ignore_ascii_case(&order.uuid) {
        return Err(ApplyError::OtherFirmware {
            found,
            told: order.uuid.clone(),
        });
    }
    for (what, ours, found) in [
        ("product", &order.product, &metadata.product),
        ("platform", &order.platform, &metadata.platform),
        ("architecture", &order.architecture, &metadata.architecture),
    ] {
        if ours.is_some() && ours != found {
            return Err(ApplyError::OtherDevice {
                what,
                found: found.clone().unwrap_or_default(),
                ours: ours.clone().unwrap_or_default(),
            });
        }
    }
    Ok(())
}

/// The download as something to read: it waits while the download waits, and fails where the download gives up.
#[derive(Debug)]
pub struct ChunkReader {
    chunks: mpsc::Receiver<Chunk>,
    current: Bytes,
    ended: bool,
    hash: Sha256,
    checksum: Option<String>,
}

impl ChunkReader {
    /// Reads these chunks; where a SHA-256 is given, the end is only reached if it agrees.
    pub fn new(chunks: mpsc::Receiver<Chunk>, checksum: Option<String>) -> Self {
        Self {
            chunks,
            current: Bytes::new(),
            ended: false,
            hash: Sha256::new(),
            checksum,
        }
    }

    fn end(&mut self) -> io::Result<()> {
        self.ended = true;
        let Some(checksum) = &self.checksum else {
            return Ok(());
        };
        let found = hex(&std::mem::take(&mut self.hash).finalize());
        if found.eq_ignore_ascii_case(checksum) {
            Ok(())
        } else {
            Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the file's checksum is not the one that the server told",
            ))
        }
    }
}

impl Read for ChunkReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            if self.ended {
                return Ok(0);
            }
            match self.chunks.blocking_recv() {
                Some(Chunk::Length(_)) => {}
                Some(Chunk::Data { bytes, .. }) => {
                    if self.checksum.is_some() {
                        self.hash.update(&bytes);
                    }
                    self.current = bytes;
                }
                Some(Chunk::End) => self.end()?,
                None => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the download ended early")),
            }
        }
        let take = self.current.len().min(buffer.len());
        if let Some(part) = buffer.get_mut(..take) {
            self.current.copy_to_slice(part);
        }
        Ok(take)
    }
}

/// Bytes in lower-case hex.
pub(super) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(chunks: Vec<Chunk>, checksum: Option<&str>) -> io::Result<String> {
        let (sender, receiver) = mpsc::channel(16);
        for chunk in chunks {
            sender.try_send(chunk).unwrap();
        }
        drop(sender);
        let mut text = String::new();
        ChunkReader::new(receiver, checksum.map(str::to_owned)).read_to_string(&mut text)?;
        Ok(text)
    }

    fn abc() -> Vec<Chunk> {
        let data = |at, text: &'static str| Chunk::Data { at, bytes: text.into() };
        vec![Chunk::Length(3), data(0, "a"), data(1, "bc"), Chunk::End]
    }

    const SHA256_ABC: &str = "BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD";

    #[test]
    fn chunks_are_read_to_their_end() {
        assert_eq!(read(abc(), None).unwrap(), "abc");
        assert_eq!(read(abc(), Some(SHA256_ABC)).unwrap(), "abc");
    }

    #[test]
    fn missing_end_and_wrong_checksum_are_errors() {
        let cut = abc().into_iter().take(2).collect();
        assert_eq!(read(cut, None).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        let wrong = read(abc(), Some("00")).unwrap_err();
        assert_eq!(wrong.kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn firmware_for_other_devices_is_refused() {
        let metadata = Metadata {
            product: Some("kiosk".into()),
            platform: Some("generic".into()),
            ..Metadata::default()
        };
        let order = Order {
            disk: PathBuf::new(),
            task: "upgrade".into(),
            keys: Vec::new(),
            uuid: metadata.uuid.to_string().to_uppercase(),
            reboot_param: None,
            product: Some("kiosk".into()),
            platform: None,
            architecture: None,
        };
        assert!(check(&order, &metadata).is_ok());
        let other = Order {
            platform: Some("rpi4".into()),
            ..order.clone()
        };
        assert!(matches!(check(&other, &metadata), Err(ApplyError::OtherDevice { .. })));
        let other = Order {
            uuid: "x".into(),
            ..order.clone()
        };
        assert!(matches!(
            check(&other, &metadata),
            Err(ApplyError::OtherFirmware { .. })
        ));
        assert!(matches!(apply(&order, &[][..], |_| ()), Err(ApplyError::NoKeys)));
    }
}
