// A worker as docs/worker-protocol.md has it, with the standard library alone.
import { createServer } from "node:http";

const json = (response, status, value) => {
  const body = JSON.stringify(value);
  response.writeHead(status, { "content-type": "application/json", "content-length": Buffer.byteLength(body) });
  response.end(body);
};

const read = async (request) => {
  const pieces = [];
  for await (const piece of request) pieces.push(piece);
  return JSON.parse(Buffer.concat(pieces).toString());
};

const server = createServer(async (request, response) => {
  switch (`${request.method} ${request.url}`) {
    case "GET /v1/health":
      return json(response, 200, { protocol: 1, calls: 0 });
    case "GET /v1/describe":
      return json(response, 200, { protocol: 1 });
    case "POST /v1/drain":
      return json(response, 200, {});
    case "POST /v1/call": {
      const call = await read(request);
      return json(response, 200, { result: { text: call.arguments.text, word: "first" } });
    }
    default:
      return json(response, 404, {});
  }
});

server.listen({ fd: Number(process.env.TERCEL_SOCKET) });
process.stdin.on("end", () => process.exit(0)).resume();
