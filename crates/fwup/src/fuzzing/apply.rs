//! Applying archives to a disk with a table, an environment and a volume.

use std::sync::OnceLock;

use super::{
    recipe::{Bytes, Style, entry},
    target::Sparse,
};
use crate::{
    ApplyOptions, Archive, Env, Error, Event,
    fat::{Volumes, format},
    mbr::to_hex,
    target::{BlockTarget as _, Cache, WriteMode},
    uboot_env::UbootEnv,
};

const END: u64 = 2 << 20;

/// Applies the data as it is when it looks like an archive; else it is options, the text of a `meta.conf` behind the
/// declarations of resources `r` and `s`, and the bytes of `r`.
pub(super) fn run(data: &[u8]) {
    if data.starts_with(b"PK") {
        for task in ["complete", "upgrade"] {
            apply(data, task, 0);
        }
        return;
    }
    let mut bytes = Bytes(data);
    let (flags, style) = (bytes.byte(), Style(bytes.byte()));
    let holes = (bytes.byte(), bytes.byte());
    let len = bytes.short();
    let text = bytes.take(len);
    let content = bytes.0;
    let mut meta_conf = declaration("r", content, holes);
    meta_conf.extend(declaration("s", b"small", (0, 0)));
    meta_conf.extend_from_slice(text);
    let mut archive = Vec::new();
    entry(&mut archive, b"meta.conf", &meta_conf, Style(1));
    entry(&mut archive, b"data/s", b"small", Style(2));
    entry(&mut archive, b"data/r", content, style);
    archive.extend_from_slice(b"PK\x05\x06");
    apply(&archive, if flags & 1 == 0 { "t" } else { "" }, flags);
}

/// A `file-resource` that declares the bytes truly, with holes in them.
fn declaration(name: &str, content: &[u8], holes: (u8, u8)) -> Vec<u8> {
    let hash = blake2b_simd::Params::new().hash_length(32).hash(content);
    let cut = content.len().min(usize::from(holes.1) * 100);
    let length = match holes.0 {
        0 => content.len().to_string(),
        hole => format!("{cut},{},{}", u32::from(hole) * 300, content.len() - cut),
    };
    let hash = String::from_utf8_lossy(&to_hex(hash.as_bytes())).into_owned();
    format!("file-resource {name} {{ length={{{length}}} blake2b-256={hash} }}\n").into_bytes()
}

/// Applies, and holds the promises: nothing behind the end, nothing changed unless the error says so, and percentages
/// that rise to the highest when all is done.
fn apply(data: &[u8], task: &str, flags: u8) {
    let mut disk = prepared().clone();
    let options = ApplyOptions {
        verify_writes: flags & 2 != 0,
        minimize_writes: flags & 4 != 0,
        ..ApplyOptions::default()
    };
    let mut last = None;
    let mut observer = |event| {
        if let Event::Progress(percent) = event {
            assert!(last.is_none_or(|last| percent > last));
            last = Some(percent);
        }
    };
    let done = Archive::open(data, &[], &Env::new())
        .and_then(|archive| archive.apply(&mut disk, task, &options, &mut observer));
    match done {
        Ok(_) => assert_eq!(last, Some(100)),
        Err(error) => {
            assert!(!error.to_string().is_empty() && last != Some(100));
            assert!(error.target_was_written() || disk == *prepared(), "{error}");
            assert!(
                !matches!(error.cause(), Error::Target { .. } | Error::VerifyWrite { .. }),
                "{error}"
            );
        }
    }
}

/// A disk with a partition table, a U-Boot environment at block 16 and a small volume at block 63.
fn prepared() -> &'static Sparse {
    static DISK: OnceLock<Sparse> = OnceLock::new();
    DISK.get_or_init(|| {
        let mut disk = Sparse::new(END);
        let mut env = UbootEnv::new();
        for (name, value) in [("nerves_fw_active", "a"), ("nerves_fw_validated", "1"), ("x", "y")] {
            assert!(env.set(name, value).is_ok());
        }
        let block = env.to_bytes(8192).unwrap_or_default();
        assert!(disk.write_at(8192, &block).is_ok());
        assert!(disk.write_at(510, &[0x55, 0xaa]).is_ok());
        assert!(disk.write_at(454, &63_u32.to_le_bytes()).is_ok());
        if let Ok(mut cache) = Cache::new(&mut disk, WriteMode::default()) {
            assert!(format(&mut cache, 63, 400).is_ok());
            let mut volumes = Volumes::default();
            let file = volumes.at(&mut cache, 63).and_then(|volume| {
                let mut file = volume.create(&mut cache, b"file")?;
                volume.append(&mut cache, &mut file, b"what is in the file")
            });
            assert!(file.is_ok() && cache.flush().is_ok());
        }
        disk
    })
}
