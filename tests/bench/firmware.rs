//! What firmware costs: taking a signed archive of 100 MB, and handing it out, beside nginx with the same file.

use std::path::Path;

use anyhow::Context as _;
use muster_fwup::{CreateOptions, Env, PrivateKey, create_from_str};
use muster_tests::{Api, firmware::noise};
use reqwest::header::LOCATION;
use reqwest::redirect::Policy;
use serde_json::json;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::nginx::{self, Nginx};
use super::output::{Figures, median, note};
use super::reader::Reader;
use super::server::Server;

/// Every figure of this file.
pub const NAMES: [&str; 6] = [
    // A signed archive by REST, chunked multipart over HTTP, from the first byte to the answer that it is stored. The client
    // shares the cores.
    "firmware.upload_mb_per_s",
    // The whole archive from the device listener, one connection over TLS 1.3.
    "firmware.download_mb_per_s",
    // The same against nginx, sendfile over TLS, same file, cipher and client, in turns.
    "firmware.download_nginx_ratio",
    // Its second half, by Range.
    "firmware.resume_mb_per_s",
    "firmware.resume_nginx_ratio",
    // What the server spends on a whole one, by its CPU seconds for 10^9 bytes.
    "firmware.download_cpu_s_per_gb",
];

/// Bytes of firmware; they do not compress, so the archive has as many.
const BYTES: usize = 100_000_000;
/// Uploads, each of another version; the middle one counts.
const UPLOADS: usize = 3;
/// Turns of either server, after one that warms the page cache; the middle ones count.
const TURNS: usize = 7;
const PRODUCT: &str = "/orgs/default/products/bench";

/// Measures every figure that is wanted.
pub async fn measure(figures: &Figures, folder: &Path) -> anyhow::Result<()> {
    let server = Server::start(&folder.join("data")).await?;
    let api = server.admin().await?;
    let key = PrivateKey::generate()?;
    api.post("/orgs/default/products", json!({ "name": "bench" })).await?;
    let public = json!({ "name": "bench", "key": key.public().to_string() });
    api.post("/orgs/default/keys", public).await?;
    let uploaded = uploads(figures, &api, &key).await?;
    if !figures.want_any(&NAMES[1..]) {
        return Ok(());
    }
    let path = download_path(&server, &api, &uploaded.uuid).await?;
    let beside = folder.join("nginx");
    std::fs::write(nginx::html(&beside)?.join("firmware.fw"), uploaded.archive)?;
    let nginx = Nginx::start(&beside, &server.tls())?;
    let readers = (
        Reader::new(server.addrs.devices, &server.ca())?,
        Reader::new(nginx.addr, &server.ca())?,
    );
    let turns = |from: u64| {
        let (readers, path) = (readers.clone(), path.clone());
        spawn_blocking(move || take_turns(&readers, &path, from))
    };
    let cpu = server.process.cpu_seconds()?;
    let (mb_per_s, ratio) = turns(0).await??;
    let cpu = server.process.cpu_seconds()? - cpu;
    figures.print("firmware.download_mb_per_s", mb_per_s, "MB/s", TURNS);
    figures.print("firmware.download_nginx_ratio", ratio, "1", TURNS);
    let gb = (BYTES * (TURNS + 1)) as f64 / 1e9;
    figures.print("firmware.download_cpu_s_per_gb", cpu / gb, "s", TURNS);
    let (mb_per_s, ratio) = turns(BYTES as u64 / 2).await??;
    figures.print("firmware.resume_mb_per_s", mb_per_s, "MB/s", TURNS);
    figures.print("firmware.resume_nginx_ratio", ratio, "1", TURNS);
    Ok(())
}

struct Uploaded {
    uuid: String,
    archive: Vec<u8>,
}

async fn uploads(figures: &Figures, api: &Api, key: &PrivateKey) -> anyhow::Result<Uploaded> {
    let (mut rates, mut last) = (Vec::new(), None);
    for number in 0..UPLOADS {
        note(format_args!("making and uploading an archive"));
        let archive = archive(&format!("1.0.{number}"), key)?;
        let began = Instant::now();
        let answer = api
            .upload(PRODUCT, archive.clone())
            .await?
            .data()
            .context("the upload")?;
        rates.push(archive.len() as f64 / 1e6 / began.elapsed().as_secs_f64());
        let uuid = answer["uuid"].as_str().context("uuid")?.to_owned();
        last = Some(Uploaded { uuid, archive });
    }
    figures.print("firmware.upload_mb_per_s", median(rates), "MB/s", UPLOADS);
    last.context("no upload")
}

fn archive(version: &str, key: &PrivateKey) -> anyhow::Result<Vec<u8>> {
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("rootfs.img"), noise(version, BYTES))?;
    let config = format!(
        "meta-product = \"bench\"\nmeta-version = \"{version}\"\nmeta-platform = \"rpi4\"\nmeta-architecture = \"arm\"\n\
         file-resource rootfs.img {{ host-path = \"rootfs.img\" }}\n\
         task complete {{ on-resource rootfs.img {{ raw_write(0) }} }}\n"
    );
    let options = CreateOptions {
        compression: 1,
        source_date_epoch: None,
        signing_key: Some(key),
    };
    let mut archive = Vec::new();
    create_from_str(&config, folder.path(), &Env::new(), &options, &mut archive)?;
    Ok(archive)
}

/// The signed path by which the archive is fetched.
async fn download_path(server: &Server, api: &Api, uuid: &str) -> anyhow::Result<String> {
    let client = reqwest::Client::builder().no_proxy().redirect(Policy::none()).build()?;
    let url = format!("http://{}/api{PRODUCT}/firmwares/{uuid}/download", server.addrs.web);
    let answer = client.get(url).bearer_auth(api.token()).send().await?;
    let location = answer
        .headers()
        .get(LOCATION)
        .context("no way to the archive")?
        .to_str()?;
    let start = location.find("/firmware/").context("no way to the archive")?;
    Ok(location[start..].to_owned())
}

/// Reads from ours and from nginx in turns: our rate, and the middle one of the turns' ratios, which share what else the
/// machine does.
fn take_turns((ours, nginx): &(Reader, Reader), path: &str, from: u64) -> anyhow::Result<(f64, f64)> {
    let (mut rates, mut ratios) = (Vec::new(), Vec::new());
    for turn in 0..=TURNS {
        let (our, other) = (ours.read(path, from)?, nginx.read("/firmware.fw", from)?);
        anyhow::ensure!(our.bytes == other.bytes, "the bodies differ in length");
        if turn > 0 {
            rates.push(our.mb_per_s());
            ratios.push(our.mb_per_s() / other.mb_per_s());
        }
    }
    Ok((median(rates), median(ratios)))
}
