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
/// Longest extra field of a ZIP header that is looked at is the format's own 16-bit limit.
pub const EXTRA_FIELD_MAX: usize = 65_535;
/// Most keys that [`crate::Archive::open`] takes (format §1.4).
pub const KEYS_MAX: usize = 10;
/// Most words of one function call, its name included (format §2.3).
pub const CALL_WORDS_MAX: usize = 10;
/// Most pieces of a sparse map (format §3).
pub const SPARSE_PIECES_MAX: usize = 256;
/// Deepest nesting of sections in a config.
pub const NESTING_MAX: usize = 16;
/// Deepest nesting of `include()` in a config.
pub const INCLUDE_DEPTH_MAX: usize = 10;
/// Largest config, its includes counted, in bytes.
pub const CONFIG_MAX: usize = 4 << 20;
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
/// Bytes read or inflated at a time.
pub const CHUNK: usize = 64 * 1024;
