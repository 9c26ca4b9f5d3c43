//! From what the file says to what the agent runs with: defaults, limits, and paths from the file's directory on.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper::Uri;
use muster_fwup::PublicKey;
use muster_link::Encoding;
use muster_link::limits::{HEARTBEAT_INTERVAL, IDENTIFIER_MAX};

use super::{
    AgentSettings, DownloadSettings, FirmwareSettings, HookSettings, IdentitySettings, LogFormat, PlatformKind,
    PolicySettings, ServerSettings, Settings, Strategy, TlsVersions, features, raw,
};
use crate::duration::Span;
use crate::identity::Proof;
use crate::identity::secret::{Hidden, SecretPlace, SecretSettings};

/// A key with a value that cannot be.
pub(super) struct Wrong {
    pub key: &'static str,
    pub reason: String,
}

pub(super) fn wrong(key: &'static str, reason: impl Into<String>) -> Wrong {
    Wrong {
        key,
        reason: reason.into(),
    }
}

/// Gives the file its meaning; relative paths start at `directory`.
pub(super) fn build(file: raw::File, directory: &Path) -> Result<Settings, Wrong> {
    let at = &|path: PathBuf| directory.join(path);
    let identifier = file.identity.identifier.clone();
    if identifier.is_empty() || identifier.len() > IDENTIFIER_MAX {
        return Err(wrong(
            "identity.identifier",
            format!("must have 1 to {IDENTIFIER_MAX} bytes"),
        ));
    }
    let encoding = encoding(file.server.encoding.as_deref())?;
    let proof = proof(&file.identity, at)?;
    let renew_before = file.identity.renew_before.map(|Span(span)| span);
    let firmware = firmware(file.firmware, at)?;
    let renews = matches!(proof, Proof::Certificate { key: Some(_), .. });
    let state_dir = at(file.agent.state_dir.clone());
    let shell = features::shell(file.console.shell.as_deref())?;
    Ok(Settings {
        server: ServerSettings {
            url: link_url(&file.server.url, encoding, &proof)?,
            encoding,
            ca: at(file.server.ca),
            tls: tls_versions(file.server.tls.as_deref())?,
        },
        identity: IdentitySettings {
            identifier,
            proof,
            renew_before,
        },
        archives: features::archives(&file.archives, &firmware)?,
        scripts: features::scripts(file.scripts),
        console: features::console(file.console, &state_dir, at)?,
        extensions: features::extensions(file.extensions, &shell, &state_dir, renews, at)?,
        firmware,
        download: download(file.download, &file.agent.state_dir, at)?,
        policy: PolicySettings {
            script: file.policy.script.map(at),
            time_limit: span(file.policy.time_limit, Duration::from_secs(10)),
        },
        hooks: HookSettings {
            identify: file.hooks.identify.unwrap_or_default(),
            before_reboot: file.hooks.before_reboot.unwrap_or_default(),
            archive: file.hooks.archive.unwrap_or_default(),
            time_limit: span(file.hooks.time_limit, Duration::from_secs(30)),
            archive_time_limit: span(file.hooks.archive_time_limit, Duration::from_mins(10)),
        },
        agent: agent(file.agent, at)?,
    })
}

pub(super) fn span(given: Option<Span>, default: Duration) -> Duration {
    given.map_or(default, |Span(span)| span)
}

fn encoding(text: Option<&str>) -> Result<Encoding, Wrong> {
    match text {
        None | Some("json") => Ok(Encoding::Json),
        Some("msgpack") => Ok(Encoding::MessagePack),
        Some(other) => Err(wrong(
            "server.encoding",
            format!("`{other}` is neither \"json\" nor \"msgpack\""),
        )),
    }
}

/// A certificate or a shared secret, and one of them only.
fn proof(identity: &raw::Identity, at: impl Fn(PathBuf) -> PathBuf) -> Result<Proof, Wrong> {
    let secret = match (&identity.shared_secret, &identity.shared_secret_file) {
        (Some(_), Some(_)) => return Err(wrong("identity.shared_secret", "stands beside shared_secret_file")),
        (Some(secret), None) if secret.is_empty() => return Err(wrong("identity.shared_secret", "is empty")),
        (Some(secret), None) => Some(SecretPlace::Here(Hidden(secret.clone()))),
        (None, Some(file)) => Some(SecretPlace::File(at(file.clone()))),
        (None, None) => None,
    };
    match (&identity.cert, &identity.shared_key, secret) {
        (Some(cert), None, None) => Ok(Proof::Certificate {
            cert: at(cert.clone()),
            key: identity.key.clone().map(at),
        }),
        (None, Some(key), Some(secret)) if !key.is_empty() && key.is_ascii() => Ok(Proof::Secret(SecretSettings {
            key: key.clone(),
            secret,
        })),
        (None, Some(_), Some(_)) => Err(wrong(
            "identity.shared_key",
            "is no key: it begins with `nhp_` or `nhd_`",
        )),
        (None, Some(_), None) => Err(wrong(
            "identity.shared_key",
            "needs shared_secret or shared_secret_file",
        )),
        (None, None, Some(_)) => Err(wrong("identity.shared_secret", "needs shared_key")),
        (None, None, None) => Err(wrong("identity.cert", "is missing, and there is no shared_key instead")),
        (Some(_), _, _) => Err(wrong(
            "identity.cert",
            "stands beside a shared key: one of them proves the device",
        )),
    }
}

/// The URL that is dialled: NervesHub's path for the kind of proof unless another is given, and the framing's version.
fn link_url(text: &str, encoding: Encoding, proof: &Proof) -> Result<Uri, Wrong> {
    let key = "server.url";
    let url: Uri = text.parse().map_err(|cause| wrong(key, format!("`{text}`: {cause}")))?;
    if url.scheme_str() != Some("wss") || url.host().is_none() {
        return Err(wrong(key, format!("`{text}` must look like `wss://host:port`")));
    }
    let authority = url.authority().map_or("", |authority| authority.as_str());
    let path = match (url.path(), proof) {
        ("" | "/", Proof::Certificate { .. }) => "/socket/websocket",
        ("" | "/", Proof::Secret(_)) => "/device-socket/websocket",
        (path, _) => path,
    };
    let built = format!("wss://{authority}{path}?vsn={}", encoding.vsn());
    built.parse().map_err(|cause| wrong(key, format!("`{built}`: {cause}")))
}

fn tls_versions(text: Option<&str>) -> Result<TlsVersions, Wrong> {
    match text {
        None => Ok(TlsVersions::Both),
        Some("1.2") => Ok(TlsVersions::Only12),
        Some("1.3") => Ok(TlsVersions::Only13),
        Some(other) => Err(wrong("server.tls", format!("`{other}` is neither \"1.2\" nor \"1.3\""))),
    }
}

/// Larger firmware than this needs `max_firmware_bytes`.
const MAX_FIRMWARE_BYTES: u64 = 2 * 1024 * 1024 * 1024;

pub(super) fn public_keys(key: &'static str, texts: &[String]) -> Result<Vec<PublicKey>, Wrong> {
    let parse = |text: &String| text.parse().map_err(|cause| wrong(key, format!("`{text}`: {cause}")));
    texts.iter().map(parse).collect()
}

fn firmware(firmware: raw::Firmware, at: impl Fn(PathBuf) -> PathBuf) -> Result<FirmwareSettings, Wrong> {
    let public_keys = public_keys("firmware.public_keys", &firmware.public_keys)?;
    Ok(FirmwareSettings {
        disk: at(firmware.disk),
        fw_env_config: at(firmware.fw_env_config.unwrap_or_else(|| "/etc/fw_env.config".into())),
        public_keys,
        task: firmware.task.unwrap_or_else(|| "upgrade".to_owned()),
        max_firmware_bytes: firmware.max_firmware_bytes.unwrap_or(MAX_FIRMWARE_BYTES),
        reboot_param: firmware.reboot_param.map(&at),
        ca: firmware.ca.map(&at),
    })
}

/// More connections at a time than this are more harm than help.
const PARALLEL_MAX: usize = 8;

fn download(
    download: raw::Download,
    state_dir: &Path,
    at: impl Fn(PathBuf) -> PathBuf,
) -> Result<DownloadSettings, Wrong> {
    let strategy = match download.strategy.as_deref() {
        None | Some("streaming") => Strategy::Streaming,
        Some("caching") => Strategy::Caching,
        Some("parts") => Strategy::Parts,
        Some(other) => {
            return Err(wrong(
                "download.strategy",
                format!("`{other}` is none of \"streaming\", \"caching\" and \"parts\""),
            ));
        }
    };
    let parallel = download.parallel.unwrap_or(1);
    if !(1..=PARALLEL_MAX).contains(&parallel) {
        return Err(wrong("download.parallel", format!("must be 1 to {PARALLEL_MAX}")));
    }
    Ok(DownloadSettings {
        max_disconnects: download.max_disconnects.unwrap_or(10),
        idle_timeout: span(download.idle_timeout, Duration::from_mins(1)),
        max_timeout: span(download.max_timeout, Duration::from_hours(24)),
        time_between_retries: span(download.time_between_retries, Duration::from_secs(15)),
        worst_case_download_speed: download.worst_case_download_speed.unwrap_or(30_000).max(1),
        strategy,
        cache_dir: at(download.cache_dir.unwrap_or_else(|| state_dir.join("firmware"))),
        parallel,
    })
}

fn agent(agent: raw::Agent, at: impl Fn(PathBuf) -> PathBuf) -> Result<AgentSettings, Wrong> {
    let platform = match agent.platform.as_str() {
        "linux" => PlatformKind::Linux,
        "virtual" => PlatformKind::Virtual,
        other => {
            return Err(wrong(
                "agent.platform",
                format!("`{other}` is neither \"linux\" nor \"virtual\""),
            ));
        }
    };
    let log_format = match agent.log_format.as_deref() {
        None | Some("text") => LogFormat::Text,
        Some("json") => LogFormat::Json,
        Some(other) => {
            return Err(wrong(
                "agent.log_format",
                format!("`{other}` is neither \"text\" nor \"json\""),
            ));
        }
    };
    let reboot_command = agent.reboot_command.unwrap_or_else(|| vec!["reboot".to_owned()]);
    if reboot_command.is_empty() {
        return Err(wrong("agent.reboot_command", "names no program"));
    }
    let heartbeat = span(agent.heartbeat, HEARTBEAT_INTERVAL);
    if heartbeat.is_zero() {
        return Err(wrong("agent.heartbeat", "must be longer than nothing"));
    }
    let state_dir = at(agent.state_dir);
    Ok(AgentSettings {
        socket: at(agent.socket.unwrap_or_else(|| state_dir.join("agent.sock"))),
        state_dir,
        platform,
        backoff: backoff(agent.backoff)?,
        network_retry: span(agent.network_retry, Duration::from_secs(3)),
        heartbeat,
        reboot_command,
        validate: agent.validate.unwrap_or(true),
        connection_types: features::connection_types(agent.connection_types)?,
        boot_timeout: span(agent.boot_timeout, Duration::from_secs(30)),
        health_script: agent.health_script.map(at),
        health_time_limit: span(agent.health_time_limit, Duration::from_secs(10)),
        log_format,
    })
}

/// The delays of device-link §5.1, unless the file lists its own.
fn backoff(given: Option<Vec<Span>>) -> Result<Vec<Duration>, Wrong> {
    let Some(given) = given else {
        return Ok([1, 2, 4, 8, 16, 32, 60].map(Duration::from_secs).to_vec());
    };
    if given.is_empty() || given.iter().any(|Span(span)| span.is_zero()) {
        return Err(wrong("agent.backoff", "needs at least one delay, and none of zero"));
    }
    Ok(given.into_iter().map(|Span(span)| span).collect())
}
