//! From the webhook of a folder to the answer that its dispatcher sends.

use crate::world::{World, card};
use serde_json::json;
use tercel_tests::{Turn, until};

#[test]
fn a_webhook_of_a_python_folder_becomes_an_answer_by_its_dispatcher() {
    let world = World::start();
    world.model.script(|_| Turn::text("It is done."));
    let answer = world.event(&[("x-forge-event", "pushed")], json!({"text": "Look at this"})).expect(200);
    assert_eq!(answer["took"], "Look at this");
    let task = world.server.complete(answer["task"].as_str().unwrap());
    assert_eq!((&task["origin"], &task["dispatch_type"]), (&json!("forge"), &json!("forge")));
    let sent = world.service.wait_for(1);
    let sent: serde_json::Value = serde_json::from_slice(&sent[0].body).unwrap();
    // What `notify_start` changed is what `deliver` sees.
    assert_eq!(sent, json!({"text": "It is done.", "channel": "c1", "began": true}));
    let delivery = world.delivery("processed");
    assert_eq!((&delivery["outcome"], &delivery["event"]), (&json!("run"), &json!("pushed")));
    assert_eq!(answer["delivery"], delivery["id"]);
    assert_eq!(task["delivery_id"], delivery["id"]);
    let messages = world.server.messages(task["session_id"].as_str().unwrap());
    assert_eq!(messages[0]["metadata"]["trusted"], false, "whoever wrote it, it was not the operator");
}

#[test]
fn a_tool_of_a_folder_is_called_in_a_run_that_names_it() {
    let world = World::start();
    world.model.queue([Turn::call("forge_note", json!({"text": "milk"})), Turn::text("Noted.")]);
    let event =
        json!({"text": "note milk", "config": {"tools": ["forge_note"], "skills": ["integrations/forge/board"]}});
    let answer = world.event(&[], event).expect(200);
    world.server.complete(answer["task"].as_str().unwrap());
    let asked = world.model.asked();
    assert!(asked[0].tools().contains(&"forge_note"));
    assert!(asked[0].messages().iter().any(|message| message.to_string().contains("Read it from the top.")));
    assert!(asked[1].results()[0].contains("noted milk"), "{:?}", asked[1].results());
    let printed = world.server.get("/api/v1/admin/integrations/forge/logs").expect(200);
    assert!(printed.to_string().contains("noted milk"), "{printed}");
    let said = world.server.options.run(&["logs", "forge"]).ok();
    assert!(said.contains("print") && said.contains("noted milk"), "{said}");
}

#[test]
fn the_card_says_what_a_folder_has_and_needs() {
    let world = World::start();
    let card = card(&world.server, "forge");
    assert_eq!((&card["name"], &card["version"]), (&json!("Forge"), &json!("1.2.0")));
    assert_eq!(
        (&card["source"], &card["way"], &card["icon"]),
        (&json!("operator"), &json!("python"), &json!("Hammer"))
    );
    for part in ["has_router", "has_dispatcher", "has_tools", "has_skills"] {
        assert_eq!(card[part], true, "{part}");
    }
    assert_eq!((&card["has_process"], &card["problems"]), (&json!(false), &json!([])));
    assert_eq!(card["webhook"]["path"], "/integrations/forge/webhook");
    let keys: Vec<&str> = card["env_vars"].as_array().unwrap().iter().map(|v| v["key"].as_str().unwrap()).collect();
    assert_eq!(keys, ["FORGE_URL", "FORGE_TOKEN"]);
    let sections = world.server.get("/api/v1/admin/integrations/sidebar-sections").expect(200);
    assert_eq!(sections["sections"][0]["integration_id"], "forge", "{sections}");
    let modules = world.server.get("/api/v1/admin/integrations/dashboard-modules").expect(200);
    assert_eq!(modules["modules"][0]["api_base"], "/integrations/forge/mc/analytics", "{modules}");
    assert_eq!(world.server.get("/api/v1/admin/integrations/icons").expect(200)["icons"]["forge"], "Hammer");
    let doctor = world.server.options.run(&["doctor"]).out;
    assert!(doctor.contains("folders"), "{doctor}");
    assert!(world.server.log().contains("Folders of integrations: "), "{}", world.server.log());
}

#[test]
fn a_changed_setting_reaches_the_code() {
    let world = World::start();
    let call = || world.server.post("/api/v1/tools/forge_note/call", json!({"arguments": {"text": "a"}})).expect(200);
    assert_eq!(call()["result"], "noted a with nothing");
    let path = "/api/v1/admin/integrations/forge/settings";
    world.server.put(path, json!({"settings": {"FORGE_TOKEN": "first-secret-value"}})).expect(200);
    // What a service or code repeats of a secret is masked.
    until("the new value", || call()["result"].as_str().is_some_and(|said| !said.ends_with("nothing")).then_some(()));
    let shown = world.server.get(path).text();
    assert!(!shown.contains("first-secret-value") && shown.contains("\"db\""), "{shown}");
    world.server.put(path, json!({"settings": {"LD_PRELOAD": "x"}})).refused(422, "invalid");
}
