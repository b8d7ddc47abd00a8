// Who is ahead, in a sentence, and the table of tasks and models.
function meanOf(model) {
  const values = DATA.tasks.map((task) => task.results[model]?.metrics[state.metric]);
  return values.every(isNumber) ? values.reduce((sum, value) => sum + value, 0) / values.length : null;
}

/** What is significant, whatever metric is chosen. */
function drawFindings() {
  const all = DATA.comparisons;
  const tell = (one) => `Against ${one.baseline}${DATA.tasks.length > 1 ? ` on ${one.task}` : ""}, ${one.system} ${findings(one)}.`;
  const metrics = DATA.metrics.filter((metric) => isMerit(metric) && inMetric(metric).length);
  fill(byId("findings"), (all.length > SENTENCES ? metrics.map(summary) : all.map(tell)).map((text) => el("li", {}, text)));
}

/** Many comparisons in one metric: each system, what it is significantly better or worse than, and how many others there are. */
function summary(metric) {
  const systems = [...new Set(inMetric(metric).map((one) => one.system))];
  return `${metricName(metric)}: ${systems.map((system) => summaryOf(system, metric)).join("; ")}.`;
}

function summaryOf(system, metric) {
  const compared = inMetric(metric).filter((one) => one.system === system);
  const that = (word) => compared.filter((one) => verdict(one.metrics[metric]).word === word);
  const nameOf = (one) => one.baseline + (DATA.tasks.length > 1 ? ` on ${one.task}` : "");
  const named = (some) => joined([...some.slice(0, NAMES).map(nameOf), ...(some.length > NAMES ? [`${some.length - NAMES} more`] : [])]);
  const sure = ["better", "worse"].filter((word) => that(word).length).map((word) => `significantly ${word} than ${named(that(word))}`);
  const [open, untested] = [that("not significant").length, that("not tested").length];
  const without = untested ? `; not tested: ${untested}` : "";
  if (!sure.length) return `${system} does not differ significantly in ${count(open, "comparison")}${without}`;
  return `${system} is ${sure.join(" and ")}${open ? `; no significant difference in ${count(open, "other")}` : ""}${without}`;
}

function drawLede() {
  const means = DATA.models.map((model) => [model, meanOf(model)]).filter(([, mean]) => mean !== null);
  const [first, second] = means.sort((a, b) => b[1] - a[1]);
  if (!first || !isMerit(state.metric)) return fill(byId("lede"));
  const metric = metricName(state.metric);
  const what = DATA.tasks.length > 1 ? `mean ${metric} over ${DATA.tasks.length} tasks` : metric;
  const next = second ? `; next is ${second[0]} with ${score(second[1])}.` : ".";
  const untested = second && !inMetric(state.metric).length ? " The difference was not tested for significance." : "";
  const without = DATA.models.filter((model) => meanOf(model) === null);
  const unranked = without.length ? ` Without this value, and not ranked: ${joined(without)}.` : "";
  const has = second ? ` has the highest ${what}: ` : ` has a ${what} of `;
  fill(byId("lede"), el("b", {}, first[0]), has, el("b", {}, score(first[1])), next, untested, unranked);
}

function drawTable() {
  const heads = el("tr", {}, drawHead("", "Task"), DATA.models.map((model) => drawHead(model, model)));
  const rows = sortedTasks().map(drawTask);
  const foot = DATA.tasks.length > 1 ? el("tfoot", {}, drawMeans()) : null;
  fill(byId("table"), el("thead", {}, heads), el("tbody", {}, rows), foot);
  const pairs = [...new Set(inMetric(state.metric).map((one) => `${one.system} with ${one.baseline}`))];
  const which = pairs.length > SENTENCES ? "the comparisons above" : `the comparison of ${joined(pairs)}`;
  const test = `p < ${SURE} by a randomisation test, Holm-corrected`;
  const marks = pairs.length ? ` ▲ significantly better, ▼ significantly worse in ${which}: ${test}.` : "";
  const bars = "Dot: the value; bar: its 95% interval over queries, on the scale named below the task";
  byId("legend").textContent = `Bold: highest value. ${bars}.${marks}`;
}

function drawHead(key, text) {
  const sorted = state.sort === key;
  const sort = () => {
    state.down = sorted ? !state.down : key !== "";
    state.sort = key;
    drawTable();
    byId("table").querySelectorAll("thead button")[key === "" ? 0 : DATA.models.indexOf(key) + 1].focus();
  };
  const arrow = el("span", { class: "arrow", "aria-hidden": "true" }, sorted ? (state.down ? "↓" : "↑") : "↕");
  const order = sorted ? (state.down ? "descending" : "ascending") : "none";
  return el("th", { scope: "col", "aria-sort": order }, el("button", { type: "button", onclick: sort }, text, arrow));
}

function sortedTasks() {
  const tasks = [...DATA.tasks];
  if (state.sort === null) return tasks;
  const value = (task) => task.results[state.sort]?.metrics[state.metric] ?? -1;
  const byName = (a, b) => a.name.localeCompare(b.name, "en", { numeric: true });
  tasks.sort(state.sort === "" ? byName : (a, b) => value(a) - value(b));
  return state.down ? tasks.reverse() : tasks;
}

function drawMeans() {
  const means = DATA.models.map(meanOf);
  const best = highest(means);
  const cell = (mean) => (mean !== null && mean === best ? bestCell(score(mean)) : el("td", {}, score(mean)));
  return el("tr", {}, el("th", { scope: "row" }, "Mean", means.includes(null) ? note("of models scored on all tasks") : null), means.map(cell));
}
const highest = (values) => (isMerit(state.metric) ? Math.max(...values.filter(isNumber)) : null);
const bestCell = (text, ...more) => el("td", { class: "best" }, text, hidden(" best"), more);

function drawTask(task) {
  const entries = DATA.models.map((model) => task.results[model]);
  const values = entries.map((entry) => entry?.metrics[state.metric]);
  const ends = [...values, ...entries.flatMap((entry) => entry?.intervals[state.metric] ?? [])].filter(isNumber);
  const best = highest(values);
  const cells = DATA.models.map((model, i) => {
    if (!isNumber(values[i])) return el("td", { class: "muted" }, "–");
    const interval = entries[i].intervals[state.metric];
    const axis = strip(values[i], interval, Math.min(...ends), Math.max(...ends));
    const more = [drawMarks(task, model), note(range(interval)), axis, drawPublished(entries[i])];
    return values[i] === best ? bestCell(score(best), more) : el("td", {}, score(values[i]), more);
  });
  const scale = ends.length ? note(`scale ${range([Math.min(...ends), Math.max(...ends)])}`) : null;
  return el("tr", {}, el("th", { scope: "row" }, task.name, note(queriesOf(task.ids.length)), scale), cells);
}

/** ▲ or ▼ for each model that this one is surely better or worse than, whichever of the two was compared with the other. */
function drawMarks(task, model) {
  const compared = inMetric(state.metric).filter((one) => one.task === task.name && [one.system, one.baseline].includes(model));
  return compared.map((one) => {
    const found = one.metrics[state.metric];
    const isSystem = one.system === model;
    const { word, kind, sign } = verdict(isSystem ? found : { ...found, difference: -found.difference });
    const text = `${word} than ${isSystem ? one.baseline : one.system}`;
    return sign ? el("span", { class: `mark ${kind}`, title: text }, sign.trim(), hidden(text)) : null;
  });
}

function drawPublished(entry) {
  const figures = Array.isArray(entry.published) ? entry.published : [];
  return figures
    .filter((figure) => figure?.metric === state.metric)
    .map((figure) => {
      const off = figure.differs ? el("b", { class: "differs" }, ` ${signed(figure.difference)}`) : null;
      const text = `published ${score(figure.published, figure.digits)}`;
      return el("span", { class: "small block", title: String(figure.source ?? "") }, text, off);
    });
}
