// Single queries: how well each was answered, with what, and what was missed.
const ORDERS = [
  ["loss", "lost most first"],
  ["gain", "gained most first"],
  ["low", "lowest score first"],
  ["high", "highest score first"],
  ["task", "as in the task"],
];
const KEYS = {
  loss: (row) => row.difference ?? 2 * WHOLE,
  gain: (row) => -(row.difference ?? -2 * WHOLE),
  low: (row) => row.left ?? 2 * WHOLE,
  high: (row) => -(row.left ?? -1),
  task: () => 0,
};

const chosen = () => ({
  task: TASKS.get(byId("task").value),
  left: byId("left").value,
  right: byId("right").value,
  order: byId("order").value,
  filter: byId("filter").value.trim().toLowerCase(),
});

function chooseModels(left, right) {
  const models = Object.keys(chosen().task.values[DATA.main]); // of the others only means are known
  const pairs = models.map((model) => [model, model]);
  options(byId("left"), pairs);
  options(byId("right"), [["", "(none)"], ...pairs]);
  byId("left").value = models.includes(left) ? left : models[0];
  const other = models.find((model) => model !== byId("left").value) ?? "";
  byId("right").value = right === "" || models.includes(right) ? right : other;
  chooseOrder(byId("order").value);
}

function chooseOrder(order) {
  options(byId("order"), chosen().right ? ORDERS : ORDERS.slice(2));
  byId("order").value = order;
  if (byId("order").selectedIndex < 0) byId("order").selectedIndex = 0;
}

/** Whether the page has the values per query of both models; of some that were only compared with, it may have means alone. */
const hasQueries = (one) => [one.system, one.baseline].every((model) => model in (TASKS.get(one.task)?.values[DATA.main] ?? {}));

/** Go to the queries of a comparison; with `query` to that one, opened. */
function openQueries(one, order, query) {
  if (!TASKS.has(one.task)) return;
  byId("task").value = one.task;
  chooseModels(one.system, hasQueries(one) ? one.baseline : ""); // never beside a third model
  chooseOrder(order);
  byId("filter").value = query === undefined ? "" : `id:${query}`;
  drawQueries();
  if (query !== undefined) byId("rows").querySelector("details")?.setAttribute("open", "");
  byId("queries").scrollIntoView();
  byId("filter").focus({ preventScroll: true });
}

function matchingRows({ task, left, right, order, filter }) {
  const values = task.values[state.metric] ?? task.values[DATA.main] ?? {};
  const rows = task.ids.map((id, i) => {
    const [a, b] = [values[left]?.[i] ?? null, values[right]?.[i] ?? null];
    return { id, query: task.queries[id], left: a, right: b, difference: a === null || b === null ? null : a - b };
  });
  const wanted = filter.startsWith("id:") ? filter.slice(3).trim() : null;
  const matches = ({ id, query }) => (wanted !== null ? id.toLowerCase() === wanted : query?.text.toLowerCase().includes(filter));
  return (filter ? rows.filter(matches) : rows).sort((x, y) => KEYS[order](x) - KEYS[order](y));
}

function drawQueries() {
  const choice = chosen();
  const rows = matchingRows(choice);
  const heads = choice.right ? [choice.left, choice.right, "Difference"] : [choice.left];
  const head = el("div", { class: "query-head small muted", "aria-hidden": "true" }, heads.map((text) => span("value", text)));
  fill(byId("rows"), rows.length ? head : null, rows.slice(0, state.shown).map((row) => drawRow(row, choice)));
  byId("more").hidden = rows.length <= state.shown;
  const metric = metricName(state.metric in choice.task.values ? state.metric : DATA.main);
  const cut = rows.length > state.shown ? `, the first ${state.shown} shown` : "";
  byId("count").textContent = `${queriesOf(rows.length)} by ${metric}${cut}. ${aboutTexts(choice.task)}${aboutMeans(choice.task)}`;
}

function aboutTexts(task) {
  const texts = Object.keys(task.queries).length;
  if (texts === task.ids.length) return "";
  const which = texts ? `the texts of ${texts} of ${task.ids.length}: those that differ most, and a random sample` : "no texts";
  return `This page holds ${which}.`;
}

/** Why a system of the task cannot be chosen. */
function aboutMeans(task) {
  const others = Object.keys(task.results).filter((model) => !(model in task.values[DATA.main]));
  if (!others.length) return "";
  return ` Of ${joined(others)} this page has only means. For the queries join the folder of those results with --report.`;
}

function drawRow(row, choice) {
  const value = (model, text) => span("value", hidden(`${model} `), text);
  const written = (whole, write) => write(whole === null ? null : whole / WHOLE, 3);
  const kind = row.difference > 0 ? "up" : row.difference < 0 ? "down" : "";
  const pair = () => [
    value(choice.right, written(row.right, score)),
    span(`value ${kind}`, hidden("difference "), written(row.difference, signed)),
  ];
  const text = span("text", row.query?.text || `query ${row.id}`);
  const left = value(choice.left, written(row.left, score));
  const node = el("details", { class: "query" }, el("summary", {}, text, left, choice.right ? pair() : null));
  node.addEventListener("toggle", () => {
    if (node.open && node.children.length === 1) node.append(drawQuery(row, choice));
  });
  return node;
}

function drawQuery({ id, query }, { task, left, right }) {
  if (!query) return el("p", { class: "muted" }, `Query ${id}. Its text and answers are not on this page.`);
  const models = [...new Set([left, right].filter(Boolean))];
  const sides = models.map((model) => drawSide(task, query, model, models.find((other) => other !== model)));
  const about = el("p", { class: "muted small" }, `Query ${id} · ${count(query.relevant, "relevant document")}`);
  return el("div", { class: "answers" }, about, el("div", { class: "sides" }, sides));
}

function drawSide(task, query, model, other) {
  const answers = query.answers[model];
  if (!answers) return el("div", {}, el("h4", {}, model), el("p", { class: "muted" }, "Its answers are not on this page."));
  const answered = new Set(answers.map(([id]) => id));
  const relevant = Object.keys(query.judged).filter((id) => query.judged[id] > 0);
  const missed = relevant.filter((id) => !answered.has(id)).sort((a, b) => query.judged[b] - query.judged[a]);
  const line = (id, value) => drawDocument(id, task.documents[id], query.judged[id], value, rankBy(query, other, id));
  const more = query.relevant - relevant.length;
  const missing = [
    el("h5", {}, "Relevant, but not in its top ten"),
    el("ul", {}, missed.map((id) => line(id))),
    more > 0 ? el("p", { class: "muted small" }, `And up to ${more} more relevant documents.`) : null,
  ];
  const found = el("ol", {}, answers.map(([id, value]) => line(id, value)));
  return el("div", {}, el("h4", {}, model), found, missed.length ? missing : null);
}

function rankBy(query, model, id) {
  if (!query.answers[model]) return "";
  const at = query.answers[model].findIndex(([answer]) => answer === id);
  return `${model}: ${at < 0 ? "not in its top ten" : `rank ${at + 1}`}`;
}

function drawDocument(id, [title, text] = [], gain, value, elsewhere) {
  const scored = isNumber(value) ? `score ${Number(value.toPrecision(4))}` : "";
  return el(
    "li",
    {},
    gainChip(gain),
    " ",
    el("b", {}, title || `document ${id}`),
    text ? el("p", { class: "snippet" }, text) : null,
    note(listed(title ? id : "", scored, elsewhere)),
  );
}

function gainChip(gain) {
  if (!isNumber(gain)) return span("chip none", "not judged");
  return gain > 0 ? span("chip up", `relevant, ${gain}`) : span("chip open", "not relevant");
}
