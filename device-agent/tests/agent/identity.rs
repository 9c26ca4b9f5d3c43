//! Kinds of credentials, and what a server's answers to an upgrade bring about.

use std::time::{Duration, Instant, SystemTime};

use muster_link::credential::Claim;
use muster_link::{FromDevice, ToDevice};

use crate::World;
use crate::device::Options;
use crate::hub::{Rules, Upgrade};

const SECRET: &str = "shared_key = \"nhp_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"\nshared_secret = \"sesame\"";

fn by_secret() -> Options {
    Options {
        proof: Some(SECRET),
        ..Options::default()
    }
}

fn claim(upgrade: &Upgrade) -> Claim {
    let header = |name: &str| upgrade.header(name).unwrap();
    Claim::read(
        header("x-nh-alg"),
        header("x-nh-key"),
        header("x-nh-time"),
        header("x-nh-signature"),
    )
    .unwrap()
}

fn unix(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

#[expect(clippy::disallowed_methods, reason = "a server says what time it is")]
fn now() -> SystemTime {
    SystemTime::now()
}

#[tokio::test]
async fn shared_secret_is_signed_for_each_dial() {
    let rules = Rules {
        no_certificate: true,
        ..Rules::default()
    };
    let mut world = World::by(rules, by_secret()).await;
    let mut process = world.device.start();
    world.hub.join().await;
    process.logged("joined").await;
    world.hub.close_with(1012, "retry after 2");
    world.hub.join().await;
    let upgrades = world.hub.upgrades();
    let times = upgrades.iter().map(|upgrade| upgrade.header("x-nh-time").unwrap());
    let times: Vec<u64> = times.map(|time| time.parse().unwrap()).collect();
    assert!(
        times.len() == 2 && times[1] >= times[0] + 2,
        "signed before the pause: {times:?}"
    );
    for upgrade in upgrades {
        assert_eq!(upgrade.uri, "/device-socket/websocket?vsn=2.0.0");
        assert!(upgrade.certificate.is_none() && upgrade.header("origin").is_none());
        let claim = claim(&upgrade);
        assert_eq!(claim.identifier(), "kiosk-0001");
        claim.verify("sesame", unix(now()) * 1000).unwrap();
    }
}

#[tokio::test]
async fn device_whose_clock_is_late_signs_by_the_date_of_the_refusal() {
    let later = now() + Duration::from_hours(24 * 400);
    let rules = Rules {
        no_certificate: true,
        refusals: vec![(401, vec![("date", httpdate::fmt_http_date(later))])],
        ..Rules::default()
    };
    let mut world = World::by(rules, by_secret()).await;
    let _process = world.device.start();
    world.hub.join().await;
    let upgrades = world.hub.upgrades();
    let times: Vec<u64> = upgrades
        .iter()
        .map(|upgrade| upgrade.header("x-nh-time").unwrap().parse().unwrap())
        .collect();
    assert!(times[0] <= unix(now()));
    assert!((unix(later)..unix(later) + 60).contains(&times[1]), "{times:?}");
}

#[tokio::test]
async fn refusal_with_retry_after_is_honoured() {
    let rules = Rules {
        refusals: vec![(503, vec![("retry-after", "2".to_owned())])],
        ..Rules::default()
    };
    let mut world = World::by(rules, Options::default()).await;
    let mut process = world.device.start();
    let refused = process.logged("link not opened").await;
    let start = Instant::now();
    assert!(refused["error"].as_str().unwrap().contains("503"), "{refused}");
    world.hub.join().await;
    assert!(start.elapsed() >= Duration::from_millis(1900));
}

#[tokio::test]
async fn redirect_is_followed_at_most_twice_and_given_up_only_for_a_while() {
    let elsewhere = |path: &str| (302, vec![("location", path.to_owned())]);
    let rules = Rules {
        refusals: vec![
            elsewhere("/one"),
            elsewhere("/two?a=b"),
            elsewhere("/three"),
            elsewhere("/four"),
        ],
        ..Rules::default()
    };
    let mut world = World::by(rules, Options::default()).await;
    let mut process = world.device.start();
    process.logged("link not opened").await;
    world.hub.join().await;
    let uris: Vec<String> = world.hub.upgrades().into_iter().map(|upgrade| upgrade.uri).collect();
    let own = "/socket/websocket?vsn=2.0.0";
    assert_eq!(
        uris,
        [own, "/one?vsn=2.0.0", "/two?a=b&vsn=2.0.0", own, "/four?vsn=2.0.0"]
    );
}

#[tokio::test]
async fn messagepack_is_spoken_and_a_server_without_it_is_asked_again() {
    let rules = Rules {
        refusals: vec![(403, Vec::new())],
        ..Rules::default()
    };
    let options = Options {
        server: "encoding = \"msgpack\"",
        ..Options::default()
    };
    let mut world = World::by(rules, options).await;
    let mut process = world.device.start();
    let refused = process.logged("link not opened").await;
    assert!(refused["error"].as_str().unwrap().contains("403"), "{refused}");
    let join = world.hub.join().await;
    assert_eq!(join.firmware.uuid.as_deref(), Some(world.old.uuid.as_str()));
    process.logged("joined").await;
    world.hub.push(&ToDevice::Reboot);
    assert_eq!(world.hub.hear().await, FromDevice::Rebooting);
    assert_eq!(world.hub.upgrades()[0].uri, "/socket/websocket?vsn=3.0.0");
}

#[tokio::test]
async fn busy_server_that_closes_the_link_is_left_alone_for_as_long_as_it_says() {
    let mut world = World::new(Options::default()).await;
    let mut process = world.device.start();
    world.hub.join().await;
    process.logged("joined").await;
    let start = Instant::now();
    world.hub.close_with(1012, "retry after 2");
    world.hub.join().await;
    assert!(start.elapsed() >= Duration::from_secs(2));
}

#[tokio::test]
async fn server_that_forgets_heartbeats_is_left() {
    let rules = Rules {
        heartless: true,
        ..Rules::default()
    };
    let options = Options {
        agent: "heartbeat = \"300ms\"",
        ..Options::default()
    };
    let mut world = World::by(rules, options).await;
    let mut process = world.device.start();
    world.hub.join().await;
    let lost = process.logged("link lost").await;
    assert_eq!(lost["reason"], "a heartbeat was not answered");
    world.hub.join().await;
}
