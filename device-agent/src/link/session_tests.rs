use muster_link::{ConsoleJoin, ExtensionSet, Join, Offers};

use super::*;

const BEAT: Duration = Duration::from_secs(30);

fn open() -> (Session, Instant) {
    let now = Instant::now();
    let (session, first) = Session::open(Encoding::Json, BEAT, now);
    assert_eq!(
        first,
        [Effect::NeedJoin(Topic::Device), Effect::NeedJoin(Topic::Console)]
    );
    (session, now)
}

fn join() -> Say {
    FromDevice::Join(Box::default()).into()
}

fn say(session: &mut Session, text: &str, now: Instant) -> Option<Effect> {
    session.receive(&Message::Text(text.to_owned()), now)
}

fn joined() -> (Session, Instant) {
    let (mut session, now) = open();
    session.send(&join(), now);
    let reply = r#"["1","1","device","phx_reply",{"status":"ok","response":{}}]"#;
    assert_eq!(say(&mut session, reply, now), Some(Effect::Joined(Topic::Device)));
    (session, now)
}

fn written(effect: Option<Effect>) -> String {
    match effect {
        Some(Effect::Write(Message::Text(text))) => text,
        other => panic!("{other:?}"),
    }
}

#[test]
fn refs_count_up_and_the_join_ref_is_kept() {
    let (mut session, now) = joined();
    let text = written(session.send(&FromDevice::FirmwareValidated.into(), now));
    assert_eq!(text, r#"["1","2","device","firmware_validated",{}]"#);
    let text = written(session.send(&join(), now));
    assert!(text.starts_with(r#"["3","3","device","phx_join","#), "{text}");
}

#[test]
fn nothing_is_said_before_the_join_is_answered() {
    let (mut session, now) = open();
    assert_eq!(session.send(&FromDevice::Rebooting.into(), now), None);
    session.send(&join(), now);
    assert_eq!(session.send(&FromDevice::Rebooting.into(), now), None);
}

#[test]
fn heartbeat_is_sent_and_its_silence_kills_the_link() {
    let (mut session, start) = joined();
    assert_eq!(session.due(), start + BEAT);
    let text = written(session.tick(start + BEAT).pop());
    assert_eq!(text, r#"[null,"2","phoenix","heartbeat",{}]"#);
    let answer = r#"[null,"2","phoenix","phx_reply",{"status":"ok","response":{}}]"#;
    assert_eq!(say(&mut session, answer, start + BEAT), None);
    assert_eq!(session.tick(start + BEAT * 2).len(), 1);
    let dead = [Effect::Dead("a heartbeat was not answered")];
    assert_eq!(session.tick(start + BEAT * 3), dead);
}

#[test]
fn refused_join_and_lost_channel_are_joined_again() {
    for text in [
        r#"["1","1","device","phx_error",{"reason":"channel_crash"}]"#,
        r#"["1","1","device","phx_close",{}]"#,
        r#"[null,null,"device","phx_close",{}]"#,
    ] {
        let (mut session, now) = joined();
        assert!(
            matches!(say(&mut session, text, now), Some(Effect::Refused(..))),
            "{text}"
        );
        assert!(!session.is_joined(Topic::Device));
        assert_eq!(session.due(), now + REJOIN_AFTER);
        assert_eq!(session.tick(now + REJOIN_AFTER), [Effect::NeedJoin(Topic::Device)]);
    }
    let (mut session, now) = open();
    session.send(&join(), now);
    let refusal = r#"["1","1","device","phx_reply",{"status":"error","response":{"error":"could not connect"}}]"#;
    assert!(matches!(say(&mut session, refusal, now), Some(Effect::Refused(..))));
    assert_eq!(session.tick(now + REJOIN_AFTER), [Effect::NeedJoin(Topic::Device)]);
}

#[test]
fn join_that_is_never_answered_is_not_waited_for_in_vain() {
    let (mut session, now) = open();
    session.send(&join(), now);
    let later = now + BEAT * 2;
    let beat = written(session.tick(now + BEAT).pop());
    assert!(beat.contains("heartbeat"), "{beat}");
    let answer = r#"[null,"2","phoenix","phx_reply",{"status":"ok","response":{}}]"#;
    say(&mut session, answer, later);
    assert_eq!(session.due(), later);
    assert_eq!(session.tick(later), [Effect::Dead("the join was not answered")]);
}

#[test]
fn stale_frames_of_an_older_join_change_nothing() {
    let (mut session, now) = joined();
    session.send(&join(), now);
    let stale = r#"["1","1","device","phx_close",{}]"#;
    assert_eq!(say(&mut session, stale, now), None);
    let stale = r#"["1","1","device","phx_reply",{"status":"ok","response":{}}]"#;
    assert_eq!(say(&mut session, stale, now), None);
    assert!(!session.is_joined(Topic::Device));
}

#[test]
fn odd_texts_and_array_replies_are_taken() {
    let (mut session, now) = open();
    session.send(&join(), now);
    for text in [
        "",
        "[]",
        "{}",
        r#"[null,null,"nowhere","x",{}]"#,
        r#"["1","1","device","phx_reply",{}]"#,
        r#"[null,null,"console","phx_close",{}]"#,
    ] {
        assert_eq!(say(&mut session, text, now), None, "{text}");
    }
    let array = r#"["1","1","device","phx_reply",{"status":"ok","response":["health"]}]"#;
    assert_eq!(say(&mut session, array, now), Some(Effect::Joined(Topic::Device)));
}

#[test]
fn topics_beside_the_device_are_joined_again_less_and_less_often() {
    let (mut session, mut now) = joined();
    let console = Say::Console(FromConsole::Join(ConsoleJoin::default()));
    for (reference, seconds) in [(2, 5), (3, 10), (4, 20)] {
        session.send(&console, now);
        let refusal =
            format!(r#"["{reference}","{reference}","console","phx_reply",{{"status":"error","response":{{}}}}]"#);
        assert!(matches!(
            say(&mut session, &refusal, now),
            Some(Effect::Refused(Topic::Console, _))
        ));
        assert_eq!(session.console.rejoin_at, Some(now + Duration::from_secs(seconds)));
        now += Duration::from_secs(seconds);
        session.console.rejoin_at = None;
    }
    assert!(session.is_joined(Topic::Device));
}

#[test]
fn extensions_that_the_server_wants_are_attached_and_a_refused_one_is_detached() {
    let (mut session, now) = joined();
    let offers = Offers::of(ExtensionSet::from_iter([Extension::Health, Extension::Geo]));
    let text = written(session.send(&FromExtensions::Join(offers).into(), now));
    assert_eq!(
        text,
        r#"["2","2","extensions","phx_join",{"geo":"0.0.1","health":"0.0.1"}]"#
    );
    let reply = r#"["2","2","extensions","phx_reply",{"status":"ok","response":["health","nope"]}]"#;
    let attach = ToExtensions::Attach(Names::These(vec!["health".into(), "nope".into()]));
    assert_eq!(say(&mut session, reply, now), Some(Effect::Push(attach.into())));
    let text = written(session.send(&FromExtensions::Attached(Extension::Health).into(), now));
    assert_eq!(text, r#"["2","3","extensions","health:attached",{}]"#);
    for other in [
        r#"["2","3","extensions","phx_reply",{"status":"ok","response":{}}]"#,
        r#"["2","9","extensions","phx_reply",{"status":"error","response":"detach"}]"#,
    ] {
        assert_eq!(say(&mut session, other, now), None);
    }
    let refusal = r#"["2","3","extensions","phx_reply",{"status":"error","response":"detach"}]"#;
    let detach = ToExtensions::Detach(Names::These(vec!["health".into()]));
    assert_eq!(say(&mut session, refusal, now), Some(Effect::Push(detach.into())));
}

#[test]
fn messagepack_is_spoken_where_it_was_chosen() {
    let now = Instant::now();
    let (mut session, _) = Session::open(Encoding::MessagePack, BEAT, now);
    let Some(Effect::Write(Message::Binary(bytes))) = session.send(&join(), now) else {
        panic!();
    };
    let frame = Frame::parse_binary(&bytes).unwrap();
    assert!(matches!(FromDevice::read(&frame), FromDevice::Join(join) if *join == Join::default()));
    let one = Ref::from(1);
    let reply = Encoding::MessagePack.reply(Some(&one), Some(&one), "device", Reply::Ok, &Empty {});
    assert_eq!(
        session.receive(&reply.unwrap(), now),
        Some(Effect::Joined(Topic::Device))
    );
    let push = ToDevice::Reboot.encode(Encoding::MessagePack, None).unwrap();
    assert_eq!(session.receive(&push, now), Some(Effect::Push(ToDevice::Reboot.into())));
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,80}") {
        let (mut session, now) = open();
        let _ = say(&mut session, &text, now);
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..80)) {
        let (mut session, now) = open();
        let _ = session.receive(&Message::Binary(bytes), now);
    }
}
