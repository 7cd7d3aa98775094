// Looks at the page as soon as ready() is true after one of its changes.
async (ready) => {
  await new Promise((done) => {
    const look = () => { if (ready()) { watch.disconnect(); done(); } };
    const watch = new MutationObserver(look);
    watch.observe(document, { subtree: true, childList: true, characterData: true, attributes: true });
    look();
  });
  for (const summary of document.querySelectorAll("details:not([open]) > summary")) summary.click();
  const tables = {};
  for (const card of document.querySelectorAll("#tables > details")) {
    tables[card.id] = [...card.querySelectorAll("tbody tr")].map((row) => Object.fromEntries([...row.cells].map((c) => [c.dataset.name, c.textContent])));
  }
  const plots = [...document.querySelectorAll("#plots > .card")].map((card) => {
    const canvas = card.querySelector("canvas");
    const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
    copy.drawImage(canvas, 0, 0);
    const { data } = copy.getImageData(0, 0, canvas.width, canvas.height);
    let colour = 0; // pixels of a line, whose edges are half clear
    for (let i = 0; i < data.length; i += 4) {
      if (data[i + 3] > 96 && Math.max(data[i], data[i + 1], data[i + 2]) - Math.min(data[i], data[i + 1], data[i + 2]) > 60) colour++;
    }
    return { title: card.querySelector("h2").textContent, lines: [...card.querySelectorAll("li")].map((li) => li.textContent), colour };
  });
  const histograms = [...document.querySelectorAll("#delays figure")].map((f) => ({ name: f.querySelector("b").textContent, bars: f.querySelectorAll(".bars i").length }));
  const out = (e) => { const r = e.getBoundingClientRect(); return r.left < -0.5 || r.right > innerWidth + 0.5; };
  return {
    state: document.getElementById("state").dataset.state,
    note: !document.getElementById("note").hidden,
    width: innerWidth,
    scroll: document.documentElement.scrollWidth,
    wide: [...document.body.querySelectorAll("*")].filter(out).map((e) => e.outerHTML.slice(0, 100)),
    tables, plots, histograms,
  };
}
