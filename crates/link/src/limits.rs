//! The sizes and times that both ends keep to.

use std::time::Duration;

/// Largest message, in bytes, that a server takes from a device before it has joined.
pub const MESSAGE_MAX_BEFORE_JOIN: usize = 64 * 1024;
/// Largest message, in bytes, that a server takes from a joined device.
pub const MESSAGE_MAX: usize = 1024 * 1024;
/// Longest text, in bytes, that is kept of any one field of a join or a status; a longer one counts as absent
/// where it names something and is cut where it is prose.
pub const FIELD_MAX: usize = 1024;
/// Longest device identifier, in bytes.
pub const IDENTIFIER_MAX: usize = 255;
/// How often a device sends a heartbeat.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(30);
/// A link on which no message arrived for this long is dead: two heartbeats and a half. Other servers wait for 180 s
/// (device-link §1.3); then a device whose network was cut would be shown as connected for longer than 90 s.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(75);
/// How long a device waits before it joins again after a refused join (device-link §5.1).
pub const REJOIN_AFTER: Duration = Duration::from_secs(5);
/// Longest delay that a device may ask for when it reschedules an update.
pub const DELAY_MAX: Duration = Duration::from_hours(720);
