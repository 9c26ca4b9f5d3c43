//! What calls are accepted, whatever `meta.conf` says.

use super::*;
use crate::{env::Env, metaconf};

const CONFIG: &str = "uboot-environment env { block-offset=16 block-count=16 } \
    uboot-environment huge { block-offset=1 block-count=99999999 } \
    mbr m { partition 0 { block-offset=63 block-count=10 type=1 } } mbr bad { partition 0 { type=1 } } \
    gpt g { guid=b443fbeb-2c93-481b-88b3-0ecb0aeba911 partition 0 { block-offset=64 block-count=10 \
        type=b443fbeb-2c93-481b-88b3-0ecb0aeba911 guid=b443fbeb-2c93-481b-88b3-0ecb0aeba911 } } gpt bad { }";

fn compiled(words: &[&str], place: Place) -> Result<Function, String> {
    let config = metaconf::read(CONFIG.as_bytes(), &Env::new()).unwrap();
    let call: Vec<Bytes> = words.iter().map(|word| word.as_bytes().to_vec()).collect();
    compile(&call, place, &config)
}

/// A good call of every function.
const GOOD: &[&[&str]] = &[
    &["raw_write", "010"],
    &["raw_memset", "010", "1", "0xff"],
    &["trim", "1", "4294967295"],
    &["fat_mkfs", "63", "1000"],
    &["fat_write", "63", "x"],
    &["fat_cp", "63", "x", "y"],
    &["fat_cp", "63", "x", "1000", "y"],
    &["fat_mv", "63", "x", "y"],
    &["fat_mv!", "63", "x", "y"],
    &["fat_rm", "63", "x"],
    &["fat_rm!", "63", "x"],
    &["fat_mkdir", "63", "x"],
    &["fat_setlabel", "63", "x"],
    &["fat_touch", "63", "x"],
    &["fat_attrib", "63", "x", "RHS"],
    &["mbr_write", "m"],
    &["gpt_write", "g"],
    &["uboot_clearenv", "env"],
    &["uboot_recover", "env"],
    &["uboot_setenv", "env", "a", "b"],
    &["uboot_unsetenv", "env", "a"],
    &["path_write", "x"],
    &["pipe_write", "cat"],
    &["ubi_volume_write", "/dev/ubi0_1"],
    &["execute", "true"],
    &["reboot_param", ""],
    &["error", ""],
    &["info", ""],
];

#[test]
fn every_function_has_a_good_call_and_its_number_of_arguments() {
    for Shape(name, least, most, takes_data, _) in SHAPES {
        let call = GOOD
            .iter()
            .find(|call| call[0] == *name)
            .unwrap_or_else(|| panic!("{name}"));
        for len in 0..=*most + 1 {
            let mut words = call.to_vec();
            words.resize(len + 1, "1");
            let fits = (*least..=*most).contains(&len);
            assert!(fits || compiled(&words, Place::Resource).is_err(), "{words:?}");
        }
        for place in [Place::Init, Place::Finish, Place::Error] {
            assert_eq!(compiled(call, place).is_err(), *takes_data, "{name}");
        }
    }
    for call in GOOD {
        let function = compiled(call, Place::Resource).unwrap();
        assert_eq!(function.name, call[0]);
    }
    assert_eq!(compiled(&["raw_write", "010"], Place::Resource).unwrap().units(7, 9), 7);
    assert!(matches!(
        compiled(&["raw_write", "010"], Place::Resource).unwrap().kind,
        Kind::Raw(raw::Raw::Write { block: 8, cipher: None })
    ));
}

#[test]
fn every_number_is_bounded() {
    let over = (caps::BLOCK_MAX + 1).to_string();
    let most = caps::BLOCK_MAX.to_string();
    let many = (caps::BLOCK_COUNT_MAX + 1).to_string();
    for call in GOOD {
        // whatever is a block number in a good call
        for at in 1..call.len() {
            let mut words = call.to_vec();
            if ["63", "1000", "010"].contains(&words[at]) {
                for bad in [over.as_str(), "18446744073709551616", "-1", "1x", "", "1 "] {
                    words[at] = bad;
                    assert!(compiled(&words, Place::Resource).is_err(), "{words:?}");
                }
                words[at] = &most;
                // no sum or product of what is accepted may overflow
                if let Ok(function) = compiled(&words, Place::Resource) {
                    assert!(function.units(1, 1) > 0);
                }
            }
        }
    }
    for call in [
        ["raw_memset", "0", &many, "0"].as_slice(),
        &["trim", "0", &many],
        &["fat_mkfs", "0", &many],
    ] {
        assert!(compiled(call, Place::Init).is_err(), "{call:?}");
    }
}

#[test]
fn calls_that_make_no_sense_are_refused() {
    let bad: &[&[&str]] = &[
        &[],
        &[""],
        &["raw_wipe"],
        &["raw_memset", "1", "0", "1"],
        &["raw_memset", "1", "1", "256"],
        &["trim", "1", "0"],
        &["fat_mkfs", "1", "0"],
        &["uboot_clearenv", "other"],
        &["uboot_clearenv", "huge"],
        &["mbr_write", "none"],
        &["mbr_write", "bad"],
        &["mbr_write", "g"],
        &["gpt_write", "bad"],
        &["gpt_write", "m"],
        &["fat_attrib", "1", "x", "Q"],
        &["raw_write", "1", "cipher=x"],
        &["raw_write", "1", "cipher=aes-cbc-plain"],
        &["execute", ""],
        &["execute", "a\0b"],
        &["path_write", ""],
        &["raw_write", "1", "", "", "", "", "", "", "", "", ""],
    ];
    for call in bad {
        assert!(compiled(call, Place::Resource).is_err(), "{call:?}");
    }
}

#[test]
fn what_reaches_outside_is_refused_unless_allowed() {
    for call in GOOD {
        let function = compiled(call, Place::Resource).unwrap();
        let outside = [
            "path_write",
            "pipe_write",
            "ubi_volume_write",
            "execute",
            "reboot_param",
        ]
        .contains(&call[0]);
        assert_eq!(
            function.refused(&ApplyOptions::default(), None).is_some(),
            outside,
            "{call:?}"
        );
    }
    let options = ApplyOptions {
        reboot_param: Some("x".into()),
        ..ApplyOptions::default()
    };
    assert!(
        compiled(&["reboot_param", "x"], Place::Init)
            .unwrap()
            .refused(&options, None)
            .is_none()
    );
    assert!(
        compiled(&["execute", "x"], Place::Init)
            .unwrap()
            .refused(&options, None)
            .is_some()
    );
    let later = compiled(&["raw_write", "8", "cipher=x,secret=${KEY}"], Place::Resource).unwrap();
    assert!(later.refused(&options, None).is_some());
    let gpt = compiled(&["gpt_write", "g"], Place::Init).unwrap();
    assert!(gpt.refused(&options, Some(100)).is_some());
    assert!(gpt.refused(&options, Some(200)).is_none());
}
