// node --test: the worker and a service that answers as scripted, both on this machine.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, test } from "node:test";

const requests = [];
let status = 200;
const service = createServer(async (request, response) => {
  let body = "";
  for await (const piece of request) body += piece;
  requests.push({ line: `${request.method} ${request.url}`, token: request.headers.authorization, body });
  response.writeHead(status, { "content-type": "application/json", "retry-after": "7" });
  response.end(JSON.stringify({ id: 7, topic: "Whatever there is" }));
});
let worker, server, base;

const listening = (server) => new Promise((resolve) => server.once("listening", () => resolve(server.address().port)));

before(async () => {
  process.env.MYSERVICE_URL = `http://127.0.0.1:${await listening(service.listen(0, "127.0.0.1"))}`;
  process.env.MYSERVICE_TOKEN = "t0ken";
  worker = await import("./worker.mjs");
  server = worker.serve({ port: 0, host: "127.0.0.1" });
  base = `http://127.0.0.1:${await listening(server)}`;
});

after(() => [server, service].forEach((one) => one.close().closeAllConnections()));

async function call(part, name, given) {
  const body = JSON.stringify({ call: "c", part, name, arguments: given, context: {}, deadline_ms: 1000 });
  return (await fetch(`${base}/v1/call`, { method: "POST", body })).json();
}

test("it is healthy and says what it has", async () => {
  assert.deepEqual(await (await fetch(`${base}/v1/health`)).json(), { protocol: 1, calls: 0 });
  assert.deepEqual(await (await fetch(`${base}/v1/describe`)).json(), JSON.parse(JSON.stringify(worker.description)));
});

test("the agent can read a room", async () => {
  assert.equal((await call("tool", "myservice_get_room", { room: "a/b" })).result.topic, "Whatever there is");
  assert.deepEqual(requests.at(-1), { line: "GET /rooms/a%2Fb", token: "Bearer t0ken", body: "" });
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
