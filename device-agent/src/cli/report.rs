//! What `config check` and `status` say.

use std::fmt::Write;
use std::path::Path;

use anyhow::Context;

use crate::config::Settings;
use crate::identity::Identity;
use crate::platform::{Facts, FwEnv, FwEnvError};
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

/// Reads the slot and the state.
pub(super) fn status(config: &Path) -> anyhow::Result<String> {
    let settings = Settings::read(config)?;
    let facts = facts(&settings)?;
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
    writeln!(text, "update      {}", phase(&persisted.phase))?;
    if let Some(pending) = &persisted.pending {
        writeln!(text, "to be told  {}", self::pending(pending))?;
    }
    if let Some(reverted) = &persisted.reverted {
        writeln!(text, "reverted    {}: {}", reverted.uuid, reverted.reason)?;
    }
    Ok(text)
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
