//! Named limits. Nothing that an archive says makes the crate use more than these.

/// `meta.conf` must be shorter than this many bytes (format §1.1).
pub const META_CONF_MAX: usize = 50_000;
/// `meta.conf` must have at least this many bytes (format §1.1).
pub const META_CONF_MIN: usize = 10;
/// Bytes of an Ed25519 signature, and so of `meta.conf.ed25519`.
pub const SIGNATURE_LEN: usize = 64;
/// Longest name of an archive entry, in bytes (format §1.1).
pub const ENTRY_NAME_MAX: usize = 512;
/// Most entries an archive may have, those that no task names included.
pub const ENTRIES_MAX: usize = 4096;
/// Most bytes that are unpacked of an entry that `meta.conf` does not declare, to find its end.
pub const UNDECLARED_MAX: u64 = 64 << 20;
/// Largest image that [`crate::MemoryTarget`] grows to, in bytes.
pub const MEMORY_TARGET_MAX: usize = 1 << 30;
/// Most keys that [`crate::Archive::open`] takes (format §1.4).
pub const KEYS_MAX: usize = 10;
/// Most words of one function call, its name included (format §2.3).
pub const CALL_WORDS_MAX: usize = 10;
/// Largest resource, its holes counted, in bytes.
pub const RESOURCE_MAX: u64 = 1 << 62;
/// Most images that an OSIP header names.
pub const OSIP_IMAGES_MAX: usize = 10;
/// Most pieces of a sparse map (format §3).
pub const SPARSE_PIECES_MAX: usize = 256;
/// Deepest nesting of sections in a config.
pub const NESTING_MAX: usize = 16;
/// Deepest nesting of `include()` in a config.
pub const INCLUDE_DEPTH_MAX: usize = 10;
/// Largest config, its includes counted, in bytes.
pub const CONFIG_MAX: usize = 4 << 20;
/// Deepest nesting of an expression in `define-eval()`.
pub const EXPRESSION_DEPTH_MAX: usize = 32;
/// Longest string that `${NAME}` substitution may make, in bytes.
pub const STRING_MAX: usize = 1 << 20;
/// Largest U-Boot environment, in bytes.
pub const UBOOT_ENV_MAX: usize = 1 << 20;
/// Unit in which the target is cached and written, in bytes (format §7.1).
pub const SEGMENT: usize = 128 * 1024;
/// Most segments held in memory: 8 MiB.
pub const CACHE_SEGMENTS: usize = 64;
/// Most FAT volumes that are open at a time (format §8).
pub const FAT_VOLUMES_MAX: usize = 4;
/// Longest pattern of `require-fat-file-match`, in bytes (format §4.1).
pub const FAT_PATTERN_MAX: usize = 4096;
/// Longest path in a FAT volume, in bytes.
pub const FAT_PATH_MAX: usize = 1024;
/// Most clusters of a file that are remembered while it is read at any place.
pub const FAT_MARKS_MAX: usize = 4096;
/// Blocks of a delta's source when the config does not say how many (format §10).
pub const DELTA_SOURCE_BLOCKS: u64 = 0x7fff_ffff;
/// Bytes of a window of a patch that is made. What its reader must hold is no more.
pub const DELTA_WINDOW: usize = 2 << 20;
/// Most threads that make windows.
pub const DELTA_THREADS_MAX: usize = 4;
/// Most bytes of the old resource that are held while a patch is made.
pub const DELTA_VIEW: usize = 104 << 20;
/// Farthest that a copy may lie from where its bytes would stand if nothing had been moved. A window's copies then lie
/// within 64 MiB of the source, which is what decoders are made for.
pub const DELTA_REACH: usize = 31 << 20;
/// Most bytes of a patch that are held before it waits in a file.
pub const DELTA_PATCH_HELD: usize = 8 << 20;
/// Largest window of a patch, in bytes of what it makes (format §10).
pub const VCDIFF_WINDOW_MAX: usize = 64 << 20;
/// Most bytes of a patch that are held at a time: the sections of one window. No encoder makes windows of more than
/// 16 MiB.
pub const VCDIFF_SECTIONS_MAX: usize = 24 << 20;
/// Most bytes that a window of a patch may copy from what it made itself; they are held.
pub const VCDIFF_HISTORY_MAX: usize = 16 << 20;
/// Unit in which they are held, in bytes.
pub const VCDIFF_PAGE: usize = 4096;
/// Longest name in a FAT volume, in characters.
pub const FAT_NAME_MAX: usize = 255;
/// Most entries of a folder in a FAT volume, those of long names counted.
pub const FAT_FOLDER_ENTRIES_MAX: u32 = 65_536;
/// Largest number of a block: its byte offset must fit into 64 bits with room for what follows.
pub const BLOCK_MAX: u64 = 1 << 50;
/// Most blocks that one function fills, formats or trims: 2 TiB.
pub const BLOCK_COUNT_MAX: u64 = u32::MAX as u64;
/// Most partitions of a GPT (format §5.2).
pub const GPT_PARTITIONS_MAX: usize = 16;
/// Longest name of a GPT partition, in characters; what is longer is cut (format §5.2).
pub const GPT_NAME_MAX: usize = 36;
/// How many devices below another one `require-path-on-device` goes down (format §4.1).
pub const SLAVES_DEPTH_MAX: usize = 3;
/// How many devices it looks at on each level.
pub const SLAVES_MAX: usize = 64;
/// Bytes of a large resource that are inflated, hashed and written at a time.
pub const PIECE: usize = 2 * SEGMENT;
/// Most pieces that are in memory when one thread inflates and another writes.
pub const PIECES: usize = 4;
/// Bytes of the smallest resource that counts as large, so that a second thread is worth its while.
pub const BESIDE_MIN: u64 = 1 << 20;
/// Bytes that are deflated at a time, and what the result is cut by.
pub const DEFLATE_BLOCK: usize = 256 * 1024;
/// Most threads that deflate.
pub const DEFLATE_WORKERS_MAX: usize = 8;
/// Bytes read at a time, and of a small resource inflated at a time.
pub const CHUNK: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Archive, CreateOptions, Env, Error, MemoryTarget, PrivateKey,
        apply::resource::Resource,
        create_from_str,
        fat::{FatError, Volumes, format},
        fuzzing::recipe::{Style, entry},
        metaconf,
        target::{BlockTarget as _, Cache, WriteMode},
        zip::{NewEntry, ZipReader, ZipWriter},
    };

    fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = ZipWriter::new(&mut bytes, 1);
        for (name, content) in entries {
            let mut rest = *content;
            let entry = NewEntry {
                name,
                size: Some(content.len() as u64),
                mtime: None,
                stored: true,
            };
            writer
                .add(&entry, &mut |buf| {
                    std::io::Read::read(&mut rest, buf).map_err(Error::Output)
                })
                .unwrap();
        }
        writer.finish().unwrap();
        bytes
    }

    fn open(bytes: &[u8]) -> Result<Archive<&[u8]>, Error> {
        Archive::open(bytes, &[], &Env::new())
    }

    #[test]
    fn meta_conf_has_its_bounds() {
        for (len, good) in [
            (META_CONF_MIN - 1, false),
            (META_CONF_MIN, true),
            (META_CONF_MAX - 1, true),
            (META_CONF_MAX, false),
        ] {
            assert_eq!(open(&zip(&[("meta.conf", &vec![b'\n'; len])])).is_ok(), good, "{len}");
        }
    }

    #[test]
    fn signature_has_its_length() {
        for len in [0, SIGNATURE_LEN - 1, SIGNATURE_LEN + 1, 100_000] {
            let bytes = zip(&[("meta.conf.ed25519", &vec![1; len]), ("meta.conf", b"meta-product=x\n")]);
            assert!(matches!(open(&bytes), Err(Error::MalformedSignature)), "{len}");
        }
    }

    #[test]
    fn keys_are_counted() {
        let keys = vec![PrivateKey::generate().unwrap().public(); KEYS_MAX + 1];
        let bytes = zip(&[("meta.conf", b"meta-product=x\n")]);
        let error = Archive::open(&bytes[..], &keys, &Env::new()).unwrap_err();
        assert!(matches!(error, Error::TooManyKeys { .. }));
        assert!(matches!(
            Archive::open(&bytes[..], &keys[1..], &Env::new()),
            Err(Error::Unsigned)
        ));
    }

    #[test]
    fn entries_and_their_names_are_counted() {
        let names: Vec<String> = (0..=ENTRIES_MAX).map(|number| number.to_string()).collect();
        let entries: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &b""[..])).collect();
        let bytes = zip(&entries);
        let mut reader = ZipReader::new(&bytes[..]);
        for _ in 0..ENTRIES_MAX {
            reader.next_entry().unwrap().unwrap();
        }
        assert!(reader.next_entry().is_err());
        let long = "x".repeat(ENTRY_NAME_MAX + 1);
        assert!(ZipReader::new(&zip(&[(&long, b"")])[..]).next_entry().is_err());
    }

    #[test]
    fn pieces_of_a_sparse_map_are_counted() {
        for (count, good) in [(SPARSE_PIECES_MAX, true), (SPARSE_PIECES_MAX + 1, false)] {
            let list = vec!["1"; count].join(",");
            let conf = format!("file-resource r {{ length={{{list}}} }}");
            let root = metaconf::read(conf.as_bytes(), &Env::new()).unwrap();
            assert_eq!(Resource::new(root.find("file-resource", b"r").unwrap()).is_ok(), good);
        }
    }

    #[test]
    fn lengths_of_resources_are_bounded() {
        for (length, good) in [(RESOURCE_MAX, true), (RESOURCE_MAX + 1, false), (1 << 63, false)] {
            let conf = format!("file-resource r {{ length={{1,{}}} }}", length - 1);
            let made = metaconf::read(conf.as_bytes(), &Env::new()).ok().and_then(|root| {
                let resource = Resource::new(root.find("file-resource", b"r")?).ok()?;
                Some(resource.full_len())
            });
            assert_eq!(made, good.then_some(length), "{length}");
        }
    }

    /// Applies an empty task of an archive whose other entry does not say how long it is.
    fn passed_over(meta_conf: &str, len: u64) -> Result<(), Error> {
        let mut archive = Vec::new();
        let deflated_of_unknown_size = Style(0b01_0011);
        entry(&mut archive, b"meta.conf", meta_conf.as_bytes(), Style(1));
        entry(
            &mut archive,
            b"data/r",
            &vec![0; len as usize],
            deflated_of_unknown_size,
        );
        let archive = open(&archive)?;
        let options = crate::ApplyOptions::default();
        archive
            .apply(&mut MemoryTarget::new(0), "t", &options, &mut |_| ())
            .map(|_| ())
    }

    #[test]
    fn what_is_passed_over_ends_at_its_declared_length_or_a_limit() {
        for (len, good) in [(UNDECLARED_MAX, true), (UNDECLARED_MAX + 1, false)] {
            let done = passed_over("task t { }", len);
            assert_eq!(done.is_ok(), good, "{done:?}");
        }
        for (len, good) in [(1 << 20, true), ((1 << 20) + 1, true), (2 << 20, false)] {
            let done = passed_over("task t { } file-resource r { length=1048577 }", len);
            assert_eq!(done.is_ok(), good, "{done:?}");
        }
    }

    #[test]
    fn memory_targets_are_bounded() {
        let mut target = MemoryTarget::new(100);
        for offset in [MEMORY_TARGET_MAX as u64, u64::MAX - 1, u64::MAX] {
            assert!(target.write_at(offset, &[1]).is_err());
        }
        assert_eq!(target.bytes.len(), 100);
        target.write_at(4096, &[1]).unwrap();
    }

    #[test]
    fn configs_are_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let made =
            |text: &str, env: &Env| create_from_str(text, dir.path(), env, &CreateOptions::default(), std::io::sink());
        std::fs::write(dir.path().join("again"), "include(\"again\")").unwrap();
        assert!(made("include(\"again\")", &Env::new()).is_err(), "{INCLUDE_DEPTH_MAX}");
        std::fs::write(dir.path().join("large"), vec![b'\n'; CONFIG_MAX + 1]).unwrap();
        assert!(made("include(\"large\")", &Env::new()).is_err());
        let nobody = crate::create(
            &dir.path().join("large"),
            &Env::new(),
            &CreateOptions::default(),
            std::io::sink(),
        );
        assert!(nobody.is_err());
        let mut env = Env::new();
        env.set("A", "x".repeat(STRING_MAX / 2 + 1));
        assert!(made("define(B, \"${A}\") meta-misc = short-enough", &env).is_ok());
        assert!(made("define(B, \"${A}${A}\") meta-misc = short-enough", &env).is_err());
        let deep = "x { ".repeat(NESTING_MAX + 2) + &"}".repeat(NESTING_MAX + 2);
        assert!(metaconf::read(deep.as_bytes(), &Env::new()).is_err());
        let words = ["a"; CALL_WORDS_MAX].join(",");
        assert!(made(&format!("task t {{ on-init {{ info({words}) }} }}"), &Env::new()).is_err());
    }

    #[test]
    fn volumes_and_paths_are_bounded() {
        let mut target = MemoryTarget::new(0);
        let mut cache = Cache::new(&mut target, WriteMode::default()).unwrap();
        let mut volumes = Volumes::default();
        for number in 0..=FAT_VOLUMES_MAX as u64 {
            format(&mut cache, number * 200, 200).unwrap();
            volumes
                .at(&mut cache, number * 200)
                .unwrap()
                .touch(&mut cache, b"x")
                .unwrap();
            assert!(volumes.count() <= FAT_VOLUMES_MAX);
        }
        for path in [vec![b'x'; FAT_NAME_MAX + 1], [b'/'; FAT_PATH_MAX + 1].to_vec()] {
            let touched = volumes.at(&mut cache, 0).unwrap().touch(&mut cache, &path);
            assert!(matches!(touched, Err(FatError::Name)));
        }
        let name = [b'x'; FAT_NAME_MAX];
        volumes.at(&mut cache, 0).unwrap().touch(&mut cache, &name).unwrap();
    }
}
