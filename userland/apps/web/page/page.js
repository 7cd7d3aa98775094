// The page: asks each second and shows the answer. What comes from outside gets
// into the page as text alone.
"use strict";

const ROWS = 100; // of a table that are shown
const byId = (id) => document.getElementById(id);

const scaled = (x, base, units) => {
  let i = 0;
  while (x >= base && i < units.length - 1) { x /= base; i++; }
  const digits = x >= 100 || x === Math.round(x) ? 0 : x >= 10 ? 1 : 2;
  return x.toFixed(digits) + (units[i] ? "\u00a0" + units[i] : "");
};
const bytes = (x) => scaled(x, 1024, ["B", "KiB", "MiB", "GiB", "TiB"]);
const bits = (x) => scaled(x, 1000, ["bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s"]);
const count = (x) => scaled(x, 1000, ["", "k", "M", "G", "T"]);
const rate = (x) => count(x).replace("\u00a0", "") + "/s";
const percent = (x) => (x < 9.95 ? x.toFixed(1) : x.toFixed(0)) + "\u00a0%";

const number = (x) => (typeof x === "number" && Number.isFinite(x) ? x : 0);
const list = (x) => (Array.isArray(x) ? x.filter((r) => r && typeof r === "object") : []);
const sum = (rows, key) => rows.reduce((n, r) => n + number(r[key]), 0);
// once keeps an object's keys apart from those that every object has.
const once = () => Object.create(null);

// Columns that have an own look; all others are shown as they come.
const LOOKS = {
  memory: bytes, peak: bytes, quota: bytes, bytes: bytes, tx_bytes: bytes, rx_bytes: bytes,
  tx_packets: count, rx_packets: count, cpu: (x) => x.toFixed(2) + "\u00a0s",
};
// Numbers that name things are not for adding up.
const LABELS = new Set(["id", "channel"]);
// Tables that are open on a phone too.
const SHORT = new Set(["domains", "drops"]);
const TABLES = [
  ["domains", "Domains", "None."],
  ["channels", "Channels", "No domain has a channel."],
  ["rings", "Rings", "No rings."],
  ["flows", "Flows", "No flows."],
  ["pools", "Pools", "No pools."],
  ["qdisc", "Queue in front of the card", "No card."],
  ["drops", "Drops", "Nothing has been dropped."],
];

// columns returns the keys of rows, in the order in which they come first, but for lists.
function columns(rows) {
  const names = new Set();
  for (const r of rows) for (const [k, v] of Object.entries(r)) if (!Array.isArray(v)) names.add(k);
  return [...names].slice(0, 16);
}

function cell(row, name) {
  const td = document.createElement("td");
  td.dataset.name = name.replaceAll("_", " ");
  const v = row[name];
  const span = document.createElement("span");
  if (typeof v === "number") {
    if (!LABELS.has(name)) td.className = "number";
    span.textContent = LOOKS[name] ? LOOKS[name](v) : LABELS.has(name) ? String(v) : v.toLocaleString("en");
  } else {
    span.textContent = v === undefined || v === null ? "" : String(v).slice(0, 200);
  }
  td.append(span);
  const most = name === "memory" ? row.quota : 0;
  if (number(most) > 0 && typeof v === "number") {
    const m = document.createElement("meter");
    m.max = most; m.value = v;
    m.setAttribute("aria-label", name + " of " + most);
    span.append(m);
  }
  return td;
}

// The cards of the tables, made once, so that a reader's place is kept.
const cards = once();
function card(id, title) {
  if (!cards[id]) {
    const all = document.createElement("details"), head = document.createElement("summary"), body = document.createElement("div");
    const h = document.createElement("h2"), size = document.createElement("small");
    all.className = "card";
    all.id = id;
    all.open = SHORT.has(id) || window.innerWidth >= 800;
    h.append(title + " ", size);
    head.append(h);
    all.append(head, body);
    byId("tables").append(all);
    cards[id] = { size, body };
  }
  return cards[id];
}

function showTable(id, title, none, rows) {
  const { size, body } = card(id, title);
  size.textContent = rows.length > ROWS ? ROWS + " of " + rows.length : String(rows.length);
  if (!rows.length) {
    const p = document.createElement("p");
    p.className = "empty";
    p.textContent = none;
    body.replaceChildren(p);
    return;
  }
  const names = columns(rows);
  const table = document.createElement("table"), head = document.createElement("thead"), tr = document.createElement("tr"), rest = document.createElement("tbody");
  for (const n of names) {
    const th = document.createElement("th");
    th.textContent = n.replaceAll("_", " ");
    if (!LABELS.has(n) && rows.some((r) => typeof r[n] === "number")) th.className = "number";
    tr.append(th);
  }
  head.append(tr);
  for (const r of rows.slice(0, ROWS)) {
    const line = document.createElement("tr");
    for (const n of names) line.append(cell(r, n));
    rest.append(line);
  }
  table.append(head, rest);
  body.replaceChildren(table);
}

function showFacts(facts) {
  byId("facts").replaceChildren(...facts.map(([name, value]) => {
    const div = document.createElement("div"), b = document.createElement("b"), span = document.createElement("span");
    div.className = "fact";
    b.textContent = value; span.textContent = name;
    div.append(b, span);
    return div;
  }));
}

function uptime(ns) {
  const s = Math.floor(ns / 1e9);
  if (s < 60) return s + " s";
  if (s < 3600) return Math.floor(s / 60) + " min";
  if (s < 86400) return Math.floor(s / 3600) + " h " + Math.floor((s % 3600) / 60) + " min";
  return Math.floor(s / 86400) + " d " + Math.floor((s % 86400) / 3600) + " h";
}

// waiting returns how full a ring is with what one side has put into it and the
// other has not taken, in percent. The alloc ring is a supply; nothing waits in it.
function waiting(r) {
  const most = number(r.slots) - 1;
  return most > 0 && r.kind !== "alloc" ? (100 * number(r.used)) / most : 0;
}

// growth returns how much counters have grown in a second, all together. One that
// is smaller than before has started again and says nothing.
function growth(now, before, seconds) {
  let n = 0;
  for (const [k, v] of Object.entries(now)) n += k in before && v >= before[k] ? v - before[k] : 0;
  return n / seconds;
}
const counters = (rows, id, key) => {
  const all = once();
  for (const r of rows) all[String(r[id])] = number(r[key]);
  return all;
};

// late returns the delay in seconds that 99 of a hundred packets had at most of those that
// have left since.
const late = (now, before) => within(now.map((n, i) => Math.max(0, n - number(before[i]))), 0.99);
// histograms are those of the queues and their classes, by their names.
function histograms(rows) {
  const all = once();
  for (const r of rows) {
    if (Array.isArray(r.delays) && r.delays.length) all[r.class === "all" ? String(r.dev) : r.dev + " " + r.class] = r.delays.slice(0, 64).map((n) => Math.max(0, number(n)));
  }
  return all;
}
const delay = (x) => scaled(x * 1e6, 1000, ["\u00b5s", "ms", "s"]);

let plots = null, delays = null, mode = "", previous = null;
function makePlots(kind) {
  if (mode === kind) return;
  mode = kind; previous = null;
  byId("plots").replaceChildren();
  byId("delays").replaceChildren();
  byId("tables").replaceChildren();
  for (const k of Object.keys(cards)) delete cards[k];
  delays = kind === "machine" ? new Histograms(byId("delays"), { title: "Delays in front of the card", delay, count }) : null;
  const make = (options) => new Plot(byId("plots"), options);
  plots = kind === "machine" ? {
    traffic: make({ title: "Traffic", format: bits }),
    packets: make({ title: "Packets", format: rate }),
    cpu: make({ title: "Processor by domain", format: percent }),
    memory: make({ title: "Memory by domain", format: bytes, base: 1024 }),
    rings: make({ title: "Fullest ring of a channel", format: percent, top: 100 }),
    pools: make({ title: "Packets and buffers lent", format: count }),
    flows: make({ title: "Flows", format: count }),
    drops: make({ title: "Drops", format: rate }),
    delay: make({ title: "Delay in front of the card, of 99 %", format: delay }),
  } : {
    heap: make({ title: "Heap", format: bytes, base: 1024 }),
    allocations: make({ title: "Allocated", format: (x) => bytes(x) + "/s", base: 1024 }),
    goroutines: make({ title: "Goroutines", format: count }),
    collections: make({ title: "Collections", format: rate }),
  };
}

function showMachine(s) {
  makePlots("machine");
  const time = number(s.time_ns) / 1e9;
  const domains = list(s.domains), channels = list(s.channels), rings = list(s.rings), flows = list(s.flows), pools = list(s.pools), drops = list(s.drops), queues = list(s.qdisc);
  const now = {
    time,
    out: counters(channels, "id", "tx_bytes"), in: counters(channels, "id", "rx_bytes"),
    outPackets: counters(channels, "id", "tx_packets"), inPackets: counters(channels, "id", "rx_packets"),
    cpu: counters(domains, "name", "cpu"), drops: counters(drops, "reason", "count"),
    delays: histograms(queues),
  };
  if (previous && time < previous.time) { // the machine has started again
    previous = null;
    for (const p of Object.values(plots)) p.clear();
  }
  const memory = once(), full = once(), byState = once(), lent = once();
  for (const d of domains) if (number(d.memory) > 0) memory[String(d.name)] = number(d.memory);
  for (const r of rings) {
    const k = "channel " + r.channel;
    full[k] = Math.max(full[k] || 0, waiting(r));
  }
  for (const f of flows) byState[String(f.proto)] = (byState[String(f.proto)] || 0) + 1;
  for (const p of pools) lent[String(p.domain)] = (lent[String(p.domain)] || 0) + number(p.loaned) + number(p.lent);
  plots.memory.add(time, memory);
  plots.rings.add(time, full);
  plots.pools.add(time, lent);
  const paused = sum(queues, "paused");
  if (paused) byState["to pause"] = paused;
  plots.flows.add(time, byState);
  delays.show(now.delays);
  let speed = "";
  if (previous && time > previous.time) {
    const seconds = time - previous.time;
    const out = 8 * growth(now.out, previous.out, seconds), into = 8 * growth(now.in, previous.in, seconds);
    speed = bits(out + into);
    plots.traffic.add(time, { out, in: into });
    plots.packets.add(time, { out: growth(now.outPackets, previous.outPackets, seconds), in: growth(now.inPackets, previous.inPackets, seconds) });
    const cpu = once();
    for (const [k, v] of Object.entries(now.cpu)) if (k in previous.cpu && v >= previous.cpu[k]) cpu[k] = (100 * (v - previous.cpu[k])) / seconds;
    plots.cpu.add(time, cpu);
    plots.drops.add(time, { drops: growth(now.drops, previous.drops, seconds) });
    const slowest = once();
    for (const [k, v] of Object.entries(now.delays)) slowest[k] = late(v, previous.delays[k] || []);
    plots.delay.add(time, slowest);
  }
  if (!previous || time > previous.time) previous = now;
  showFacts([
    ["up", uptime(number(s.time_ns))], ["domains", String(domains.length)], ["channels", String(channels.length)],
    ["flows", String(flows.length)], ["traffic", speed || "\u2013"], ["drops", count(sum(drops, "count"))],
  ]);
  for (const [id, title, none] of TABLES) {
    const rows = id === "drops" ? drops.filter((d) => number(d.count) > 0) : list(s[id]);
    showTable(id, title, none, rows);
  }
}

function showProcess(s) {
  makePlots("process");
  const p = s.process, time = number(s.time_ns) / 1e9;
  plots.heap.add(time, { "in use": number(p.heap), "from the system": number(p.memory) });
  plots.goroutines.add(time, { goroutines: number(p.goroutines) });
  if (previous && time < previous.time) {
    previous = null;
    for (const one of Object.values(plots)) one.clear();
  }
  if (previous && time > previous.time) {
    const seconds = time - previous.time;
    plots.allocations.add(time, { allocated: (number(p.allocated) - previous.allocated) / seconds });
    plots.collections.add(time, { collections: (number(p.collections) - previous.collections) / seconds });
  }
  if (!previous || time > previous.time) previous = { time, allocated: number(p.allocated), collections: number(p.collections) };
  showFacts([
    ["up", uptime(number(s.time_ns))], ["Go", String(p.go)], ["processors", String(p.cpus)], ["goroutines", String(p.goroutines)],
    ["heap", bytes(number(p.heap))], ["collections", count(number(p.collections))],
  ]);
}

function say(state, text) {
  const p = byId("state");
  p.dataset.state = state;
  if (p.textContent !== text) p.textContent = text;
}

const NOTES = {
  outside: "This program runs outside of Sluice. The numbers are its own.",
  forbidden: "This domain may not observe the machine. The numbers are its own.",
};

async function poll() {
  try {
    const answer = await fetch("/stats.json", { cache: "no-store", signal: AbortSignal.timeout(5000) });
    if (!answer.ok) throw new Error("status " + answer.status);
    const s = await answer.json();
    if (!s || typeof s !== "object") throw new Error("no numbers");
    const note = s.process ? NOTES[s.process.why] || NOTES.outside : "";
    byId("note").textContent = note;
    byId("note").hidden = !note;
    if (s.process) showProcess(s); else showMachine(s);
    say("live", "live");
  } catch (e) {
    say("lost", "no answer");
  }
}

async function run() {
  for (;;) {
    const start = performance.now();
    if (!document.hidden) await poll();
    await new Promise((done) => setTimeout(done, Math.max(100, 1000 - (performance.now() - start))));
  }
}

const redraw = () => { for (const p of Object.values(plots || {})) p.draw(); };
window.addEventListener("resize", redraw);
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
run();
