
// The page: from its controls to a question, and from the answer to what is shown.

const data = JSON.parse(document.getElementById("data").textContent);
const element = (id) => document.getElementById(id);
const OTHER = "other";
// No line ends before a percent sign.
const joined = (text) => text.replaceAll(" %", "\u00a0%");
// The control of each number, what is shown for 1 of it, and the limits that it has.
const NUMBERS = [
  { id: "active_params", name: "Parameters", unit: 1e9, limits: data.limits.params },
  { id: "d_model", name: "Width", unit: 1, limits: data.limits.d_model },
  { id: "layers", name: "Layers", unit: 1, limits: data.limits.layers },
  { id: "probes", name: "Probes", unit: 1, limits: data.limits.probes },
];

function option(value, text) {
  const made = document.createElement("option");
  [made.value, made.textContent] = [value, text];
  return made;
}

function build() {
  for (const [key, model] of Object.entries(data.models)) element("model").append(option(key, model.title));
  element("model").append(option(OTHER, "Other"));
  for (const name of Object.keys(data.dtypes)) element("dtype").append(option(name, name));
  for (const name of data.probe_dtypes) element("probe_dtype").append(option(name, name));
  for (const { id, unit, limits } of NUMBERS) {
    if (unit === 1) [element(id).min, element(id).max] = limits;
  }
  for (const shown of document.querySelectorAll("[data-threshold]")) {
    shown.textContent = joined(`${100 * data.thresholds[shown.dataset.threshold]} %`);
  }
  element("thresholds").textContent = joined(Object.values(data.thresholds).map((of) => `${100 * of} %`).join(", "));
  const scopes = new Set(data.latencies.map((one) => one.scope));
  for (const radio of document.querySelectorAll("[name=scope]")) {
    radio.disabled = !scopes.has("") && !scopes.has(radio.value);
  }
}

// Where the latencies are from that an answer rests on.
function tell(answer) {
  for (const shown of document.querySelectorAll("[data-basis]")) {
    shown.textContent = answer.bands[shown.dataset.basis].basis;
  }
  for (const shown of document.querySelectorAll("[data-label]")) {
    shown.textContent = joined(`${answer.labels[shown.dataset.label]}.`);
  }
  const bases = new Set(Object.values(answer.bands).map((band) => band.basis));
  const but = bases.has("measured") ? ", on the model and hooks of the measurement" : ", not on measured ones";
  element("rests").textContent = `It rests on ${[...bases].join(" and ")} latencies${but}.`;
}

function start() {
  const { model, probes, scope, dtype, probe_dtype } = data.initial;
  element("model").value = model;
  element("probes").value = probes;
  element("dtype").value = dtype;
  element("probe_dtype").value = probe_dtype;
  document.querySelector(`[name=scope][value=${scope}]`).checked = true;
  fill();
}

// The fields hold what the chosen model has.
function fill() {
  const model = data.models[element("model").value];
  if (!model) return;
  element("active_params").value = model.active_params / 1e9;
  element("d_model").value = model.d_model;
  element("layers").value = model.layers;
}

// What the controls ask for; null, and a message, where one of them holds no number that can be.
function question() {
  const asked = {};
  let problem = "";
  for (const { id, name, unit, limits } of NUMBERS) {
    const value = unit === 1 ? element(id).valueAsNumber : Math.round(element(id).valueAsNumber * unit);
    const fits = Number.isInteger(value) && value >= limits[0] && value <= limits[1];
    element(id).setAttribute("aria-invalid", String(!fits));
    const range = limits.map((limit) => (unit === 1 ? grouped(String(limit)) : amount(limit))).join(" to ");
    if (!fits) problem ||= `${name}: a ${unit === 1 ? "whole " : ""}number from ${range}.`;
    asked[id] = value;
  }
  element("problem").textContent = problem;
  element("problem").hidden = !problem;
  if (problem) return null;
  asked.scope = document.querySelector("[name=scope]:checked").value;
  asked.dtype = element("dtype").value;
  asked.probe_dtype = element("probe_dtype").value;
  return asked;
}

function update() {
  const asked = question();
  element("figures").classList.toggle("unknown", !asked);
  const model = data.models[element("model").value];
  const resting = model && model.params !== model.active_params;
  const all = resting ? `${amount(model.params)} parameters, ${amount(model.active_params)} at work for a token; ` : "";
  element("source").textContent = model ? `Size: ${all}${model.source}.` : "Size: your own numbers.";
  if (!asked) return;
  const answer = cost(asked, data);
  const words = texts(answer, data);
  for (const shown of document.querySelectorAll("[data-text]")) shown.textContent = joined(words[shown.dataset.text]);
  tell(answer);
  // Only what was measured, and on a device, is good or bad news.
  const firm = answer.bands.batched.basis === "measured" && !answer.verdict.caveat;
  const failed = ["FAIL", "CATASTROPHIC"].includes(answer.verdict.batched);
  const mood = !firm || answer.verdict.headline === "arithmetic" ? "" : failed ? "bad" : "good";
  document.querySelector(".verdict").className = `verdict ${mood}`;
  slide(asked.probes);
  draw(answer, words);
}

// The slider goes by tens: each step is a tenth of a power of ten.
const STEPS = 10;

function slide(probes) {
  const slider = element("slider");
  const step = Math.round(Math.log10(probes) * STEPS);
  if (probes !== stop(Number(slider.value))) slider.value = step;
  slider.setAttribute("aria-valuetext", `${grouped(String(probes))} probes`);
}

const stop = (step) => Math.round(Number((10 ** (step / STEPS)).toPrecision(2)));

// The chart. It is drawn for the width that there is, so that its letters keep their size.

function part(name, attributes, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  return made;
}

const ROW = 46;
const BOTTOM = 3 * ROW + 10;

function rows(answer, words) {
  const { figures: of, bands } = answer;
  return [
    { kind: "floor", name: "Computed floor", low: of.floor, high: of.floor, text: words.floor, basis: "computed" },
    { kind: "batched", name: "Batched async", ...bands.batched, text: words.batched },
    { kind: "naive", name: "Naive hook", ...bands.naive, text: words.naive },
  ];
}

let drawn = null;

function draw(answer, words) {
  drawn = [answer, words];
  const chart = element("chart");
  const width = Math.max(chart.clientWidth, 200);
  const shown = rows(answer, words);
  const ends = shown.flatMap((row) => [row.low, row.high]).filter((end) => end > 0).map(Math.log10);
  const [first, last] = [Math.min(-6, Math.floor(Math.min(...ends))), Math.max(3, Math.ceil(Math.max(...ends)))];
  // What is zero or less, as a measurement may be by chance, is on no logarithmic scale: it lies at the left end.
  const x = (value) => {
    const at = value > 0 ? Math.log10(value) : first;
    return 8 + ((at - first) / (last - first)) * (width - 16);
  };
  chart.replaceChildren(...axis(first, last, x), ...shown.flatMap((row, index) => bar(row, index, x, width)));
  chart.setAttribute("height", BOTTOM + 24);
  chart.setAttribute("aria-label", shown.map((row) => `${row.name}: ${row.text}, ${row.basis}`).join("; "));
}

function axis(first, last, x) {
  const made = [];
  const every = Math.ceil((last - first) / 5);
  for (let decade = first; decade <= last; decade++) {
    const at = x(10 ** decade);
    made.push(part("line", { class: "grid", x1: at, x2: at, y1: 0, y2: BOTTOM }));
    if ((last - decade) % every) continue;
    const anchor = decade === first ? "start" : decade === last ? "end" : "middle";
    const place = { class: "tick", x: at, y: BOTTOM + 17, "text-anchor": anchor };
    made.push(part("text", place, `${significant(Number(`1e${decade}`), 1)} %`));
  }
  for (const share of Object.values(data.thresholds)) {
    const at = x((100 * share) / (1 - share));
    made.push(part("line", { class: "threshold", x1: at, x2: at, y1: 0, y2: BOTTOM }));
  }
  return made;
}

function bar(row, index, x, width) {
  const top = index * ROW;
  const [from, to] = [x(row.low), x(row.high)];
  const shape =
    row.low === row.high
      ? part("circle", { class: row.kind, cx: from, cy: top + 32, r: 6 })
      : part("rect", { class: row.kind, x: from, y: top + 26, width: Math.max(to - from, 4), height: 12, rx: 3 });
  return [
    part("text", { x: 8, y: top + 16 }, row.name),
    part("text", { x: width - 8, y: top + 16, "text-anchor": "end" }, `${row.text} (${row.basis})`),
    shape,
  ];
}

build();
start();
update();
element("question").addEventListener("submit", (event) => event.preventDefault());
element("question").addEventListener("input", ({ target }) => {
  if (target.id === "model") fill();
  if (target.id === "slider") element("probes").value = stop(Number(target.value));
  if (["active_params", "d_model", "layers"].includes(target.id)) element("model").value = OTHER;
  if (target.id === "dtype") element("probe_dtype").value = data.dtypes[target.value].activations;
  update();
});
addEventListener("resize", () => drawn && draw(...drawn));
