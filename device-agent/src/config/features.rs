//! The settings of what not every device has: archives, scripts, a console, extensions.

use std::path::{Path, PathBuf};
use std::time::Duration;

use muster_link::limits::{
    CONNECTION_TYPES_MAX, DETAILS_MAX, IDENTITIES_MAX, IDENTITY_MAX, SCRIPT_OUTPUT_MAX, SCRIPT_TIMEOUT,
};
use muster_link::{Fix, Identity};

use super::build::{Wrong, public_keys, span, wrong};
use super::{FirmwareSettings, raw};
use crate::archives::ArchiveSettings;
use crate::console::ConsoleSettings;
use crate::extensions::ExtensionSettings;
use crate::extensions::geo::GeoSettings;
use crate::extensions::health::Reporter;
use crate::scripts::ScriptSettings;

/// Firmware's keys are trusted where the file names no others.
pub(super) fn archives(file: &raw::Archives, firmware: &FirmwareSettings) -> Result<ArchiveSettings, Wrong> {
    let own = file.public_keys.as_ref();
    let own = own
        .map(|texts| public_keys("archives.public_keys", texts))
        .transpose()?;
    Ok(ArchiveSettings {
        public_keys: own.unwrap_or_else(|| firmware.public_keys.clone()),
        max_bytes: file.max_bytes.unwrap_or(firmware.max_firmware_bytes),
    })
}

pub(super) fn scripts(file: raw::Scripts) -> ScriptSettings {
    ScriptSettings {
        interpreter: file.interpreter.unwrap_or_default(),
        time_limit: span(file.time_limit, SCRIPT_TIMEOUT),
        output_max: file
            .output_max
            .unwrap_or(SCRIPT_OUTPUT_MAX / 2)
            .min(SCRIPT_OUTPUT_MAX / 2),
    }
}

/// The shell of the console and of `local_shell`.
pub(super) fn shell(given: Option<&[String]>) -> Result<Vec<String>, Wrong> {
    match given {
        Some([]) => Err(wrong("console.shell", "names no program")),
        Some(line) => Ok(line.to_vec()),
        None => Ok(vec!["/bin/sh".to_owned(), "-i".to_owned()]),
    }
}

pub(super) fn console(
    file: raw::Console,
    state_dir: &Path,
    at: impl Fn(PathBuf) -> PathBuf,
) -> Result<ConsoleSettings, Wrong> {
    let inactivity = span(file.inactivity, Duration::from_mins(5));
    if inactivity.is_zero() {
        return Err(wrong("console.inactivity", "must be longer than nothing"));
    }
    Ok(ConsoleSettings {
        enabled: file.enabled,
        shell: shell(file.shell.as_deref())?,
        data_dir: file.data_dir.map_or_else(|| state_dir.join("console"), at),
        inactivity,
    })
}

pub(super) fn extensions(
    file: raw::Extensions,
    shell: &[String],
    state_dir: &Path,
    renews: bool,
    at: impl Fn(PathBuf) -> PathBuf,
) -> Result<ExtensionSettings, Wrong> {
    let reporter = Reporter {
        disk: file.health_disk.map_or_else(|| state_dir.to_owned(), &at),
        metadata: file.metadata,
    };
    Ok(ExtensionSettings {
        health: file.health.unwrap_or(true).then_some(reporter),
        geo: file.geo.map(|geo| self::geo(geo, at)).transpose()?,
        local_shell: file.local_shell.then(|| shell.to_vec()),
        logging: file.logging,
        identities: identities(file.network_identity)?,
        renewal: file.renewal.unwrap_or(true) && renews,
    })
}

fn geo(file: raw::Geo, at: impl Fn(PathBuf) -> PathBuf) -> Result<GeoSettings, Wrong> {
    let key = "extensions.geo";
    match (file.latitude, file.longitude, file.script) {
        (Some(latitude), Some(longitude), None) if latitude.abs() <= 90.0 && longitude.abs() <= 180.0 => {
            Ok(GeoSettings::Fixed(Fix {
                source: Some("configuration".to_owned()),
                latitude,
                longitude,
                accuracy: file.accuracy,
            }))
        }
        (Some(_), Some(_), None) => Err(wrong(key, "is no place: latitude is -90 to 90, longitude -180 to 180")),
        (None, None, Some(script)) => Ok(GeoSettings::Script {
            path: at(script),
            time_limit: span(file.time_limit, Duration::from_secs(10)),
        }),
        _ => Err(wrong(key, "needs latitude and longitude, or a script, and not both")),
    }
}

fn identities(file: Vec<raw::NetworkIdentity>) -> Result<Vec<Identity>, Wrong> {
    let key = "extensions.network_identity";
    if file.len() > IDENTITIES_MAX {
        return Err(wrong(key, format!("has more than {IDENTITIES_MAX} entries")));
    }
    let identity = |one: raw::NetworkIdentity| {
        let details = serde_json::Value::Object(one.details);
        if one.identifier.is_empty() || one.identifier.len() > IDENTITY_MAX {
            return Err(wrong(key, format!("identifier must have 1 to {IDENTITY_MAX} bytes")));
        }
        if details.to_string().len() > DETAILS_MAX {
            return Err(wrong(key, format!("details have more than {DETAILS_MAX} bytes")));
        }
        Ok(Identity {
            service: one.service,
            identifier: one.identifier,
            instance: one.instance.unwrap_or_else(|| "default".to_owned()),
            details,
        })
    };
    file.into_iter().map(identity).collect()
}

/// What a device may say that it is connected by.
pub(super) fn connection_types(types: Vec<String>) -> Result<Vec<String>, Wrong> {
    if types.len() > CONNECTION_TYPES_MAX {
        let reason = format!("has more than {CONNECTION_TYPES_MAX} entries");
        return Err(wrong("agent.connection_types", reason));
    }
    Ok(types)
}
