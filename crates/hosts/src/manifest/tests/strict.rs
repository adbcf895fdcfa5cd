//! Everything that is wrong is said before anything runs, with line, column and what may be meant.

use super::{manifest, wrong};

/// A manifest with a request for a tool.
fn tool(rest: &str) -> String {
    format!(
        "fields: [{{key: url, type: url}}, {{key: token, type: password}}]\nhttp: {{base: \"https://forge.example\"}}\n\
         tools:\n  - name: forge_look\n    description: Looks.\n    args: {{text: {{type: string}}}}\n{rest}"
    )
}

#[track_caller]
fn check(rest: &str, said: &str) {
    let words = wrong(rest);
    assert!(words.contains(said), "{words}");
}

#[test]
fn an_unknown_key_is_told_with_its_place_and_the_nearest() {
    check("labl: Forge\n", "integration.yaml:3: There is no key `labl` here; is `label` meant? (column 1)");
    check(
        "http:\n  bse: https://a.example\n",
        "integration.yaml:4: There is no key `bse` here; is `base` meant? (column 3)",
    );
    check(&tool("    gett: /x\n"), "There is no key `gett` here; is `get` meant?");
    check(&tool("    get: /x\n    pages: {nxt: a, into: url}\n"), "There is no key `nxt` here; is `next` meant?");
    check("fields: [{key: a, type: password, secrt: true}]\n", "is `secret` meant?");
    check(
        "fields: [{key: a, type: passwort}]\n",
        "`passwort` is none of text, password, url, checkbox, number; is `password` meant?",
    );
    check("http: {auth: {bearr: token}}\n", "is `bearer` meant?");
    check("fields: [{type: text}]\n", "The key `key` is missing");
}

#[test]
fn a_wrong_type_is_told_with_its_place() {
    for (rest, place) in [
        ("tools: {}\n", "integration.yaml:3:"),
        ("fields:\n  - nothing\n", "integration.yaml:4:"),
        ("http: {base: [a]}\n", "integration.yaml:3:"),
        ("http: {timeout: 15}\n", "integration.yaml:3:"),
        ("poll: [{name: a, every: soon}]\n", "integration.yaml:3:"),
        ("webhook: {verify: standard}\n", "integration.yaml:3:"),
        ("test: {get: /x, depth: deep}\n", "integration.yaml:3:"),
        ("label: Forge\nlabel: Forge\n", "integration.yaml:4:"),
        ("description: \"a\n", "integration.yaml:"),
    ] {
        let words = wrong(rest);
        assert!(words.contains(place) && words.contains("column"), "{rest}: {words}");
    }
    check("http: {timeout: 15}\n", "`15` is not a duration such as 30s, 5m, 2h or 7d");
    check("http: {rate: 5 a second}\n", "is not a rate such as 5/s");
}

#[test]
fn what_yaml_reads_as_something_else_is_to_be_quoted() {
    check(&tool("    get: /x\n    items: [0]\n"), "put it in quotes");
    check(&tool("    get: /x\n    result: {a: 1}\n"), "put it in quotes");
    check(&tool("    get: /x\n    ok: \"{{ response.json.ok }}\"\n"), "an expression has no braces");
}

#[test]
fn an_unknown_name_in_a_text_is_told_with_the_nearest() {
    check(&tool("    get: \"/x/{{ arg.text }}\"\n"), "There is no `arg` here; is `args` meant?");
    check(&tool("    get: \"/x/{{ args.txt }}\"\n"), "There is no `args.txt`; is `args.text` meant?");
    check(
        &tool("    get: /x\n    query: {q: \"{{ fields.token }}\"}\n"),
        "`fields.token` is a secret: write `secrets.token`",
    );
    check(
        &tool("    get: /x\n    query: {q: \"{{ args.text | uper }}\"}\n"),
        "There is no filter `uper`; is `upper` meant?",
    );
    check(&tool("    get: /x\n    result: response.jsn\n"), "There is no `response.jsn`; is `response.json` meant?");
    check(&tool("    get: /x\n    ok: secrets.token\n"), "Secrets can stand in requests only");
    check(&tool("    get: /x\n    query: {q: \"{{ before.a.json }}\"}\n"), "There is no `before` here");
    check(&tool("    get: \"/x/{{ args.text \"\n"), "is not right");
    check(
        "fields: [{key: url, type: url}]\nhttp: {auth: {bearer: tokn}}\n",
        "There is no field `tokn`; is `url` meant?",
    );
    check("fields: [{key: url, type: url}]\nhttp: {auth: {bearer: url}}\n", "is to hold a secret");
}

#[test]
fn a_request_is_one_request() {
    check(&tool("    get: /x\n    post: /y\n"), "A request has one of `get` and `post`");
    check(&tool(""), "A tool needs a request");
    check(&tool("    post: /x\n    json: {}\n    text: a\n"), "A request has one body");
    check(&tool("    get: /x\n    json: {}\n"), "A GET has no body");
    check(&tool("    get: /x\n    headers: {\"a b\": c}\n"), "`a b` cannot be the name of a header");
    check(&tool("    get: x\n"), "An address begins with `/`");
    check(&tool("    get: \"https://{{ args.text }}.example/x\"\n"), "The host of an address is written out");
    check(&tool("    get: \"https://forge.example{{ args.text }}\"\n"), "The host of an address is written out");
    check(&tool("    get: \"{{ args.text }}/x\"\n"), "An address begins with `/`");
    check(&tool("    get: \"{{ fields.url }}{{ args.text }}\"\n"), "there is `/`, `?` or nothing");
    check(&tool("    get: /x\n    before: [{as: a, get: /a}, {as: a, get: /b}]\n"), "There are two requests `a`");
    check(&tool("    get: /x\n    before: [{as: a}]\n"), "A request needs one of");
    check(
        &tool("    get: /x\n    pages: {next: response.json.next, into: body}\n"),
        "`query.<name>`, `json.<name>` or `url`",
    );
    check("tools: [{name: forge_a, description: A., get: /x}]\n", "A path needs `http.base`");
}

#[test]
fn parts_that_belong_together_are_there_together() {
    check(
        &tool("    get: /x\n").replace("forge_look", "look"),
        "The name of a tool begins with the integration's: `forge_…`",
    );
    check("events: [{name: a, session: s, prompt: p}]\n", "This event comes from nowhere");
    check("events: [{name: a, from: nws, session: s, prompt: p}]\n", "There is no poll `nws`");
    check(
        "http: {base: \"https://a.example\"}\npoll: [{name: news, every: 5m, get: /x, items: response.json, id: item.id}]\n",
        "No event is `from: news`",
    );
    check("fields: [{key: s, type: password}]\nwebhook: {verify: {standard: s}}\n", "`webhook` needs `events`");
    check(
        "webhook: {verify: {none: nobody signs}}\nevents: [{name: a, session: s, prompt: p}]\n",
        "`from` says which networks",
    );
    check(
        "webhook: {verify: {none: no}, from: [ten]}\nevents: [{name: a, session: s, prompt: p}]\n",
        "`ten` is no network such as 10.0.0.0/8",
    );
    check(
        "fields: [{key: s, type: password}]\nwebhook: {verify: {standard: s}, events: code}\n",
        "is for folders with code",
    );
    check(
        "fields: [{key: s, type: password}]\nwebhook: {verify: {hmac: {secret: s, header: x-s, signs: \"{{ timestamp }}\"}}}\n\
         events: [{name: a, session: s, prompt: p}]\n",
        "anybody",
    );
    check(
        "fields: [{key: s, type: password}]\nwebhook: {verify: {standard: s}}\nevents: [{name: a, session: s, prompt: p, target: {a: b}}]\n",
        "there is none",
    );
}

#[test]
fn fields_are_looked_at() {
    check("fields: [{key: Url, type: url}]\n", "cannot be the key of a field");
    check("fields: [{key: a, type: text}, {key: a, type: text}]\n", "There are two fields `a`");
    check("fields: [{key: a, type: text, rotate: 24h}]\n", "`rotate` is for secrets");
    check("fields: [{key: a, type: text, options: [x, y], default: z}]\n", "none of its options");
    check("fields: [{key: a, type: password, default: z}]\n", "everybody would know its default");
    check("fields: [{key: a, type: text, env: PATH}]\n", "a name that the server sets itself");
    check("fields: [{key: a, type: text, pattern: \"[\"}]\n", "is no regular expression");
    let fields = manifest(
        "fields:\n  - {key: secret, type: password, generate: true, rotate: 24h}\n  \
         - {key: plan, type: text, options: [free, paid], default: free, pattern: \"[a-z]+\"}\n  \
         - {key: cert, type: password, multiline: true, env: FORGE_CERTIFICATE}\n",
    );
    let fields = fields.description.fields;
    assert_eq!((fields[0].generate, fields[0].rotate), (true, Some(86_400)));
    assert_eq!((fields[1].options.len(), fields[1].pattern.as_deref()), (2, Some("[a-z]+")));
    assert_eq!((fields[2].multiline, fields[2].env.as_deref()), (true, Some("FORGE_CERTIFICATE")));
}

#[test]
fn a_manifest_of_another_time_or_name_is_refused() {
    let words = |text: &str| {
        let problems = crate::manifest::parse("forge", text, false).err().expect("it is wrong");
        problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    assert!(words("schema: 2\nname: forge\n").contains("`schema` is 2, and this server reads version 1"));
    assert!(words("schema: 1\nname: other\n").contains("the folder is called `forge`"));
    assert!(words("schema: 1\nname: forge\ntercel: \">=99.0\"\n").contains("It needs Tercel >=99.0"));
    assert!(words("schema: 1\nname: forge\ntercel: new\n").contains("write it as `>=0.3`"));
    assert!(words("").contains("integration.yaml"), "an empty file");
    assert!(words("[]").contains("integration.yaml"), "another kind of file");
}

#[test]
fn all_that_is_wrong_is_said_at_once() {
    let words = wrong(&tool("    get: \"/x/{{ args.a }}\"\n    query: {b: \"{{ args.b }}\"}\n    result: c\n"));
    assert_eq!(words.lines().count(), 3, "{words}");
}

#[test]
fn what_is_nested_deep_is_told_and_ends_nothing() {
    // The threads of the server have two megabytes.
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(|| {
        for levels in [100, 1_000, 10_000, 100_000] {
            let (opened, closed) = ("{a: ".repeat(levels), "}".repeat(levels));
            wrong(&format!("dispatch: {{target: {opened}1{closed}}}\n"));
            wrong(&format!("test: {{get: /x, ok: \"{}1{}\"}}\n", "(".repeat(levels), ")".repeat(levels)));
        }
    });
    thread.unwrap().join().unwrap();
}
