//! What `config check` and `status` say.

use std::fmt::Write;
use std::path::Path;

use anyhow::Context;
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::config::Settings;
use crate::control::Request;
use crate::control::client::{self, AskError};
use crate::identity::Identity;
use crate::platform::{Facts, FwEnv, FwEnvError};
use crate::renewal::Renewal;
use crate::update::state::{Pending, Phase, Store};

/// Reads everything that the configuration names.
pub(super) fn check(config: &Path) -> anyhow::Result<String> {
    let settings = Settings::read(config)?;
    Identity::new(&settings, None)?;
    let facts = facts(&settings)?;
    let keys = settings.firmware.public_keys.len();
    let mut text = format!("{} is good.\n", config.display());
    writeln!(text, "server      {}", settings.server.url)?;
    writeln!(text, "identifier  {}", settings.identity.identifier)?;
    writeln!(text, "slot        {}", facts.slot)?;
    match keys {
        0 => writeln!(text, "keys        none: every update will be refused")?,
        keys => writeln!(text, "keys        {keys}")?,
    }
    Ok(text)
}

/// Asks the running agent; where none runs, reads the slot and the state.
pub(super) fn status(config: &Path, as_json: bool) -> anyhow::Result<String> {
    let settings = Settings::read(config)?;
    match client::ask(&settings.agent.socket, &Request::Status) {
        Ok(mut answer) => {
            let status = answer.get_mut("status").map(Value::take).unwrap_or_default();
            if as_json {
                return Ok(format!("{status}\n"));
            }
            let state = status["link"]["state"].as_str().unwrap_or_default();
            let reason = status["link"]["reason"].as_str();
            let link = reason.map_or(state.to_owned(), |reason| format!("{state}: {reason}"));
            let warning = match &status["certificate"]["ends_soon"] {
                Value::Bool(true) => "certificate ends soon, and nobody renews it\n",
                _ => "",
            };
            let at_rest = at_rest(&settings)?;
            Ok(format!(
                "agent       runs, process {}\nlink        {link}\n{at_rest}{warning}",
                status["pid"]
            ))
        }
        Err(AskError::NotRunning(_)) if as_json => Ok(format!("{}\n", json!({ "link": { "state": "stopped" } }))),
        Err(AskError::NotRunning(_)) => Ok(format!("agent       does not run\n{}", at_rest(&settings)?)),
        Err(cause) => Err(cause.into()),
    }
}

/// What the files say.
fn at_rest(settings: &Settings) -> anyhow::Result<String> {
    let facts = facts(settings)?;
    let persisted = Store::open(&settings.agent.state_dir)
        .and_then(|store| store.load())
        .context("cannot read the update state")?;
    let validated = match facts.validated {
        Some(true) => "validated",
        Some(false) => "not validated",
        None => "validation unknown",
    };
    let mut text = format!("identifier  {}\n", settings.identity.identifier);
    writeln!(
        text,
        "firmware    {} ({}), slot {}, {validated}",
        facts.version(),
        facts.uuid(),
        facts.slot
    )?;
    if let Some(renewal) = Renewal::open(settings, false)? {
        writeln!(text, "certificate until {}", date(renewal.expires()))?;
    }
    writeln!(text, "update      {}", phase(&persisted.phase))?;
    if let Some(pending) = &persisted.pending {
        writeln!(text, "to be told  {}", self::pending(pending))?;
    }
    if let Some(reverted) = &persisted.reverted {
        writeln!(text, "reverted    {}: {}", reverted.uuid, reverted.reason)?;
    }
    Ok(text)
}

/// The day of a moment in seconds since 1970.
fn date(seconds: u64) -> String {
    let moment = i64::try_from(seconds).ok().map(OffsetDateTime::from_unix_timestamp);
    moment
        .and_then(Result::ok)
        .map_or_else(|| "for ever".to_owned(), |moment| moment.date().to_string())
}

fn facts(settings: &Settings) -> anyhow::Result<Facts> {
    let env = FwEnv::read(&settings.firmware.fw_env_config)?.load()?;
    Ok(Facts::read(&env).ok_or(FwEnvError::NoActiveSlot)?)
}

fn phase(phase: &Phase) -> String {
    match phase {
        Phase::Idle => "none".to_owned(),
        Phase::Holding { uuid, reason, .. } => format!("{uuid} is put off: {reason}"),
        Phase::Applying {
            uuid, version, attempt, ..
        } => format!("{version} ({uuid}) is applied, attempt {attempt}"),
        Phase::Rebooting { uuid, version, .. } => format!("{version} ({uuid}) is written, a reboot is due"),
        Phase::Trying { uuid, version, .. } => format!("{version} ({uuid}) runs on trial"),
    }
}

fn pending(pending: &Pending) -> String {
    match pending {
        Pending::Failed { reason } => format!("failed: {reason}"),
        Pending::Ignored { reason } => format!("ignored: {reason}"),
        Pending::Rescheduled { reason } => format!("rescheduled: {reason}"),
    }
}
