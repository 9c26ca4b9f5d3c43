//! What an archive says about itself.

use uuid::Uuid;

use crate::{
    metaconf::{quote, text},
    nickname::nickname,
};

/// The metadata of an archive (format §2.5). Empty values count as absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// `meta-product`.
    pub product: Option<String>,
    /// `meta-description`.
    pub description: Option<String>,
    /// `meta-version`.
    pub version: Option<String>,
    /// `meta-author`.
    pub author: Option<String>,
    /// `meta-platform`.
    pub platform: Option<String>,
    /// `meta-architecture`.
    pub architecture: Option<String>,
    /// `meta-creation-date`, for example `2025-06-15T15:06:40Z`: from the time of the `meta.conf` entry.
    pub creation_date: Option<String>,
    /// `meta-fwup-version`, only written by very old tools.
    pub fwup_version: Option<String>,
    /// `meta-vcs-identifier`.
    pub vcs_identifier: Option<String>,
    /// `meta-misc`.
    pub misc: Option<String>,
    /// `require-fwup-version`, unless it is the default.
    pub require_fwup_version: Option<String>,
    /// Computed from the bytes of `meta.conf` (format §1.6).
    pub uuid: Uuid,
}

impl Metadata {
    /// Two words made from the UUID, for people (format §1.6).
    pub fn nickname(&self) -> String {
        nickname(self.uuid)
    }

    /// The values that are there under their names in a config, in the order in which fwup lists them.
    pub fn pairs(&self) -> Vec<(&'static str, String)> {
        let values = [
            ("meta-product", &self.product),
            ("meta-description", &self.description),
            ("meta-version", &self.version),
            ("meta-author", &self.author),
            ("meta-platform", &self.platform),
            ("meta-architecture", &self.architecture),
            ("meta-creation-date", &self.creation_date),
            ("meta-fwup-version", &self.fwup_version),
            ("meta-misc", &self.misc),
            ("meta-vcs-identifier", &self.vcs_identifier),
        ];
        let given = values
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.clone()?)));
        let computed = [("meta-uuid", self.uuid.to_string()), ("meta-nickname", self.nickname())];
        given.chain(computed).collect()
    }

    /// What `fwup -m` prints: a line `name=value` for every value, quoted where needed.
    pub fn listing(&self) -> String {
        let line = |(name, value): (&str, String)| format!("{name}={}\n", text(&quote(value.as_bytes())));
        self.pairs().into_iter().map(line).collect()
    }
}

/// The namespace of firmware UUIDs.
const NAMESPACE: Uuid = Uuid::from_u128(0x2053_dffb_d51e_4310_b93b_956d_a89f_9f34);

/// The UUID of an archive: 16 bytes of a BLAKE2b hash with the version set to 5 and the variant left as it is.
pub(crate) fn firmware_uuid(meta_conf: &[u8]) -> Uuid {
    let hash = blake2b_simd::Params::new()
        .hash_length(32)
        .to_state()
        .update(NAMESPACE.as_bytes())
        .update(meta_conf)
        .finalize();
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().zip(hash.as_bytes()) {
        *to = *from;
    }
    bytes[6] = (bytes[6] & 0x0f) | 0x50;
    Uuid::from_bytes(bytes)
}

/// Formats seconds since 1970 as `2025-06-15T15:06:40Z`.
pub(crate) fn format_date(unix_seconds: i64) -> String {
    let (days, seconds) = (unix_seconds.div_euclid(86_400), unix_seconds.rem_euclid(86_400));
    let (year, month, day) = civil_from_days(days);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Seconds since 1970 of a date like `2025-06-15T15:06:40Z`, as archives and the command line state it.
pub fn parse_date(text: &str) -> Option<i64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let numbers = |text: &str, mark| -> Option<[i64; 3]> {
        let numbers = text.split(mark).map(|part| {
            let digits = (2..=4).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| part.parse().ok()).flatten()
        });
        numbers.collect::<Option<Vec<i64>>>()?.try_into().ok()
    };
    let [year, month, day] = numbers(date, '-')?;
    let [hour, minute, second] = numbers(time, ':')?;
    let seconds = days_from_civil(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    // a month of 13 or a day of 32 would be written in another way
    (format_date(seconds) == text).then_some(seconds)
}

/// The Gregorian date of a day counted from 1970-01-01, by eras of 400 years that begin in March.
pub(crate) fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days.saturating_add(719_468);
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// The inverse of [`civil_from_days`].
pub(crate) fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_formatted_and_inverted() {
        assert_eq!(format_date(1_750_000_000), "2025-06-15T15:06:40Z");
        assert_eq!(format_date(0), "1970-01-01T00:00:00Z");
        assert_eq!(format_date(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(parse_date("2025-06-15T15:06:40Z"), Some(1_750_000_000));
        for bad in [
            "",
            "2025-06-15",
            "2025-06-15T15:06:40",
            "2025-02-29T00:00:00Z",
            "2025-13-01T00:00:00Z",
            "2025-01-01T24:00:00Z",
            "-125-01-01T00:00:00Z",
            "2025-1-01T00:00:00Z",
            "2025-01-01-01T00:00:00Z",
        ] {
            assert_eq!(parse_date(bad), None, "{bad}");
        }
        for day in (-800_000..800_000).step_by(97) {
            let (y, m, d) = civil_from_days(day);
            assert_eq!(days_from_civil(y, m, d), day);
        }
    }

    #[test]
    fn uuid_has_version_five_and_depends_on_every_byte() {
        let uuid = firmware_uuid(b"meta-product=kiosk\n");
        assert_eq!(uuid.as_bytes()[6] >> 4, 5);
        assert_ne!(uuid, firmware_uuid(b"meta-product=kiosk"));
    }
}
