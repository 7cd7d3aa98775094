// Histograms of delays: a bar for each place of a list of counts. Place i is for less than 2^i
// microseconds and no less than half of that, the last one for all above.
"use strict";

const SHOWN = 24; // histograms at most

// within returns the delay in seconds that such a part of what was counted had at most.
function within(counts, part) {
  const all = counts.reduce((n, x) => n + x, 0);
  let seen = 0;
  for (const [i, n] of counts.entries()) {
    seen += n;
    if (n > 0 && seen >= part * all) return 2 ** i / 1e6;
  }
  return 0;
}

class Histograms {
  // options: title, delay (seconds to text), count (number to text).
  constructor(parent, options) {
    this.options = options;
    this.figures = new Map(); // name to its elements
    const card = document.createElement("div"), title = document.createElement("h2");
    card.className = "card";
    title.textContent = options.title;
    this.box = document.createElement("div");
    this.box.className = "histograms";
    card.append(title, this.box);
    parent.append(card);
  }

  // show draws lists of counts by their names, and those alone.
  show(lists) {
    const names = Object.keys(lists).slice(0, SHOWN);
    const before = [...this.figures.keys()].join("\n");
    for (const [name, f] of this.figures) {
      if (!names.includes(name) || f.bars.length !== lists[name].length) this.figures.delete(name);
    }
    for (const name of names) {
      if (!this.figures.has(name)) this.figures.set(name, this.make(name, lists[name].length));
      this.fill(this.figures.get(name), name, lists[name]);
    }
    if ([...this.figures.keys()].join("\n") !== before) this.box.replaceChildren(...names.map((n) => this.figures.get(n).figure));
  }

  // make returns the elements of a histogram with so many places.
  make(name, places) {
    const figure = document.createElement("figure"), caption = document.createElement("figcaption");
    const title = document.createElement("b"), text = document.createElement("span");
    const chart = document.createElement("div"), axis = document.createElement("div");
    title.textContent = name;
    caption.append(title, " ", text);
    chart.className = "bars";
    chart.setAttribute("role", "img");
    axis.className = "axis";
    axis.setAttribute("aria-hidden", "true");
    const bars = [];
    for (let i = 0; i < places; i++) {
      const bar = document.createElement("i");
      bars.push(bar);
      chart.append(bar);
    }
    // Where a unit begins: the place whose delays are no less.
    for (const [at, unit] of [[1, "1\u00a0\u00b5s"], [11, "1\u00a0ms"], [21, "1\u00a0s"]]) {
      if (at >= places) continue;
      const mark = document.createElement("span");
      mark.textContent = unit;
      mark.style.left = (100 * at) / places + "%";
      axis.append(mark);
    }
    figure.append(caption, chart, axis);
    return { figure, text, chart, bars };
  }

  // fill makes the fullest place as high as there is room, and a bar of each that has anything.
  fill(f, name, counts) {
    const { delay, count } = this.options;
    const all = counts.reduce((n, x) => n + x, 0), most = Math.max(...counts);
    f.text.textContent = all
      ? count(all) + (all === 1 ? " packet, half \u2264 " : " packets, half \u2264 ") + delay(within(counts, 0.5)) + ", 99\u00a0% \u2264 " + delay(within(counts, 0.99))
      : "no packet has waited";
    f.chart.setAttribute("aria-label", "Delays of " + name + ": " + f.text.textContent);
    for (const [i, n] of counts.entries()) {
      const bar = f.bars[i], last = i === counts.length - 1;
      bar.style.height = n > 0 ? "max(2px, " + ((100 * n) / most).toFixed(2) + "%)" : "0";
      bar.title = (last ? "at least " + delay(2 ** (i - 1) / 1e6) : "below " + delay(2 ** i / 1e6)) + ": " + count(n);
    }
  }
}
