//! Certificates that end: asked for anew, proved, or warned of.

use muster_link::{Extension, FromExtensions, Names, ToExtensions};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::World;
use crate::device::{Options, Process};
use crate::hub::Rules;

async fn world(days: u32, extensions: Vec<&'static str>) -> (World, Process) {
    let rules = Rules {
        extensions,
        ..Rules::default()
    };
    let options = Options {
        cert_days: Some(days),
        proof: Some("cert = \"device.pem\"\nkey = \"device.key\"\nrenew_before = \"240h\""),
        ..Options::default()
    };
    let mut world = World::by(rules, options).await;
    let process = world.device.start();
    world.hub.join().await;
    (world, process)
}

async fn request(world: &mut World) -> String {
    let csr = |message| match message {
        FromExtensions::RenewalRequest(csr) => Some(csr),
        _ => None,
    };
    world.hub.extension(csr).await
}

fn der(pem: &str) -> Vec<u8> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap().to_vec()
}

fn shown(world: &World) -> Vec<u8> {
    world.hub.upgrades().pop().unwrap().certificate.unwrap()
}

#[tokio::test]
async fn certificate_is_renewed_shown_at_once_and_after_a_restart() {
    let (mut world, mut process) = world(5, vec!["renewal"]).await;
    let old = shown(&world);
    let csr = request(&mut world).await;
    let new = world.certs.sign(&csr);
    world.hub.push_beside(ToExtensions::RenewalIssued(new.clone()));
    world.hub.join().await;
    process.logged("certificate renewed").await;
    assert_eq!(shown(&world), der(&new));
    assert_ne!(old, der(&new));
    process.kill().await;

    let _process = world.device.start();
    world.hub.join().await;
    assert_eq!(shown(&world), der(&new));
    let (good, text) = world.device.run(&["status"]).await;
    assert!(good && text.contains("certificate until 20"), "{text}");
}

#[tokio::test]
async fn certificate_with_time_left_is_not_asked_for() {
    let (mut world, _process) = world(364, vec!["renewal"]).await;
    let attached = |message| (message == FromExtensions::Attached(Extension::Renewal)).then_some(());
    world.hub.extension(attached).await;
    world
        .hub
        .push_beside(ToExtensions::Attach(Names::These(vec!["renewal".to_owned()])));
    // It answers again, and with nothing in between.
    let next = world.hub.extension(Some).await;
    assert_eq!(next, FromExtensions::Attached(Extension::Renewal));
}

/// A server of NervesHub's rules knows no renewal; the certificate is then people's business.
#[tokio::test]
async fn people_are_warned_of_a_certificate_that_nobody_renews() {
    let (mut world, mut process) = world(29, vec!["health"]).await;
    process.logged("certificate ends soon").await;
    world.hub.push_beside(ToExtensions::CheckHealth);
    let report = world.hub.extension(|message| match message {
        FromExtensions::Health(report) => Some(report),
        _ => None,
    });
    assert!(report.await.alarms.contains_key("Muster.CertificateEnds"));
    let (good, text) = world.device.run(&["status"]).await;
    assert!(good && text.contains("certificate ends soon"), "{text}");
}

#[tokio::test]
async fn new_certificate_that_is_refused_gives_way_to_the_old_one() {
    let (mut world, mut process) = world(5, vec!["renewal"]).await;
    let old = shown(&world);
    let csr = request(&mut world).await;
    let new = world.certs.sign(&csr);
    world.hub.refuse(401, 3);
    world.hub.push_beside(ToExtensions::RenewalIssued(new.clone()));
    process
        .logged("renewed certificate is refused, the one before is kept")
        .await;
    let upgrades = world.hub.upgrades();
    let certificates: Vec<_> = upgrades.into_iter().filter_map(|upgrade| upgrade.certificate).collect();
    let new = der(&new);
    assert_eq!(certificates, [old.clone(), new.clone(), new.clone(), new, old]);
    // And is asked for again.
    world.hub.join().await;
    request(&mut world).await;
}

#[tokio::test]
async fn certificate_for_another_key_is_refused_and_the_link_stays() {
    let (mut world, mut process) = world(5, vec!["renewal"]).await;
    request(&mut world).await;
    let (foreign, _) = world.certs.issue_for_days("kiosk-0001", 365);
    world.hub.push_beside(ToExtensions::RenewalIssued(foreign));
    let refused = process.logged("new certificate refused").await;
    assert!(refused["error"].as_str().unwrap().contains("another key"), "{refused}");
    assert_eq!(world.hub.upgrades().len(), 1);
}
