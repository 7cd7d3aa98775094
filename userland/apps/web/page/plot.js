// A plot of the last 60 seconds: lines of numbers that are never negative.
"use strict";

const SPAN = 60; // seconds
const COLOURS = ["--c0", "--c1", "--c2", "--c3", "--c4", "--c5"];

// nice returns the next number at or above x that reads well as the top of an axis.
function nice(x, base) {
  if (!(x > 0)) return 1;
  let unit = 1;
  while (base === 1024 && unit * 1024 <= x) unit *= 1024;
  const ten = Math.pow(10, Math.floor(Math.log10(x / unit)));
  for (const m of [1, 2, 5, 10]) {
    if (m * ten * unit >= x) return m * ten * unit;
  }
  return x;
}

class Plot {
  // options: title, format (number to text), top (fixed top of the axis), base (1024 for bytes).
  constructor(parent, options) {
    this.options = options;
    this.lines = new Map(); // name to list of {time, value}
    const card = document.createElement("div");
    card.className = "card";
    const title = document.createElement("h2");
    title.textContent = options.title;
    this.canvas = document.createElement("canvas");
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", options.title + ", last 60 seconds");
    this.legend = document.createElement("ul");
    this.legend.className = "legend";
    card.append(title, this.canvas, this.legend);
    parent.append(card);
  }

  // add takes in values, name to number, of a moment in seconds.
  add(time, values) {
    for (const [name, value] of Object.entries(values)) {
      if (!Number.isFinite(value)) continue;
      if (!this.lines.has(name)) this.lines.set(name, []);
      this.lines.get(name).push({ time, value });
    }
    for (const [name, line] of this.lines) {
      while (line.length && line[0].time < time - SPAN - 2) line.shift();
      if (!line.length) this.lines.delete(name);
    }
    this.now = time;
    this.draw();
  }

  clear() { this.lines.clear(); this.draw(); }

  draw() {
    const style = getComputedStyle(document.documentElement);
    const ratio = window.devicePixelRatio || 1;
    const width = this.canvas.clientWidth, height = this.canvas.clientHeight;
    if (!width || !height) return;
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    const c = this.canvas.getContext("2d");
    c.scale(ratio, ratio);
    // The lines with the largest values of now, as many as there are colours.
    const last = (line) => line[line.length - 1].value;
    const shown = [...this.lines].sort((a, b) => last(b[1]) - last(a[1])).slice(0, COLOURS.length);
    shown.sort((a, b) => (a[0] < b[0] ? -1 : 1));
    let most = 0;
    for (const [, line] of shown) for (const p of line) most = Math.max(most, p.value);
    const top = this.options.top || nice(most, this.options.base);
    const bottom = height - 18, head = 8;
    const y = (v) => bottom - (Math.min(v, top) / top) * (bottom - head);
    const x = (t) => width - ((this.now - t) / SPAN) * width;

    c.font = "12px system-ui, sans-serif";
    c.fillStyle = style.getPropertyValue("--soft");
    c.strokeStyle = style.getPropertyValue("--grid");
    c.lineWidth = 1;
    for (const part of [0, 0.5, 1]) {
      const at = Math.round(y(top * part)) + 0.5;
      c.beginPath(); c.moveTo(0, at); c.lineTo(width, at); c.stroke();
    }
    c.textBaseline = "alphabetic";
    c.textAlign = "left"; c.fillText("60 s ago", 0, height - 3);
    c.textAlign = "right"; c.fillText("now", width, height - 3);
    this.legend.replaceChildren();
    shown.forEach(([name, line], i) => {
      const colour = style.getPropertyValue(COLOURS[i]).trim();
      c.strokeStyle = colour;
      c.lineWidth = 1.75;
      c.lineJoin = "round";
      c.beginPath();
      let before = null;
      for (const p of line) {
        // A gap in time is a gap in the line.
        if (before === null || p.time - before > 3.5) c.moveTo(x(p.time), y(p.value));
        else c.lineTo(x(p.time), y(p.value));
        before = p.time;
      }
      c.stroke();
      const item = document.createElement("li"), mark = document.createElement("i"), text = document.createElement("span");
      mark.style.background = colour;
      text.textContent = name + " " + this.options.format(last(line));
      item.append(mark, text);
      this.legend.append(item);
    });
    c.fillStyle = style.getPropertyValue("--soft");
    c.textAlign = "left";
    c.textBaseline = "top";
    c.fillText(this.options.format(top), 0, head + 2);
  }
}
