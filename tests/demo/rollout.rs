//! The story of the demo.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use muster_fwup::PrivateKey;
use muster_tests::board::Wiring;
use muster_tests::proxy::{Proxy, free_port};
use muster_tests::world::passable;
use muster_tests::{Api, Authority, Board, Kiosk, Power, Server};
use serde_json::{Value, json};

use crate::output::line;

/// How many boards.
const BOARDS: usize = 8;
/// Updates in flight at once.
const AT_ONCE: usize = 3;
/// The product.
const PRODUCT: &str = "kiosk";
/// Bytes of a root file system: enough that a download has a middle.
const ROOT_BYTES: usize = 3_000_000;
/// Where the one download is cut, in bytes.
const CUT_AT: u64 = 1_200_000;
/// The board that asks once for a later time.
const LATER: usize = 2;
/// What it says.
const LATER_POLICY: &str = r#"if [ "$MUSTER_UPDATE_RESCHEDULES" = 0 ]; then echo "reschedule 5s a visitor is using the kiosk"; else echo apply; fi"#;
/// How long the whole may take.
const PATIENCE: Duration = Duration::from_mins(2);
/// A line of progress is printed at least this often.
const TELL: Duration = Duration::from_secs(3);
/// The addresses of the demo that stays.
const WEB: &str = "127.0.0.1:4000";
const DEVICES: &str = "127.0.0.1:4001";

/// Everything that runs; dropping it ends it.
struct Stage {
    server: Server,
    api: Api,
    product: String,
    boards: Vec<(Board, Power)>,
    wire: Proxy,
}

/// Shows the rollout and ends, with a table.
pub async fn once() -> anyhow::Result<()> {
    let folder = tempfile::Builder::new().prefix("muster-demo-").tempdir()?;
    passable(folder.path())?;
    let begun = Instant::now();
    let stage = set(folder.path(), &["--web", "127.0.0.1:0", "--devices", "127.0.0.1:0"]).await?;
    let ends = roll_out(&stage).await?;
    table(&stage, &ends).await?;
    let failed = ends.values().filter(|end| end.as_str() != "1.1.0").count();
    for (_, power) in stage.boards {
        power.stop()?;
    }
    stage.server.stop()?;
    line(format!("The demo took {:.1} s.", begun.elapsed().as_secs_f64()));
    line(format!(
        "{} devices updated 1.0.0 -> 1.1.0, {failed} failed",
        BOARDS - failed
    ));
    if failed > 0 {
        bail!("{failed} devices did not end on 1.1.0");
    }
    Ok(())
}

/// Shows the rollout and stays up until it is ended.
pub async fn stay(folder: Option<PathBuf>) -> anyhow::Result<()> {
    let folder = &match folder {
        Some(folder) => folder,
        None => usual_folder()?,
    };
    if folder.exists() {
        let ours = folder.join("demo").exists() || folder.read_dir()?.next().is_none();
        anyhow::ensure!(
            ours,
            "{} is not empty and not of a demo: give another --data-dir",
            folder.display()
        );
        std::fs::remove_dir_all(folder).with_context(|| format!("the folder {} of the last demo", folder.display()))?;
    }
    std::fs::create_dir_all(folder)?;
    let folder = std::path::absolute(folder)?;
    std::fs::write(
        folder.join("demo"),
        "made by `make demo`, which removes this folder when it starts\n",
    )?;
    passable(&folder)?;
    let stage = set(&folder, &["--web", WEB, "--devices", DEVICES]).await?;
    let (email, password) = stage.server.sign_in()?;
    line("");
    line(format!(
        "  dashboard   {}/org/default/{PRODUCT}/devices",
        stage.server.url.replace("127.0.0.1", "localhost")
    ));
    line(format!("  sign in as  {email}"));
    line(format!("  password    {password}"));
    line("");
    let ends = roll_out(&stage).await?;
    table(&stage, &ends).await?;
    line("It stays up until Ctrl-C.");
    std::future::pending::<()>().await;
    Ok(())
}

/// `demo-data` here, unless the user that Postgres runs as when we are root cannot pass through to here.
fn usual_folder() -> anyhow::Result<PathBuf> {
    use std::os::unix::fs::PermissionsExt as _;
    let here = std::env::current_dir()?;
    let is_open = |folder: &Path| {
        folder
            .metadata()
            .is_ok_and(|meta| meta.permissions().mode() & 0o001 != 0)
    };
    if nix::unistd::geteuid().is_root() && !here.ancestors().all(is_open) {
        line(
            "Postgres does not run as root, and its user cannot pass through to here: the data lies in /var/tmp/muster-demo.",
        );
        return Ok(PathBuf::from("/var/tmp/muster-demo"));
    }
    Ok(here.join("demo-data"))
}

async fn set(folder: &Path, addresses: &[&str]) -> anyhow::Result<Stage> {
    line("Starting a server with a Postgres of its own …");
    // Downloads go by a wire that can be cut; it must stand before the server knows its own port.
    let port = free_port()?;
    let devices = if addresses.contains(&DEVICES) {
        DEVICES.to_owned()
    } else {
        format!("127.0.0.1:{port}")
    };
    let wire = Proxy::to(devices.parse()?).await?;
    let firmware_url = format!("https://{}", wire.addr());
    let mut arguments: Vec<&str> = addresses
        .iter()
        .map(|one| if *one == "127.0.0.1:0" { *one } else { one })
        .collect();
    if let Some(at) = arguments.iter().position(|one| *one == "--devices") {
        arguments[at + 1] = &devices;
    }
    arguments.extend(["--firmware-url", &firmware_url]);
    let server = Server::start(&folder.join("server"), &arguments).await?;
    let api = server.admin().await?;

    line("Making a product, a signing key and firmware 1.0.0 and 1.1.0 …");
    let key = PrivateKey::generate()?;
    let org = "/orgs/default";
    api.post(&format!("{org}/products"), json!({ "name": PRODUCT })).await?;
    api.post(
        &format!("{org}/keys"),
        json!({ "name": "release", "key": key.public().to_string() }),
    )
    .await?;
    let product = format!("{org}/products/{PRODUCT}");
    let firmware = |version| {
        Kiosk {
            root_bytes: ROOT_BYTES,
            ..Kiosk::new(PRODUCT, version)
        }
        .build(&key)
    };
    let (old, new) = (firmware("1.0.0")?, firmware("1.1.0")?);
    // For a device made by hand, as the README shows.
    std::fs::write(folder.join("kiosk-1.0.0.fw"), &old)?;
    std::fs::write(folder.join("release.pub"), key.public().to_string())?;
    api.upload(&product, old.clone()).await?.data()?;
    let uploaded = api.upload(&product, new).await?.data()?;
    let conditions = json!({ "version": "", "tags": [], "tag_operator": "and" });
    let deployment = json!({ "name": "everywhere", "firmware": uploaded["uuid"], "conditions": conditions });
    api.post(&format!("{product}/deployments"), deployment).await?;
    let limit = json!({ "deployment": { "concurrent_updates": AT_ONCE } });
    api.put(&format!("{product}/deployments/everywhere"), limit).await?;

    line(format!("Switching on {BOARDS} boards that run 1.0.0 …"));
    let boards = switch_on(folder, &server, &api, &product, &old, &key).await?;
    Ok(Stage {
        server,
        api,
        product,
        boards,
        wire,
    })
}

async fn switch_on(
    folder: &Path,
    server: &Server,
    api: &Api,
    product: &str,
    firmware: &[u8],
    key: &PrivateKey,
) -> anyhow::Result<Vec<(Board, Power)>> {
    let authority = Authority::new("demo devices")?;
    let (ca, public) = (server.ca(), key.public());
    let mut boards = Vec::new();
    for number in 1..=BOARDS {
        let identifier = format!("kiosk-{number:04}");
        let cert = authority.device(&identifier)?;
        let wiring = Wiring {
            server: server.devices,
            server_ca: &ca,
            key: &public,
            policy: (number == LATER).then_some(LATER_POLICY),
            identity: "",
            agent: "",
        };
        let board = Board::make(folder, &identifier, firmware, &cert, &wiring)?;
        board.register(api, product, &["lobby"]).await?;
        let power = board.power_on()?;
        boards.push((board, power));
    }
    for (board, _) in &boards {
        board.until_runs(api, product, "1.0.0", Duration::from_secs(20)).await?;
    }
    Ok(boards)
}

async fn roll_out(stage: &Stage) -> anyhow::Result<BTreeMap<String, String>> {
    line(format!(
        "Rolling 1.1.0 out, {AT_ONCE} at a time; one download will be cut, one board will ask for later …"
    ));
    stage.wire.cut(1, CUT_AT);
    let on = json!({ "deployment": { "state": "on" } });
    stage
        .api
        .put(&format!("{}/deployments/everywhere", stage.product), on)
        .await?;
    let end = Instant::now() + PATIENCE;
    let (mut told, mut last) = (Instant::now(), String::new());
    loop {
        let devices = stage.api.get(&format!("{}/devices", stage.product)).await?;
        let devices = devices.as_array().context("no list of devices")?;
        let words: Vec<String> = devices.iter().map(word).collect();
        let now = words.join(" ");
        if now != last || told.elapsed() > TELL {
            line(format!("  {now}"));
            (told, last) = (Instant::now(), now);
        }
        let is_done = |device: &Value| device["version"] == "1.1.0" && device["connection_status"] == "connected";
        if devices.len() == BOARDS && devices.iter().all(is_done) {
            return Ok(ends(devices));
        }
        if Instant::now() > end {
            line(format!("Not done after {PATIENCE:?}."));
            return Ok(ends(devices));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn ends(devices: &[Value]) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().unwrap_or("unknown").to_owned();
    devices
        .iter()
        .map(|device| (text(&device["identifier"]), text(&device["version"])))
        .collect()
}

/// A device in a few letters: its number, its version, and what it does.
fn word(device: &Value) -> String {
    let number = device["identifier"]
        .as_str()
        .unwrap_or_default()
        .trim_start_matches("kiosk-000");
    let version = device["version"].as_str().unwrap_or("?");
    let update = &device["update"];
    let doing = match (update["status"].as_str(), update["percent"].as_i64()) {
        (Some(status), Some(percent)) => format!(" {status} {percent}%"),
        (Some(status), None) => format!(" {status}"),
        (None, _) if device["connection_status"] != "connected" => " offline".to_owned(),
        (None, _) => String::new(),
    };
    format!("[{number} {version}{doing}]")
}

async fn table(stage: &Stage, ends: &BTreeMap<String, String>) -> anyhow::Result<()> {
    line("");
    line("device        runs    updates");
    for (board, _) in &stage.boards {
        let runs = ends.get(&board.identifier).map_or("unknown", String::as_str);
        let path = format!("{}/devices/{}/updates", stage.product, board.identifier);
        let history = stage.api.get(&path).await?;
        let mut steps: Vec<String> = history.as_array().into_iter().flatten().map(step).collect();
        steps.reverse();
        line(format!("{:<13} {runs:<7} {}", board.identifier, steps.join(", then ")));
    }
    line(format!("Downloads cut in the middle: {}", stage.wire.cuts_made()));
    anyhow::ensure!(stage.wire.cuts_made() == 1, "no download was cut in its middle");
    line("");
    Ok(())
}

fn step(update: &Value) -> String {
    let status = update["status"].as_str().unwrap_or("?");
    match update["reason"].as_str() {
        Some(reason) => format!("{status} ({reason})"),
        None => status.to_owned(),
    }
}
