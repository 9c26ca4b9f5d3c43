//! Reads an archive while it arrives: on a thread of its own, from a bounded queue of pieces.

use std::io::{self, Read};

use bytes::Bytes;
use muster_fwup::caps::KEYS_MAX;
use muster_fwup::{Archive, Env, Error, ErrorKind, Metadata, PublicKey, Signature};
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc::Receiver;

/// The signature and `meta.conf` end before this: what is read again for further keys.
const HEAD_BYTES: usize = 256 * 1024;

/// The archive's directory, and whatever stands behind its last entry, is shorter than this.
const TRAILER_BYTES: u64 = 4 * 1024 * 1024;

/// An archive that was read to its end, all of it as its signed `meta.conf` says.
#[derive(Debug)]
pub(super) struct Inspected {
    pub(super) metadata: Metadata,
    pub(super) key: PublicKey,
    pub(super) sha256: [u8; 32],
    pub(super) size_bytes: u64,
}

/// Reads the pieces as an archive signed by one of these keys. Blocks; ends early on the first thing that is wrong.
pub(super) fn inspect(pieces: Receiver<Bytes>, keys: &[PublicKey]) -> Result<Inspected, Error> {
    let mut source = Replay::new(Pieces::new(pieces));
    let (metadata, key) = verify(&mut source, keys)?;
    let mut pieces = source.inner;
    let read = pieces.size;
    while pieces.next() {
        if pieces.size - read > TRAILER_BYTES {
            return Err(Error::Corrupt {
                place: "its end".to_owned(),
                offset: read,
                reason: "megabytes stand behind its last entry".to_owned(),
            });
        }
    }
    Ok(Inspected {
        metadata,
        key,
        sha256: pieces.hash.finalize().into(),
        size_bytes: pieces.size,
    })
}

/// Tries the keys as many at a time as the format allows; only the head is read again.
fn verify(source: &mut Replay<Pieces>, keys: &[PublicKey]) -> Result<(Metadata, PublicKey), Error> {
    for keys in keys.chunks(KEYS_MAX) {
        if !source.rewind() {
            return Err(Error::BadSignature);
        }
        match Archive::open(&mut *source, keys, &Env::new()) {
            Ok(archive) => {
                let verified = archive.verify()?;
                if let Some(delta) = verified.resources.iter().find(|resource| resource.delta.is_some()) {
                    return Err(Error::DeltaUnsupported {
                        resource: delta.name.clone(),
                        reason: "upload the full firmware, from which deltas can be made".to_owned(),
                    });
                }
                return match verified.signature {
                    Signature::Good(key) => Ok((verified.metadata, key)),
                    Signature::Unsigned | Signature::Unverified => Err(Error::Unsigned),
                };
            }
            Err(error) if error.kind() == ErrorKind::BadSignature => {}
            Err(error) => return Err(error),
        }
    }
    Err(Error::BadSignature)
}

/// The queue as a reader; hashes and counts what passes.
struct Pieces {
    queue: Receiver<Bytes>,
    current: Bytes,
    hash: Sha256,
    size: u64,
}

impl Pieces {
    fn new(queue: Receiver<Bytes>) -> Self {
        Self {
            queue,
            current: Bytes::new(),
            hash: Sha256::new(),
            size: 0,
        }
    }

    /// Waits for the next piece; false at the end.
    fn next(&mut self) -> bool {
        let Some(piece) = self.queue.blocking_recv() else {
            return false;
        };
        self.hash.update(&piece);
        self.size += piece.len() as u64;
        self.current = piece;
        true
    }
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            if !self.next() {
                return Ok(0);
            }
        }
        let count = buffer.len().min(self.current.len());
        buffer[..count].copy_from_slice(&self.current.split_to(count));
        Ok(count)
    }
}

/// Remembers the head, so that it can be read again.
struct Replay<R> {
    inner: R,
    head: Vec<u8>,
    at: usize,
    passed: bool,
}

impl<R: Read> Replay<R> {
    fn new(inner: R) -> Self {
        Self {
            inner,
            head: Vec::new(),
            at: 0,
            passed: false,
        }
    }

    /// Begins again; false once more was read than the head, which is not remembered.
    fn rewind(&mut self) -> bool {
        self.at = 0;
        !self.passed
    }
}

impl<R: Read> Read for Replay<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at < self.head.len() {
            let count = buffer.len().min(self.head.len() - self.at);
            buffer[..count].copy_from_slice(&self.head[self.at..self.at + count]);
            self.at += count;
            return Ok(count);
        }
        let count = self.inner.read(buffer)?;
        if self.head.len() < HEAD_BYTES {
            self.head.extend_from_slice(&buffer[..count]);
            self.at = self.head.len();
        } else {
            self.passed = true;
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALPHA: &str = "NpjkAsCCtnGM7+CqyHNlpdMXpf/HF4bGxY6LSsgmHh0=";

    const KIOSK: &[u8] = include_bytes!("../../../tests/fixtures/fwup/fw/kiosk-1.0.0.fw");
    const DELTA: &[u8] = include_bytes!("../../../tests/fixtures/fwup/fw/kiosk-delta-1.1.0-1.2.0.fw");

    fn inspected(archive: &'static [u8], keys: &[PublicKey]) -> Result<Inspected, Error> {
        let (sender, receiver) = tokio::sync::mpsc::channel(4096);
        for piece in archive.chunks(1000) {
            sender.try_send(Bytes::from_static(piece)).unwrap();
        }
        drop(sender);
        inspect(receiver, keys)
    }

    #[test]
    fn the_right_key_is_found_among_many() {
        let other = || muster_fwup::PrivateKey::generate().unwrap().public();
        let mut keys: Vec<PublicKey> = (0..25).map(|_| other()).collect();
        assert_eq!(inspected(KIOSK, &keys).unwrap_err().kind(), ErrorKind::BadSignature);
        keys.push(ALPHA.parse().unwrap());
        let found = inspected(KIOSK, &keys).unwrap();
        assert_eq!(found.key.to_string(), ALPHA);
        assert_eq!(found.size_bytes, 73060);
        assert_eq!(inspected(KIOSK, &[]).unwrap_err().kind(), ErrorKind::BadSignature);
    }

    #[test]
    fn a_delta_is_no_firmware_to_keep() {
        let error = inspected(DELTA, &[ALPHA.parse().unwrap()]).unwrap_err();
        assert!(matches!(error, Error::DeltaUnsupported { .. }), "{error}");
    }
}
