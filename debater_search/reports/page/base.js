// Draws the page from the data in it. All that comes from there goes through `el`: as text, never as markup.
const bare = (_, value) => (isObject(value) ? Object.setPrototypeOf(value, null) : value); // a key may be any word
const DATA = JSON.parse(byId("data").textContent, bare);
const TASKS = new Map(DATA.tasks.map((task) => [task.name, task]));
const WHOLE = 10000; // values of single queries are whole numbers
const SURE = 0.05;
const STEP = 50; // queries shown at once
const CARDS = 6; // comparisons shown at once
const SENTENCES = 3; // comparisons that are told one by one
const NAMES = 6; // systems that a sum of comparisons names
const state = { metric: DATA.main, sort: null, down: true, shown: STEP };

const note = (...children) => span("muted small block", children);

/** A table in a box that scrolls; each row is its head and its cells, texts or elements. */
function tableOf(heads, rows) {
  const cell = (content) => (content instanceof Element ? content : el("td", {}, content));
  const head = el("tr", {}, heads.map((text) => el("th", { scope: "col" }, text)));
  const body = rows.map(([first, ...cells]) => el("tr", {}, el("th", { scope: "row" }, first), cells.map(cell)));
  const table = el("table", {}, el("thead", {}, head), el("tbody", {}, body));
  const box = el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Table" }, table);
  const cue = el("p", { class: "cue small muted", "aria-hidden": "true" }, "Scroll the table for more →");
  cueWhileCut(box);
  return el("div", {}, box, cue);
}

/** Fade the right edge of a box, and show the line behind it, as long as more of the box is to the right. */
function cueWhileCut(box) {
  const look = () => box.classList.toggle("cut", box.scrollLeft + box.clientWidth < box.scrollWidth - 1);
  const sizes = new ResizeObserver(look);
  [box, ...box.children].forEach((node) => sizes.observe(node));
  box.addEventListener("scroll", look, { passive: true });
}

const score = (value, digits = 4) => (isNumber(value) ? value.toFixed(digits) : "–");
const mark = (value) => (value > 0 ? "+" : value < 0 ? "−" : "±");
const signed = (value, digits = 4) => (isNumber(value) ? mark(value) + Math.abs(value).toFixed(digits) : "–");
const range = (ends, write = score) => (isNumber(ends?.[0]) ? `${write(ends[0], 3)} … ${write(ends[1], 3)}` : "");
const chance = (p) => (!isNumber(p) ? "–" : p < 0.001 ? "< 0.001" : p.toFixed(3));
const queriesOf = (n) => count(n, "query", "queries");
const isMerit = (metric) => !metric.includes("judged"); // how much of it is judged makes no model better
const seconds = (s) => (s < 1 ? `${Math.round(s * 1000)} ms` : s < 120 ? `${s.toFixed(1)} s` : `${(s / 60).toFixed(1)} min`);
function bytes(n) {
  const power = Math.min(4, n > 0 ? Math.floor(Math.log10(n) / 3) : 0);
  return `${(n / 1000 ** power).toFixed(power ? 1 : 0)} ${["B", "kB", "MB", "GB", "TB"][power]}`;
}
function metricName(name) {
  const [stem, ...rest] = name.split("@");
  const known = { ndcg: "nDCG", mrr: "MRR", map: "MAP" };
  return [known[stem] ?? stem.charAt(0).toUpperCase() + stem.slice(1), ...rest].join("@");
}

/** Dot and interval on the axis from `from` to `to`; words beside it say the same. */
function strip(value, interval, from, to, ...others) {
  const at = (x) => `${(100 * (x - from)) / (to - from || 1)}%`;
  const known = isNumber(interval?.[0]);
  const ends = known ? el("i", { class: "ci", "--at": at(interval[0]), "--to": at(interval[1]) }) : null;
  return el("span", { class: "strip", "aria-hidden": "true" }, others, ends, el("i", { class: "dot", "--at": at(value) }));
}

/** The ends of an axis, and what lies between them, as texts below it. */
const scaleOf = (...texts) => el("span", { class: "scale", "aria-hidden": "true" }, texts.map((text) => el("i", {}, text)));
