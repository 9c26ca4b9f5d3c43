//! Devices that misbehave, and connections that no device makes: they end, and the others feel nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use muster_tests::certificates::Issued;
use muster_tests::wire::{Wire, dial_over, tls};
use muster_tests::{World, eventually, hostile};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Links that behave.
const OTHERS: usize = 20;
/// Connections that no device makes, and how many of them at the same time.
const HOSTILE: usize = 10_000;
const PARALLEL: usize = 800;
/// What the server may have grown by all of them: under 1,700 bytes of each. Its allocator keeps some of what many needed at
/// the same time.
const GROWTH_MAX: u64 = 16 * 1024 * 1024;
/// A heartbeat of the others is answered within this time, while others misbehave.
const ANSWERED: Duration = Duration::from_secs(1);
/// A flood is ended after ten seconds of it, a peer that takes nothing after twenty and a look.
const ENDED: Duration = Duration::from_mins(1);

/// Devices that join and send a heartbeat each 100 ms until told to end; the slowest answer of all comes back.
async fn others(world: &World) -> anyhow::Result<(Arc<AtomicBool>, tokio::task::JoinSet<anyhow::Result<Duration>>)> {
    let ca = std::fs::read_to_string(world.server.ca())?;
    let (stop, mut all) = (Arc::new(AtomicBool::new(false)), tokio::task::JoinSet::new());
    for number in 0..OTHERS {
        let cert = world.device(&format!("calm-{number}")).await?;
        let mut wire = Wire::joined(world.server.devices, &ca, &cert).await?;
        let stop = Arc::clone(&stop);
        all.spawn(async move {
            let mut slowest = Duration::ZERO;
            while !stop.load(Ordering::Relaxed) {
                let began = Instant::now();
                wire.heartbeat().await?;
                slowest = slowest.max(began.elapsed());
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Ok(slowest)
        });
    }
    Ok((stop, all))
}

/// Every link stood, and was answered.
async fn felt_nothing(
    stop: &AtomicBool,
    others: tokio::task::JoinSet<anyhow::Result<Duration>>,
) -> anyhow::Result<Duration> {
    stop.store(true, Ordering::Relaxed);
    let mut slowest = Duration::ZERO;
    for one in others.join_all().await {
        slowest = slowest.max(one?);
    }
    Ok(slowest)
}

fn resident_bytes(pid: u32) -> anyhow::Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/statm"))?;
    let pages: u64 = text.split_whitespace().nth(1).unwrap_or_default().parse()?;
    Ok(pages * 4096)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_malformed_connections_leave_memory_and_links_as_they_were() -> anyhow::Result<()> {
    let world = World::new(&[]).await?;
    let ca = std::fs::read_to_string(world.server.ca())?;
    let bad = world.device("bad").await?;
    let (stop, others) = others(&world).await?;
    let storm = |count| hostile::storm(world.server.devices, &ca, &bad, count, PARALLEL);
    // The first ones open what stays open: pools, buffers of the logs, the allocator's own.
    storm(2 * PARALLEL).await?;
    let before = resident_bytes(world.server.id())?;
    assert_eq!(storm(HOSTILE).await?, 0, "connections that the server did not end");
    let grown = eventually("memory to be given back", Duration::from_secs(30), || async {
        let grown = resident_bytes(world.server.id())?.saturating_sub(before);
        Ok((grown < GROWTH_MAX).then_some(grown))
    })
    .await?;
    let slowest = felt_nothing(&stop, others).await?;
    println!("grown by {grown} bytes; the slowest heartbeat of the others took {slowest:?}");
    Ok(())
}

/// A link by hand whose device does not read: its receive buffer is as small as the kernel lets it be.
async fn opened(
    world: &World,
    cert: &Issued,
) -> anyhow::Result<tokio_rustls::client::TlsStream<tokio::net::TcpStream>> {
    let ca = std::fs::read_to_string(world.server.ca())?;
    let socket = tokio::net::TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(4096)?;
    let tcp = socket.connect(world.server.devices).await?;
    let config = tls(&ca, Some(cert), rustls::ALL_VERSIONS)?;
    let mut tls = dial_over(tcp, world.server.devices.ip(), config).await?;
    let upgrade = "GET /socket/websocket?vsn=2.0.0 HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\n\
                   connection: upgrade\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    tls.write_all(upgrade.as_bytes()).await?;
    let mut answer = [0; 1024];
    let read = tls.read(&mut answer).await?;
    anyhow::ensure!(answer[..read].starts_with(b"HTTP/1.1 101"), "not upgraded");
    tls.write_all(&text(r#"["1","1","device","phx_join",{"device_api_version":"2.0.0"}]"#))
        .await?;
    let read = tls.read(&mut answer).await?;
    anyhow::ensure!(
        String::from_utf8_lossy(&answer[..read]).contains("\"ok\""),
        "not joined"
    );
    Ok(tls)
}

/// A text as a frame with a mask of zeros.
fn text(text: &str) -> Vec<u8> {
    let mut frame = match text.len() {
        short @ 0..=125 => vec![0x81, 0x80 | short as u8],
        long => [&[0x81, 0xfe][..], &(long as u16).to_be_bytes()].concat(),
    };
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(text.as_bytes());
    frame
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flooding_device_and_one_that_never_reads_are_closed_and_others_feel_nothing() -> anyhow::Result<()> {
    let world = World::new(&[]).await?;
    let (flooder, deaf) = (world.device("flooder").await?, world.device("deaf").await?);
    let (mut flooder, mut deaf) = (opened(&world, &flooder).await?, opened(&world, &deaf).await?);
    let (stop, others) = others(&world).await?;
    let beats = text(r#"[null,"9","phoenix","heartbeat",{}]"#).repeat(64);
    let flood = tokio::spawn(async move {
        let mut sink = vec![0; 64 * 1024];
        let (mut reader, mut writer) = tokio::io::split(&mut flooder);
        tokio::select! {
            () = async { while writer.write_all(&beats).await.is_ok() {} } => {}
            () = async { while reader.read(&mut sink).await.is_ok_and(|read| read > 0) {} } => {}
        }
    });
    // Less than what makes a flood; the replies carry the reference, and are more than the kernel holds.
    let burst = text(&format!(r#"[null,"{}","phoenix","heartbeat",{{}}]"#, "9".repeat(600))).repeat(20_000);
    let deaf = tokio::spawn(async move {
        let _ = deaf.write_all(&burst).await;
        tokio::time::sleep(2 * ENDED).await;
        deaf
    });
    for (device, reason) in [("flooder", "flooding"), ("deaf", "slow_reader")] {
        eventually(&format!("{device} to be closed"), ENDED, || async {
            let links = world
                .api
                .get(&format!("{}/devices/{device}/links", world.product))
                .await?;
            Ok((links["ended"][0]["reason"] == reason).then_some(()))
        })
        .await?;
    }
    let slowest = felt_nothing(&stop, others).await?;
    assert!(slowest < ANSWERED, "a heartbeat of the others took {slowest:?}");
    flood.abort();
    deaf.abort();
    Ok(())
}
