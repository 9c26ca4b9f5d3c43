//! A server with a product, a trusted key and a CA for devices: what nearly every test begins with.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use muster_fwup::PrivateKey;
use muster_link::credential::{self, Signed};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::board::{Proof, Wiring};
use crate::certificates::Issued;
use crate::nodes::{Installation, Nats};
use crate::{Api, Authority, Board, Kiosk, Power, Server, eventually};

/// The product of every world.
pub const PRODUCT: &str = "kiosk";

/// Everything of one test. Dropping it ends the server and removes the folder.
#[derive(Debug)]
pub struct World {
    /// The server.
    pub server: Server,
    /// Its API, signed in as the first admin.
    pub api: Api,
    /// The path of the product below `/api`.
    pub product: String,
    /// The key that the org trusts.
    pub key: PrivateKey,
    /// A CA that the org does not know.
    pub authority: Authority,
    folder: TempDir,
}

/// A shared secret.
#[derive(Debug, Clone)]
pub struct Secret {
    /// Its path below `/api`.
    pub path: String,
    /// What it is named by.
    pub key: String,
    /// Its text.
    pub secret: String,
}

impl Secret {
    /// Headers of a device that signs now.
    ///
    /// # Errors
    /// Never with the usual algorithm.
    pub fn sign(&self, identifier: &str) -> anyhow::Result<Signed> {
        self.sign_at(identifier, std::time::UNIX_EPOCH.elapsed()?.as_secs())
    }

    /// Headers of a device whose clock says this, in seconds since 1970.
    ///
    /// # Errors
    /// Never with the usual algorithm.
    pub fn sign_at(&self, identifier: &str, time: u64) -> anyhow::Result<Signed> {
        Ok(Signed::new(credential::ALG, &self.key, &self.secret, identifier, time)?)
    }
}

impl World {
    /// Starts a server with further arguments.
    ///
    /// # Errors
    /// When it does not get ready.
    pub async fn new(arguments: &[&str]) -> anyhow::Result<Self> {
        // Several tests of one process may come here; one provider serves all.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let folder = tempfile::Builder::new().prefix("muster-test-").tempdir()?;
        passable(folder.path())?;
        let server = Server::start(&folder.path().join("server"), arguments).await?;
        let api = server.admin().await?;
        Self::of(server, api, folder).await
    }

    /// Two nodes of one installation: devices of this world connect to the second, its API is the first's, which is given
    /// beside it.
    ///
    /// # Errors
    /// When a node does not get ready.
    pub async fn on_two_nodes(nats: Option<&Nats>) -> anyhow::Result<(Self, Server)> {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let folder = tempfile::Builder::new().prefix("muster-test-").tempdir()?;
        let installation = Installation::new(folder.path(), nats).await?;
        let (first, second) = (installation.node("first").await?, installation.node("second").await?);
        let api = installation.admin(&first).await?;
        Ok((Self::of(second, api, folder).await?, first))
    }

    async fn of(server: Server, api: Api, folder: TempDir) -> anyhow::Result<Self> {
        let key = PrivateKey::generate()?;
        api.post("/orgs/default/products", json!({ "name": PRODUCT })).await?;
        let trusted = json!({ "name": "release", "key": key.public().to_string() });
        api.post("/orgs/default/keys", trusted).await?;
        let product = format!("/orgs/default/products/{PRODUCT}");
        Ok(Self {
            server,
            api,
            product,
            key,
            authority: Authority::new("devices of a test")?,
            folder,
        })
    }

    /// Where boards lie.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Builds firmware and uploads it; gives the archive and its UUID.
    ///
    /// # Errors
    /// When the server refuses it.
    pub async fn firmware(&self, kiosk: &Kiosk<'_>) -> anyhow::Result<(Vec<u8>, String)> {
        let archive = kiosk.build(&self.key)?;
        let uploaded = self.api.upload(&self.product, archive.clone()).await?.data()?;
        Ok((archive, uploaded["uuid"].as_str().context("no uuid")?.to_owned()))
    }

    /// Builds an archive for devices to get beside their firmware, and uploads it; gives its bytes and its UUID.
    ///
    /// # Errors
    /// When the server refuses it.
    pub async fn archive(&self, version: &str) -> anyhow::Result<(Vec<u8>, String)> {
        let archive = Kiosk::new(PRODUCT, version).build(&self.key)?;
        let path = format!("{}/archives", self.product);
        let uploaded = self.api.send(&path, "archive", archive.clone()).await?.data()?;
        Ok((archive, uploaded["uuid"].as_str().context("no uuid")?.to_owned()))
    }

    /// Registers a device by hand, and gives its certificate.
    ///
    /// # Errors
    /// When the server refuses it.
    pub async fn device(&self, identifier: &str) -> anyhow::Result<Issued> {
        use base64::Engine as _;
        let cert = self.authority.device(identifier)?;
        let devices = format!("{}/devices", self.product);
        self.api.post(&devices, json!({ "identifier": identifier })).await?;
        let pem = base64::engine::general_purpose::STANDARD.encode(&cert.cert);
        self.api
            .post(&format!("{devices}/{identifier}/certificates"), json!({ "cert": pem }))
            .await?;
        Ok(cert)
    }

    /// Makes a shared secret of the product, or of one device.
    ///
    /// # Errors
    /// When the server refuses it.
    pub async fn secret(&self, device: Option<&str>) -> anyhow::Result<Secret> {
        let of = device.map_or_else(String::new, |device| format!("/devices/{device}"));
        let path = format!("{}{of}/shared_secrets", self.product);
        let made = self.api.post(&path, json!({})).await?;
        let text = |field: &str| {
            made[field]
                .as_str()
                .map(str::to_owned)
                .context("a secret lacks a field")
        };
        Ok(Secret {
            path: format!("{path}/{}", text("id")?),
            key: text("key")?,
            secret: text("secret")?,
        })
    }

    /// Makes a board that runs `archive`, and registers it.
    ///
    /// # Errors
    /// When the server refuses it.
    pub async fn board(&self, identifier: &str, archive: &[u8], agent: &str) -> anyhow::Result<Board> {
        let board = self.unregistered_board(identifier, archive, agent)?;
        board.register(&self.api, &self.product, &[]).await?;
        Ok(board)
    }

    /// Makes a board that runs `archive` and that the server does not know.
    ///
    /// # Errors
    /// When the archive does not apply.
    pub fn unregistered_board(&self, identifier: &str, archive: &[u8], agent: &str) -> anyhow::Result<Board> {
        self.make(identifier, archive, None, agent)
    }

    /// Makes a board whose updates a shell script decides on, and registers it.
    ///
    /// # Errors
    /// When the server refuses it.
    pub async fn board_with_policy(&self, identifier: &str, archive: &[u8], policy: &str) -> anyhow::Result<Board> {
        let board = self.make(identifier, archive, Some(policy), "")?;
        board.register(&self.api, &self.product, &[]).await?;
        Ok(board)
    }

    fn make(&self, identifier: &str, archive: &[u8], policy: Option<&str>, agent: &str) -> anyhow::Result<Board> {
        self.wire(
            identifier,
            archive,
            &self.authority.device(identifier)?,
            policy,
            "",
            agent,
        )
    }

    /// Makes a board that proves itself so, with further lines of the table `[identity]`. The server need not know it.
    ///
    /// # Errors
    /// When the archive does not apply.
    pub fn board_by<'a>(
        &self,
        identifier: &str,
        archive: &[u8],
        proof: impl Into<Proof<'a>>,
        identity: &str,
    ) -> anyhow::Result<Board> {
        self.wire(identifier, archive, proof, None, identity, "")
    }

    fn wire<'a>(
        &self,
        identifier: &str,
        archive: &[u8],
        proof: impl Into<Proof<'a>>,
        policy: Option<&str>,
        identity: &str,
        agent: &str,
    ) -> anyhow::Result<Board> {
        let (ca, public): (PathBuf, _) = (self.server.ca(), self.key.public());
        let wiring = Wiring {
            server: self.server.devices,
            server_ca: &ca,
            key: &public,
            policy,
            identity,
            agent,
        };
        Board::make(self.folder(), identifier, archive, proof, &wiring)
    }

    /// Makes `count` boards that run `archive`, switches them on and waits until they are connected.
    ///
    /// # Errors
    /// When one does not connect.
    pub async fn boards(&self, count: usize, archive: &[u8], version: &str) -> anyhow::Result<Vec<(Board, Power)>> {
        let mut boards = Vec::new();
        for number in 1..=count {
            let board = self.board(&format!("kiosk-{number:04}"), archive, "").await?;
            let power = board.power_on()?;
            boards.push((board, power));
        }
        for (board, _) in &boards {
            board
                .until_runs(&self.api, &self.product, version, Duration::from_secs(30))
                .await?;
        }
        Ok(boards)
    }

    /// Rolls firmware out to the whole product.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn deploy(&self, name: &str, firmware: &str, at_once: u32) -> anyhow::Result<()> {
        let conditions = json!({ "version": "", "tags": [], "tag_operator": "and" });
        let group = json!({ "name": name, "firmware": firmware, "conditions": conditions });
        self.api.post(&format!("{}/deployments", self.product), group).await?;
        let path = format!("{}/deployments/{name}", self.product);
        self.api
            .put(&path, json!({ "deployment": { "concurrent_updates": at_once } }))
            .await?;
        self.api.put(&path, json!({ "deployment": { "state": "on" } })).await?;
        Ok(())
    }

    /// Kills the server as a power cut would, and starts it again on the same addresses.
    ///
    /// # Errors
    /// When it does not get ready again.
    pub async fn kill_and_restart_server(self) -> anyhow::Result<Self> {
        let server = self.server.kill_and_restart().await?;
        Ok(Self { server, ..self })
    }

    /// Waits until a board runs this version, lifting whatever penalty its failures bring.
    ///
    /// # Errors
    /// When it does not in time.
    pub async fn until_runs_after_all(&self, board: &Board, version: &str, deadline: Duration) -> anyhow::Result<()> {
        let penalty = format!("{}/devices/{}/penalty", self.product, board.identifier);
        let what = format!("{} to run {version} after all", board.identifier);
        let waited = eventually(&what, deadline, || async {
            let seen = board.seen(&self.api, &self.product).await?;
            if !seen["updates_blocked_until"].is_null() {
                self.api.call(reqwest::Method::DELETE, &penalty, None).await?;
            }
            // The server may still see the link of before the cut; the disk is right.
            let is_kept =
                board.version_on_disk()? == version && board.environment()?.get("nerves_fw_validated") == Some("1");
            let is_seen = seen["version"] == version && seen["connection_status"] == "connected";
            Ok((is_kept && is_seen).then_some(()))
        })
        .await;
        waited.with_context(|| board.log_tail())
    }

    /// The updates of a board, newest first.
    ///
    /// # Errors
    /// When the server does not know the board.
    pub async fn updates(&self, board: &Board) -> anyhow::Result<Vec<Value>> {
        let history = self
            .api
            .get(&format!("{}/devices/{}/updates", self.product, board.identifier))
            .await?;
        history.as_array().cloned().context("no list")
    }

    /// Waits until the newest update of a board has ended, and gives its status and reason.
    ///
    /// # Errors
    /// When it does not in time.
    pub async fn until_ended(&self, board: &Board, deadline: Duration) -> anyhow::Result<(String, String)> {
        let what = format!("an update of {} to end", board.identifier);
        let waited = eventually(&what, deadline, || async {
            let updates = self.updates(board).await?;
            let Some(newest) = updates.first().filter(|update| !update["ended_at"].is_null()) else {
                return Ok(None);
            };
            let text = |key: &str| newest[key].as_str().unwrap_or_default().to_owned();
            Ok(Some((text("status"), text("reason"))))
        })
        .await;
        waited.with_context(|| board.log_tail())
    }
}

/// The user that Postgres runs as when we are root must be able to pass through.
///
/// # Errors
/// When the folder is not ours.
pub fn passable(folder: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    Ok(std::fs::set_permissions(
        folder,
        std::fs::Permissions::from_mode(0o755),
    )?)
}
