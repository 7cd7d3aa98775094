// The routing page: what IS-IS of the machine knows, each second. What comes from outside gets
// into the page as text alone.
"use strict";

const ROWS = 200; // of a table that are shown
const byId = (id) => document.getElementById(id);
const list = (x) => (Array.isArray(x) ? x.filter((r) => r && typeof r === "object") : []);
const number = (x) => (typeof x === "number" && Number.isFinite(x) ? x : 0);
const once = () => Object.create(null);

function element(name, text, className) {
  const e = document.createElement(name);
  if (text !== undefined) e.textContent = text;
  if (className) e.className = className;
  return e;
}

function shape(name, attributes) {
  const e = document.createElementNS(byId("graph").namespaceURI, name);
  for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
  return e;
}

// The graph. A node stays where it is as long as it is there; new ones find a place by springs.
const WIDTH = 1000, HEIGHT = 560;
const places = once(); // by level and ID
let level = 0, chosen = "";

function settle(nodes, links) {
  const at = (id) => places[level + " " + id];
  let fresh = 0;
  nodes.forEach((n, i) => {
    if (at(n.id)) return;
    const turn = (2 * Math.PI * i) / nodes.length;
    places[level + " " + n.id] = { x: WIDTH / 2 + 200 * Math.cos(turn), y: HEIGHT / 2 + 160 * Math.sin(turn) };
    fresh++;
  });
  if (!fresh) return;
  const rest = Math.min(120, 600 / Math.sqrt(nodes.length + 1));
  for (let round = 0; round < 150; round++) {
    const heat = 20 * (1 - round / 150);
    const push = nodes.map(() => ({ x: 0, y: 0 }));
    for (let i = 0; i < nodes.length; i++) {
      for (let j = 0; j < i; j++) {
        const a = at(nodes[i].id), b = at(nodes[j].id);
        const dx = a.x - b.x || 0.1, dy = a.y - b.y || 0.1, d2 = dx * dx + dy * dy;
        const f = (rest * rest) / d2;
        push[i].x += dx * f; push[i].y += dy * f; push[j].x -= dx * f; push[j].y -= dy * f;
      }
    }
    const index = new Map(nodes.map((n, i) => [n.id, i]));
    for (const l of links) {
      const i = index.get(l.from), j = index.get(l.to);
      if (i === undefined || j === undefined) continue;
      const a = at(l.from), b = at(l.to), dx = a.x - b.x, dy = a.y - b.y, f = Math.hypot(dx, dy) / rest / 2;
      push[i].x -= dx * f; push[i].y -= dy * f; push[j].x += dx * f; push[j].y += dy * f;
    }
    nodes.forEach((n, i) => {
      const p = at(n.id), d = Math.hypot(push[i].x, push[i].y) || 1, s = Math.min(d, heat) / d;
      p.x = Math.max(40, Math.min(WIDTH - 40, p.x + push[i].x * s));
      p.y = Math.max(30, Math.min(HEIGHT - 30, p.y + push[i].y * s));
    });
  }
}

function draw(all) {
  const levels = [...new Set(list(all.nodes).map((n) => n.level))].sort();
  if (!levels.includes(level)) level = levels[levels.length - 1] || 0;
  const choice = levels.map((n) => {
    const b = element("button", "Level " + n);
    b.type = "button";
    b.setAttribute("aria-pressed", String(n === level));
    b.addEventListener("click", () => { level = n; draw(all); });
    return b;
  });
  byId("levels").replaceChildren(...(levels.length > 1 ? choice : []));
  const nodes = list(all.nodes).filter((n) => n.level === level), links = list(all.links).filter((l) => l.level === level);
  byId("size").textContent = nodes.filter((n) => !n.lan).length + " routers, " + links.length / 2 + " links";
  settle(nodes, links);
  const at = (id) => places[level + " " + id];
  const parts = [], seen = new Set();
  for (const l of links) {
    const a = at(l.from), b = at(l.to);
    if (!a || !b || seen.has(l.to + l.from)) continue;
    seen.add(l.from + l.to);
    const kind = l.ipv4 && l.ipv6 ? "link" : "link half";
    parts.push(shape("line", { x1: a.x, y1: a.y, x2: b.x, y2: b.y, class: kind }));
    if (nodes.length <= 40 && l.metric) {
      const t = shape("text", { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 - 4, class: "metric" });
      t.textContent = l.metric;
      parts.push(t);
    }
  }
  for (const n of nodes) {
    const p = at(n.id), g = shape("g", { class: "node" + (n.own ? " own" : "") + (n.id === chosen ? " chosen" : ""), tabindex: 0 });
    g.append(shape("circle", { cx: p.x, cy: p.y, r: n.lan ? 5 : 13 }));
    if (!n.lan && nodes.length <= 120) {
      const t = shape("text", { x: p.x, y: p.y + 28 });
      t.textContent = String(n.name).slice(0, 24);
      g.append(t);
    }
    const choose = () => { chosen = n.id; tell(n); draw(all); };
    g.addEventListener("click", choose);
    g.addEventListener("keydown", (e) => { if (e.key === "Enter") choose(); });
    parts.push(g);
  }
  byId("graph").replaceChildren(...parts);
  const now = nodes.find((n) => n.id === chosen);
  if (now) tell(now);
}

function tell(n) {
  const far = (x) => (typeof x === "number" ? "at " + x : "not reached");
  byId("chosen").textContent = n.lan ? "LAN " + n.name : n.name + " (" + n.id + "): IPv4 " + far(n.ipv4_metric) + ", IPv6 " + far(n.ipv6_metric);
}

// The tables, made once, so that a reader's place is kept.
const cards = once();
function show(id, title, none, names, rows) {
  if (!cards[id]) {
    const all = element("details", undefined, "card"), head = element("summary"), h = element("h2", title + " "), size = element("small"), body = element("div");
    all.id = id;
    all.open = true;
    h.append(size);
    head.append(h);
    all.append(head, body);
    byId("tables").append(all);
    cards[id] = { size, body };
  }
  const { size, body } = cards[id];
  size.textContent = rows.length > ROWS ? ROWS + " of " + rows.length : String(rows.length);
  if (!rows.length) {
    body.replaceChildren(element("p", none, "empty"));
    return;
  }
  const table = element("table"), head = element("thead"), tr = element("tr"), rest = element("tbody");
  for (const n of names) tr.append(element("th", n));
  head.append(tr);
  for (const r of rows.slice(0, ROWS)) {
    const line = element("tr");
    r.forEach((v, i) => {
      const td = element("td");
      td.dataset.name = names[i];
      td.append(v instanceof Node ? v : element("span", v === undefined || v === null ? "" : String(v).slice(0, 300)));
      line.append(td);
    });
    rest.append(line);
  }
  table.append(head, rest);
  body.replaceChildren(table);
}

// fact is one of the four: good, or what is missing.
const fact = (good, why) => element("span", good ? "yes" : why, good ? "good" : "bad");

function neighbours(rows) {
  show("neighbours", "Adjacencies", "No neighbour has been heard.", ["neighbour", "interface", "state", "IPv4 here", "IPv6 here", "IPv4 there", "IPv6 there", "why it waits"],
    rows.map((r) => {
      const f = r.facts && typeof r.facts === "object" ? r.facts : {};
      return [r.system_id, r.interface, element("span", r.state, r.state === "Up" ? "good" : "bad"),
        fact(f.our_ipv4 === "ok", f.our_ipv4), fact(f.our_ipv6 === "ok", f.our_ipv6), fact(f.peer_ipv4 === true, "no"), fact(f.peer_ipv6 === true, "no"), r.why];
    }));
}

function times(rows) {
  const most = Math.max(1, ...rows.map((r) => number(r.took_ns)));
  show("runs", "SPF runs", "SPF has not run.", ["when", "level", "took", "", "nodes", "events", "first trigger"],
    rows.map((r) => {
      const m = element("meter");
      m.max = most;
      m.value = number(r.took_ns);
      m.setAttribute("aria-label", "of the longest");
      return [r.when + " ago", r.level, (number(r.took_ns) / 1e6).toFixed(2) + " ms", m, r.nodes, r.count, r.first_trigger_lsp];
    }));
}

function routes(id, title, rows) {
  show(id, title, "None.", ["prefix", "metric", "interface", "next hop", "source"], rows.map((r) => [r.prefix, r.metric, r.interface, r.nexthop, r.source]));
}

function say(state, text) {
  byId("state").dataset.state = state;
  byId("state").textContent = text;
}

async function ask() {
  try {
    const answer = await fetch("/stats.json", { signal: AbortSignal.timeout(5000) });
    if (!answer.ok) throw new Error("HTTP " + answer.status);
    const all = (await answer.json()).routing;
    byId("note").hidden = Boolean(all);
    if (!all) {
      byId("note").textContent = all === null ? "IS-IS is not running: router isis net NET starts it." : "This image has no routing protocol, or this program may not observe the machine.";
    } else {
      draw(all);
      neighbours(list(all.neighbors));
      show("interfaces", "Interfaces", "None.", ["interface", "type", "level", "metric", "up", "IPv4", "IPv6", "DIS", "drops"],
        list(all.interfaces).map((r) => [r.interface, r.type, r.level, r.metric, r.up, r.ipv4, r.ipv6, r.dis, r.drops]));
      routes("routes4", "IPv4 routes", list(all.ipv4));
      routes("routes6", "IPv6 routes", list(all.ipv6));
      times(list(all.runs));
      show("events", "Events", "None.", ["when", "event"], list(all.events).map((r) => [r.when + " ago", r.event]));
    }
    say("live", "live");
  } catch (e) {
    say("lost", "no answer");
  }
  setTimeout(ask, 1000);
}
ask();
