//! The structure of the tree, held against ARCHITECTURE.md: who may call whom, who writes which table, where SQL and
//! templates stand, how long a file is.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test of the tree: what cannot be read fails it"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The rooms of the server; each calls only those before it.
const ROOMS: [&str; 11] = [
    "audit",
    "accounts",
    "products",
    "keys",
    "packages",
    "firmware",
    "archives",
    "ca",
    "devices",
    "deployments",
    "links",
];
/// Files of a room that belong to the second storey: they may call every room, `web` and `app`.
const SECOND_STOREY: [&str; 7] = ["api", "pages", "views", "extract", "upload", "download", "listener"];
/// Longest file, in lines before its tests.
const LINES_MAX: usize = 500;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path, ending));
        } else if path.to_string_lossy().ends_with(ending) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

/// A file's code without its tests.
fn production(text: &str) -> &str {
    text.find("#[cfg(test)]\nmod ").map_or(text, |end| &text[..end])
}

/// Files of the server as their path below `src`, split, with their production code.
fn server() -> Vec<(Vec<String>, String)> {
    let source = root().join("server/src");
    let parts = |path: &Path| -> Vec<String> {
        let below = path.strip_prefix(&source).unwrap().with_extension("");
        below
            .components()
            .map(|part| part.as_os_str().to_string_lossy().into_owned())
            .collect()
    };
    let is_test = |path: &[String]| path.iter().any(|part| part.contains("test"));
    let all = files(&source, ".rs")
        .into_iter()
        .map(|path| (parts(&path), production(&read(&path)).to_owned()));
    all.filter(|(path, _)| !is_test(path)).collect()
}

/// The first names behind `use crate::`.
fn imports(code: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for statement in code.split("use crate::").skip(1) {
        let statement = statement.split(';').next().unwrap();
        match statement.strip_prefix('{') {
            Some(group) => {
                let mut depth = 0;
                for part in group.split_inclusive([',', '{', '}']) {
                    if depth == 0 {
                        let name: String = part
                            .trim()
                            .chars()
                            .take_while(|c| c.is_alphanumeric() || *c == '_')
                            .collect();
                        names.insert(name);
                    }
                    depth += part.matches('{').count();
                    depth = depth.saturating_sub(part.matches('}').count());
                }
            }
            None => {
                names.insert(
                    statement
                        .chars()
                        .take_while(|c| c.is_alphanumeric() || *c == '_')
                        .collect(),
                );
            }
        }
    }
    names.remove("");
    names
}

#[test]
fn rooms_call_only_rooms_before_them() {
    let place = |name: &str| ROOMS.iter().position(|room| *room == name);
    let mut wrong = Vec::new();
    for (path, code) in server() {
        let Some(own) = place(&path[0]) else { continue };
        if path[1..].iter().any(|part| SECOND_STOREY.contains(&part.as_str())) {
            continue;
        }
        for name in imports(&code) {
            let allowed = name == "platform" || place(&name).is_some_and(|other| other <= own) || name == "declare_id";
            if !allowed {
                wrong.push(format!("{} imports {name}", path.join("/")));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn platform_and_web_know_no_room() {
    let mut wrong = Vec::new();
    for (path, code) in server() {
        let allowed: &[&str] = match path[0].as_str() {
            "platform" => &["platform"],
            // What a request needs to know of the running server.
            "web" => &["platform", "web", "app", "config"],
            _ => continue,
        };
        for name in imports(&code)
            .into_iter()
            .filter(|name| ROOMS.contains(&name.as_str()) || name == "web")
        {
            if !allowed.contains(&name.as_str()) {
                wrong.push(format!("{} imports {name}", path.join("/")));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn only_routes_name_pages_and_api() {
    let mut wrong = Vec::new();
    for (path, code) in server() {
        if path[0] == "routes" || path[1..].iter().any(|part| SECOND_STOREY.contains(&part.as_str())) {
            continue;
        }
        let named = ["::pages", "::api::"]
            .iter()
            .any(|name| code.contains(&format!("crate{name}")))
            || ROOMS.iter().any(|room| {
                code.contains(&format!("crate::{room}::pages")) || code.contains(&format!("crate::{room}::api"))
            });
        if named {
            wrong.push(path.join("/"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn is_store(path: &[String]) -> bool {
    path.iter().any(|part| part == "store") || path[0] == "platform"
}

#[test]
fn sql_stands_in_stores() {
    let mut wrong = Vec::new();
    for (path, code) in server() {
        let has_sql = [
            "query!(",
            "query_as!(",
            "query_scalar!(",
            "sqlx::query(",
            "QueryBuilder",
        ];
        if !is_store(&path) && has_sql.iter().any(|sql| code.contains(sql)) {
            wrong.push(path.join("/"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Each table's owner, as its comment says it.
fn owners() -> BTreeMap<String, String> {
    let mut owners = BTreeMap::new();
    for path in files(&root().join("migrations"), ".sql") {
        for comment in read(&path).split("COMMENT ON TABLE ").skip(1) {
            let (table, rest) = comment.split_once(' ').unwrap();
            let text = rest.split("';").next().unwrap();
            let owner = text
                .split("Owner: ")
                .nth(1)
                .map(|owner| owner.trim_end_matches(['\'', '.']).to_owned());
            owners.insert(
                table.to_owned(),
                owner.unwrap_or_else(|| panic!("{table} names no owner")),
            );
        }
    }
    owners
}

#[test]
fn a_table_is_written_by_its_owner() {
    let owners = owners();
    let mut wrong = Vec::new();
    for (path, code) in server() {
        let flat = code.split_whitespace().collect::<Vec<_>>().join(" ");
        for verb in ["INSERT INTO ", "UPDATE ", "DELETE FROM "] {
            for statement in flat.split(verb).skip(1) {
                let table: String = statement
                    .chars()
                    .take_while(|c| c.is_ascii_lowercase() || *c == '_')
                    .collect();
                if let Some(owner) = owners.get(&table).filter(|owner| **owner != path[0]) {
                    wrong.push(format!("{} writes {table} of {owner}", path.join("/")));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_table_has_a_comment() {
    let owners = owners();
    for path in files(&root().join("migrations"), ".sql") {
        for table in read(&path).split("CREATE TABLE ").skip(1) {
            let name = table.split([' ', '(']).next().unwrap();
            assert!(owners.contains_key(name), "{name} has no comment");
        }
    }
}

#[test]
fn functions_that_take_a_sweep_stand_in_sweeps() {
    let mut wrong = Vec::new();
    let mut list = Vec::new();
    for (path, code) in server() {
        if !path.iter().any(|part| part == "store") {
            continue;
        }
        for function in code.split("async fn ").skip(1) {
            let signature = function.split('{').next().unwrap();
            if signature.contains(": Sweep") {
                let name = signature.split(['(', '<']).next().unwrap().to_owned();
                if path.last().is_some_and(|file| file == "sweep") {
                    list.push(format!("{}::{name}", path[0]));
                } else {
                    wrong.push(format!("{}::{name}", path.join("/")));
                }
            }
        }
    }
    println!("Across orgs: {list:#?}");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_template_is_named_somewhere() {
    let templates = root().join("templates");
    let mut named: String = files(&root().join("server/src"), ".rs")
        .iter()
        .map(|path| read(path))
        .collect();
    named.extend(files(&templates, ".html").iter().map(|path| read(path)));
    for path in files(&templates, ".html") {
        let name = path.strip_prefix(&templates).unwrap().to_string_lossy().into_owned();
        assert!(named.contains(&format!("\"{name}\"")), "nothing names templates/{name}");
    }
}

#[test]
fn no_file_is_too_long_and_every_one_says_what_it_is() {
    let mut wrong = Vec::new();
    for folder in ["crates", "server/src", "device-agent", "tests"] {
        for path in files(&root().join(folder), ".rs") {
            let text = read(&path);
            let lines = production(&text).lines().count();
            if lines > LINES_MAX {
                wrong.push(format!("{}: {lines} lines", path.display()));
            }
            let is_test = path.to_string_lossy().contains("tests");
            if !is_test && !text.starts_with("//!") {
                wrong.push(format!("{}: does not open with //!", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
