use muster_link::{Extension, ExtensionSet, FromExtensions, Names, ToExtensions};

use super::*;

const OFFER: &str = r#"["3","3","extensions","phx_join",{"health":"0.0.1","geo":"0.0.1","network_identity":"0.0.1","local_shell":"0.0.1","logging":"0.0.1","nope":"0.0.1"}]"#;

fn set(extensions: &[Extension]) -> ExtensionSet {
    extensions.iter().copied().collect()
}

/// A device that may use these, and has joined the topic.
fn allowed(extensions: &[Extension]) -> Session {
    let mut session = Session::default();
    hear(&mut session, JOIN);
    let extensions = set(extensions);
    welcome(
        &mut session,
        Welcome {
            extensions,
            ..Welcome::default()
        },
    );
    hear(&mut session, OFFER);
    session
}

/// As [`allowed`], and they run.
fn attached(extensions: &[Extension]) -> Session {
    let mut session = allowed(extensions);
    for extension in extensions {
        hear(
            &mut session,
            &format!(r#"["3","9","extensions","{}:attached",{{}}]"#, extension.name()),
        );
    }
    session
}

#[test]
fn join_is_answered_with_the_names_to_attach() {
    let mut session = allowed(&[Extension::Health, Extension::Renewal]);
    let reply = r#"["3","3","extensions","phx_reply",{"status":"ok","response":["health"]}]"#;
    assert_eq!(sent(&hear(&mut session, OFFER)), [reply]);
    let none = r#"["3","3","extensions","phx_reply",{"status":"ok","response":[]}]"#;
    assert_eq!(sent(&hear(&mut allowed(&[]), OFFER)), [none]);
    let old = r#"["3","3","extensions","phx_join",{"health":"0.1.0"}]"#;
    assert_eq!(sent(&hear(&mut session, old)), [none]);
}

#[test]
fn who_joins_before_the_device_is_attached_after_its_join() {
    let mut session = Session::default();
    hear(&mut session, JOIN);
    hear(&mut session, OFFER);
    let extensions = set(&[Extension::Geo]);
    let effects = welcome(
        &mut session,
        Welcome {
            extensions,
            ..Welcome::default()
        },
    );
    assert_eq!(
        sent(&effects)[1],
        r#"["3",null,"extensions","attach",{"extensions":["geo"]}]"#
    );
}

#[test]
fn what_runs_is_asked_at_once_and_only_once() {
    for (extension, asked) in [
        (Extension::Health, Some("health:check")),
        (Extension::Geo, Some("geo:location:request")),
        (Extension::LocalShell, Some("local_shell:request_shell")),
        (Extension::NetworkIdentity, Some("network_identity:request")),
        (Extension::Logging, None),
    ] {
        let mut session = allowed(&[extension]);
        let text = format!(r#"["3","9","extensions","{}:attached",{{}}]"#, extension.name());
        let expected: Vec<String> = asked
            .map(|event| format!(r#"["3",null,"extensions","{event}",{{}}]"#))
            .into_iter()
            .collect();
        assert_eq!(sent(&hear(&mut session, &text)), expected);
        assert_eq!(hear(&mut session, &text), []);
    }
}

#[test]
fn extension_that_is_not_allowed_is_refused_by_the_text_detach() {
    let mut session = allowed(&[Extension::Health]);
    for event in [
        "geo:attached",
        "geo:location:update",
        "nope:attached",
        "renewal:request",
    ] {
        let effects = hear(&mut session, &format!(r#"["3","31","extensions","{event}",{{}}]"#));
        let refusal = r#"["3","31","extensions","phx_reply",{"status":"error","response":"detach"}]"#;
        assert_eq!(sent(&effects), [refusal], "{event}");
    }
    for event in ["geo:detached", "nope:error", "no_extension"] {
        let effects = hear(&mut session, &format!(r#"["3","31","extensions","{event}",{{}}]"#));
        assert_eq!(effects, [], "{event}");
    }
    assert_eq!(hear(&mut session, r#"["3",null,"extensions","geo:attached",{}]"#), []);
}

#[test]
fn messages_of_an_extension_that_does_not_run_are_dropped() {
    let report = r#"["3","12","extensions","health:report",{"value":{"metrics":{"load_1min":1}}}]"#;
    let mut session = allowed(&[Extension::Health]);
    assert_eq!(hear(&mut session, report), []);
    hear(&mut session, r#"["3","9","extensions","health:attached",{}]"#);
    assert!(matches!(
        hear(&mut session, report)[..],
        [Effect::Report(Report::Health(_))]
    ));
    hear(&mut session, r#"["3","9","extensions","health:detached",{}]"#);
    assert_eq!(hear(&mut session, report), []);
    hear(&mut session, r#"["3","9","extensions","health:attached",{}]"#);
    hear(
        &mut session,
        r#"["3","9","extensions","health:error",{"reason":"start_failure"}]"#,
    );
    assert_eq!(hear(&mut session, report), []);
}

#[test]
fn every_report_is_taken() {
    let mut session = attached(&Extension::ALL);
    for (event, payload) in [
        ("geo:location:update", r#"{"latitude":52.1,"longitude":4.3}"#),
        (
            "network_identity:report",
            r#"{"identities":[{"service":"iroh","identifier":"x"}]}"#,
        ),
        (
            "logging:send",
            r#"{"level":"info","message":"m","meta":{"time":"1760000000123456"}}"#,
        ),
    ] {
        let effects = hear(&mut session, &format!(r#"["3","5","extensions","{event}",{payload}]"#));
        assert!(matches!(effects[..], [Effect::Report(_)]), "{event}: {effects:?}");
    }
    let output = r#"["3","5","extensions","local_shell:shell_output",{"data":"$ "}]"#;
    let said = FromExtensions::ShellOutput("$ ".into());
    assert_eq!(hear(&mut session, output), [Effect::Relay(Relay::Shell(said))]);
    for odd in [
        "logging:send",
        "health:report",
        "geo:location:update",
        "local_shell:other",
        "health:other",
    ] {
        assert_eq!(
            hear(&mut session, &format!(r#"["3","5","extensions","{odd}",{{}}]"#)),
            [],
            "{odd}"
        );
    }
}

#[test]
fn switches_take_effect_while_the_link_stands() {
    let mut session = attached(&[Extension::Geo]);
    let effects = session.handle(Input::Allow(set(&[Extension::Health, Extension::Renewal])));
    let expected = [
        r#"["3",null,"extensions","detach",{"extensions":["geo"]}]"#,
        r#"["3",null,"extensions","attach",{"extensions":["health"]}]"#,
    ];
    assert_eq!(sent(&effects), expected);
    let late = r#"["3","7","extensions","geo:location:update",{"latitude":1,"longitude":1}]"#;
    assert!(sent(&hear(&mut session, late))[0].contains(r#""response":"detach""#));
    let attached = r#"["3","8","extensions","health:attached",{}]"#;
    assert_eq!(
        sent(&hear(&mut session, attached)),
        [r#"["3",null,"extensions","health:check",{}]"#]
    );
    assert_eq!(session.handle(Input::Allow(set(&[Extension::Health]))), []);
}

#[test]
fn second_join_replaces_the_first() {
    let mut session = attached(&[Extension::Health]);
    hear(&mut session, &OFFER.replace("\"3\"", "\"7\""));
    let report = r#"["7","12","extensions","health:report",{"value":{}}]"#;
    assert_eq!(hear(&mut session, report), [], "nothing runs since the second join");
    assert_eq!(hear(&mut session, r#"["3","9","extensions","health:attached",{}]"#), []);
    let asked = hear(&mut session, r#"["7","9","extensions","health:attached",{}]"#);
    assert_eq!(sent(&asked), [r#"["7",null,"extensions","health:check",{}]"#]);
}

#[test]
fn second_join_of_the_device_leaves_what_runs() {
    let mut session = attached(&[Extension::Health]);
    hear(&mut session, &JOIN.replace("\"1\"", "\"20\""));
    let extensions = set(&[Extension::Health]);
    let effects = welcome(
        &mut session,
        Welcome {
            extensions,
            ..Welcome::default()
        },
    );
    assert_eq!(sent(&effects).len(), 2, "the reply and extensions:get");
    let report = r#"["3","12","extensions","health:report",{"value":{}}]"#;
    assert!(matches!(hear(&mut session, report)[..], [Effect::Report(_)]));
}

#[test]
fn only_what_runs_is_told_anything() {
    let mut session = attached(&[Extension::Health]);
    assert_eq!(sent(&tell(&mut session, ToExtensions::CheckHealth)).len(), 1);
    for message in [
        ToExtensions::RequestLocation,
        ToExtensions::ShellInput("ls".into()),
        ToExtensions::KillShell(None),
        ToExtensions::RequestIdentities,
        ToExtensions::RenewalIssued(String::new()),
    ] {
        assert_eq!(tell(&mut session, message), []);
    }
    assert_eq!(sent(&tell(&mut session, ToExtensions::Detach(Names::All))).len(), 1);
    hear(&mut session, r#"["3","13","extensions","phx_leave",{}]"#);
    assert_eq!(tell(&mut session, ToExtensions::CheckHealth), []);
    assert_eq!(tell(&mut joined(), ToExtensions::Attach(Names::All)), []);
}

#[test]
fn a_certificate_is_asked_for_where_renewal_runs_and_the_answer_goes_back() {
    let offer = r#"["3","3","extensions","phx_join",{"renewal":"0.0.1"}]"#;
    let request = r#"["3","5","extensions","renewal:request",{"csr":"-----BEGIN"}]"#;
    let mut session = allowed(&[Extension::Renewal]);
    let reply = r#"["3","3","extensions","phx_reply",{"status":"ok","response":["renewal"]}]"#;
    assert_eq!(sent(&hear(&mut session, offer)), [reply]);
    assert_eq!(hear(&mut session, request), [], "it does not run yet");
    assert_eq!(
        hear(&mut session, r#"["3","4","extensions","renewal:attached",{}]"#),
        []
    );
    assert_eq!(hear(&mut session, request), [Effect::Renew("-----BEGIN".to_owned())]);
    assert_eq!(
        hear(&mut session, r#"["3","6","extensions","renewal:request",{}]"#),
        [],
        "a request without a request"
    );
    let issued = tell(&mut session, ToExtensions::RenewalIssued("PEM".to_owned()));
    assert_eq!(
        sent(&issued),
        [r#"["3",null,"extensions","renewal:issued",{"certificate":"PEM"}]"#]
    );
    let mut others = allowed(&[]);
    hear(&mut others, offer);
    let refused = r#"["3","5","extensions","phx_reply",{"status":"error","response":"detach"}]"#;
    assert_eq!(sent(&hear(&mut others, request)), [refused]);
}

/// The answer to a join was read before operators switched, and comes after.
#[test]
fn what_operators_switch_while_a_join_is_under_way_counts() {
    let mut session = Session::default();
    hear(&mut session, JOIN);
    hear(&mut session, OFFER);
    let on = set(&[Extension::Geo, Extension::Health]);
    assert_eq!(session.handle(Input::Allow(on)), [], "there is silence before the join");
    let stale = Welcome {
        extensions: set(&[Extension::LocalShell]),
        ..Welcome::default()
    };
    let effects = welcome(&mut session, stale.clone());
    assert_eq!(
        sent(&effects)[1],
        r#"["3",null,"extensions","attach",{"extensions":["health","geo"]}]"#
    );
    // Two joins of one link are answered one after the other; neither answer is newer than the switch.
    hear(&mut session, &JOIN.replace("\"1\"", "\"20\""));
    hear(&mut session, &JOIN.replace("\"1\"", "\"21\""));
    for _ in 0..2 {
        let effects = welcome(&mut session, stale.clone());
        assert!(!effects.iter().any(|effect| format!("{effect:?}").contains("tach")));
    }
    assert_eq!(session.handle(Input::Allow(on)), []);
    let none = session.handle(Input::Allow(set(&[])));
    assert_eq!(
        sent(&none),
        [r#"["3",null,"extensions","detach",{"extensions":["health","geo"]}]"#]
    );
}

#[test]
fn what_was_switched_before_the_join_is_said_after_it() {
    let mut session = Session::default();
    assert_eq!(session.handle(Input::Allow(set(&[Extension::Geo]))), []);
    hear(&mut session, JOIN);
    welcome(&mut session, Welcome::default());
    let reply = r#"["3","3","extensions","phx_reply",{"status":"ok","response":["geo"]}]"#;
    assert_eq!(sent(&hear(&mut session, OFFER)), [reply]);
}
