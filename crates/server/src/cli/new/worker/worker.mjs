// Speaks the worker protocol on the socket that Tercel opened. Node's standard library is enough.

import { createServer } from "node:http";
import { pathToFileURL } from "node:url";

const { MYSERVICE_TOKEN: token = "", MYSERVICE_URL: url = "https://api.myservice.example" } = process.env;
const { AGENT_SERVER_URL: server, AGENT_API_KEY: key } = process.env;

// What the manifest does not say: what this code can be called for.
export const description = { protocol: 1, dispatchers: [{ type: "myservice" }] };

// By part and name: what is called, and what it is called with.
const parts = {
  "tool myservice_get_room": ({ room }) => myservice("GET", `/rooms/${encodeURIComponent(room)}`),
  "deliver myservice": async ({ task, result }) => {
    const path = `/rooms/${encodeURIComponent(task.dispatch_config.room)}/messages`;
    const posted = await myservice("POST", path, { text: result });
    return { sent: true, receipt: { id: String(posted.id), url: null } };
  },
};

// What came in by webhook. The agent answers it, and "deliver myservice" posts the answer in the same room.
async function receive({ event, message }, call) {
  if (event !== "message.created") return { status: "ignored", reason: "only new messages are answered" };
  const { room, author, text } = message;
  const { session_id } = await tercel(call, "/api/v1/sessions", {
    client_id: `myservice:${room}`,
    dispatch_config: { type: "myservice", room },
  });
  const { task_id } = await tercel(call, `/api/v1/sessions/${session_id}/messages`, {
    content: `${author} wrote: ${text}`,
    source: "myservice",
    run_agent: true,
    execution_config: {
      system_preamble: `This was written in room \`${room}\`. Answer it in one paragraph.`,
      skills: ["integrations/myservice/myservice"],
      tools: ["myservice_get_room"],
    },
  });
  return { status: "ok", task_id };
}

const myservice = (method, path, body) => ask(method, url + path, { authorization: `Bearer ${token}` }, body);

// With the id of the call, what is asked for belongs to its delivery: asked for again, it happens once.
const tercel = (call, path, body) =>
  ask("POST", server + path, { authorization: `Bearer ${key}`, "tercel-call": call }, body);

// A failure that the server understands: it decides by the code whether to try again.
export class Failure extends Error {
  constructor(code, message, more = {}) {
    super(message);
    Object.assign(this, { code, ...more });
  }
}

const codes = { 400: "schema", 401: "auth", 403: "forbidden", 404: "not_found", 422: "schema", 429: "rate_limited" };
// Nobody took the connection, so nothing was done: the server tries again.
const unconnected = ["ECONNREFUSED", "EHOSTUNREACH", "ENOTFOUND", "EAI_AGAIN", "UND_ERR_CONNECT_TIMEOUT"];

async function ask(method, address, headers, body) {
  headers["content-type"] = "application/json";
  const asked = `${method} ${new URL(address).pathname}`;
  const sent = fetch(address, { method, headers, body: body && JSON.stringify(body) });
  const answer = await sent.catch(({ message, cause }) => {
    const code = unconnected.includes(cause?.code) ? "network" : "error";
    throw new Failure(code, `${asked} failed: ${cause?.message || cause?.code || message}`);
  });
  if (answer.ok) return answer.json();
  const retry_after = Number(answer.headers.get("retry-after")) || null;
  const message = `${asked} was answered with ${answer.status}`;
  throw new Failure(codes[answer.status] ?? "error", message, { status: answer.status, retry_after });
}

export async function call({ part, name, arguments: given }) {
  const called = parts[`${part} ${name}`];
  if (!called) return { error: { code: "unsupported", message: `There is no ${part} \`${name}\`` } };
  try {
    return { result: await called(given) };
  } catch (error) {
    console.error(error);
    const { code, message, status, retry_after } = error;
    return { error: { code: error instanceof Failure ? code : "error", message, status, retry_after } };
  }
}

let open = 0;
let drained = null;

async function answer(request) {
  const at = `${request.method} ${request.url}`;
  if (at === "GET /v1/health") return { protocol: 1, calls: open };
  if (at === "GET /v1/describe") return description;
  if (at === "POST /v1/drain") {
    if (open) await new Promise((resolve) => (drained = resolve));
    return {};
  }
  open += 1;
  try {
    if (at === "POST /v1/call") return await call(await read(request));
    const { "tercel-call": id } = request.headers;
    if (at === "POST /integrations/myservice/webhook") return await receive(await read(request), id);
    return null;
  } finally {
    open -= 1;
    if (!open) drained?.();
  }
}

async function read(request) {
  const pieces = [];
  for await (const piece of request) pieces.push(piece);
  return JSON.parse(Buffer.concat(pieces).toString("utf8"));
}

export function serve(where) {
  const listener = createServer(async (request, response) => {
    let [status, body] = [200, null];
    try {
      body = await answer(request);
      if (body === null) [status, body] = [404, { detail: "There is nothing here" }];
    } catch (error) {
      console.error(error);
      // What is no JSON stays so; a delivery that failed is sent and processed again.
      [status, body] = [error instanceof SyntaxError ? 400 : 500, { detail: String(error) }];
    }
    response.writeHead(status, { "content-type": "application/json" });
    response.end(JSON.stringify(body));
  });
  return listener.listen(where);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  serve({ fd: Number(process.env.TERCEL_SOCKET) });
  // When this ends, the server is gone.
  process.stdin.resume().on("end", () => process.exit());
}
