"use strict";

// Tables: a click on a column's head sorts by it, a second one turns the order round; what has no value stays last.
function sortBy(table, column, descending) {
  const key = row => {
    const cell = row.cells[column];
    return cell.classList.contains("number") ? parseFloat(cell.dataset.value) : cell.textContent;
  };
  const missing = value => Number.isNaN(value);
  const order = (a, b) => {
    const [x, y] = [key(a), key(b)];
    if (missing(x) || missing(y)) return missing(x) - missing(y);
    const found = typeof x === "number" ? x - y : x.localeCompare(y, "en", { numeric: true });
    return descending ? -found : found;
  };
  table.tBodies[0].append(...[...table.tBodies[0].rows].sort(order));
  for (const head of table.tHead.rows[0].cells) head.removeAttribute("aria-sort");
  table.tHead.rows[0].cells[column].setAttribute("aria-sort", descending ? "descending" : "ascending");
}

for (const table of document.querySelectorAll("table.sortable")) {
  for (const head of table.tHead.rows[0].cells) {
    const button = head.querySelector("button");
    if (!button) continue;
    button.addEventListener("click", () =>
      sortBy(table, head.cellIndex, head.getAttribute("aria-sort") === "ascending"));
  }
}

// Pictures in tables: a click shows one large.
const dialog = document.querySelector("dialog");
dialog.addEventListener("click", () => dialog.close());
for (const image of document.querySelectorAll("td img")) {
  image.addEventListener("click", () => {
    const large = document.createElement("img");
    large.src = image.src;
    large.alt = image.alt;
    dialog.replaceChildren(large);
    dialog.showModal();
  });
}

// Figures: plotly's script is unpacked for the first one that comes near, and each is drawn when it does.
const bytes = text => Uint8Array.from(atob(text), sign => sign.charCodeAt(0));
const drawn = new Map();
let unpacked = null;

async function unpack() {
  const packed = new Blob([bytes(document.getElementById("plotly").textContent)]);
  const script = document.createElement("script");
  script.textContent = await new Response(packed.stream().pipeThrough(new DecompressionStream("gzip"))).text();
  document.head.append(script);
}

async function drawOnce(place) {
  unpacked ??= unpack();
  await unpacked;
  const { data, layout } = JSON.parse(document.getElementById(`${place.id}-data`).textContent);
  await Plotly.newPlot(place, data, layout, { displayModeBar: false, responsive: true });
}

function draw(place) {
  if (!drawn.has(place.id)) drawn.set(place.id, drawOnce(place));
  return drawn.get(place.id);
}

const near = new IntersectionObserver(
  seen => { for (const entry of seen) if (entry.isIntersecting) { near.unobserve(entry.target); draw(entry.target); } },
  { rootMargin: "400px" });
for (const place of document.querySelectorAll(".figure > div")) near.observe(place);

// Thresholds: the slider moves the numbers, the line in the figure and the masks.
const COLOURS = { right: [46, 160, 67], missed: [33, 118, 210], extra: [214, 69, 45] };
const shown = value => value === null ? "–" : value.toFixed(4);

function paint(canvas, picture, threshold) {
  const context = canvas.getContext("2d");
  const out = context.createImageData(picture.width, picture.height);
  for (let i = 0; i < picture.grey.length; i++) {
    const said = picture.probs[i] >= threshold, truth = picture.truth[i];
    const part = truth === 2 ? null : said && truth ? "right" : truth ? "missed" : said ? "extra" : null;
    for (let c = 0; c < 3; c++) {
      const grey = picture.grey[i];
      out.data[4 * i + c] = part ? 0.45 * grey + 0.55 * COLOURS[part][c] : grey;
    }
    out.data[4 * i + 3] = 255;
  }
  context.putImageData(out, 0, 0);
}

function moveTo(data, threshold) {
  const put = (name, value) => { document.getElementById(name).textContent = value; };
  const best = Math.max(...data.score);
  put("at", `${(threshold / 255).toFixed(4)} (${threshold} of 255)`);
  put("score", shown(data.score[threshold]));
  put("lost", shown(best - data.score[threshold]));
  put("noise", data.noise ? `± ${shown(2 * data.noise[threshold])}` : "not measured");
  put("within", data.within ? (data.within[threshold] ? "yes" : "no") : "not measured");
  put("precision", shown(data.precision[threshold]));
  put("recall", shown(data.recall[threshold]));
  data.parts.forEach((part, index) => put(`part-${index}`, shown(part.score[threshold])));
  data.pictures.forEach((picture, index) => {
    paint(document.getElementById(`canvas-${index}`), picture, threshold);
    put(`own-${index}`, shown(picture.score[threshold]));
  });
}

const source = document.getElementById("thresholds-data");
if (source) {
  const data = JSON.parse(source.textContent);
  for (const picture of data.pictures) {
    for (const name of ["grey", "probs", "truth"]) picture[name] = bytes(picture[name]);
  }
  const slider = document.getElementById("slider");
  const line = async () => {
    const figure = document.getElementById("thresholds-figure");
    await draw(figure);
    Plotly.relayout(figure, {
      [`shapes[${data.line}].x0`]: slider.value / 255, [`shapes[${data.line}].x1`]: slider.value / 255 });
  };
  slider.addEventListener("input", () => { moveTo(data, Number(slider.value)); line(); });
  moveTo(data, Number(slider.value));
}
