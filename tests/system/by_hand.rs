//! The README's device by hand: its commands are run as they stand there.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use muster_tests::process::{Process, program};
use muster_tests::{Kiosk, World, eventually};

/// What marks the commands in the README.
const MARK: &str = "<!-- by hand: tests/system/by_hand.rs runs this block -->\n```sh\n";

#[tokio::test]
async fn device_made_by_hand_from_the_readme_is_updated() -> anyhow::Result<()> {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md"))?;
    let block = readme.split(MARK).nth(1).context("the README has no such block")?;
    let script = block.split("```").next().unwrap_or_default();

    let world = World::new(&[]).await?;
    let (old, _) = world.firmware(&Kiosk::new("kiosk", "1.0.0")).await?;
    let (_, new) = world.firmware(&Kiosk::new("kiosk", "1.1.0")).await?;
    world.deploy("everywhere", &new, 3).await?;
    std::fs::write(world.folder().join("kiosk-1.0.0.fw"), old)?;
    std::fs::write(world.folder().join("release.pub"), world.key.public().to_string())?;

    let (email, password) = world.server.sign_in()?;
    let programs = program("muster-fwup")?
        .parent()
        .context("its folder")?
        .display()
        .to_string();
    let made = Command::new("bash")
        .args(["-euo", "pipefail", "-c", script])
        .current_dir(world.folder())
        .env("PATH", format!("{programs}:{}", std::env::var("PATH")?))
        .env("MUSTER", &world.server.url)
        .env("DEVICES", world.server.devices.to_string())
        .env("DEMO", world.folder())
        .env("EMAIL", email)
        .env("PASSWORD", password)
        .output()?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));

    let folder = world.folder().join("by-hand");
    let mut command = Command::new(program("muster-agent")?);
    command.args(["run", "--config", "agent.toml"]).current_dir(&folder);
    let agent = Process::start(&mut command, "muster-agent", &folder.join("agent.log"))?;
    let path = format!("{}/devices/kiosk-by-hand", world.product);
    let waited = eventually("the device by hand to run 1.1.0", Duration::from_mins(1), || async {
        let seen = world.api.get(&path).await?;
        Ok((seen["version"] == "1.1.0").then_some(()))
    })
    .await;
    waited.with_context(|| agent.output())
}
