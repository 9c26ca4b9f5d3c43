//! The sizes and times that both ends keep to. Where a list, a text or a number that a peer sends has a bound, it is here.

use std::time::Duration;

/// Largest message, in bytes, that a server takes from a device before it has joined.
pub const MESSAGE_MAX_BEFORE_JOIN: usize = 64 * 1024;
/// Largest message, in bytes, that a server takes from a joined device.
pub const MESSAGE_MAX: usize = 1024 * 1024;
/// Largest payload, in bytes, that is read into more than texts: a join, a health report, identities, a log line. A larger
/// one is no message of its kind.
pub const PAYLOAD_MAX: usize = 64 * 1024;
/// Deepest nesting of a MessagePack message.
pub const DEPTH_MAX: usize = 32;
/// Most values, keys of maps included, of a MessagePack message.
pub const NODES_MAX: usize = 65_536;
/// Longest text, in bytes, that is kept of any one field of a join or a status; a longer one counts as absent
/// where it names something and is cut where it is prose.
pub const FIELD_MAX: usize = 1024;
/// Longest device identifier, in bytes.
pub const IDENTIFIER_MAX: usize = 255;
/// Most public keys that an agent takes, and the longest one in base64 is [`FIELD_MAX`].
pub const KEYS_MAX: usize = 100;
/// Most parts of an update that have a checksum of their own: firmware up to 16 GiB.
pub const PARTS_MAX: usize = 16_384;
/// Most connection types that a device reports at once.
pub const CONNECTION_TYPES_MAX: usize = 8;

/// Longest text of a terminal, in bytes, of one message; the rest is cut off.
pub const TERMINAL_TEXT_MAX: usize = 128 * 1024;
/// Longest name of a file that is transferred, in bytes.
pub const FILE_NAME_MAX: usize = 255;
/// Longest chunk of a file in base64: peers send 1,024 bytes of the file in one.
pub const FILE_CHUNK_MAX: usize = 16 * 1024;
/// Most rows or columns of a terminal.
pub const WINDOW_MAX: u64 = 1000;

/// Longest text of a script, in bytes.
pub const SCRIPT_TEXT_MAX: usize = 128 * 1024;
/// Longest output, and longest value, of a script, in bytes; the rest is cut off.
pub const SCRIPT_OUTPUT_MAX: usize = 128 * 1024;
/// Longest reference of a script, in bytes.
pub const SCRIPT_REF_MAX: usize = 64;
/// How long a device runs a script when it is not told (device-link §3.2).
pub const SCRIPT_TIMEOUT: Duration = Duration::from_secs(10);

/// Most extensions that a device offers in its join; what is unknown counts too.
pub const EXTENSIONS_MAX: usize = 64;
/// Most metrics of a health report; the rest is left out.
pub const METRICS_MAX: usize = 128;
/// Most alarms, checks, interfaces and pairs of metadata of a health report, each.
pub const FACTS_MAX: usize = 64;
/// Longest name of a metric, an alarm, a check, an interface or a pair of metadata, in bytes.
pub const NAME_MAX: usize = 255;
/// Most network identities of one report (device-link §3.5).
pub const IDENTITIES_MAX: usize = 10;
/// Longest network identity, and longest name of its instance, in bytes.
pub const IDENTITY_MAX: usize = 255;
/// Longest details of a network identity, in bytes of JSON.
pub const DETAILS_MAX: usize = 4096;
/// Longest log message, in bytes; the rest is cut off.
pub const LOG_MESSAGE_MAX: usize = 8 * 1024;
/// Most pairs of a log line's metadata; the rest is left out.
pub const LOG_META_MAX: usize = 32;
/// Log lines per second that a server keeps of one device; more are dropped silently.
pub const LOG_RATE: u32 = 5;
/// Log lines that may come at once on top of [`LOG_RATE`].
pub const LOG_BURST: u32 = 10;
/// Longest certificate or signing request in PEM, in bytes.
pub const PEM_MAX: usize = 16 * 1024;

/// Longest value of a header of a shared secret's signature, in bytes.
pub const CREDENTIAL_HEADER_MAX: usize = 1024;
/// Most rounds of the key derivation that a header may ask for: about 5 ms of one core. Clients use 1,000.
pub const CREDENTIAL_ROUNDS_MAX: u32 = 10_000;
/// Fewest bytes of a derived key that a header may ask for.
pub const CREDENTIAL_KEY_MIN: usize = 16;
/// Most bytes of a derived key that a header may ask for; clients use 32.
pub const CREDENTIAL_KEY_MAX: usize = 64;
/// How far a signature's time may lie from the server's, in either direction (device-link §1.5).
pub const CREDENTIAL_SKEW: Duration = Duration::from_secs(90);

/// How often a device sends a heartbeat.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(30);
/// A link on which no message arrived for this long is dead: two heartbeats and a half. Other servers wait for 180 s
/// (device-link §1.3); then a device whose network was cut would be shown as connected for longer than 90 s.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(75);
/// How long a device waits before it joins again after a refused join (device-link §5.1).
pub const REJOIN_AFTER: Duration = Duration::from_secs(5);
/// Longest delay that a device may ask for when it reschedules an update.
pub const DELAY_MAX: Duration = Duration::from_hours(720);
