// node --test: the worker, with a service and a Tercel that answer as scripted. All on this machine.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { after, before, test } from "node:test";

const sample = JSON.parse(await readFile(new URL("fixtures/message.created.json", import.meta.url), "utf8"));
const requests = [];
let status = 200;
const others = createServer(async (request, response) => {
  let body = "";
  for await (const piece of request) body += piece;
  const { authorization, "tercel-call": call } = request.headers;
  requests.push({ line: `${request.method} ${request.url}`, authorization, call, body });
  response.writeHead(status, { "content-type": "application/json", "retry-after": "7" });
  response.end(JSON.stringify({ id: 7, topic: "Whatever there is", session_id: "s1", task_id: "t1" }));
});
let worker, server, base;

const listening = (server) => new Promise((resolve) => server.once("listening", () => resolve(server.address().port)));

before(async () => {
  const place = `http://127.0.0.1:${await listening(others.listen(0, "127.0.0.1"))}`;
  Object.assign(process.env, { MYSERVICE_URL: place, MYSERVICE_TOKEN: "t0ken" });
  Object.assign(process.env, { AGENT_SERVER_URL: place, AGENT_API_KEY: "k3y" });
  worker = await import("./worker.mjs");
  server = worker.serve({ port: 0, host: "127.0.0.1" });
  base = `http://127.0.0.1:${await listening(server)}`;
});

after(() => [server, others].forEach((one) => one.close().closeAllConnections()));

async function call(part, name, given) {
  const body = JSON.stringify({ call: "c", part, name, arguments: given, context: {}, deadline_ms: 1000 });
  return (await fetch(`${base}/v1/call`, { method: "POST", body })).json();
}

async function receive(event) {
  const [headers, body] = [{ "tercel-call": "c1" }, JSON.stringify(event)];
  return (await fetch(`${base}/integrations/myservice/webhook`, { method: "POST", headers, body })).json();
}

test("it is healthy and says what it has", async () => {
  assert.deepEqual(await (await fetch(`${base}/v1/health`)).json(), { protocol: 1, calls: 0 });
  assert.deepEqual(await (await fetch(`${base}/v1/describe`)).json(), JSON.parse(JSON.stringify(worker.description)));
});

test("a new message is answered in its room", async () => {
  assert.deepEqual(await receive(sample.body), { status: "ok", task_id: "t1" });
  const [session, message] = requests.slice(-2);
  assert.deepEqual([session.line, session.authorization, session.call], ["POST /api/v1/sessions", "Bearer k3y", "c1"]);
  const where = { client_id: "myservice:general", dispatch_config: { type: "myservice", room: "general" } };
  assert.deepEqual(JSON.parse(session.body), where);
  assert.equal(JSON.parse(message.body).content, "ada wrote: Who has a ladder?");
});

test("other events start nothing", async () => {
  const before = requests.length;
  assert.equal((await receive({ event: "room.renamed" })).status, "ignored");
  assert.equal(requests.length, before);
});

test("the agent can read a room", async () => {
  assert.equal((await call("tool", "myservice_get_room", { room: "a/b" })).result.topic, "Whatever there is");
  const { line, authorization, body } = requests.at(-1);
  assert.deepEqual([line, authorization, body], ["GET /rooms/a%2Fb", "Bearer t0ken", ""]);
});

test("an answer is posted in the room it is for, and has a receipt", async () => {
  const task = { dispatch_config: { room: "general" } };
  const { result } = await call("deliver", "myservice", { task, result: "I do" });
  assert.deepEqual(result, { sent: true, receipt: { id: "7", url: null } });
  assert.equal(requests.at(-1).body, '{"text":"I do"}');
});

test("a failure says of which kind it is", async () => {
  status = 429;
  const { error } = await call("tool", "myservice_get_room", { room: "general" });
  assert.deepEqual([error.code, error.status, error.retry_after], ["rate_limited", 429, 7]);
  assert.equal((await call("tool", "myservice_get_rom", {})).error.code, "unsupported");
});

test("what is not of the protocol is refused, and it goes on", async () => {
  assert.equal((await fetch(`${base}/v1/call`, { method: "POST", body: "{" })).status, 400);
  assert.equal((await fetch(`${base}/v2/call`)).status, 404);
  assert.equal((await fetch(`${base}/v1/drain`, { method: "POST" })).status, 200);
});

test("what nobody took is tried again", async () => {
  await new Promise((resolve) => others.close(resolve).closeAllConnections());
  const { error } = await call("tool", "myservice_get_room", { room: "general" });
  assert.equal(error.code, "network");
  assert.match(error.message, /ECONNREFUSED/);
});
