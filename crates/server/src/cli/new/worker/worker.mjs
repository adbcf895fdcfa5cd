// Speaks the worker protocol on the socket that Tercel opened. Node's standard library is enough.

import { createServer } from "node:http";
import { pathToFileURL } from "node:url";

const url = process.env.MYSERVICE_URL ?? "https://api.myservice.example";
const token = process.env.MYSERVICE_TOKEN ?? "";

// What the manifest does not say: what this code can be called for.
export const description = { protocol: 1, dispatchers: [{ type: "myservice" }] };

// By part and name: what is called, and what it is called with.
const parts = {
  "tool myservice_get_room": ({ room }) => ask("GET", `/rooms/${encodeURIComponent(room)}`),
  "deliver myservice": async ({ task, result }) => {
    const posted = await ask("POST", `/rooms/${encodeURIComponent(task.dispatch_config.room)}/messages`, { text: result });
    return { sent: true, receipt: { id: String(posted.id), url: null } };
  },
};

// A failure that the server understands: it decides by the code whether to try again.
export class Failure extends Error {
  constructor(code, message, more = {}) {
    super(message);
    Object.assign(this, { code, ...more });
  }
}

const codes = { 401: "auth", 403: "forbidden", 404: "not_found", 429: "rate_limited" };

async function ask(method, path, body) {
  const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
  const answer = await fetch(url + path, { method, headers, body: body && JSON.stringify(body) });
  if (answer.ok) return answer.json();
  const retry_after = Number(answer.headers.get("retry-after")) || null;
  throw new Failure(codes[answer.status] ?? "error", `${method} ${path} was answered with ${answer.status}`, {
    status: answer.status,
    retry_after,
  });
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
  if (at === "POST /v1/call") {
    open += 1;
    try {
      return await call(await read(request));
    } finally {
      open -= 1;
      if (!open) drained?.();
    }
  }
  if (at === "POST /v1/drain") {
    if (open) await new Promise((resolve) => (drained = resolve));
    return {};
  }
  return null;
}

async function read(request) {
  const pieces = [];
  for await (const piece of request) pieces.push(piece);
  return JSON.parse(Buffer.concat(pieces).toString("utf8"));
}

export function serve(where) {
  const server = createServer(async (request, response) => {
    let [status, body] = [200, null];
    try {
      body = await answer(request);
      if (body === null) [status, body] = [404, { detail: "There is nothing here" }];
    } catch (error) {
      [status, body] = [400, { detail: String(error) }];
    }
    response.writeHead(status, { "content-type": "application/json" });
    response.end(JSON.stringify(body));
  });
  return server.listen(where);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  serve({ fd: Number(process.env.TERCEL_SOCKET) });
  // When this ends, the server is gone.
  process.stdin.resume().on("end", () => process.exit());
}
