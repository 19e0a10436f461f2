//! Our definition says what the published one says: the same calls, messages, members, numbers and types.
//!
//! The published one comes from its Go module, so this needs `go` and a module proxy (or the module in Go's cache). Messages for
//! Windows are left out of ours.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use prost_types::{DescriptorProto, FileDescriptorSet};

const MODULE: &str = "k8s.io/cri-api@v0.37.2";

/// Everything that goes over the wire, one line each, sorted by what it is a line of.
fn facts(set: &FileDescriptorSet) -> BTreeMap<String, String> {
    let mut facts = BTreeMap::new();
    for file in set.file.iter().filter(|file| file.package() == "runtime.v1") {
        for message in &file.message_type {
            message_facts(&mut facts, message);
        }
        for item in &file.enum_type {
            for value in &item.value {
                facts.insert(format!("enum {} {}", item.name(), value.number()), value.name().to_owned());
            }
        }
        for service in &file.service {
            for call in &service.method {
                let kind = if call.server_streaming() { "stream " } else { "" };
                let shape = format!("{} -> {kind}{}", call.input_type(), call.output_type());
                assert!(!call.client_streaming(), "{}: nothing streams to the server", call.name());
                facts.insert(format!("rpc /runtime.v1.{}/{}", service.name(), call.name()), shape);
            }
        }
    }
    facts
}

fn message_facts(facts: &mut BTreeMap<String, String>, message: &DescriptorProto) {
    facts.insert(format!("message {}", message.name()), String::new());
    for field in &message.field {
        let kind = format!("{:?} {:?} {}", field.label(), field.r#type(), field.type_name());
        facts.insert(format!("member {} {}", message.name(), field.number()), format!("{} {kind}", field.name()));
    }
    for item in &message.enum_type {
        for value in &item.value {
            facts
                .insert(format!("enum {}.{} {}", message.name(), item.name(), value.number()), value.name().to_owned());
        }
    }
}

fn windows(fact: &(&String, &String)) -> bool {
    let (key, value) = fact;
    key.contains(" Windows") || value.contains(".Windows")
}

/// The folder of the published module; a text says why it cannot be had.
fn published() -> Result<String, String> {
    let output = Command::new("go")
        .args(["mod", "download", "-json", MODULE])
        .current_dir(std::env::temp_dir())
        .output()
        .map_err(|error| format!("go: {error} (Go's module proxy has the published definition)"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let dir = text.lines().find_map(|line| line.trim().strip_prefix("\"Dir\": \"")?.strip_suffix("\","));
    dir.map(str::to_owned).ok_or_else(|| format!("go mod download {MODULE}: {}", text.trim()))
}

#[test]
fn our_definition_is_the_published_one() {
    let dir = match published() {
        Ok(dir) => dir,
        Err(reason) => return skip("our_definition_is_the_published_one", &reason),
    };
    let theirs = protox::compile(["pkg/apis/runtime/v1/api.proto"], [&dir]).expect("the published definition");
    let ours = protox::compile(["runtime/v1/service.proto"], [env!("CARGO_MANIFEST_DIR")]).expect("our definition");
    let (theirs, ours) = (facts(&theirs), facts(&ours));
    let theirs: BTreeMap<_, _> = theirs.iter().filter(|fact| !windows(fact)).collect();
    let calls = theirs.keys().filter(|key| key.starts_with("rpc ")).count();
    assert!(calls >= 43, "the published definition has {calls} calls only: it was not read right");
    let mut wrong = Vec::new();
    for (key, value) in &theirs {
        match ours.get(*key) {
            Some(own) if own == *value => {}
            own => wrong.push(format!("{key}: published {value:?}, ours {own:?}")),
        }
    }
    wrong.extend(ours.keys().filter(|key| !theirs.contains_key(key)).map(|key| format!("{key}: only ours")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Tells `hack/test` that a test found that it cannot run.
fn skip(test: &str, reason: &str) {
    use std::io::Write;
    eprintln!("{test}: skipped: {reason}");
    if let Some(path) = std::env::var_os("RT_TEST_SKIPS") {
        let file = std::fs::OpenOptions::new().append(true).create(true).open(Path::new(&path));
        let mut file = file.expect("the file for skips");
        writeln!(file, "{test}: {reason}").expect("the file for skips");
    }
}
