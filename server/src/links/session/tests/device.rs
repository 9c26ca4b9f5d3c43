use muster_link::{Script, Stage, StatusUpdate, Update};

use super::*;

fn update() -> ToDevice {
    ToDevice::Update(Box::new(Update {
        update_available: true,
        firmware_url: None,
        firmware_meta: None,
        size: None,
        checksum: None,
        partials_checksums: None,
        deployment_id: None,
    }))
}

/// Topic-less names of what is sent: the event, or `reply`.
fn events(effects: &[Effect]) -> Vec<String> {
    let event = |text: &&str| {
        let message: serde_json::Value = serde_json::from_str(text).unwrap();
        assert!(
            message[3] == "phx_reply" || message[1].is_null(),
            "a push has no ref: {text}"
        );
        message[3].as_str().unwrap().to_owned()
    };
    sent(effects).iter().map(event).collect()
}

fn everything() -> Welcome {
    Welcome {
        keys: vec!["k".into()],
        archive: Some(archive()),
        update: Some(update()),
        connecting_code: "go()".into(),
        ..Welcome::default()
    }
}

#[test]
fn reply_comes_first_and_the_rest_in_its_order() {
    let mut session = Session::default();
    hear(&mut session, JOIN);
    let effects = welcome(&mut session, everything());
    let order = [
        "phx_reply",
        "fwup_public_keys",
        "archive_public_keys",
        "archive",
        "extensions:get",
        "update",
        "scripts/run",
    ];
    assert_eq!(events(&effects), order);
    let texts = sent(&effects);
    assert_eq!(
        texts[0],
        r#"["1","1","device","phx_reply",{"status":"ok","response":{}}]"#
    );
    assert_eq!(texts[1], r#"["1",null,"device","fwup_public_keys",{"keys":["k"]}]"#);
    assert_eq!(
        texts[6],
        r#"["1",null,"device","scripts/run",{"text":"go()","ref":"connecting_code"}]"#
    );
}

#[test]
fn keys_are_sent_to_who_asks_and_only_when_there_are_some() {
    let mut session = Session::default();
    hear(&mut session, JOIN);
    let effects = welcome(&mut session, Welcome::default());
    assert_eq!(events(&effects), ["phx_reply", "extensions:get"]);
    hear(
        &mut session,
        r#"["2","2","device","phx_join",{"archive_public_keys":"on_connect","fwup_public_keys":"no"}]"#,
    );
    let keys = Welcome {
        keys: vec!["k".into()],
        ..Welcome::default()
    };
    assert_eq!(
        events(&welcome(&mut session, keys)),
        ["phx_reply", "archive_public_keys"]
    );
}

#[test]
fn devices_are_told_only_what_their_level_knows() {
    for (api, order) in [
        (None, vec!["phx_reply", "update"]),
        (Some("nonsense"), vec!["phx_reply", "update"]),
        (Some("2.0.0"), vec!["phx_reply", "archive", "update"]),
        (Some("2.1.0"), vec!["phx_reply", "archive", "update", "scripts/run"]),
        (Some("2.2.0-dev"), vec!["phx_reply", "archive", "update", "scripts/run"]),
        (
            Some("2.2.0"),
            vec!["phx_reply", "archive", "extensions:get", "update", "scripts/run"],
        ),
    ] {
        let mut session = Session::default();
        let api = api.map_or("null".to_owned(), |api| format!("\"{api}\""));
        hear(
            &mut session,
            &format!(r#"["1","1","device","phx_join",{{"device_api_version":{api}}}]"#),
        );
        assert_eq!(events(&welcome(&mut session, everything())), order, "{api}");
    }
    assert_eq!(tell(&mut joined_as("1.0.0"), ToDevice::Archive(archive())), []);
    assert_eq!(tell(&mut joined_as("2.1.0"), ToDevice::GetExtensions), []);
}

#[test]
fn script_of_a_device_that_runs_none_is_answered_at_once() {
    let script = Script {
        text: "x".into(),
        reference: "abc".into(),
        timeout: None,
    };
    let effects = tell(&mut joined_as("2.0.0"), ToDevice::RunScript(script.clone()));
    assert_eq!(effects, [Effect::Relay(Relay::NoScripts("abc".into()))]);
    assert_eq!(
        events(&tell(&mut joined(), ToDevice::RunScript(script))),
        ["scripts/run"]
    );
}

#[test]
fn nothing_is_sent_before_the_join() {
    let mut session = Session::default();
    assert_eq!(tell(&mut session, ToDevice::Reboot), []);
    assert_eq!(
        hear(&mut session, r#"["1","2","device","fwup_progress",{"value":1}]"#),
        []
    );
    hear(&mut session, JOIN);
    assert_eq!(tell(&mut session, ToDevice::Reboot), []);
    assert_eq!(
        hear(&mut session, r#"["1","2","device","fwup_progress",{"value":1}]"#),
        []
    );
}

#[test]
fn reports_are_taken_and_get_no_reply() {
    let mut session = joined();
    for (event, payload, report) in [
        ("fwup_progress", r#"{"value":7}"#, Report::Progress(None, 7)),
        (
            "update_progress",
            r#"{"stage":"updating","value":7}"#,
            Report::Progress(Some(Stage::Updating), 7),
        ),
        (
            "status_update",
            r#"{"status":"received"}"#,
            Report::Status(StatusUpdate::Received),
        ),
        ("firmware_validated", "{}", Report::Validated),
        (
            "report_network_interface",
            r#"{"interface":"wlan0"}"#,
            Report::Interface("wlan0".into()),
        ),
        (
            "connection_types",
            r#"{"values":["wifi",7]}"#,
            Report::ConnectionTypes(vec!["wifi".into()]),
        ),
    ] {
        let text = format!(r#"["1","5","device","{event}",{payload}]"#);
        assert_eq!(hear(&mut session, &text), [Effect::Report(report)], "{event}");
    }
}

#[test]
fn what_became_of_a_script_goes_to_who_waits() {
    let text = r#"["1","7","device","scripts/run",{"ref":"f3Kx1Q","output":"","return":"42"}]"#;
    let effects = hear(&mut joined(), text);
    assert!(
        matches!(&effects[..], [Effect::Relay(Relay::Script(result))] if result.reference == "f3Kx1Q" && result.value == "42")
    );
    assert_eq!(
        hear(&mut joined(), r#"["1","7","device","scripts/run",{"return":"42"}]"#),
        []
    );
}

#[test]
fn null_join_ref_is_taken_and_a_stale_one_dropped() {
    let mut session = joined();
    let progress = Effect::Report(Report::Progress(None, 7));
    assert_eq!(
        hear(&mut session, r#"[null,"5","device","fwup_progress",{"value":7}]"#),
        [progress]
    );
    assert_eq!(
        hear(&mut session, r#"["9","5","device","fwup_progress",{"value":7}]"#),
        []
    );
}

#[test]
fn second_join_replaces_the_first_without_a_close() {
    let mut session = joined();
    assert!(matches!(
        hear(&mut session, r#"["8","8","device","phx_join",{}]"#)[..],
        [Effect::Join(_)]
    ));
    let effects = welcome(&mut session, Welcome::default());
    assert_eq!(
        sent(&effects),
        [r#"["8","8","device","phx_reply",{"status":"ok","response":{}}]"#]
    );
    assert_eq!(
        hear(&mut session, r#"["1","9","device","firmware_validated",{}]"#),
        [],
        "it is of the first"
    );
}

#[test]
fn late_answer_to_a_join_that_was_replaced_or_left_changes_nothing() {
    let mut session = Session::default();
    hear(&mut session, r#"["1","1","device","phx_join",{}]"#);
    hear(&mut session, r#"["2","2","device","phx_join",{}]"#);
    let effects = welcome(&mut session, Welcome::default());
    assert_eq!(
        sent(&effects),
        [r#"["2","2","device","phx_reply",{"status":"ok","response":{}}]"#]
    );
    assert_eq!(welcome(&mut session, everything()), []);
    assert_eq!(session.handle(Input::NotJoined), []);
    assert!(session.is_joined());
    hear(&mut session, r#"["3","3","device","phx_join",{}]"#);
    hear(&mut session, r#"["3","4","device","phx_leave",{}]"#);
    assert_eq!(welcome(&mut session, everything()), []);
}

#[test]
fn leaving_is_answered_and_the_topic_can_be_joined_again() {
    let mut session = joined();
    let effects = hear(&mut session, r#"["1","9","device","phx_leave",{}]"#);
    assert_eq!(
        sent(&effects),
        [r#"["1","9","device","phx_reply",{"status":"ok","response":{}}]"#]
    );
    assert_eq!(tell(&mut session, ToDevice::Reboot), []);
    assert_eq!(hear(&mut session, r#"["1","9","device","phx_leave",{}]"#), []);
    assert!(matches!(hear(&mut session, JOIN)[..], [Effect::Join(_)]));
}

#[test]
fn join_that_could_not_be_written_is_refused_and_may_be_tried_again() {
    let mut session = Session::default();
    hear(&mut session, JOIN);
    let refusal = r#"["1","1","device","phx_reply",{"status":"error","response":{"error":"could not connect"}}]"#;
    assert_eq!(sent(&session.handle(Input::NotJoined)), [refusal]);
    assert!(matches!(hear(&mut session, JOIN)[..], [Effect::Join(_)]));
}

#[test]
fn refs_come_back_in_their_own_type() {
    let mut session = Session::default();
    hear(&mut session, r#"[1,"1","device","phx_join",{},"more"]"#);
    let effects = welcome(&mut session, Welcome::default());
    assert_eq!(
        sent(&effects),
        [r#"[1,"1","device","phx_reply",{"status":"ok","response":{}}]"#]
    );
}

#[test]
fn archive_that_comes_while_the_device_joins_is_sent_after_the_reply_instead_of_the_one_before() {
    let newer = |session: &mut Session| {
        let archive = Archive {
            uuid: "newer".into(),
            ..Archive::default()
        };
        tell(session, ToDevice::Archive(Box::new(archive)))
    };
    let mut session = Session::default();
    assert_eq!(newer(&mut session), [], "nothing is sent before the join");
    hear(&mut session, JOIN);
    assert_eq!(newer(&mut session), [], "nor before its answer");
    let effects = welcome(&mut session, everything());
    let archives: Vec<&str> = sent(&effects)
        .into_iter()
        .filter(|text| text.contains("\"archive\""))
        .collect();
    assert_eq!(archives.len(), 1, "{archives:?}");
    assert!(archives[0].contains("\"uuid\":\"newer\""), "{archives:?}");
    assert_eq!(events(&newer(&mut session)), ["archive"]);

    let mut old = Session::default();
    hear(
        &mut old,
        r#"["1","1","device","phx_join",{"device_api_version":"1.9.0"}]"#,
    );
    assert_eq!(newer(&mut old), []);
    assert_eq!(events(&welcome(&mut old, Welcome::default())), ["phx_reply"]);
    let mut refused = Session::default();
    hear(&mut refused, JOIN);
    newer(&mut refused);
    refused.handle(Input::NotJoined);
    hear(&mut refused, JOIN);
    let effects = welcome(&mut refused, Welcome::default());
    assert_eq!(
        events(&effects),
        ["phx_reply", "extensions:get"],
        "the answer knows better than an earlier join"
    );
}
