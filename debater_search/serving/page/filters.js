// Controls made from the fields of an index: ranges, check boxes, texts with suggestions.
import { count, el, fill, isNumber, span } from "./dom.js";
import { compose, nameOf } from "./where.js";

const FEW = 10; // values that become check boxes: as many as a search counts
const OPEN = 6; // fields that are open at first
const STEPS = 200; // of a slider over fractions
const DAY = 86_400_000; // milliseconds

/**
 * Fill `box` with a control per field; `changed(field, condition or null)` is called.
 *
 * {counted, show, showCounts}: the fields that have check boxes; `show` takes conditions; `showCounts` takes what
 * `countsOf` made of answers, or null for the counts of the whole index.
 */
export function makeControls(box, fields, changed) {
  const made = fields.map((field) => controlOf(field, (condition) => changed(field.name, condition))).filter(Boolean);
  const entries = made.map(({ field, node, detail }, at) => {
    const head = el("summary", {}, field.name, " ", span("muted small", detail));
    return el("details", { class: "field", ...(at < OPEN ? { open: "" } : {}) }, head, node);
  });
  fill(box, entries.length ? entries : el("p", { class: "muted small" }, "The documents have no fields to filter by."));
  const boxes = made.filter((one) => one.showCounts);
  return {
    counted: boxes.map(({ field }) => field.name),
    show: (conditions) => made.forEach(({ field, show }) => show(conditions.get(field.name))),
    showCounts: (counts) => boxes.forEach(({ field, showCounts }) => showCounts(counts ? counts.get(field.name) : field.values)),
  };
}

/** A filter that this index understands. */
export function exampleOf(fields) {
  const field = fields.find(({ name, min }) => nameOf(name) === name && isNumber(min)) ?? fields.find(({ name, values }) => nameOf(name) === name && values?.length);
  if (field === undefined) return "A filter, such as title contains 'wing'";
  const condition = field.values ? { values: [field.values[0][0]] } : { from: field.min };
  return `A filter, such as ${compose({ rest: [], conditions: new Map([[field.name, condition]]) })}`;
}

function controlOf(field, changed) {
  if (nameOf(field.name) === null) return null;
  const scale = scaleOf(field);
  if (scale !== null) return { field, detail: "", ...rangeOf(field.name, scale, changed) };
  if (!Array.isArray(field.values) || !field.values.length) return null;
  const all = field.values.length >= field.distinct && field.distinct <= FEW;
  const detail = all ? "" : count(field.distinct, "value");
  return { field, detail, ...(all ? boxesOf : textOf)(field, changed) };
}

/** How the values of a number or date field lie on a slider; null if they do not. */
function scaleOf({ type, min, max }) {
  if (type === "number" && isNumber(min) && isNumber(max) && min < max) {
    const whole = Number.isInteger(min) && Number.isInteger(max) && max - min > 2;
    const step = whole ? 1 : 10 ** Math.floor(Math.log10((max - min) / STEPS));
    const low = whole ? min : Math.floor(min / step) * step; // numbers between are multiples of the step
    const high = low + Math.ceil((max - low) / step) * step;
    const round = (at) => Number(at.toPrecision(12));
    return { step, low: round(low), high: round(high), value: round, at: Number };
  }
  if (type === "date" && typeof min === "string" && typeof max === "string") {
    const day = (text) => Math.floor(Date.parse(String(text).trim().slice(0, 10)) / DAY);
    const iso = (at) => new Date(at * DAY).toISOString().slice(0, 10);
    const [low, high] = [day(min), day(max)];
    return low < high ? { step: 1, low, high, value: iso, at: day } : null;
  }
  return null;
}

/** Two handles on one line, and beside them the values, which can be typed. */
function rangeOf(name, { step, low, high, value, at }, changed) {
  const ends = [["from", low], ["to", high]].map(([word, end]) => ({
    slider: el("input", { type: "range", min: low, max: high, step, value: end, "aria-label": `${name}, ${word}` }),
    typed: el("input", { type: "text", autocomplete: "off", "aria-label": `${name}, ${word}, typed` }),
    end,
  }));
  const [from, to] = ends;
  const line = el("div", { class: "range" }, el("i", { class: "track" }), from.slider, to.slider);
  const node = el("div", {}, el("div", { class: "ends" }, from.typed, span("muted", "–"), to.typed), line);

  const draw = () => {
    const share = (slider) => `${(100 * (slider.value - low)) / (high - low)}%`;
    line.style.setProperty("--from", share(from.slider));
    line.style.setProperty("--to", share(to.slider));
    from.slider.classList.toggle("above", Number(from.slider.value) > (low + high) / 2); // else it may lie below the other
    for (const { slider } of ends) slider.setAttribute("aria-valuetext", value(Number(slider.value)));
  };
  const say = () => {
    const [first, last] = ends.map(({ typed }) => (typed.value === "" || Number.isNaN(at(typed.value)) ? undefined : at(typed.value)));
    const condition = {
      ...(first !== undefined && first > low ? { from: value(first) } : {}),
      ...(last !== undefined && last < high ? { to: value(last) } : {}),
    };
    changed(Object.keys(condition).length ? condition : null);
  };
  for (const { slider, typed } of ends) {
    slider.addEventListener("input", () => {
      const other = slider === from.slider ? to.slider : from.slider;
      const over = slider === from.slider ? Number(slider.value) > Number(other.value) : Number(slider.value) < Number(other.value);
      if (over) slider.value = other.value;
      typed.value = value(Number(slider.value));
      draw();
      say();
    });
    typed.addEventListener("change", say);
  }
  const show = (condition) => {
    const only = condition?.values?.length === 1 ? condition.values[0] : undefined;
    for (const [{ slider, typed, end }, given] of [[from, condition?.from ?? only], [to, condition?.to ?? only]]) {
      const known = given !== undefined && !Number.isNaN(at(given));
      slider.value = known ? at(given) : end;
      typed.value = value(known ? at(given) : end);
    }
    draw();
  };
  return { node, show };
}

function boxesOf({ values }, changed) {
  let chosen = [];
  const boxes = values.map(([value]) => {
    const box = el("input", { type: "checkbox" });
    box.addEventListener("change", () => {
      chosen = box.checked ? [...chosen, value] : chosen.filter((one) => one !== value);
      changed(chosen.length ? { values: chosen } : null);
    });
    const documents = span("muted small");
    return { box, value, documents, node: el("label", { class: "check" }, box, span("value", String(value)), documents) };
  });
  const show = (condition) => {
    chosen = condition?.values ?? [];
    for (const { box, value } of boxes) box.checked = chosen.includes(value);
  };
  /** Show [[value, documents], …]; a value that is not among them has none. Nothing is shown where they are undefined. */
  const showCounts = (counts) => {
    const known = new Map(counts);
    for (const { value, documents, node } of boxes) {
      documents.textContent = counts ? (known.get(value) ?? 0).toLocaleString("en") : "";
      node.classList.toggle("none", Boolean(counts) && !known.get(value));
    }
  };
  showCounts(values);
  return { node: el("div", { class: "boxes" }, boxes.map(({ node }) => node)), show, showCounts };
}

let lists = 0;

/** A text with suggestions: a suggested one is a value, any other one is looked for within values. */
function textOf({ name, values }, changed) {
  let shown = {};
  const known = new Map(values.map(([value]) => [String(value), value]));
  const id = `values-${(lists += 1)}`;
  const input = el("input", { type: "text", list: id, placeholder: "Value, or part of one", "aria-label": name, autocomplete: "off" });
  const list = el("datalist", { id }, values.map(([value, documents]) => el("option", { value: String(value) }, count(documents, "document"))));
  const chips = el("ul", { class: "chips" });
  const take = () => {
    const text = input.value.trim();
    if (!text) return;
    input.value = "";
    if (!known.has(text)) return changed({ contains: text });
    const values = shown.values ?? [];
    return changed({ values: values.includes(known.get(text)) ? values : [...values, known.get(text)] });
  };
  input.addEventListener("change", take);
  input.addEventListener("keydown", (event) => event.key === "Enter" && (event.preventDefault(), take()));
  input.addEventListener("input", (event) => event.inputType !== "insertText" && known.has(input.value) && take());
  const chip = (text, without) => {
    const remove = () => {
      input.focus();
      changed(without);
    };
    return el("li", {}, text, el("button", { type: "button", "aria-label": `Remove ${text}`, onclick: remove }, "×"));
  };
  const show = (condition) => {
    shown = condition ?? {};
    const values = shown.values ?? [];
    const others = (value) => values.filter((one) => one !== value);
    fill(chips, [
      shown.contains === undefined ? null : chip(`contains “${shown.contains}”`, null),
      values.map((value) => chip(String(value), others(value).length ? { values: others(value) } : null)),
    ]);
  };
  return { node: el("div", { class: "suggested" }, chips, input, list), show };
}
