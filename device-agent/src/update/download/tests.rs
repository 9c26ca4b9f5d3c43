use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

const FILE: &[u8] = b"0123456789abcdefghij";

/// Serves these answers, one connection each; returns the requests that came.
async fn serve(listener: TcpListener, answers: Vec<Vec<u8>>) -> Vec<String> {
    let mut requests = Vec::new();
    for answer in answers {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(stream.read_u8().await.unwrap());
        }
        stream.write_all(&answer).await.unwrap();
        stream.shutdown().await.unwrap();
        requests.push(String::from_utf8(request).unwrap());
    }
    requests
}

fn answer(head: &str, body: &[u8]) -> Vec<u8> {
    [head.as_bytes(), b"\r\n\r\n", body].concat()
}

fn whole(sent: usize) -> Vec<u8> {
    answer("HTTP/1.1 200 OK\r\ncontent-length: 20", &FILE[..sent])
}

fn rest(from: usize) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 206 Partial Content\r\ncontent-length: {}\r\ncontent-range: bytes {from}-19/20",
        20 - from
    );
    answer(&head, &FILE[from..])
}

fn status(status: &str) -> Vec<u8> {
    answer(&format!("HTTP/1.1 {status}\r\ncontent-length: 0"), b"")
}

struct Ran {
    result: Result<(), DownloadError>,
    bytes: Vec<u8>,
    events: Vec<Event>,
    requests: Vec<String>,
}

/// Downloads from a server with these answers; an expired URL is answered with `/fresh`.
async fn download(answers: Vec<Vec<u8>>) -> Ran {
    download_range(answers, 0, None).await
}

async fn download_range(answers: Vec<Vec<u8>>, from: u64, to: Option<u64>) -> Ran {
    crate::identity::install_provider();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(serve(listener, answers));
    let (events, mut seen) = mpsc::channel(64);
    let (url_sender, urls) = watch::channel(format!("{base}/file?sig=1"));
    let (sink, mut chunks) = mpsc::channel(64);
    let tls = ClientConfig::builder()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let source = Source {
        from,
        to,
        size: Some(20),
        max_bytes: 100,
        settings: DownloadSettings {
            max_disconnects: 2,
            idle_timeout: Duration::from_secs(10),
            max_timeout: Duration::from_mins(1),
            time_between_retries: Duration::from_millis(1),
            worst_case_download_speed: 30_000,
            strategy: crate::config::Strategy::Streaming,
            cache_dir: std::path::PathBuf::new(),
            parallel: 1,
        },
        tls: Arc::new(tls),
    };
    let mut running = tokio::spawn(Download::new(source, Wires { events, urls, sink }).run());
    let mut events = Vec::new();
    let result = loop {
        tokio::select! {
            result = &mut running => break result.unwrap(),
            Some(event) = seen.recv() => {
                if event == Event::UrlExpired {
                    url_sender.send_replace(format!("{base}/fresh"));
                }
                events.push(event);
            }
        }
    };
    while let Ok(event) = seen.try_recv() {
        events.push(event);
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = chunks.recv().await {
        match chunk {
            Chunk::Data { at, bytes: data } => {
                assert_eq!(at, from + bytes.len() as u64);
                bytes.extend_from_slice(&data);
            }
            Chunk::Length(length) => assert_eq!(length, 20),
            Chunk::End => {}
        }
    }
    let requests = timeout(Duration::from_secs(10), server).await.unwrap().unwrap();
    Ran {
        result,
        bytes,
        events,
        requests,
    }
}

#[tokio::test]
async fn cut_connection_is_resumed_where_it_was_cut() {
    let ran = download(vec![whole(7), rest(7)]).await;
    ran.result.unwrap();
    assert_eq!(ran.bytes, FILE);
    assert_eq!(ran.events, [Event::RequestOpened, Event::RequestOpened]);
    assert!(ran.requests[0].starts_with("GET /file?sig=1 HTTP/1.1\r\n"));
    assert!(ran.requests[0].contains("user-agent: MusterAgent/") && !ran.requests[0].contains("range:"));
    assert!(ran.requests[1].contains("range: bytes=7-\r\n") && ran.requests[1].contains("x-retry-number: 1\r\n"));
}

#[tokio::test]
async fn server_that_ignores_the_range_is_taken_too() {
    let ran = download(vec![whole(7), whole(20)]).await;
    ran.result.unwrap();
    assert_eq!(ran.bytes, FILE);
}

#[tokio::test]
async fn expired_url_is_replaced_and_the_bytes_are_kept() {
    let ran = download(vec![whole(7), status("403 Forbidden"), rest(7)]).await;
    ran.result.unwrap();
    assert_eq!(ran.bytes, FILE);
    assert!(ran.events.contains(&Event::UrlExpired));
    assert!(ran.requests[2].starts_with("GET /fresh ") && ran.requests[2].contains("range: bytes=7-\r\n"));
}

#[tokio::test]
async fn redirect_is_followed() {
    let moved = answer("HTTP/1.1 302 Found\r\nlocation: /other\r\ncontent-length: 0", b"");
    let ran = download(vec![moved, whole(20)]).await;
    ran.result.unwrap();
    assert!(ran.requests[1].starts_with("GET /other "));
}

#[tokio::test]
async fn refusal_ends_the_download_at_once() {
    for line in ["404 Not Found", "416 Range Not Satisfiable"] {
        let ran = download(vec![status(line)]).await;
        assert!(matches!(ran.result, Err(DownloadError::Status(_))), "{line}");
    }
}

#[tokio::test]
async fn patience_has_an_end() {
    let ran = download(vec![whole(7), rest(7)[..90].to_vec(), whole(0)]).await;
    assert!(matches!(ran.result, Err(DownloadError::MaxDisconnects(_))));
    let expired = || status("403 Forbidden");
    let ran = download(vec![expired(), expired(), expired()]).await;
    assert!(matches!(ran.result, Err(DownloadError::MaxDisconnects(_))));
}

#[tokio::test]
async fn server_that_is_unwell_for_a_moment_is_asked_again() {
    let ran = download(vec![status("503 Service Unavailable"), whole(7), rest(7)]).await;
    ran.result.unwrap();
    assert_eq!(ran.bytes, FILE);
    let unwell = || status("500 Internal Server Error");
    let ran = download(vec![unwell(), unwell(), unwell()]).await;
    assert!(matches!(ran.result, Err(DownloadError::MaxDisconnects(_))));
}

#[tokio::test]
async fn range_is_fetched_alone_and_beyond_it_nothing_is_taken() {
    let part = |from: usize, to: usize| {
        let head = format!(
            "HTTP/1.1 206 Partial Content\r\ncontent-length: {}\r\ncontent-range: bytes {from}-{}/20",
            to - from,
            to - 1
        );
        answer(&head, &FILE[from..to])
    };
    let ran = download_range(vec![part(5, 12)], 5, Some(12)).await;
    ran.result.unwrap();
    assert_eq!(ran.bytes, &FILE[5..12]);
    assert!(ran.requests[0].contains("range: bytes=5-11\r\n"));
    let ran = download_range(vec![whole(20)], 5, Some(12)).await;
    ran.result.unwrap();
    assert_eq!(ran.bytes, &FILE[5..12]);
}
