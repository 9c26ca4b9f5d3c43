use serde_json::json;

use super::*;

#[test]
fn every_form_of_a_number_is_the_shortest_and_reads_back() {
    for number in [
        json!(0),
        json!(127),
        json!(128),
        json!(255),
        json!(256),
        json!(65_535),
        json!(65_536),
        json!(u32::MAX),
        json!(u64::from(u32::MAX) + 1),
        json!(u64::MAX),
        json!(-1),
        json!(-32),
        json!(-33),
        json!(-128),
        json!(-129),
        json!(-32_768),
        json!(-32_769),
        json!(i32::MIN),
        json!(i64::MIN),
        json!(48.3),
    ] {
        assert_eq!(read(&write(&number, &[])), Ok(number.clone()), "{number}");
    }
    assert_eq!(write(&json!(-33), &[]), [0xd0, 0xdf]);
    assert_eq!(write(&json!(256), &[]), [0xcd, 1, 0]);
    assert_eq!(read(&[0xca, 0x3f, 0x80, 0, 0]), Ok(json!(1.0)));
    assert_eq!(read(&[0xcb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0]), Ok(Value::Null));
}

#[test]
fn every_length_reads_back() {
    for length in [0, 15, 16, 31, 32, 255, 256, 65_535, 65_536] {
        let text = json!("x".repeat(length));
        assert_eq!(read(&write(&text, &[])), Ok(text));
    }
    for length in [0, 15, 16, 65_000] {
        let array = json!(vec![7; length]);
        assert_eq!(read(&write(&array, &[])), Ok(array));
        let map: Map<String, Value> = (0..length / 4).map(|n| (format!("{n:05}"), json!(n))).collect();
        assert_eq!(read(&write(&map.clone().into(), &[])), Ok(map.into()));
    }
}

#[test]
fn raw_bytes_are_text_and_keys_may_be_numbers() {
    assert_eq!(read(&[0xc4, 2, b'o', b'k']), Ok(json!("ok")));
    assert_eq!(read(&[0xa2, 0xff, b'k']), Ok(json!("\u{fffd}k")));
    assert_eq!(read(&[0x81, 0x07, 0xc0]), Ok(json!({ "7": null })));
    assert_eq!(read(&[0x81, 0xc0, 0xc0]), Err(MessagePackError::Key));
}

#[test]
fn times_are_extensions_on_the_wire_and_texts_in_the_tree() {
    for text in [
        "2026-08-22T10:15:30.123456Z",
        "2026-08-22T10:15:30Z",
        "1960-01-01T00:00:00Z",
        "2600-01-01T00:00:00.5Z",
    ] {
        let value = json!({ "value": { "timestamp": text, "other": text } });
        let bytes = write(&value, &["/value/timestamp"]);
        assert_eq!(read(&bytes), Ok(value), "{text}");
        let plain = write(&json!(text), &[]).len();
        assert!(bytes.len() < 2 * plain + 30, "one of the two is shorter than its text");
    }
    let odd = json!({ "at": "noon" });
    assert_eq!(read(&write(&odd, &["/at", "/nothing"])), Ok(odd));
    assert_eq!(read(&[0xd6, 0xff, 0, 0, 0, 1]), Ok(json!("1970-01-01T00:00:01Z")));
    assert_eq!(read(&[0xd4, 0x01, 0x00]), Ok(Value::Null));
    assert_eq!(read(&[0xd4, 0xff, 0x00]), Ok(Value::Null));
}

#[test]
fn hostile_bytes_are_refused_before_anything_is_allocated() {
    assert_eq!(read(&[]), Err(MessagePackError::Short));
    assert_eq!(read(&[0xc1]), Err(MessagePackError::Marker));
    assert_eq!(read(&[0xc0, 0xc0]), Err(MessagePackError::Long));
    for head in [0xdd, 0xdf, 0xdb, 0xc6, 0xc9] {
        assert_eq!(read(&[head, 0xff, 0xff, 0xff, 0xff]), Err(MessagePackError::Short));
    }
    let deep = [vec![0x91; DEPTH_MAX + 1], vec![0xc0]].concat();
    assert_eq!(read(&deep), Err(MessagePackError::Deep));
    assert!(read(&deep[1..]).is_ok());
    let count = NODES_MAX as u32;
    let many = [vec![0xdd], count.to_be_bytes().to_vec(), vec![0xc0; NODES_MAX]].concat();
    assert_eq!(read(&many), Err(MessagePackError::Many));
}

proptest::proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
        if let Ok(value) = read(&bytes) {
            proptest::prop_assert_eq!(read(&write(&value, &[])), Ok(value));
        }
    }
}
