//! From the webhook of a folder to the answer that its dispatcher sends.

use crate::world::{World, card, loads, put, root};
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

const CAMERA: &str = r#"
import base64
from integrations._register import register

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR and so on").decode()


@register({"type": "function", "effect": "read", "function": {"name": "camera_look", "description": "Takes a picture",
    "parameters": {"type": "object", "properties": {"odd": {"type": "boolean", "default": False}}}}})
def look(odd: bool):
    images = [{"mime_type": "image/png", "base64": PNG}]
    if odd:
        images = images * 6 + [{"mime_type": "image/png", "base64": "%"}]
        images[1:2] = [{"mime_type": "text/html", "base64": "PGI+"}, {"base64": ""}]
    return {"camera": "door", "injected_images": images}
"#;

#[test]
fn pictures_that_a_tool_shows_are_seen_by_the_model_and_kept() {
    let mut world =
        World::start_with(|options| _ = put(&root(options), "camera", &[("tools/look.py", CAMERA)]), |options| options);
    loads(&world.server, "camera");
    let session = world.server.session("web:1");
    let ask = |server: &tercel_tests::Server, content: &str| {
        let config = json!({"tools": ["camera_look"]});
        server.ask_with(&session, json!({"content": content, "execution_config": config}))
    };
    world.model.queue([Turn::call("camera_look", json!({})), Turn::Never]);
    let task = ask(&world.server, "Who is at the door?");
    world.model.wait_for_calls(2);
    let seen = |asked: &tercel_tests::Asked| -> Vec<String> {
        let last = asked.messages().last().unwrap();
        let parts = last["content"].as_array().into_iter().flatten();
        parts.filter_map(|part| part["image_url"]["url"].as_str().map(str::to_owned)).collect()
    };
    let first = world.model.asked()[1].clone();
    assert!(seen(&first)[0].starts_with("data:image/png;base64,iVBORw0KGgo"), "{first:?}");
    let result = first.messages().iter().find(|message| message["role"] == "tool").unwrap();
    assert!(result["content"].as_str().unwrap().contains("1 picture, shown below"), "{result}");
    // The next process shows the same.
    world.server.kill9();
    world.model.queue([Turn::text("Nobody.")]);
    world.server.start_again();
    assert_eq!(world.server.complete(&task)["result"], "Nobody.");
    assert_eq!(seen(world.model.asked().last().unwrap()), seen(&first));
    let trace = world.server.trace(&task);
    let step = trace["steps"].as_array().unwrap().iter().find(|step| step["kind"] == "tool").unwrap();
    let id = step["output"]["pictures"][0]["id"].as_str().unwrap();
    assert!(!step.to_string().contains("iVBOR"), "the step says only where it is: {step:#}");
    let kept = world.server.get(&format!("/api/v1/attachments/{id}/content"));
    assert_eq!((kept.status, kept.header("content-type")), (200, Some("image/png")));

    loads(&world.server, "camera");
    world.model.queue([Turn::call("camera_look", json!({"odd": true})), Turn::text("Many.")]);
    let task = ask(&world.server, "And all of them?");
    world.server.complete(&task);
    let last = world.model.asked().last().unwrap().clone();
    assert_eq!(seen(&last).len(), 5);
    let said = last.messages().iter().rfind(|message| message["role"] == "tool").unwrap()["content"].to_string();
    assert!(said.contains("5 pictures, shown below") && said.contains("too many"), "{said}");
    assert!(said.contains("no picture, or not of the type"), "{said}");
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
    let limits = doctor.lines().find(|line| line.contains("Limited are memory")).expect(&doctor);
    assert!(limits.contains("by cgroup") || limits.contains("not of all together: "), "{limits}");
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

const GROWS: &str = r#"
import httpx
from app.agent.dispatchers import register
from integrations.forge.config import settings


class Forge:
    async def deliver(self, task, result, client_actions=None, extra_metadata=None):
        async with httpx.AsyncClient() as client:
            (await client.post(settings.FORGE_URL, json={"text": result})).raise_for_status()
        return {"id": 7}

    async def update(self, task, id, text):
        async with httpx.AsyncClient() as client:
            place = {"id": id, "channel": task.dispatch_config["channel"]}
            (await client.patch(settings.FORGE_URL, json={"text": text, **place})).raise_for_status()


register("forge", Forge())
"#;

#[test]
fn an_answer_grows_by_the_dispatcher_of_a_folder() {
    let world = World::start_with(
        |options| {
            put(&root(options), "forge", &[("dispatcher.py", GROWS)]);
        },
        |options| options,
    );
    world.model.script(|_| Turn::paced(&["The door", " is nearly", " open."], std::time::Duration::from_millis(1_200)));
    let session = world.server.session("web:alice");
    let target = json!({"type": "forge", "channel": "c1", "stream": true});
    let task = world.server.ask_with(&session, json!({"content": "?", "dispatch_config": target, "notify": false}));
    world.server.complete(&task);
    let last = until("the whole answer", || {
        let all = world.service.received().into_iter().filter(|request| request.method == "PATCH");
        all.map(|request| request.json()).find(|change| change["text"] == "The door is nearly open.")
    });
    assert_eq!(last, json!({"text": "The door is nearly open.", "id": "7", "channel": "c1"}));
    let posts: Vec<_> = world.service.received().into_iter().filter(|request| request.method == "POST").collect();
    assert_eq!(posts.iter().map(|post| post.json()).collect::<Vec<_>>(), [json!({"text": "The door …"})]);
}
