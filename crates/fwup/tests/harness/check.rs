//! Compares what a call did with what the manifest expects.

use std::fs;

use serde_json::Value;

use super::{Done, Place, sha256};

type Check = Result<(), String>;

fn ensure(holds: bool, why: impl FnOnce() -> String) -> Check {
    if holds { Ok(()) } else { Err(why()) }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn number(value: &Value) -> usize {
    value.as_u64().unwrap() as usize
}

/// Checks a step; the error says what differs.
pub fn check(expect: &Value, done: &Done, place: &Place) -> Check {
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    let said = || format!("{text}{}", String::from_utf8_lossy(&done.stderr));
    let status = done.status.ok_or_else(|| format!("it was killed: {}", said()))?;
    ensure(status != 101 && status < 126, || format!("it crashed: {}", said()))?;
    ensure((status == 0) == (expect["exit"] == "success"), || {
        format!("status {status}: {}", said())
    })?;
    if expect["unchanged"] == true {
        ensure(done.before == done.after, || "the image was changed".into())?;
    }
    image(expect, done)?;
    output(expect, &text)?;
    if expect["frames"].is_object() {
        frames(&expect["frames"], &done.stdout)?;
    }
    if expect["numeric_progress"].is_object() {
        let numbers = text
            .split_whitespace()
            .map(|word| word.parse().map_err(|_| text.clone()));
        progress(&expect["numeric_progress"], &numbers.collect::<Result<Vec<_>, _>>()?)?;
    }
    files(expect, place)
}

fn image(expect: &Value, done: &Done) -> Check {
    let mut after = done.after.clone().unwrap_or_default();
    for mask in list(&expect["mask"]) {
        let begin = number(&mask[0]).min(after.len());
        let end = (begin + number(&mask[1])).min(after.len());
        after[begin..end].fill(0);
    }
    for range in list(&expect["ranges"]) {
        let (begin, len) = (number(&range["offset"]), number(&range["length"]));
        let part = |image: &[u8]| image[begin.min(image.len())..(begin + len).min(image.len())].to_vec();
        let same = if range["unchanged"] == true {
            part(done.after.as_deref().unwrap_or_default()) == part(done.before.as_deref().unwrap_or_default())
        } else {
            range["sha256"] == sha256(&part(&after))
        };
        ensure(same, || format!("range {} differs", range["name"]))?;
    }
    let want = &expect["image"];
    if !want.is_object() {
        return Ok(());
    }
    let size = number(&want["size"]);
    if want["prefix_only"] == true {
        after.truncate(size);
    }
    ensure(after.len() == size, || {
        format!("the image has {} bytes, not {size}", after.len())
    })?;
    ensure(want["sha256"] == sha256(&after), || "the image differs".into())
}

fn output(expect: &Value, text: &str) -> Check {
    if let Some(want) = expect["stdout"].as_str() {
        let ignored =
            |line: &&str| list(&expect["stdout_ignore"]).any(|start| line.starts_with(start.as_str().unwrap()));
        let keep = |text: &str| {
            text.lines()
                .filter(|line| !ignored(line))
                .collect::<Vec<_>>()
                .join("\n")
        };
        ensure(keep(text) == keep(want), || format!("it said {text:?}, not {want:?}"))?;
    }
    for part in list(&expect["stdout_contains"]) {
        ensure(text.contains(part.as_str().unwrap()), || {
            format!("it said {text:?}, without {part}")
        })?;
    }
    Ok(())
}

fn frames(want: &Value, stdout: &[u8]) -> Check {
    let mut rest = stdout;
    if let Some(status) = want["handshake"].as_u64() {
        let (frames, end) = rest.split_at(rest.len().saturating_sub(2));
        ensure(end == [0x1a, status as u8], || format!("the handshake is {end:?}"))?;
        rest = frames;
    }
    let (mut kinds, mut messages, mut percents) = (Vec::new(), Vec::new(), Vec::new());
    while let Some((length, body)) = rest.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        ensure(length >= 4 && body.len() >= length, || "a frame is cut".into())?;
        let (frame, after) = body.split_at(length);
        let text = String::from_utf8_lossy(&frame[4..]).into_owned();
        match &frame[..2] {
            b"PR" => percents.push(u64::from(u16::from_be_bytes([frame[2], frame[3]]))),
            b"WN" => messages.push(text.clone()),
            _ => {}
        }
        kinds.push((String::from_utf8_lossy(&frame[..2]).into_owned(), text));
        rest = after;
    }
    ensure(rest.is_empty(), || "a frame is cut".into())?;
    let (kind, text) = kinds.last().ok_or("there are no frames")?;
    ensure(want["last"] == *kind, || format!("the last frame is {kind} {text}"))?;
    ensure(want["last_text"].is_null() || want["last_text"] == *text, || {
        format!("the last frame says {text}")
    })?;
    ensure(
        want["messages"].is_null() || want["messages"] == serde_json::json!(messages),
        || format!("{messages:?}"),
    )?;
    progress(&want["progress"], &percents)
}

fn progress(want: &Value, percents: &[u64]) -> Check {
    if want == "none" {
        return ensure(percents.is_empty(), || format!("there was progress: {percents:?}"));
    }
    if want.is_null() {
        return Ok(());
    }
    let ends = |wanted: &Value, got: Option<&u64>| wanted.is_null() || wanted.as_u64() == got.copied();
    let rises = percents.windows(2).all(|pair| pair[0] < pair[1]);
    let good = rises && ends(&want["first"], percents.first()) && ends(&want["last"], percents.last());
    ensure(good, || format!("the progress is {percents:?}"))
}

fn files(expect: &Value, place: &Place) -> Check {
    for (name, want) in expect["files"].as_object().into_iter().flatten() {
        let bytes = fs::read(place.tmp.join(name)).map_err(|error| format!("{name}: {error}"))?;
        ensure(want["sha256"] == sha256(&bytes), || format!("{name} differs"))?;
    }
    for name in list(&expect["absent_files"]) {
        let there = place.tmp.join(name.as_str().unwrap()).symlink_metadata().is_ok();
        ensure(!there, || format!("{name} was made"))?;
    }
    if let Some(prefix) = expect["keys"].as_str() {
        for (suffix, length) in [(".pub", 44), (".priv", 88)] {
            let key = fs::read(place.fill(prefix) + suffix).map_err(|error| error.to_string())?;
            ensure(key.len() == length, || format!("{suffix} has {} bytes", key.len()))?;
        }
    }
    Ok(())
}
