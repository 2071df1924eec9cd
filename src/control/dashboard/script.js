
"use strict";
// Fed by /live once a second: "past" once, then "now", the slot that is filled. All text goes into text nodes.
const SLOTS = 120, SVG = "http://www.w3.org/2000/svg";
const PHASES = ["head", "hold", "queue", "connect", "send", "wait", "relay"];
const byId = id => document.getElementById(id);
const state = { stats: null, slot: 0, points: {}, marks: [], route: "", slot_s: 5, heat_us: [], slow: [], sort: {} };

const time = us => us == null || us === 0 ? "–" : us < 1e3 ? `${us} µs` : us < 1e6 ? `${(us / 1e3).toPrecision(3)} ms`
  : us < 1e8 ? `${(us / 1e6).toPrecision(3)} s` : `${Math.round(us / 1e6)} s`;
const count = n => n < 1e4 ? String(Math.round(n * 10) / 10) : n < 1e6 ? `${(n / 1e3).toPrecision(3)}k`
  : n < 1e9 ? `${(n / 1e6).toPrecision(3)}M` : `${(n / 1e9).toPrecision(3)}G`;
const share = s => s === 1 ? "100 %" : `${(Math.floor(s * 1e5) / 1e3).toFixed(s < 0.9 ? 1 : 3)} %`;
const clock = s => new Date(s * 1e3).toLocaleTimeString();
const set = (id, text) => { const node = byId(id); if (node.textContent !== text) node.textContent = text; };
const make = (name, classes, text) => {
  const node = document.createElement(name);
  if (classes) node.className = classes;
  if (text != null) node.textContent = text;
  return node;
};
const draw = (name, attributes) => {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
};

function listen() {
  const source = new EventSource("live");
  source.onmessage = message => {
    const event = JSON.parse(message.data);
    if (event.past) {
      Object.assign(state, { points: event.past, marks: [], slot_s: event.slot_s, heat_us: event.heat_us });
    } else if (event.slot > state.slot) {
      // The slot that was filled is over; those in between were missed, and nothing is known of them.
      for (const [route, now] of Object.entries(state.now)) {
        const points = state.points[route] ??= [];
        points.push(now, ...Array(event.slot - state.slot - 1).fill(null));
        points.splice(0, points.length - SLOTS);
      }
    }
    Object.assign(state, { stats: event.stats, slot: event.slot, now: event.now });
    state.marks = state.marks.concat(event.marks).slice(-256);
    live("live");
    show();
  };
  source.onerror = () => {
    live("gone");
    // The browser tries again by itself, unless the answer was no stream: after a token ran out, say.
    if (source.readyState === EventSource.CLOSED) setTimeout(listen, 3000);
  };
}

function live(how) {
  byId("link").className = `link ${how}`;
  set("link", how === "live" ? "live" : "no connection");
}

async function askSlow() {
  const route = state.route && state.stats?.routes[state.route] ? `&route=${encodeURIComponent(state.route)}` : "";
  try {
    const answer = await fetch(`slow?last=5m&limit=10${route}`);
    if (answer.ok) { state.slow = (await answer.json()).exchanges; showSlow(); }
  } catch { /* the line above tells that there is no connection */ }
  setTimeout(askSlow, 5000);
}

function show() {
  const { stats } = state;
  const names = Object.keys(stats.routes);
  showRoutes(names);
  const of = stats.routes[state.route] ?? stats.all;
  set("facts", `${stats.lanes} lanes · ${stats.io} · up ${span(stats.uptime_s)} · plan ${stats.plan.generation} · `
    + `${stats.connections.reduce((a, b) => a + b, 0)} connections`);
  for (const [id, times] of [["t", of.T_us], ["f", of.ttft_us], ["i", of.itl_us], ["o", of.overhead_us]]) {
    set(`${id}50`, time(times.p50));
    set(`${id}99`, time(times.p99));
  }
  set("s", share(of.S));
  const failed = of.requests - of.client_closed - of.success;
  set("s-why", `${count(of.requests)} requests, ${count(failed)} failed, ${count(of.client_closed)} left`);
  set("b", count(of.B.requests_per_s));
  set("tok", count(of.B.tokens_per_s));
  set("flight", count(of.in_flight));
  const clusters = Object.values(stats.endpoints).map(endpoints => Object.values(endpoints)[0]?.queued ?? 0);
  set("waiting", count(clusters.reduce((a, b) => a + b, 0)));
  const points = [...(state.points[state.route] ?? []), state.now[state.route]].slice(-SLOTS);
  const series = pick => points.map(point => point ? pick(point) : null);
  lines("spark-t", series(point => point.T[0]), series(point => point.T[1]));
  lines("spark-f", series(point => point.ttft[0]), series(point => point.ttft[1]));
  lines("spark-i", series(point => point.itl[0]), series(point => point.itl[1]));
  bars("spark-b", series(point => point.n), "bar");
  bars("spark-s", series(point => point.n - point.left - point.ok), "fail");
  heat(points);
  tables(stats);
}

const span = s => s < 120 ? `${Math.floor(s)} s` : s < 7200 ? `${Math.floor(s / 60)} min`
  : s < 172800 ? `${Math.floor(s / 3600)} h` : `${Math.floor(s / 86400)} d`;

function showRoutes(names) {
  const select = byId("route"), wanted = ["", ...names];
  if (select.options.length !== wanted.length || wanted.some((name, at) => select.options[at].value !== name)) {
    select.replaceChildren(...wanted.map(name => {
      const option = make("option", "", name || "all");
      option.value = name;
      return option;
    }));
    if (!wanted.includes(state.route)) state.route = "";
    select.value = state.route;
  }
}

// The newest slot stands at the right edge, whatever there was before.
const place = (at, length) => SLOTS - length + at;

function lines(id, ...series) {
  const most = Math.max(1, ...series.flat().map(value => value ?? 0));
  const paths = series.map((values, which) => {
    let path = "", pen = false;
    values.forEach((value, at) => {
      if (!value) { pen = false; return; }
      path += `${pen ? "L" : "M"}${place(at, values.length) + 1} ${(40 - 38 * value / most).toFixed(1)}`;
      // A slot by itself would be a point, which no line shows.
      if (!pen) path += "h.01";
      pen = true;
    });
    return draw("path", { d: path, class: which ? "p99" : "p50" });
  });
  chart(id, paths.reverse());
}

function bars(id, values, classes) {
  const most = Math.max(1, ...values.map(value => value ?? 0));
  chart(id, values.map((value, at) => value > 0 && draw("rect", { x: place(at, values.length), width: 0.8, class: classes,
    y: (41 - 40 * value / most).toFixed(1), height: (40 * value / most).toFixed(1) })).filter(Boolean));
}

function chart(id, parts) {
  const svg = byId(id);
  svg.setAttribute("viewBox", `0 0 ${SLOTS + 1} 42`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.replaceChildren(...parts);
}

function heat(points) {
  const canvas = byId("heat"), scale = devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight], left = 58, below = 18;
  canvas.width = width * scale;
  canvas.height = height * scale;
  const paint = canvas.getContext("2d"), style = getComputedStyle(document.documentElement);
  paint.scale(scale, scale);
  const colour = name => style.getPropertyValue(name).trim();
  const hot = points.filter(point => point?.heat.length);
  const low = Math.max(0, Math.min(...hot.map(point => point.from), 10) - 1);
  const high = Math.min(state.heat_us.length, Math.max(...hot.map(point => point.from + point.heat.length), 20) + 1);
  const most = Math.max(1, ...hot.flatMap(point => point.heat));
  const [column, row] = [(width - left) / SLOTS, (height - below) / (high - low)];
  const y = at => height - below - (at - low) * row;
  const tone = colour("--heat");
  points.forEach((point, at) => point?.heat.forEach((n, step) => {
    if (!n) return;
    // By the logarithm: one slow request among a thousand quick ones is what one looks for.
    paint.fillStyle = `rgba(${tone}, ${0.15 + 0.85 * Math.log1p(n) / Math.log1p(most)})`;
    paint.fillRect(left + place(at, points.length) * column, y(point.from + step + 1), column + 0.3, row + 0.3);
  }));
  paint.fillStyle = colour("--soft");
  paint.font = "11px system-ui, sans-serif";
  paint.textAlign = "right";
  const every = Math.ceil((high - low) * 16 / (height - below));
  for (let at = low; at < high; at += every) {
    if (y(at + 1) > 6) paint.fillText(time(state.heat_us[at]), left - 6, y(at + 1) + 4);
  }
  paint.textAlign = "center";
  for (let minutes = 0; minutes <= 8; minutes += 2) {
    paint.fillText(minutes ? `−${minutes} min` : "now", minutes ? width - minutes * 60 / state.slot_s * column : width - 14,
      height - 4);
  }
  const now = Date.now() / 1e3, begin = now - SLOTS * state.slot_s;
  for (const mark of state.marks.filter(mark => mark.at_s > begin)) {
    const x = width - (now - mark.at_s) / state.slot_s * column;
    paint.fillStyle = colour(mark.what === "up" ? "--good" : mark.what === "reloaded" ? "--soft" : "--bad");
    paint.fillRect(x, 0, 1.5, height - below);
  }
  const text = mark => mark.endpoint ? `${clock(mark.at_s)}  ${mark.endpoint} of ${mark.cluster}: ${mark.what}`
    : `${clock(mark.at_s)}  configuration reloaded, plan ${mark.generation}`;
  const told = state.marks.slice(-50).reverse().map(text), list = byId("marks");
  if (list.childElementCount !== told.length || list.firstChild?.textContent !== told[0]) {
    list.replaceChildren(...told.map(line => make("li", "", line)));
  }
}

// A column: its title, what it sorts by, how that is shown, and whether it is text.
const ENDPOINTS = [
  ["cluster", row => row.cluster, null, true], ["endpoint", row => row.url, null, true],
  ["state", row => row.state, null, true], ["in flight", row => row.in_flight, count],
  ["requests", row => row.requests, count], ["faults", row => row.faults, count],
  ["T p50", row => row.T_us.p50, time], ["T p99", row => row.T_us.p99, time],
  ["TTFT p50", row => row.ttft_us.p50, time], ["ITL p50", row => row.itl_us.p50, time],
  ["idle", row => row.idle, count], ["connects", row => row.connects, count], ["reused", row => row.reused, count],
];
const ROUTES = [
  ["route", row => row.name, null, true], ["req/s", row => row.B.requests_per_s, count], ["S", row => row.S, share],
  ["T p50", row => row.T_us.p50, time], ["T p99", row => row.T_us.p99, time],
  ["gateway p50", row => row.overhead_us.p50, time], ["TTFT p50", row => row.ttft_us.p50, time],
  ["ITL p50", row => row.itl_us.p50, time], ["tokens/s", row => row.B.tokens_per_s, count],
  ["in flight", row => row.in_flight, count], ["requests", row => row.requests, count],
  ["left", row => row.client_closed, count],
];
const CLUSTERS = [
  ["cluster", row => row.name, null, true], ["calls", row => row.batch?.calls, count],
  ["members p50", row => row.batch?.members.p50, count], ["members max", row => row.batch?.members.max, count],
  ["wait p50", row => row.batch?.wait_us.p50, time], ["wait p99", row => row.batch?.wait_us.p99, time],
  ["pieces", row => row.batch?.pieces, count], ["shared", row => row.shared, count],
  ["cache hits", row => row.cache?.hit, count], ["misses", row => row.cache?.miss, count],
  ["mirrored", row => row.mirror?.sent, count],
];

function tables(stats) {
  const endpoints = Object.entries(stats.endpoints).flatMap(([cluster, all]) =>
    Object.entries(all).map(([url, row]) => ({ cluster, url, ...row })));
  table("endpoints", ENDPOINTS, endpoints);
  table("routes", ROUTES, Object.entries(stats.routes).map(([name, row]) => ({ name, ...row })));
  const clusters = Object.entries(stats.clusters).map(([name, row]) => ({ name, ...row }));
  byId("merged").hidden = clusters.length === 0;
  table("clusters", CLUSTERS, clusters);
}

function table(id, columns, rows) {
  const node = byId(id), sort = state.sort[id] ??= { at: 0, down: false };
  if (!node.tHead) {
    const line = node.createTHead().insertRow();
    node.createTBody();
    columns.forEach(([title, , , isText], at) => {
      const cell = make("th", isText ? "text" : ""), button = make("button", "", title);
      button.onclick = () => {
        // The largest number first, the first letter first.
        Object.assign(sort, { at, down: sort.at === at ? !sort.down : !isText });
        show();
      };
      cell.append(button);
      line.append(cell);
    });
  }
  [...node.tHead.rows[0].cells].forEach((cell, at) => {
    cell.setAttribute("aria-sort", at !== sort.at ? "none" : sort.down ? "descending" : "ascending");
  });
  const by = columns[sort.at][1];
  const order = (a, b) => a == null ? 1 : b == null ? -1 : typeof a === "string" ? a.localeCompare(b) : a - b;
  rows.sort((a, b) => order(by(a), by(b)) * (sort.down ? -1 : 1));
  const body = node.tBodies[0];
  while (body.rows.length > rows.length) body.deleteRow(-1);
  rows.forEach((row, at) => {
    const line = body.rows[at] ?? body.insertRow();
    columns.forEach(([title, of, shown, isText], at) => {
      const cell = line.cells[at] ?? line.insertCell(), value = of(row);
      const text = value == null ? "–" : shown ? shown(value) : value;
      if (cell.textContent !== text) cell.textContent = text;
      const state = title !== "state" ? "" : value === "up" ? "up" : value === "trial" ? "trial" : "out";
      cell.className = `${isText ? "text" : ""} ${state}`;
    });
  });
}

function showSlow() {
  const node = byId("slow");
  if (!node.tHead) {
    const line = node.createTHead().insertRow();
    const titles = ["T", "phases", "TTFT", "longest gap", "status", "route", "endpoint", "ended", "request id"];
    for (const [at, title] of titles.entries()) line.append(make("th", at === 1 || at > 4 ? "text" : "", title));
    node.createTBody();
    byId("legend").replaceChildren(...[...PHASES, "rest"].map(phase => {
      const entry = make("span"), swatch = draw("svg", { viewBox: "0 0 1 1" });
      swatch.append(draw("rect", { width: 1, height: 1, class: phase }));
      entry.append(swatch, phase);
      return entry;
    }));
  }
  const most = Math.max(1, ...state.slow.map(exchange => exchange.T_us));
  node.tBodies[0].replaceChildren(...state.slow.map(exchange => {
    const line = make("tr"), status = exchange.code ? `${exchange.status} ${exchange.code}` : exchange.status;
    const phases = draw("svg", { class: "phases", viewBox: "0 0 1000 12", preserveAspectRatio: "none", role: "img",
      "aria-label": PHASES.map(phase => `${phase} ${time(exchange[`${phase}_us`])}`).join(", ") });
    let from = 0;
    const part = (phase, us) => {
      const block = draw("rect", { x: 1000 * from / most, width: 1000 * us / most, height: 12, class: phase });
      const title = draw("title", {});
      title.textContent = `${phase} ${time(us)}`;
      block.append(title);
      phases.append(block);
      from += us;
    };
    for (const phase of PHASES) if (exchange[`${phase}_us`]) part(phase, exchange[`${phase}_us`]);
    part("rest", Math.max(0, exchange.T_us - from));
    const cell = make("td", "text");
    cell.append(phases);
    line.append(make("td", "", time(exchange.T_us)), cell, make("td", "", time(exchange.ttft_us)),
      make("td", "", time(exchange.itl_max_us)), make("td", "", status), make("td", "text", exchange.route ?? "–"),
      make("td", "text", exchange.endpoint ?? "–"), make("td", "text", clock(Date.parse(exchange.time) / 1e3)),
      make("td", "text", exchange.request_id));
    return line;
  }));
}

byId("route").onchange = event => { state.route = event.target.value; show(); };
addEventListener("resize", () => state.stats && show());
listen();
askSlow();
