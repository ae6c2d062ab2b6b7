"use strict";
// Everything here improves a page that can be read without it: charts have tables, tables have their order.
const root = document.documentElement;
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const THEMES = ["auto", "light", "dark"];
let theme = "auto";

function paint() {
  root.dataset.theme = theme === "auto" ? (dark.matches ? "dark" : "light") : theme;
  document.getElementById("theme").textContent = `Theme: ${theme}`;
}
document.getElementById("theme").addEventListener("click", () => {
  theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
  paint();
});
dark.addEventListener("change", paint);
paint();

function sortBy(table, column, descending) {
  const body = table.tBodies[0];
  const key = (row) => {
    const value = row.cells[column].dataset.value;
    return value === undefined ? row.cells[column].textContent : value === "" ? null : Number(value);
  };
  const rows = [...body.rows].sort((one, other) => {
    const [a, b] = [key(one), key(other)];
    if (a === null || b === null) return (a === null) - (b === null); // what is unknown stays below
    const order = typeof a === "number" ? a - b : a.localeCompare(b);
    return descending ? -order : order;
  });
  body.append(...rows);
}
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const heading = button.closest("th");
    const descending = heading.getAttribute("aria-sort") === "ascending";
    for (const other of heading.parentElement.cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
    sortBy(heading.closest("table"), heading.cellIndex, descending);
  });
}

function tabSeparated(table) {
  const text = (cell) => (cell.querySelector("button, bdi") || cell).textContent.replace(/\s+/g, " ").trim();
  return [...table.rows].map((row) => [...row.cells].map(text).join("\t")).join("\n") + "\n";
}
for (const button of document.querySelectorAll("button[data-copy]")) {
  button.addEventListener("click", async () => {
    const text = tabSeparated(document.getElementById(button.dataset.copy));
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const area = document.createElement("textarea"); // a page from a file may be refused the clipboard
      area.value = text;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
      button.focus();
    }
    document.getElementById("told").textContent = "Copied: paste it into a spreadsheet.";
  });
}

for (const button of document.querySelectorAll("button[data-record]")) {
  button.addEventListener("click", () => {
    const held = document.getElementById(button.dataset.record);
    const packed = held.type === "application/gzip";
    const content = packed ? bytesOf(held) : held.textContent;
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([content], { type: held.type }));
    link.download = button.dataset.name + (packed ? ".gz" : "");
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  });
}

const LABEL_SHARE = 0.25; // of a chart's width: longer names end in an ellipsis
const config = JSON.parse(document.getElementById("config").textContent);
const bytesOf = (held) => Uint8Array.from(atob(held.textContent), (letter) => letter.charCodeAt(0));
const packs = new Map();
function unpacked(name) {
  if (!packs.has(name)) {
    const packed = new Blob([bytesOf(document.getElementById(name))]).stream();
    packs.set(name, new Response(packed.pipeThrough(new DecompressionStream("gzip"))).json());
  }
  return packs.get(name);
}
async function draw(place) {
  try {
    const spec = (await unpacked(place.dataset.pack))[place.dataset.spec];
    const axis = { ...config.axis, labelLimit: Math.max(config.axis.labelLimit * 0.8, place.clientWidth * LABEL_SHARE) };
    await vegaEmbed(place, { ...spec, config: { ...config, axis } }, { ast: true, actions: false, renderer: "svg", tooltip: { disableDefaultStyle: false } });
    place.dataset.drawn = "yes";
  } catch (problem) {
    place.textContent = `This chart could not be drawn (${problem.message}); the table below says the same.`;
    place.dataset.drawn = "no";
  }
}

// One after the other, from the top, with a pause for whoever scrolls: a page of thirty networks opens at once. What is
// folded up is drawn when it is opened.
let drawing = false;
async function drawShown() {
  if (drawing) return;
  drawing = true;
  for (;;) {
    const next = [...document.querySelectorAll(".chart:not([data-drawn])")].find((place) => !place.closest("details:not([open])"));
    if (!next) break;
    await draw(next);
    await new Promise((go) => setTimeout(go, 0));
  }
  drawing = false;
}
const folded = [...document.querySelectorAll("details.record")];
for (const one of folded) one.addEventListener("toggle", drawShown);

function openTarget() {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const record = target && target.closest("details.record");
  if (!record) return;
  record.open = true;
  target.scrollIntoView();
}
window.addEventListener("hashchange", openTarget);
openTarget();
drawShown();

window.addEventListener("beforeprint", () => {
  for (const one of document.querySelectorAll("details:not(.record)")) one.open = true;
});
