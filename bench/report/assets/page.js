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
    const content = packed ? Uint8Array.from(atob(held.textContent), (letter) => letter.charCodeAt(0)) : held.textContent;
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([content], { type: held.type }));
    link.download = button.dataset.name + (packed ? ".gz" : "");
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  });
}

// One after the other, when its place comes near: a page of thirty networks opens at once.
async function draw(place) {
  const spec = JSON.parse(document.getElementById(place.dataset.spec).textContent);
  try {
    await vegaEmbed(place, spec, { ast: true, actions: false, renderer: "svg", tooltip: { disableDefaultStyle: false } });
    place.dataset.drawn = "yes";
  } catch (problem) {
    place.textContent = `This chart could not be drawn (${problem.message}); the table below says the same.`;
  }
}
const near = new IntersectionObserver(
  (entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      near.unobserve(entry.target);
      draw(entry.target);
    }
  },
  { rootMargin: "800px" },
);
const places = [...document.querySelectorAll(".chart")];
places.forEach((place, index) => (index < 24 ? draw(place) : near.observe(place)));
window.addEventListener("beforeprint", () => {
  for (const one of document.querySelectorAll("figure details")) one.open = true;
});
