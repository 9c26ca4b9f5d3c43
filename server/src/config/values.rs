//! The third step: text becomes values. A problem is the rest of a sentence that begins with the key.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use actix_web::http::Uri;
use time::Duration;
use tracing_subscriber::EnvFilter;

use super::secrets::Secret;

/// How long a URL of firmware may be good for, at least: a device must have the time to use it.
const FIRMWARE_URL_LIFETIME_MIN: Duration = Duration::seconds(1);
/// … and at most: who holds one needs no other proof.
const FIRMWARE_URL_LIFETIME_MAX: Duration = Duration::days(7);

/// A number of one or more.
pub(super) fn count(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(count) if count > 0 => Ok(count),
        _ => Err(format!("is {text:?}, which is no whole number above 0.")),
    }
}

/// A URL with nothing behind its authority: `https://host:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUrl {
    scheme: &'static str,
    host: String,
    port: Option<u16>,
}

impl BaseUrl {
    /// `scheme://host:port`, the port left out where it is the scheme's own.
    pub fn new(scheme: &'static str, host: impl Into<String>, port: u16) -> Self {
        let own = if scheme == "https" { 443 } else { 80 };
        Self {
            scheme,
            host: host.into(),
            port: (port != own).then_some(port),
        }
    }

    /// The host; an IPv6 address stands in brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether cookies may be marked as secure.
    pub fn is_https(&self) -> bool {
        self.scheme == "https"
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}://{}", self.scheme, self.host)?;
        self.port.map_or(Ok(()), |port| write!(formatter, ":{port}"))
    }
}

impl FromStr for BaseUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fix = "Give scheme, host and port only, such as https://muster.example.com.";
        let uri: Uri = text
            .parse()
            .map_err(|_| format!("is {text:?}, which is no URL. {fix}"))?;
        let scheme = match uri.scheme_str() {
            Some("https") => "https",
            Some("http") => "http",
            _ => {
                return Err(format!(
                    "is {text:?}, which begins with neither http:// nor https://. {fix}"
                ));
            }
        };
        let (Some(host), true) = (
            uri.host(),
            uri.authority().is_some_and(|all| !all.as_str().contains('@')),
        ) else {
            return Err(format!("is {text:?}, which is no URL. {fix}"));
        };
        if uri.path() != "/" || uri.query().is_some() {
            return Err(format!("is {text:?}: something stands behind the host. {fix}"));
        }
        let port = uri.port_u16().unwrap_or(if scheme == "https" { 443 } else { 80 });
        Ok(Self::new(scheme, host, port))
    }
}

/// In which form lines are logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines: one JSON object a line.
    Json,
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(format!("is {text:?}. Give text or json.")),
        }
    }
}

/// An address to listen on.
pub(super) fn addr(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!(
            "is {text:?}, which is no address. Give an IP address and a port, such as 127.0.0.1:4000 or 0.0.0.0:4000."
        )
    })
}

/// How long a URL of firmware is good for.
pub(super) fn firmware_url_lifetime(text: &str) -> Result<Duration, String> {
    let fix = "Give a number with s, m, h or d, from 1s to 7d, such as 24h.";
    let unit = match text.as_bytes().last() {
        Some(b's') => 1,
        Some(b'm') => 60,
        Some(b'h') => 3600,
        Some(b'd') => 24 * 3600,
        _ => return Err(format!("is {text:?}, which is no time. {fix}")),
    };
    let number: u32 = text[..text.len() - 1]
        .parse()
        .map_err(|_| format!("is {text:?}, which is no time. {fix}"))?;
    let lifetime = Duration::seconds(i64::from(number) * unit);
    if !(FIRMWARE_URL_LIFETIME_MIN..=FIRMWARE_URL_LIFETIME_MAX).contains(&lifetime) {
        return Err(format!("is {text:?}, which is too short or too long. {fix}"));
    }
    Ok(lifetime)
}

/// The URL of a database.
pub(super) fn database_url(text: &str) -> Result<Secret, String> {
    use sqlx::postgres::PgConnectOptions;
    let fix = "Give postgres://user:password@host:5432/name.";
    if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
        return Err(format!("does not begin with postgres://. {fix}"));
    }
    PgConnectOptions::from_str(text).map_err(|error| format!("is no URL of a Postgres database: {error}. {fix}"))?;
    Ok(Secret::new(text.to_owned()))
}

/// A file that is there.
pub(super) fn file(text: &str) -> Result<PathBuf, String> {
    match std::fs::File::open(text) {
        Ok(_) => Ok(PathBuf::from(text)),
        Err(error) => Err(format!(
            "names the file {text}, which cannot be read: {error}. Give a PEM file."
        )),
    }
}

/// A token long enough not to be guessed.
pub(super) fn token(text: &str) -> Result<Secret, String> {
    if text.len() < 16 {
        return Err("is shorter than 16 characters. Make one with: openssl rand -hex 16".to_owned());
    }
    Ok(Secret::new(text.to_owned()))
}

/// What is logged.
pub(super) fn log_filter(text: &str) -> Result<String, String> {
    match EnvFilter::builder().parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!(
            "is {text:?}, which is no filter: {error}. Give a level (error, warn, info, debug, trace) or info,muster_server=debug."
        )),
    }
}
