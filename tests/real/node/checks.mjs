// Runs the Node `openai` client through the gateway and prints one JSON line per check for checks/openai_node.py.
// node checks.mjs GATEWAY ORIGIN MODULES RULES FAULTY : the gateway's URL, the chat server's own, the folder with
// node_modules, the URL of the gateway that routes by model, that of the server that fails behind it

import assert from "node:assert/strict";
import { createHash, randomBytes, randomUUID } from "node:crypto";
import { createRequire } from "node:module";
import { setTimeout as pause } from "node:timers/promises";

const [gateway, origin, modules, rules, faulty] = process.argv.slice(2);
// The packages are installed outside the repository, where an `import` from this file would not look.
const { OpenAI } = createRequire(`${modules}/`)("openai");

const MiB = 1 << 20;
const PACE_MS = 50;
const api = new OpenAI({ baseURL: `${gateway}/v1`, apiKey: "unused", maxRetries: 0, timeout: 10_000 });

const say = (content) => [{ role: "user", content }];
const counted = (total) => Array.from({ length: total }, (_, index) => `${index + 1} `).join("");
const digestOf = (text) => `${text.length} ${createHash("sha256").update(text).digest("hex")}`;
const textOf = (size) => randomBytes((size * 3) / 4).toString("base64");
const ask = (request) => api.chat.completions.create({ model: "counter", ...request });
const contentOf = (answer) => answer.choices[0].message.content;

function assertSpaced(arrivals) {
  const gaps = arrivals.slice(1).map((at, index) => at - arrivals[index]);
  const apart = gaps.filter((gap) => gap > PACE_MS / 2).length;
  assert.ok(gaps.length >= 3 && apart >= 0.7 * gaps.length, `pieces in a burst: ${gaps.map(Math.round)}`);
}

/** The origin stopped this generation within a second of the call, asked past the gateway. */
async function assertStopped(name) {
  const deadline = performance.now() + 1000;
  let seen;
  do {
    seen = await (await fetch(`${origin}/generations/${name}`)).json();
    if (seen.state !== "running") break;
    await pause(20);
  } while (performance.now() < deadline);
  assert.equal(seen.state, "stopped", `state of the left generation: ${JSON.stringify(seen)}`);
  assert.ok(seen.tokens > 0, "the generation never began");
}

const checks = {
  async "models list"() {
    const ids = [];
    for await (const model of await api.models.list()) ids.push(model.id);
    assert.deepEqual(ids, ["counter"]);
  },

  async "plain chat"() {
    assert.equal(contentOf(await ask({ messages: say("count 3") })), counted(3));
  },

  async "streamed chat arrives token by token"() {
    const tokens = [];
    const arrivals = [];
    for await (const chunk of await ask({ messages: say("count 12"), stream: true })) {
      const token = chunk.choices[0].delta.content;
      if (!token) continue;
      tokens.push(token);
      arrivals.push(performance.now());
    }
    assert.equal(tokens.join(""), counted(12));
    assertSpaced(arrivals);
  },

  async "aborting a stream stops the origin within a second"() {
    const name = `g-${randomUUID()}`;
    const stream = await ask({ messages: say("count 200"), stream: true, user: name });
    let seen = 0;
    for await (const _ of stream) if (++seen === 3) break; // leaving the loop aborts the request
    await assertStopped(name);
    assert.equal(contentOf(await ask({ messages: say("count 1") })), counted(1));
  },

  async "16 at once, each gets its own answer"() {
    const totals = Array.from({ length: 16 }, (_, index) => 1 + (index % 8));
    const answers = await Promise.all(totals.map((total) => ask({ messages: say(`count ${total}`) })));
    assert.deepEqual(answers.map(contentOf), totals.map(counted));
  },

  async "prompt of 4 MiB"() {
    const text = textOf(4 * MiB);
    assert.equal(contentOf(await ask({ messages: say(`digest ${text}`) })), digestOf(text));
  },

  async "image of 8 MiB in base64"() {
    const url = `data:image/png;base64,${textOf(8 * MiB)}`;
    const parts = [{ type: "text", text: "digest " }, { type: "image_url", image_url: { url } }];
    assert.equal(contentOf(await ask({ messages: say(parts) })), digestOf(url));
  },
};

const typed = {
  400: OpenAI.BadRequestError,
  401: OpenAI.AuthenticationError,
  403: OpenAI.PermissionDeniedError,
  404: OpenAI.NotFoundError,
  409: OpenAI.ConflictError,
  422: OpenAI.UnprocessableEntityError,
  429: OpenAI.RateLimitError,
  500: OpenAI.InternalServerError,
  503: OpenAI.InternalServerError,
};
for (const [status, kind] of Object.entries(typed)) {
  checks[`${status} rejects with ${kind.name}`] = async () => {
    const error = await ask({ model: `status-${status}`, messages: say("count 1") }).then(
      () => assert.fail("no error was thrown"),
      (error) => error,
    );
    assert.ok(error instanceof kind, `got ${error}`);
    assert.equal(error.status, Number(status));
    assert.equal(error.code, `origin_${status}`);
  };
}

// With the retries that the client makes by itself.
const ruled = new OpenAI({ baseURL: `${rules}/v1`, apiKey: "unused", timeout: 10_000 });
const askRuled = (model, user = "nobody") =>
  ruled.chat.completions.create({ model, user, messages: say("count 1") });
const executed = async (user) => (await fetch(`${faulty}/executed/${user}`)).json();

async function refused(call, kind, status, code) {
  const error = await call().then(
    () => assert.fail("no error was thrown"),
    (error) => error,
  );
  assert.ok(error instanceof kind, `got ${error}`);
  assert.deepEqual([error.status, error.code], [status, code]);
  return error;
}

for (const [model, status, code] of [
  ["reset", 502, "upstream_reset"],
  ["garbage", 502, "upstream_invalid"],
  ["stall", 504, "upstream_timeout"],
]) {
  checks[`${code} of a server that does ${model}: typed, executed once`] = async () => {
    const user = randomUUID();
    const error = await refused(() => askRuled(model, user), OpenAI.InternalServerError, status, code);
    assert.equal(error.headers.get("x-should-retry"), "false");
    assert.equal(await executed(user), 1);
  };
}
Object.assign(checks, {
  async "upstream_connect is told to be retried"() {
    const error = await refused(() => askRuled("dead"), OpenAI.InternalServerError, 502, "upstream_connect");
    assert.equal(error.headers.get("x-should-retry"), "true");
  },

  async "model_not_found names the parameter"() {
    const error = await refused(() => askRuled("nobody"), OpenAI.NotFoundError, 404, "model_not_found");
    assert.equal(error.param, "model");
  },

  async "the other refusals are typed"() {
    const path = "/chat/completions";
    await refused(() => ruled.post(path, { body: [1] }), OpenAI.BadRequestError, 400, "invalid_body");
    await refused(() => ruled.get("/nothing"), OpenAI.NotFoundError, 404, "route_not_found");
    await refused(() => ruled.get(path), OpenAI.APIError, 405, "method_not_allowed");
    const large = { model: "ok", messages: say("x".repeat(200_000)) };
    await refused(() => ruled.post(path, { body: large }), OpenAI.APIError, 413, "body_too_large");
  },
});

// `fetch` sends all of a body before it reads the answer.
for (const [path, status] of [["/chat/completions", 413], ["/nothing", 404], ["/a%2f..%2fb", 400]]) {
  checks[`fetch reads ${status} behind a body of 20 MB that nobody wants`] = async () => {
    const request = { method: "POST", body: new Uint8Array(20_000_000), headers: { connection: "close" } };
    const answer = await fetch(`${rules}/v1${path}`, request);
    assert.equal(answer.status, status);
    assert.ok((await answer.json()).error.request_id);
  };
}

for (const [name, check] of Object.entries(checks)) {
  const begun = performance.now();
  const fault = await check().then(
    () => null,
    (error) => String(error?.message ?? error).replace(/\s+/g, " ").slice(0, 300),
  );
  console.log(JSON.stringify({ name, seconds: (performance.now() - begun) / 1000, fault }));
}
console.log(JSON.stringify({ ran: Object.keys(checks).length }));
process.exit(0); // idle keep-alive sockets would hold the process for some seconds
