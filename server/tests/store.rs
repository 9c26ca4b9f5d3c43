//! The object store keeps the same promises on a folder and on S3, which a process of its own plays here.
#![expect(clippy::unwrap_used, reason = "tests: what goes wrong here fails them")]

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use muster_server::platform::blobs::{BlobName, Blobs};
use muster_server::platform::store::StoreUrl;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use uuid::Uuid;

const ACCESS_KEY: &str = "muster";
const SECRET_KEY: &str = "correct-horse-battery";
/// Names the folder that the process serves; its presence makes this binary the S3 server.
const S3_ROOT: &str = "MUSTER_TEST_S3_ROOT";

/// Writes, reads, lists, deletes and gives up, as the rooms do.
async fn keeps_its_promises(blobs: &Blobs) {
    blobs.ping().await.unwrap();
    let name = BlobName::package("firmware", Uuid::from_u128(1), Uuid::from_u128(2));
    assert!(blobs.read(&name, 0..1).await.is_err());

    // More than one part, and not a multiple of one.
    let bytes: Bytes = (0..12_000_001_u32).map(|index| (index % 251) as u8).collect();
    let mut writer = blobs.write(&name).await.unwrap();
    for start in (0..bytes.len()).step_by(700_001) {
        let piece = bytes.slice(start..bytes.len().min(start + 700_001));
        writer.write(piece).await.unwrap();
    }
    assert!(
        blobs.list().await.unwrap().is_empty(),
        "a blob exists before it is finished"
    );
    writer.finish().await.unwrap();
    assert_eq!(blobs.list().await.unwrap(), std::slice::from_ref(&name));
    for range in [0..1, 5_242_870..5_242_890, 12_000_000..12_000_001] {
        let read = blobs.read(&name, range.clone()).await.unwrap();
        assert_eq!(read, bytes[range.start as usize..range.end as usize]);
    }

    let other = BlobName::package("firmware", Uuid::from_u128(1), Uuid::from_u128(3));
    let mut writer = blobs.write(&other).await.unwrap();
    writer.write(bytes.slice(..6_000_000)).await.unwrap();
    writer.abort().await;
    assert_eq!(
        blobs.list().await.unwrap(),
        std::slice::from_ref(&name),
        "what was given up is gone"
    );

    let mut small = blobs.write(&other).await.unwrap();
    small.write(Bytes::from_static(b"small")).await.unwrap();
    small.finish().await.unwrap();
    assert_eq!(blobs.read(&other, 0..5).await.unwrap(), "small");
    for name in [&name, &other, &other] {
        blobs.delete(name).await.unwrap();
    }
    assert!(blobs.list().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_folder_keeps_its_promises() {
    let dir = tempfile::tempdir().unwrap();
    let url: StoreUrl = format!("file://{}/made/anew", dir.path().display()).parse().unwrap();
    keeps_its_promises(&url.open().unwrap()).await;
}

#[tokio::test]
async fn a_bucket_keeps_its_promises() {
    if let Some(root) = std::env::var_os(S3_ROOT) {
        return serve_s3(Path::new(&root)).await;
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("firmware")).unwrap();
    let s3 = S3::start(dir.path()).await;
    keeps_its_promises(&s3.open("s3://firmware")).await;
    keeps_its_promises(&s3.open("s3://firmware/below/a/prefix")).await;
    assert!(s3.open("s3://nowhere").ping().await.is_err());
}

/// The process that plays S3; it ends with the value.
struct S3 {
    process: Child,
    addr: SocketAddr,
}

impl S3 {
    async fn start(root: &Path) -> Self {
        let process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_bucket_keeps_its_promises", "--nocapture"])
            .env(S3_ROOT, root)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let file = root.join(".addr");
        let deadline = Instant::now() + Duration::from_mins(1);
        let addr = loop {
            if let Some(addr) = std::fs::read_to_string(&file).ok().and_then(|text| text.parse().ok()) {
                break addr;
            }
            assert!(Instant::now() < deadline, "S3 did not start");
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        Self { process, addr }
    }

    fn open(&self, url: &str) -> Blobs {
        let mut url: StoreUrl = url.parse().unwrap();
        url.allow_http();
        let environment = [
            ("AWS_ENDPOINT_URL", format!("http://{}", self.addr)),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.to_owned()),
        ];
        let environment = environment.into_iter().map(|(key, value)| (key.to_owned(), value));
        url.open_in(environment).unwrap()
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn serve_s3(root: &Path) {
    let mut builder = S3ServiceBuilder::new(s3s_fs::FileSystem::new(root).unwrap());
    builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
    let service = builder.build();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let partial = root.join(".addr.partial");
    let mut file = std::fs::File::create(&partial).unwrap();
    write!(file, "{}", listener.local_addr().unwrap()).unwrap();
    std::fs::rename(&partial, root.join(".addr")).unwrap();
    let http = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let connection = http
            .serve_connection(TokioIo::new(stream), service.clone())
            .into_owned();
        tokio::spawn(async move {
            let _ = connection.await;
        });
    }
}
