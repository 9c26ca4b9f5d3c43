//! The container: ZIP, read as a stream and written as fwup writes it (format §1).

mod deflate;
mod descriptor;
mod header;
mod name;
mod reader;
mod record;
mod source;
mod writer;

pub(crate) use name::{entry_name, resource_name};
pub(crate) use reader::{Entry, ZipReader};
pub(crate) use record::{NewEntry, Written};
pub(crate) use writer::{ZipWriter, deflated};

use crate::metadata::{civil_from_days, days_from_civil};

const LOCAL: [u8; 4] = *b"PK\x03\x04";
const CENTRAL: [u8; 4] = *b"PK\x01\x02";
const END: [u8; 4] = *b"PK\x05\x06";
const END64: [u8; 4] = *b"PK\x06\x06";
const DESCRIPTOR: [u8; 4] = *b"PK\x07\x08";

/// Extra field with Unix times.
const EXTRA_TIME: u16 = 0x5455;
/// Extra field with 64-bit sizes.
const EXTRA_ZIP64: u16 = 0x0001;

/// A DOS date and time as seconds since 1970.
fn dos_to_unix(date: u16, time: u16) -> i64 {
    let (date, time) = (i64::from(date), i64::from(time));
    let days = days_from_civil(1980 + (date >> 9), ((date >> 5) & 15).clamp(1, 12), (date & 31).max(1));
    days * 86_400 + (time >> 11) * 3600 + ((time >> 5) & 63) * 60 + (time & 31) * 2
}

/// Seconds since 1970 as a DOS date and time; years outside 1980 to 2107 become 1980-01-01.
fn unix_to_dos(seconds: i64) -> (u16, u16) {
    let (year, month, day) = civil_from_days(seconds.div_euclid(86_400));
    if !(1980..2108).contains(&year) {
        return (0x21, 0);
    }
    let rest = seconds.rem_euclid(86_400);
    let date = ((year - 1980) << 9) | (month << 5) | day;
    let time = ((rest / 3600) << 11) | ((rest / 60 % 60) << 5) | (rest % 60 / 2);
    (date as u16, time as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dos_times_round_trip() {
        let (date, time) = unix_to_dos(1_750_000_000);
        assert_eq!(dos_to_unix(date, time), 1_750_000_000);
        assert_eq!(unix_to_dos(0), (0x21, 0));
    }
}
