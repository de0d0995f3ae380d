"use strict";
const folds = [...document.querySelectorAll("main details")];
const contents = document.querySelector("nav details");

const place = (link) => decodeURIComponent(link.hash.slice(1));

// a link leads into what is folded
function unfold() {
  const target = document.getElementById(place(location));
  for (let at = target; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
  if (target) target.scrollIntoView();
}
addEventListener("hashchange", unfold);
unfold();

for (const button of document.querySelectorAll("button[data-fold]")) {
  button.addEventListener("click", () => {
    for (const fold of folds) if (fold.classList.contains("part")) fold.open = button.dataset.fold !== "";
  });
}
addEventListener("beforeprint", () => { for (const fold of folds) fold.open = true; });

const narrow = matchMedia("(max-width: 62rem)");
const fit = () => { contents.open = !narrow.matches; };
narrow.addEventListener("change", fit);
fit();
contents.addEventListener("click", (event) => {
  if (narrow.matches && event.target.tagName === "A") contents.open = false;
});

// tables sort by the value that a cell states, else by the number its text begins with, else by its text
function key(row, column) {
  const cell = row.cells[column];
  if (cell.dataset.value !== undefined) return Number(cell.dataset.value);
  const text = cell.textContent.trim();
  const number = parseFloat(text.replace(/[,\s]/g, "").replace("−", "-"));
  return Number.isNaN(number) ? (text === "–" || text === "" ? null : text) : number;
}
function compare(first, second) {
  if (first === null || second === null) return (first === null) - (second === null);
  if (typeof first === "number" && typeof second === "number") return first - second;
  return String(first).localeCompare(String(second));
}
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const head = button.closest("th");
    const falling = head.getAttribute("aria-sort") === "ascending";
    const body = head.closest("table").tBodies[0];
    const rows = [...body.rows].map((row) => [key(row, head.cellIndex), row]);
    rows.sort(([first], [second]) =>
      first === null || second === null ? compare(first, second) : compare(first, second) * (falling ? -1 : 1));
    body.append(...rows.map(([, row]) => row));
    for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", falling ? "descending" : "ascending");
  });
}

// the contents show where one is
const links = new Map([...document.querySelectorAll("nav a")].map((link) => [place(link), link]));
const seen = new Set();
const watch = new IntersectionObserver((entries) => {
  for (const entry of entries) entry.isIntersecting ? seen.add(entry.target) : seen.delete(entry.target);
  const inner = [...links.keys()].map((id) => document.getElementById(id)).filter((part) => seen.has(part));
  for (const link of links.values()) link.removeAttribute("aria-current");
  const current = inner.find((part) => !inner.some((other) => other !== part && part.contains(other)));
  if (current) links.get(current.id).setAttribute("aria-current", "true");
}, { rootMargin: "0px 0px -70% 0px" });
for (const id of links.keys()) watch.observe(document.getElementById(id));
