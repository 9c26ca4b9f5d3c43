//! Configuration in three steps: *flags* (what the command line, the environment and a TOML file may say), *inputs*
//! (merged, each with where it came from), *settings* (parsed and whole). Only settings leave this module.
//!
//! A key has one name: `public_url` in the file, `MUSTER_PUBLIC_URL` in the environment, `--public-url` as a flag. A flag
//! goes before the environment, the environment before the file.

mod flags;
mod inputs;
mod secrets;
mod values;

use std::net::SocketAddr;
use std::path::PathBuf;

pub use flags::{DatabaseFlags, FrontFlags, Group, LogFlags, MasterKeyFlags, NodeFlags, StoreFlags, TlsFlags};
pub use inputs::{ConfigError, Inputs, Source};
pub use secrets::{Secret, read_master_key};
use time::Duration;
pub use values::{BaseUrl, LogFormat};

use crate::links::admission::{self, Limits};
use crate::platform::events::NatsUrl;
use crate::platform::store::StoreUrl;
use crate::platform::vault::MasterKey;

/// Where the web listener is unless told otherwise.
const WEB_ADDR: &str = "127.0.0.1:4000";
/// Where the device listener is unless told otherwise.
const DEVICE_ADDR: &str = "127.0.0.1:4001";
/// How long a URL of firmware is good for unless told otherwise: a slow device reads a large archive for hours.
const FIRMWARE_URL_LIFETIME: &str = "24h";
/// What is logged unless told otherwise.
const LOG: &str = "info";

/// Everything that a server needs to know.
#[derive(Debug)]
pub struct Settings {
    /// The URL of the database.
    pub database_url: Secret,
    /// Where firmware lies.
    pub store: StoreUrl,
    /// The key outside the database.
    pub master_key: MasterKey,
    /// The certificate of the device listener and its chain, as a PEM file.
    pub device_cert: PathBuf,
    /// Its private key, as a PEM file.
    pub device_key: PathBuf,
    /// The NATS server that wakes the nodes; `None` says the database does.
    pub nats_url: Option<NatsUrl>,
    /// How it meets the world.
    pub front: Front,
}

/// How a server meets the world.
#[derive(Debug, Clone)]
pub struct Front {
    /// Where the web listener is.
    pub web_addr: SocketAddr,
    /// Where the device listener is.
    pub device_addr: SocketAddr,
    /// Where people reach it; `None` says the web listener's own address.
    pub public_url: Option<BaseUrl>,
    /// Where devices fetch firmware; `None` says the device listener's own address.
    pub firmware_url: Option<BaseUrl>,
    /// How long a URL of firmware is good for.
    pub firmware_url_lifetime: Duration,
    /// A listener of its own for figures.
    pub metrics_addr: Option<SocketAddr>,
    /// What opens the figures on the web listener.
    pub metrics_token: Option<Secret>,
    /// How many devices may come in.
    pub limits: Limits,
}

/// What is logged, and how.
#[derive(Debug, Clone)]
pub struct Logging {
    /// Which lines, as in `info,muster_server=debug`.
    pub filter: String,
    /// In which form.
    pub format: LogFormat,
}

impl Settings {
    /// The settings of `serve`.
    ///
    /// # Errors
    /// Every key that is missing or bad, with what to do about it.
    pub fn read(mut inputs: Inputs) -> Result<Self, ConfigError> {
        let front = Front::take(&mut inputs);
        let database_url = inputs.required(
            "database_url",
            "Muster keeps everything but firmware in Postgres",
            values::database_url,
        );
        let store = inputs.required("store", "firmware must lie somewhere", str::parse);
        let master_key = inputs.required(
            "master_key",
            "it opens the secrets in the database (muster-server up makes one: DATA_DIR/master.key)",
            read_master_key,
        );
        let nats_url = inputs.optional("nats_url", str::parse);
        let device_cert = inputs.required("device_cert", "devices connect over TLS", values::file);
        let device_key = inputs.required("device_key", "devices connect over TLS", values::file);
        inputs.finish()?;
        let (Some(front), Some(database_url), Some(store), Some(master_key), Some(device_cert), Some(device_key)) =
            (front, database_url, store, master_key, device_cert, device_key)
        else {
            return Err(ConfigError::default());
        };
        Ok(Self {
            database_url,
            store,
            master_key,
            device_cert,
            device_key,
            nats_url,
            front,
        })
    }
}

impl Front {
    /// The addresses and URLs alone, as `up` takes them.
    ///
    /// # Errors
    /// Every key that is bad, with what to do about it.
    pub fn read(mut inputs: Inputs) -> Result<Self, ConfigError> {
        let front = Self::take(&mut inputs);
        inputs.finish()?;
        front.ok_or_else(ConfigError::default)
    }

    fn take(inputs: &mut Inputs) -> Option<Self> {
        let web_addr = inputs.with_default("web_addr", WEB_ADDR, values::addr);
        let device_addr = inputs.with_default("device_addr", DEVICE_ADDR, values::addr);
        let public_url = inputs.optional("public_url", str::parse);
        let firmware_url = inputs.optional("firmware_url", str::parse);
        let firmware_url_lifetime = inputs.with_default(
            "firmware_url_lifetime",
            FIRMWARE_URL_LIFETIME,
            values::firmware_url_lifetime,
        );
        let metrics_addr = inputs.optional("metrics_addr", values::addr);
        let metrics_token = inputs.optional("metrics_token", values::token);
        let rate = inputs.with_default("device_connect_rate", &admission::RATE.to_string(), values::count);
        let handshakes = inputs.with_default("device_handshakes", &admission::HANDSHAKES.to_string(), values::count);
        Some(Self {
            web_addr: web_addr?,
            device_addr: device_addr?,
            public_url,
            firmware_url,
            firmware_url_lifetime: firmware_url_lifetime?,
            metrics_addr,
            metrics_token,
            limits: Limits {
                rate: rate?,
                handshakes: handshakes?,
            },
        })
    }
}

impl Logging {
    /// What to log, before anything else is read.
    ///
    /// # Errors
    /// Every key that is bad, with what to do about it.
    pub fn read(mut inputs: Inputs) -> Result<Self, ConfigError> {
        let filter = inputs.with_default("log", LOG, values::log_filter);
        let format = inputs.with_default("log_format", "text", str::parse);
        inputs.finish()?;
        match (filter, format) {
            (Some(filter), Some(format)) => Ok(Self { filter, format }),
            _ => Err(ConfigError::default()),
        }
    }
}

/// The URL of the database alone.
///
/// # Errors
/// When it is missing or bad.
pub fn read_database_url(mut inputs: Inputs) -> Result<Secret, ConfigError> {
    let url = inputs.required("database_url", "this command works on a database", values::database_url);
    inputs.finish()?;
    url.ok_or_else(ConfigError::default)
}

/// The URL of the database and the key to its secrets.
///
/// # Errors
/// When one is missing or bad.
pub fn read_database(mut inputs: Inputs) -> Result<(Secret, MasterKey), ConfigError> {
    let url = inputs.required("database_url", "this command works on a database", values::database_url);
    let key = inputs.required("master_key", "it opens the secrets in the database", read_master_key);
    inputs.finish()?;
    url.zip(key).ok_or_else(ConfigError::default)
}

#[cfg(test)]
mod tests;
