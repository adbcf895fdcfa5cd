//! The shipped manifest for files against a real WebDAV server.

use crate::{
    real::Real,
    world::{Service, card, test, tool},
};
use serde_json::json;
use std::fs;
use tercel_tests::{Options, Server, loopback::Reply};

const PASSWORD: &str = "pa:ss wörd-0123456789";
pub const FOLDER: &str = "My files/Tercel #1 & ü";

/// A server, and what it is reached by.
pub fn settings() -> (Real, Options) {
    let place = tempfile::tempdir().unwrap();
    fs::create_dir_all(place.path().join(FOLDER)).unwrap();
    fs::write(place.path().join("secret.txt"), "not for agents").unwrap();
    let real = Real::start("webdav", place, &["alice", PASSWORD]);
    let options = Options::new().env("NEXTCLOUD_HOST", &real.url()).env("NEXTCLOUD_USERNAME", "alice");
    let options = options.env("NEXTCLOUD_PASSWORD", PASSWORD).env("NEXTCLOUD_ROOT", "/");
    // As people write it: with slashes at both ends.
    (real, options.env("NEXTCLOUD_FOLDER_PATH", &format!("/{FOLDER}/")))
}

fn world() -> (Real, Server) {
    let (real, options) = settings();
    (real, Server::start(options))
}

#[test]
fn agents_work_with_the_files_of_one_folder() {
    let (real, server) = world();
    assert_eq!(card(&server, "nextcloud")["status"], "ready");
    let text = "# Über <b>&amp;\r\nzwei {{ secrets.password }}\n";
    let file = "a b/ü #1?.md";
    assert_eq!(tool(&server, "nextcloud_create", json!({"file": file, "text": text})).unwrap_err().0, "not_found");
    tool(&server, "nextcloud_make_folder", json!({"folder": "a b"})).unwrap();
    tool(&server, "nextcloud_create", json!({"file": file, "text": text})).unwrap();
    let there = fs::read_to_string(real.path().join(FOLDER).join(file)).unwrap();
    assert_eq!(there, text);
    assert_eq!(tool(&server, "nextcloud_read", json!({"file": file})).unwrap(), json!(text));
    let (code, message) = tool(&server, "nextcloud_create", json!({"file": file, "text": "other"})).unwrap_err();
    assert_eq!((code.as_str(), message.as_str()), ("schema", "There is such a file already"));
    let all = tool(&server, "nextcloud_list", json!({})).unwrap();
    assert_eq!((all[0]["name"].as_str(), &all[0]["folder"]), (Some("a b"), &json!(true)), "{all:#}");
    let inside = tool(&server, "nextcloud_list", json!({"folder": "a b"})).unwrap();
    assert_eq!(inside.as_array().unwrap().len(), 1, "{inside:#}");
    assert_eq!((inside[0]["name"].as_str(), &inside[0]["bytes"]), (Some("ü #1?.md"), &json!(text.len())), "{inside:#}");
    assert_eq!(inside[0].get("folder"), None, "{inside:#}");
    tool(&server, "nextcloud_replace", json!({"file": file, "text": "new"})).unwrap();
    assert_eq!(fs::read_to_string(real.path().join(FOLDER).join(file)).unwrap(), "new");
    let (code, _) = tool(&server, "nextcloud_replace", json!({"file": "none.md", "text": "new"})).unwrap_err();
    assert_eq!(code, "not_found");
    assert!(!real.path().join(FOLDER).join("none.md").exists());
}

#[test]
fn nothing_beside_the_folder_is_reached() {
    let (real, server) = world();
    for file in [
        "../../secret.txt",
        "..%2f..%2fsecret.txt",
        "/../../secret.txt",
        "a/../../../secret.txt",
        "%2e%2e/%2e%2e/secret.txt",
    ] {
        let (code, message) = tool(&server, "nextcloud_read", json!({"file": file})).unwrap_err();
        assert!(["schema", "not_found"].contains(&code.as_str()), "{file}: {code} {message}");
        tool(&server, "nextcloud_replace", json!({"file": file, "text": "x"})).unwrap_err();
    }
    tool(&server, "nextcloud_read", json!({"file": ""})).unwrap_err();
    assert_eq!(fs::read_to_string(real.path().join("secret.txt")).unwrap(), "not for agents");
}

#[test]
fn the_test_says_what_is_wrong_and_what_to_do() {
    let (_real, server) = world();
    let good = test(&server, "nextcloud", json!({}));
    assert_eq!(
        (&good["ok"], &good["account"], &good["depth"]),
        (&json!(true), &json!("alice"), &json!("target")),
        "{good:#}"
    );
    let wrong = test(&server, "nextcloud", json!({"password": "wrong-0123456789"}));
    assert_eq!(
        (&wrong["code"], wrong["hint"].as_str()),
        (&json!("auth"), Some("Make an app password and enter that")),
        "{wrong:#}"
    );
    let missing = test(&server, "nextcloud", json!({"folder_path": "My files/None"}));
    assert_eq!(missing["code"], "not_found", "{missing:#}");
    assert!(missing["hint"].as_str().unwrap().contains("folder_path"), "{missing:#}");
    let nextcloud = test(&server, "nextcloud", json!({"root": ""}));
    assert_eq!(nextcloud["code"], "not_found", "{nextcloud:#}");
    let other = Service::start();
    other.on("PROPFIND /My%20files/Tercel%20%231%20%26%20%C3%BC/", |_| Reply::text(405, &[], "Method Not Allowed"));
    let other = test(&server, "nextcloud", json!({"host": other.url()}));
    assert_eq!(
        (&other["code"], other["message"].as_str()),
        (&json!("unsupported"), Some("There is no WebDAV at this address")),
        "{other:#}"
    );
}
