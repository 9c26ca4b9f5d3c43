use muster_link::{Fix, IdentityService, Location};
use tokio::sync::mpsc;

use super::*;
use crate::link::{Command, Say};

fn settings() -> ExtensionSettings {
    ExtensionSettings {
        health: Some(Reporter {
            disk: "/".into(),
            ..Reporter::default()
        }),
        geo: Some(GeoSettings::Fixed(Fix {
            latitude: 1.0,
            longitude: 2.0,
            ..Fix::default()
        })),
        identities: vec![Identity {
            service: IdentityService::Wireguard,
            identifier: "k".into(),
            instance: "wg0".into(),
            details: serde_json::Value::Null,
        }],
        ..ExtensionSettings::default()
    }
}

struct Bench {
    extensions: Extensions,
    heard: mpsc::Receiver<Command>,
}

impl Bench {
    fn new(settings: ExtensionSettings) -> Self {
        let (commands, heard) = mpsc::channel(16);
        Self {
            extensions: Extensions::new(settings, Voice::to(commands)),
            heard,
        }
    }

    fn told(&mut self, message: ToExtensions) -> (Vec<FromExtensions>, Option<Task>) {
        let alarms = BTreeMap::from([("A".to_owned(), "[]".to_owned())]);
        self.extensions.told(message, alarms)
    }

    async fn said(&mut self) -> FromExtensions {
        match self.heard.recv().await {
            Some(Command::Send(Say::Extensions(message))) => message,
            other => panic!("{other:?}"),
        }
    }
}

fn names(names: &[&str]) -> Names {
    Names::These(names.iter().map(ToString::to_string).collect())
}

#[tokio::test]
async fn only_what_is_switched_on_is_offered_and_attached() {
    let mut bench = Bench::new(settings());
    let Some(FromExtensions::Join(offers)) = bench.extensions.join() else {
        panic!();
    };
    assert_eq!(offers.usable().names(), ["health", "geo", "network_identity"]);
    let (answers, task) = bench.told(ToExtensions::Attach(names(&["geo", "local_shell", "logging", "x"])));
    assert_eq!((answers, task), (vec![FromExtensions::Attached(Extension::Geo)], None));
    let (again, _) = bench.told(ToExtensions::Attach(names(&["geo"])));
    assert_eq!(again, [FromExtensions::Attached(Extension::Geo)]);
    let (all, _) = bench.told(ToExtensions::Attach(Names::All));
    assert_eq!(all.len(), 3);
}

#[tokio::test]
async fn attached_extensions_answer_and_others_do_not() {
    let mut bench = Bench::new(settings());
    let nothing = (Vec::new(), None);
    for message in [
        ToExtensions::CheckHealth,
        ToExtensions::RequestLocation,
        ToExtensions::RequestIdentities,
    ] {
        assert_eq!(bench.told(message), nothing);
    }
    bench.told(ToExtensions::Attach(Names::All));
    bench.told(ToExtensions::RequestLocation);
    assert!(matches!(bench.said().await, FromExtensions::Location(Location::Found(fix)) if fix.longitude > 1.9));
    bench.told(ToExtensions::CheckHealth);
    let FromExtensions::Health(report) = bench.said().await else {
        panic!();
    };
    assert_eq!(report.alarms["A"], "[]");
    let (answers, _) = bench.told(ToExtensions::RequestIdentities);
    assert!(matches!(&answers[..], [FromExtensions::Identities(identities)] if identities.len() == 1));
    let (answers, _) = bench.told(ToExtensions::Detach(names(&["geo", "logging"])));
    assert_eq!(answers, [FromExtensions::Detached(Extension::Geo)]);
    assert_eq!(bench.told(ToExtensions::RequestLocation), nothing);
    bench.extensions.lost();
    assert_eq!(bench.told(ToExtensions::RequestIdentities), nothing);
}

#[tokio::test]
async fn renewal_is_the_agents_own_business() {
    let mut bench = Bench::new(ExtensionSettings {
        renewal: true,
        ..ExtensionSettings::default()
    });
    assert_eq!(bench.told(ToExtensions::RenewalIssued("p".into())).1, None);
    let (answers, task) = bench.told(ToExtensions::Attach(names(&["renewal"])));
    assert_eq!(answers, [FromExtensions::Attached(Extension::Renewal)]);
    assert_eq!(task, Some(Task::RenewalOffered));
    let issued = bench.told(ToExtensions::RenewalIssued("p".into())).1;
    assert_eq!(issued, Some(Task::RenewalIssued("p".into())));
    let refused = bench.told(ToExtensions::RenewalRefused("r".into())).1;
    assert_eq!(refused, Some(Task::RenewalRefused("r".into())));
}

#[tokio::test]
async fn log_flows_while_it_is_attached() {
    let mut bench = Bench::new(ExtensionSettings {
        logging: true,
        ..ExtensionSettings::default()
    });
    bench.told(ToExtensions::Attach(Names::All));
    assert!(bench.extensions.logging.is_some());
    bench.told(ToExtensions::Detach(Names::All));
    assert!(bench.extensions.logging.is_none());
}
