mod console;
mod device;
mod extensions;

use muster_link::{Archive, ToDevice};

use super::*;

const JOIN: &str = r#"["1","1","device","phx_join",{"fwup_public_keys":"on_connect","archive_public_keys":"on_connect","device_api_version":"2.3.0"}]"#;

fn hear(session: &mut Session, text: &str) -> Vec<Effect> {
    session.handle(Input::Text(text))
}

fn welcome(session: &mut Session, welcome: Welcome) -> Vec<Effect> {
    session.handle(Input::Joined(Box::new(welcome)))
}

fn tell(session: &mut Session, push: impl Into<Push>) -> Vec<Effect> {
    session.handle(Input::Tell(Box::new(push.into())))
}

fn joined_as(api: &str) -> Session {
    let mut session = Session::default();
    let join = format!(r#"["1","1","device","phx_join",{{"device_api_version":"{api}"}}]"#);
    assert!(matches!(hear(&mut session, &join)[..], [Effect::Join(_)]));
    welcome(&mut session, Welcome::default());
    session
}

fn joined() -> Session {
    joined_as("2.3.0")
}

/// The texts that are sent; anything else among the effects fails.
fn sent(effects: &[Effect]) -> Vec<&str> {
    let text = |effect| match effect {
        &Effect::Send(Message::Text(ref text)) => text.as_str(),
        other => panic!("{other:?}"),
    };
    effects.iter().map(text).collect()
}

#[test]
fn heartbeat_is_answered_at_any_time() {
    let heartbeat = r#"[null,"4","phoenix","heartbeat",{}]"#;
    let expected = r#"[null,"4","phoenix","phx_reply",{"status":"ok","response":{}}]"#;
    assert_eq!(sent(&hear(&mut Session::default(), heartbeat)), [expected]);
    assert_eq!(sent(&hear(&mut joined(), heartbeat)), [expected]);
}

#[test]
fn ordinary_pushes_and_topics_that_are_not_joined_get_no_answer() {
    let mut session = joined();
    for text in [
        r#"["1","5","device","no_such_event",{}]"#,
        r#"["1","5","device","rebooting",{}]"#,
        r#"["1","5","device","status_update",{"status":"strange"}]"#,
        r#"["1","5","device","status_update",{}]"#,
        r#"["1","5","device","check_update_available",{}]"#,
        r#"["1","5","device","fwup_progress",{"value":"many"}]"#,
        r#"[null,"5","console","up",{"data":"x"}]"#,
        r#"[null,"5","console","phx_leave",{}]"#,
        r#"[null,"5","extensions","health:attached",{}]"#,
        r#"[null,"5","extensions","health:report",{"value":{}}]"#,
        r#"[null,"5","extensions","phx_leave",{}]"#,
        r#"[null,"5","elsewhere","event",{}]"#,
        r#"[null,"5","elsewhere","phx_leave",{}]"#,
        r#"[null,"5","phoenix","phx_leave",{}]"#,
        r#"[null,"5","device:7","firmware_validated",{}]"#,
    ] {
        assert_eq!(hear(&mut session, text), [], "{text}");
    }
}

#[test]
fn only_the_three_literal_topics_can_be_joined() {
    for topic in ["device:7", "Device", "", "phoenix", "users:1"] {
        let join = format!(r#"["4","4","{topic}","phx_join",{{}}]"#);
        let effects = hear(&mut joined(), &join);
        let reply = format!(
            r#"["4","4","{topic}","phx_reply",{{"status":"error","response":{{"reason":"unmatched topic"}}}}]"#
        );
        assert_eq!(sent(&effects), [reply]);
    }
}

#[test]
fn malformed_and_oversized_messages_close_the_link() {
    assert_eq!(hear(&mut joined(), "{}"), [Effect::Close(Closing::Malformed)]);
    assert_eq!(hear(&mut joined(), "hello"), [Effect::Close(Closing::Malformed)]);
    let large = format!(
        r#"["1","5","device","fwup_progress",{{"value":1,"x":"{}"}}]"#,
        "x".repeat(MESSAGE_MAX_BEFORE_JOIN)
    );
    let too_large = [Effect::Close(Closing::TooLarge)];
    assert_eq!(hear(&mut Session::default(), &large), too_large);
    assert_eq!(hear(&mut joined(), &large), [], "it is taken, and is no progress");
    assert_eq!(hear(&mut joined(), &"x".repeat(MESSAGE_MAX + 1)), too_large);
    let bytes = vec![0xc0; MESSAGE_MAX + 1];
    let mut packed = Session::new(Encoding::MessagePack);
    assert_eq!(packed.handle(Input::Binary(&bytes)), too_large);
    assert_eq!(
        packed.handle(Input::Binary(&bytes[..=MESSAGE_MAX_BEFORE_JOIN])),
        too_large
    );
}

#[test]
fn links_in_message_pack_speak_binary_and_nothing_else() {
    let mut session = Session::new(Encoding::MessagePack);
    assert_eq!(
        hear(&mut session, r#"[null,"4","phoenix","heartbeat",{}]"#),
        [Effect::Close(Closing::Malformed)]
    );
    let numbers = [
        0x95, 0x07, 0x07, 0xa6, b'd', b'e', b'v', b'i', b'c', b'e', 0xa8, b'p', b'h', b'x', b'_', b'j', b'o', b'i',
        b'n', 0x80,
    ];
    assert!(matches!(session.handle(Input::Binary(&numbers))[..], [Effect::Join(_)]));
    let effects = welcome(&mut session, Welcome::default());
    let [Effect::Send(Message::Binary(reply))] = &effects[..] else {
        panic!("{effects:?}")
    };
    let frame = Frame::parse_binary(reply).unwrap();
    assert_eq!(
        (frame.join_ref, frame.reference),
        (Some(Ref::from(7)), Some(Ref::from(7)))
    );
    let update = tell(&mut session, ToDevice::Reboot);
    assert!(matches!(update[..], [Effect::Send(Message::Binary(_))]));
    assert_eq!(
        session.handle(Input::Binary(&[0xc1])),
        [Effect::Close(Closing::Malformed)]
    );
}

#[test]
fn binary_messages_of_a_json_link_are_ignored() {
    assert_eq!(joined().handle(Input::Binary(&[0, 1, 2])), []);
}

#[test]
fn every_reason_has_its_close_code() {
    for (closing, code) in [
        (Closing::Malformed, 1007),
        (Closing::TooLarge, 1009),
        (Closing::Replaced, 1001),
        (Closing::Cut, 1001),
        (Closing::Idle, 1002),
        (Closing::Overloaded, 1013),
        (Closing::SlowReader, 1013),
        (Closing::Flooding, 1008),
        (Closing::Drain, 1012),
    ] {
        assert_eq!(closing.code(), code, "{}", closing.reason());
    }
}

fn archive() -> Box<Archive> {
    Box::new(Archive {
        uuid: "a".into(),
        ..Archive::default()
    })
}

proptest::proptest! {
    #[test]
    fn no_text_panics(
        text in r#"\[(null|"1"|7),(null|"2"),"(device|phoenix|console|extensions|x)","(phx_join|phx_leave|status_update|heartbeat|up|health:attached|nope:x)",(\{\}|[0-9]|\[\]|\{"health":"0.0.1"\})\]"#
    ) {
        let mut session = joined();
        hear(&mut session, r#"["1","2","extensions","phx_join",{"health":"0.0.1"}]"#);
        hear(&mut session, r#"["1","2","console","phx_join",{}]"#);
        hear(&mut session, &text);
        welcome(&mut session, Welcome::default());
        session.handle(Input::Allow(muster_link::Extension::ALL.into_iter().collect()));
        hear(&mut session, &text);
    }
}
