// Hits as list items: title, snippet with marks, metadata, explanation, actions.
import { el, hidden, isNumber, isObject, span, svg } from "./dom.js";

const SHOWN_FIELDS = 6, SHOWN_CHARACTERS = 60, TITLE = 90;
const WIDTH = 120, HEIGHT = 28, EDGE = 3; // of a sparkline
const SPAN = 0.05; // of cosines that a sparkline shows at least, so that equal ones look equal
const TIME = /^(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d)(?::\d\d(?:\.\d+)?)?(Z|[+-]\d\d:?\d\d)?$/;
const VERDICTS = [[true, "Relevant"], [false, "Not relevant"]];

/** `on`: {link(id), like(hit), judge(hit, relevant)}; `judge` is missing where judgements are not taken. */
export function hitItem(hit, on) {
  const marks = isObject(hit.marks) ? hit.marks : {};
  const title = hit.title ? marked(hit.title, marks.title) : shortened(hit.snippet || hit.id, TITLE);
  const link = el("a", { href: on.link(hit.id), class: "title" }, title);
  const score = isNumber(hit.score) ? el("span", { class: "score", title: "Score" }, hidden("Score "), number(hit.score, 4)) : null;
  const like = el("button", { type: "button", class: "quiet", onclick: () => on.like(hit) }, "Like this");
  return el(
    "li",
    { class: "hit", "data-id": hit.id },
    el("div", { class: "hit-head" }, el("h3", {}, link), score),
    el("p", { class: "snippet" }, marked(hit.snippet ?? "", marks.snippet)),
    metadataList(hit.metadata, { besides: [hit.id, hit.title] }),
    explanation(hit.explanation),
    el("div", { class: "actions" }, span("id muted small", shortened(hit.id, SHOWN_CHARACTERS)), like, on.judge ? verdicts(hit, on.judge) : null),
  );
}

/** Two buttons, of which one at most is pressed; the pressed one takes its judgement back. */
function verdicts(hit, judge) {
  const buttons = VERDICTS.map(([relevant, text]) => {
    const press = async () => {
      const wanted = hit.relevant === relevant ? null : relevant;
      if (await judge(hit, wanted)) hit.relevant = wanted;
      show();
    };
    return el("button", { type: "button", class: `quiet verdict ${relevant ? "yes" : "no"}`, onclick: press }, text);
  });
  const show = () =>
    VERDICTS.forEach(([relevant], at) => buttons[at].setAttribute("aria-pressed", String(hit.relevant === relevant)));
  show();
  return el("span", { class: "verdicts", role: "group", "aria-label": "Does it answer the query?" }, buttons);
}

/** A text with its marks, which are offsets in characters, not in JavaScript's halves of characters. */
export function marked(text, spans) {
  const characters = Array.from(text);
  const parts = [];
  let at = 0;
  for (const [start, stop] of Array.isArray(spans) ? spans : []) {
    if (!(start >= at && stop > start)) continue;
    parts.push(characters.slice(at, start).join(""), el("mark", {}, characters.slice(start, stop).join("")));
    at = stop;
  }
  return [parts, characters.slice(at).join("")];
}

/** All metadata as it is; or the first fields, shortened, without those that say what stands beside them. */
export function metadataList(metadata, { all = false, besides = [] } = {}) {
  const given = Object.entries(isObject(metadata) ? metadata : {}).map(([name, value]) => [name, valueText(value)]);
  const entries = given.filter(([, text]) => text && !besides.includes(text));
  if (!entries.length) return null;
  const shown = all ? entries : entries.slice(0, SHOWN_FIELDS);
  const cut = (text) => (all ? text : shortened(toMinutes(text), SHOWN_CHARACTERS));
  const pairs = shown.map(([name, text]) => el("div", {}, el("dt", {}, cut(name)), el("dd", {}, cut(text))));
  const more = entries.length > shown.length ? el("div", { class: "muted" }, `+${entries.length - shown.length}`) : null;
  return el("dl", { class: "metadata" }, pairs, more);
}

/** A time in ISO 8601 to its minutes, with its zone unless that is UTC; other texts as they are. */
function toMinutes(text) {
  const [, day, minutes, zone = ""] = TIME.exec(text) ?? [];
  if (!day) return text;
  return /^(Z|[+-]00:?00)?$/.test(zone) ? `${day} ${minutes}` : `${day} ${minutes} ${zone}`;
}

function valueText(value) {
  if (value === null || value === undefined) return "";
  if (Array.isArray(value)) return value.map(valueText).filter(Boolean).join(", ");
  return isObject(value) ? JSON.stringify(value) : String(value);
}

function explanation(found) {
  if (!isObject(found)) return null;
  const place = (name, ranked, missing) =>
    el("div", {}, el("dt", {}, name), el("dd", {}, isObject(ranked) ? `rank ${ranked.rank} (${number(ranked.score, 3)})` : missing));
  const steps = Array.isArray(found.steps) ? found.steps.filter(isNumber) : [];
  return el(
    "div",
    { class: "why" },
    el(
      "dl",
      {},
      place("Meaning", found.dense, "not ranked"),
      place("Words", found.lexical, "not ranked"),
      isObject(found.rerank) ? place("Reranker", found.rerank, "") : null,
    ),
    steps.length > 1 ? stepsOf(steps) : null,
  );
}

function stepsOf(steps) {
  const figures = steps.map((step) => number(step, 3)).join(" ");
  return el("p", { class: "steps small" }, "Cosine at each thinking step ", sparkline(steps), " ", span("figures", figures));
}

function sparkline(values) {
  const middle = (Math.min(...values) + Math.max(...values)) / 2;
  const half = Math.max(SPAN, Math.max(...values) - Math.min(...values)) / 2;
  const x = (at) => EDGE + ((WIDTH - 2 * EDGE) * at) / (values.length - 1);
  const y = (value) => HEIGHT - EDGE - ((HEIGHT - 2 * EDGE) * (value - middle + half)) / (2 * half);
  const points = values.map((value, at) => `${x(at).toFixed(1)},${y(value).toFixed(1)}`);
  const [cx, cy] = points.at(-1).split(",");
  return svg(
    "svg",
    { class: "sparkline", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, width: WIDTH, height: HEIGHT, "aria-hidden": "true" },
    svg("polyline", { points: points.join(" ") }),
    svg("circle", { cx, cy, r: EDGE }),
  );
}

export function shortened(text, limit) {
  const characters = Array.from(String(text));
  return characters.length > limit ? `${characters.slice(0, limit - 1).join("")}…` : characters.join("");
}

const number = (value, digits) => (isNumber(value) ? value.toFixed(Math.abs(value) >= 100 ? 1 : digits) : "–");
