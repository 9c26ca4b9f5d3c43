//! From the configuration to a running agent: nothing else holds the state, the device boots, the state is resolved.

use std::fs::{File, OpenOptions, TryLockError};
use std::sync::Arc;

use anyhow::{Context, bail};

use super::Sinks;
use super::agent::{Agent, Parts};
use crate::archives::Archives;
use crate::config::Settings;
use crate::control::Control;
use crate::hooks::Custom;
use crate::identity::Identity;
use crate::notify::Notify;
use crate::platform::{self, Facts, Platform};
use crate::renewal::Renewal;
use crate::scripts::Scripts;
use crate::update::machine::{Machine, Running};
use crate::update::resolve::{Booted, Outcome, resolve};
use crate::update::state::{Persisted, Store};

const LOCK_FILE: &str = "agent.lock";

/// Starts; none where the first thing to do was a reboot that is under way.
pub(super) async fn start(settings: Settings, custom: Custom, sinks: Sinks) -> anyhow::Result<Option<Agent>> {
    // Certificates first: a mistake in them must not cost new firmware its only boot.
    let identity = Arc::new(Identity::new(&settings, custom.signer.clone())?);
    let renewal = renewal(&settings, &custom, &identity);
    let directory = &settings.agent.state_dir;
    let store = Store::open(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let lock = lock(&settings)?;
    let platform = platform::start(&settings)?;
    if platform.conduct().crashes {
        tracing::warn!("firmware crashes");
        platform.reboot().await?;
        return Ok(None);
    }
    let facts = platform.facts()?;
    let (persisted, outcome) = settle(&store, platform.as_ref(), &facts)?;
    announce(&settings, &facts, outcome, &persisted);
    if outcome == Outcome::RebootDue {
        platform.reboot().await?;
        return Ok(None);
    }
    let socket = &settings.agent.socket;
    let control = Control::open(socket, sinks.asked.clone())
        .inspect_err(|cause| tracing::warn!(error = %cause, socket = %socket.display(), "no control socket"))
        .ok();
    let running = Running {
        uuid: facts.uuid().to_owned(),
        slot: facts.slot.clone(),
        boot_id: platform.boot_id().to_owned(),
        unvalidated: facts.unvalidated(),
        has_keys: !settings.firmware.public_keys.is_empty(),
    };
    Ok(Some(Agent::new(Parts {
        machine: Machine::new(persisted, running),
        platform,
        custom,
        store,
        identity,
        archives: Archives::open(&settings),
        scripts: Scripts::new(settings.scripts.clone(), &settings.agent.state_dir),
        renewal,
        control,
        notify: Notify::from_env(),
        facts,
        settings,
        sinks,
        _lock: lock,
    })))
}

/// Has the newest certificate shown. What cannot be renewed or shown does no harm: the configured one is there.
fn renewal(settings: &Settings, custom: &Custom, identity: &Identity) -> Option<Renewal> {
    let renewal = Renewal::open(settings, custom.signer.is_some())
        .inspect_err(|cause| tracing::error!(error = %cause, "certificate cannot be renewed"))
        .ok()
        .flatten();
    if let Some(shown) = renewal.as_ref().and_then(Renewal::shown)
        && let Err(cause) = identity.show(&shown.cert, &shown.key)
    {
        tracing::error!(error = %cause, "renewed certificate not shown");
    }
    renewal
}

/// Two agents on one disk would undo each other's work.
fn lock(settings: &Settings) -> anyhow::Result<File> {
    let path = settings.agent.state_dir.join(LOCK_FILE);
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .with_context(|| format!("cannot open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => bail!(
            "another muster-agent runs with the state directory {}",
            settings.agent.state_dir.display()
        ),
        Err(TryLockError::Error(cause)) => Err(cause).with_context(|| format!("cannot lock {}", path.display())),
    }
}

fn settle(store: &Store, platform: &dyn Platform, facts: &Facts) -> anyhow::Result<(Persisted, Outcome)> {
    let before = store.load().context("cannot read the update state")?;
    let booted = Booted {
        uuid: facts.uuid().to_owned(),
        validated: !facts.unvalidated(),
        boot_id: platform.boot_id().to_owned(),
        revert: platform.revert().cloned(),
    };
    let (after, outcome) = resolve(before.clone(), &booted);
    if after != before {
        store.save(&after).context("cannot write the update state")?;
    }
    Ok((after, outcome))
}

fn announce(settings: &Settings, facts: &Facts, outcome: Outcome, persisted: &Persisted) {
    tracing::info!(
        agent.version = env!("CARGO_PKG_VERSION"),
        device.identifier = settings.identity.identifier,
        firmware.slot = facts.slot,
        firmware.uuid = facts.uuid(),
        firmware.version = facts.version(),
        firmware.validated = facts.validated,
        "agent started"
    );
    tracing::info!(
        update.outcome = ?outcome,
        update.phase = persisted.phase.name(),
        update.uuid = persisted.phase.uuid(),
        update.pending = persisted.pending.is_some(),
        "update state resolved"
    );
    if settings.firmware.public_keys.is_empty() {
        tracing::warn!("no public keys configured, every update will be refused");
    }
}
