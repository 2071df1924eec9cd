// A WebSocket server of the `ws` library that does what servers/sockets.py does:  node sockets.mjs serve MODULES PORT
// and the same library as a client, one JSON line a check:                        node sockets.mjs check MODULES URL…

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { setTimeout as pause } from "node:timers/promises";

const [what, modules, ...rest] = process.argv.slice(2);
// The packages are installed outside the repository, where an `import` from this file would not look.
const { WebSocket, WebSocketServer } = createRequire(`${modules}/`)("ws");

const MiB = 1 << 20;
const ended = new Map();

function serve(port) {
  const server = createServer((_, answer) => answer.end("plain\n"));
  const handleProtocols = (offered) => ["two", "one"].find((known) => offered.has(known)) ?? false;
  const sockets = new WebSocketServer({ server, handleProtocols, maxPayload: 32 * MiB, perMessageDeflate: true });
  sockets.on("connection", (socket, request) => {
    const name = request.url.split("?")[1];
    socket.on("error", () => {});
    socket.on("close", (code, reason) => name && ended.set(name, `${code} ${reason}`));
    socket.on("message", (data, isBinary) => obey(socket, data, isBinary));
  });
  server.listen(port, "127.0.0.1");
}

function obey(socket, data, isBinary) {
  const [word, ...words] = isBinary ? [""] : data.toString().split(" ");
  const all = words.join(" ");
  if (word === "ping") {
    socket.once("pong", () => socket.send("ponged"));
    socket.ping("are you there");
  } else if (word === "pieces") {
    for (let number = 0; number < Number(all); number++) {
      socket.send(`piece ${number} `, { fin: number === Number(all) - 1 });
    }
  } else if (word === "big") {
    socket.send(Buffer.alloc(Number(all), 0xa5));
  } else if (word === "close") {
    socket.close(Number(words[0]), words.slice(1).join(" "));
  } else if (word === "abort") {
    socket._socket.resetAndDestroy();
  } else if (word === "deaf") {
    socket._socket.pause();
  } else if (word === "last") {
    socket.send(ended.get(all) ?? "open");
  } else {
    socket.send(data, { binary: isBinary });
  }
}

/** A connected client whose messages can be awaited. */
async function open(url, options = {}) {
  const socket = new WebSocket(url, ["one", "two"], { maxPayload: 32 * MiB, ...options });
  const waiting = [];
  const came = [];
  socket.on("message", (data, isBinary) => {
    const message = isBinary ? data : data.toString();
    waiting.length ? waiting.shift()(message) : came.push(message);
  });
  socket.next = () => (came.length ? Promise.resolve(came.shift()) : new Promise((done) => waiting.push(done)));
  socket.ask = (message) => {
    socket.send(message);
    return socket.next();
  };
  socket.ends = once(socket, "close").then(([code, reason]) => `${code} ${reason}`);
  socket.on("error", () => {});
  await Promise.race([once(socket, "open"), once(socket, "unexpected-response").then(() => assert.fail("refused"))]);
  return socket;
}

async function endOf(url, name) {
  const socket = await open(url);
  for (let look = 0; look < 100; look++) {
    const end = await socket.ask(`last ${name}`);
    if (end !== "open") return socket.close(), end;
    await pause(20);
  }
  assert.fail("the server still holds the connection open");
}

const checks = {
  async "text, bytes and nothing come back, compressed or not"(url) {
    for (const perMessageDeflate of [true, false]) {
      const socket = await open(url, { perMessageDeflate });
      assert.equal(socket.extensions.includes("permessage-deflate"), perMessageDeflate);
      for (const message of ["hello", "", "grüße 🦀", "x".repeat(70_000)]) {
        assert.equal(await socket.ask(message), message);
      }
      for (const size of [0, 1, 125, 126, 65_535, 65_536]) {
        const bytes = randomBytes(size);
        assert.deepEqual(await socket.ask(bytes), bytes);
      }
      assert.equal(socket.protocol, "two");
      socket.close();
    }
  },

  async "pings and pongs both ways"(url) {
    const socket = await open(url);
    const pong = once(socket, "pong");
    socket.ping("here");
    assert.equal((await pong)[0].toString(), "here");
    assert.equal(await socket.ask("ping"), "ponged");
    socket.close();
  },

  async "fragments both ways, with a ping among them"(url) {
    const socket = await open(url);
    const next = socket.next();
    for (let number = 0; number < 500; number++) {
      socket.send(`${number} `, { fin: number === 499 });
      if (number === 250) socket.ping();
    }
    assert.equal(await next, Array.from({ length: 500 }, (_, at) => `${at} `).join(""));
    assert.equal(await socket.ask("pieces 300"), Array.from({ length: 300 }, (_, at) => `piece ${at} `).join(""));
    socket.close();
  },

  async "16 MiB in one message both ways"(url) {
    const socket = await open(url, { perMessageDeflate: false });
    const bytes = randomBytes(16 * MiB);
    assert.ok(bytes.equals(await socket.ask(bytes)));
    assert.ok(Buffer.alloc(16 * MiB, 0xa5).equals(await socket.ask(`big ${16 * MiB}`)));
    socket.close();
  },

  async "close codes and reasons both ways"(url) {
    let socket = await open(`${url}?node-close`);
    socket.close(4001, "enough");
    assert.equal(await socket.ends, "4001 enough");
    assert.equal(await endOf(url, "node-close"), "4001 enough");
    socket = await open(url);
    socket.send("close 4002 you too");
    assert.equal(await socket.ends, "4002 you too");
  },

  async "a side that breaks off is missed at once"(url) {
    let socket = await open(url);
    socket.send("abort");
    assert.equal(await socket.ends, "1006 ");
    socket = await open(`${url}?node-abort`);
    await socket.ask("hello");
    socket.terminate();
    assert.equal(await endOf(url, "node-abort"), "1006 ");
  },

  async "a silent peer is given up by the tunnel's clock"(url) {
    const socket = await open(url.replace("/long", "/short"));
    socket.send("deaf");
    const begun = performance.now();
    assert.equal(await socket.ends, "1006 ");
    assert.ok(performance.now() - begun > 900, "before its time");
  },

  async "sixty at once"(url) {
    const one = async () => {
      const socket = await open(url);
      for (let round = 0; round < 20; round++) {
        const bytes = randomBytes(Math.floor(Math.random() ** 3 * 100_000));
        assert.deepEqual(await socket.ask(bytes), bytes);
      }
      socket.close();
      assert.equal(await socket.ends, "1005 ");
    };
    await Promise.all(Array.from({ length: 60 }, one));
  },
};

async function run(urls) {
  console.log(JSON.stringify({ ran: Object.keys(checks).length * urls.length }));
  for (const url of urls) {
    for (const [name, check] of Object.entries(checks)) {
      const begun = performance.now();
      let fault = null;
      const late = pause(15_000, undefined, { ref: false }).then(() => assert.fail("not done within 15 s"));
      try {
        await Promise.race([check(url), late]);
      } catch (error) {
        fault = String(error.stack ?? error).split("\n").slice(0, 2).join(" ");
      }
      const seconds = (performance.now() - begun) / 1000;
      console.log(JSON.stringify({ name: `${name} (${new URL(url).pathname})`, seconds, fault }));
    }
  }
  process.exit(0);
}

what === "serve" ? serve(Number(rest[0])) : await run(rest);
