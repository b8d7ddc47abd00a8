// The rest of the page, and its start.
function drawAnalyses() {
  const steps = DATA.tasks.flatMap((task) =>
    Object.entries(task.results).map(([model, entry]) => drawSteps(task, model, entry.steps)),
  );
  fill(byId("analyses").querySelector(".figures"), DATA.analyses.map(drawAnalysis), steps);
}

function drawAnalysis(one) {
  const about = el("figcaption", {}, el("b", {}, one.title), note(listed(one.task, ...one.models)), one.note);
  const picture = one.picture ? el("img", { src: one.picture, alt: one.note || one.title }) : null;
  const links = Object.entries(one.links).map(([kind, href]) => [el("a", { href }, kind.toUpperCase()), " "]);
  return el("figure", {}, about, picture, el("p", { class: "small" }, links));
}

function drawSteps(task, model, steps) {
  if (!Array.isArray(steps) || !steps.length) return null;
  const best = Math.max(...steps.map((step) => step[DATA.main]).filter(isNumber));
  const cell = (step) => (name) => {
    const text = score(step[name]);
    return name === DATA.main && step[name] === best ? bestCell(text) : text;
  };
  const rows = steps.map((step, i) => [i + 1, ...DATA.metrics.map(cell(step))]);
  const about = el("figcaption", {}, el("b", {}, "Each thinking step alone"), note(listed(task.name, model)));
  return el("figure", {}, about, tableOf(["Step", ...DATA.metrics.map(metricName)], rows));
}

function drawMade() {
  const results = DATA.tasks.flatMap((task) => Object.entries(task.results).map(([model, entry]) => [task, model, entry]));
  const evaluated = results.filter(([, , entry]) => isObject(entry.provenance)); // not what was only compared with
  const made = evaluated.map(([task, model, entry]) => {
    const left = el("div", {}, facts("Provenance", entry.provenance, String));
    const right = [facts("Time", entry.timings, seconds), facts("Size", entry.sizes, bytes)];
    const counts = facts("Counts", entry.counts, (n) => n.toLocaleString("en"));
    const columns = el("div", { class: "facts" }, left, el("div", {}, right, counts));
    return el("details", {}, el("summary", {}, `${model} on ${task.name}`), columns);
  });
  fill(byId("made").querySelector(".list"), made);
}

function facts(heading, values, write) {
  if (!isObject(values) || !Object.keys(values).length) return null;
  const text = (value) => {
    if (value === null) return "–";
    if (Array.isArray(value)) return value.map(text).join(", ");
    if (isObject(value)) return listed(...Object.entries(value).map(([name, one]) => `${name} ${text(one)}`));
    return isNumber(value) ? write(value) : String(value);
  };
  const line = ([name, value]) => [el("dt", {}, name.replaceAll("_", " ")), el("dd", {}, text(value))];
  const lines = Object.entries(values).map(line);
  return [el("h4", {}, heading), el("dl", {}, lines)];
}

function listen() {
  switchColours(byId("theme"));
  byId("metric").addEventListener("change", () => {
    state.metric = byId("metric").value;
    drawMetric();
  });
  byId("task").addEventListener("change", () => chooseModels(byId("left").value, byId("right").value));
  byId("right").addEventListener("change", () => chooseOrder(byId("order").value));
  const redraw = () => {
    state.shown = STEP;
    drawQueries();
  };
  const form = byId("queries").querySelector("form");
  form.addEventListener("change", redraw); // after those of its parts, which it bubbles from
  byId("filter").addEventListener("input", redraw);
  form.addEventListener("submit", (event) => event.preventDefault());
  byId("more").addEventListener("click", () => {
    state.shown += STEP;
    drawQueries();
  });
}

/** What depends on the chosen metric. */
function drawMetric() {
  drawLede();
  drawCards();
  drawTable();
  drawQueries();
}

function start() {
  const queries = DATA.tasks.reduce((sum, task) => sum + task.ids.length, 0);
  byId("about").textContent = listed(count(DATA.tasks.length, "task"), count(DATA.models.length, "model"), queriesOf(queries));
  options(byId("metric"), DATA.metrics.map((name) => [name, metricName(name)]));
  options(byId("task"), DATA.tasks.map((task) => [task.name, task.name]));
  byId("metric").value = state.metric;
  const first = inMetric(DATA.main).find((one) => TASKS.has(one.task));
  if (first) byId("task").value = first.task;
  chooseModels(first?.system, first?.baseline);
  drawMetric();
  drawFindings();
  drawComparisons();
  drawAnalyses();
  drawMade();
  const shown = [...document.querySelectorAll("main > section")].filter((section) => {
    const list = section.querySelector(".list, .figures");
    section.hidden = list !== null && !list.childElementCount;
    return !section.hidden && section.id !== "answer";
  });
  fill(document.querySelector("nav"), shown.map((one) => el("a", { href: `#${one.id}` }, one.querySelector("h2").textContent)));
  cueWhileCut(byId("scores").querySelector(".scroll"));
  listen();
}
start();
