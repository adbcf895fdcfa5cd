// Node before 24 takes no proxy from its environment. With this, fetch, http and https of the process go through it.
"use strict";

const http = require("node:http");
const https = require("node:https");
const net = require("node:net");
const tls = require("node:tls");

const UNDICI = Symbol.for("undici.globalDispatcher.1");

function tunnels(proxy) {
  const secret = Buffer.from(`${proxy.username}:${proxy.password}`).toString("base64");
  return (host, port, done) => {
    const path = `${net.isIPv6(host) ? `[${host}]` : host}:${port}`;
    const headers = { host: path, "proxy-authorization": `Basic ${secret}` };
    const asked = http.request({ agent: new http.Agent(), host: proxy.hostname, port: proxy.port, method: "CONNECT", path, headers });
    asked.once("error", done);
    asked.once("connect", (answer, socket, head) => {
      if (answer.statusCode === 200) return done(null, socket);
      socket.destroy();
      done(new Error(`${path} cannot be reached: ${String(head).trim() || answer.statusCode}`));
    });
    asked.end();
  };
}

function go(proxy) {
  const tunnel = tunnels(proxy);
  const encrypted = (options, done) =>
    tunnel(options.host, options.port, (error, socket) => {
      if (error) return done(error);
      const inside = tls.connect({ ...options, socket });
      inside.once("error", done);
      inside.once("secureConnect", () => {
        inside.removeListener("error", done);
        done(null, inside);
      });
    });
  const connected = (Agent, connect) =>
    class extends Agent {
      createConnection(options, done) {
        connect(options, done);
      }
    };
  const plain = ({ host, port }, done) => tunnel(host, port, done);
  http.globalAgent = new (connected(http.Agent, plain))({ keepAlive: true });
  https.globalAgent = new (connected(https.Agent, encrypted))({ keepAlive: true });
  // What fetch is made of is loaded with its headers.
  void globalThis.Headers;
  const { constructor: Agent } = globalThis[UNDICI];
  globalThis[UNDICI] = new Agent({
    connect({ hostname, port, protocol, servername }, done) {
      const isEncrypted = protocol === "https:";
      const options = { host: hostname, port: port || (isEncrypted ? 443 : 80), servername: servername || hostname };
      (isEncrypted ? encrypted : plain)({ ...options, ALPNProtocols: ["http/1.1"] }, done);
    },
  });
}

if (process.env.TERCEL_PROXY && Number.parseInt(process.versions.node) < 24) go(new URL(process.env.TERCEL_PROXY));
