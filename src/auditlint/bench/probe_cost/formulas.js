"use strict";

// What the page computes with: formulas.py, numerals.py, verdict.py and cost.py in the page's language. The tests hold
// every number and every text equal to the command's. Nothing in here knows of the page.

function figures(load) {
  const layersRead = load.every_layer ? load.layers : 1;
  const readouts = load.probes * layersRead;
  const modelBytes = load.params * load.weight_size;
  const probeBytes = readouts * load.d_model * load.probe_size;
  const arithmetic = (100 * readouts * load.d_model) / load.params;
  const memory = (100 * probeBytes) / modelBytes;
  return {
    layers_read: layersRead,
    readouts: readouts,
    forward_flops: 2 * load.params,
    readout_flops: 2 * readouts * load.d_model,
    arithmetic_overhead: arithmetic,
    orders: Math.log10(load.params / (readouts * load.d_model)),
    model_bytes: modelBytes,
    probe_bytes: probeBytes,
    bytes_overhead: memory,
    packed_state_bytes: layersRead * load.d_model * load.state_size,
    single_state_bytes: readouts * load.d_model * load.state_size,
    export_bytes: readouts * load.probe_size,
    floor: Math.max(arithmetic, memory),
  };
}

const throughputLoss = (latency) => (100 * latency) / (100 + latency);

function grade(loss, thresholds) {
  const share = loss / 100;
  if (share < thresholds.STRICT) return "STRICT";
  if (share < thresholds.LENIENT) return "LENIENT";
  return share <= thresholds.CATASTROPHIC ? "FAIL" : "CATASTROPHIC";
}

function verdict(floor, bands, thresholds) {
  const [ofFloor, ofNaive, ofBatched] = [floor, bands.naive.low, bands.batched.high].map((latency) =>
    grade(throughputLoss(latency), thresholds),
  );
  const grades = { floor: ofFloor, naive: ofNaive, batched: ofBatched };
  if (ofFloor !== "STRICT") return { ...grades, headline: "arithmetic", contrast: "fewer" };
  const [naivePasses, batchedPasses] = [ofNaive, ofBatched].map((of) => of === "STRICT" || of === "LENIENT");
  if (!batchedPasses) return { ...grades, headline: "expensive", contrast: naivePasses ? "naive" : "neither" };
  const headline = ofBatched === "STRICT" ? "default" : "affordable";
  return { ...grades, headline: headline, contrast: naivePasses ? "either" : "implementation" };
}

// An illustration is not to be below the floor; what was measured stays what it is.
function above(band, floor) {
  if (band.basis !== "illustrative") return band;
  return { ...band, low: Math.max(band.low, floor), high: Math.max(band.high, floor) };
}

function loadOf(question, dtypes) {
  return {
    params: question.active_params,
    d_model: question.d_model,
    layers: question.layers,
    probes: question.probes,
    every_layer: question.scope === "every-layer",
    weight_size: dtypes[question.dtype].size,
    probe_size: dtypes[question.probe_dtype].size,
    state_size: dtypes[dtypes[question.dtype].activations].size,
  };
}

// The latencies of the question's scope for the number of probes that is nearest, by the ratio; of two, the first.
function nearest(question, latencies) {
  const ratio = (one) =>
    Math.max(one.probes, question.probes) / Math.min(one.probes || question.probes, question.probes);
  return latencies
    .filter((one) => one.scope === "" || one.scope === question.scope)
    .reduce((best, one) => (ratio(one) < ratio(best) ? one : best));
}

function cost(question, data) {
  const computed = figures(loadOf(question, data.dtypes));
  const { bands: given, labels, caveat } = nearest(question, data.latencies);
  const bands = { naive: above(given.naive, computed.floor), batched: above(given.batched, computed.floor) };
  const judged = { ...verdict(computed.floor, bands, data.thresholds), caveat: caveat };
  return { figures: computed, bands: bands, labels: labels, verdict: judged };
}

// Numbers as people read them.

function rounded(value, digits) {
  const [mantissa, exponent] = value.toExponential(digits - 1).split("e");
  return [mantissa, Number(exponent)];
}

function grouped(text) {
  const [whole, fraction] = text.split(".");
  return whole.replace(/\B(?=(\d{3})+$)/g, ",") + (fraction ? `.${fraction}` : "");
}

function significant(value, digits = 2) {
  if (value === 0) return "0";
  const [mantissa, exponent] = rounded(Math.abs(value), digits);
  const sign = value < 0 ? "-" : "";
  if (exponent < -3 || exponent >= 9) return `${sign}${mantissa}e${exponent}`;
  return sign + grouped(Number(`${mantissa}e${exponent}`).toFixed(Math.max(0, digits - 1 - exponent)));
}

function scaled(value, digits, units, space) {
  const [mantissa, exponent] = rounded(value, digits);
  const index = Math.min(Math.max(Math.floor(exponent / 3), 0), units.length - 1);
  const number = Number(`${mantissa}e${exponent - 3 * index}`);
  const places = index || number % 1 ? Math.max(0, digits - 1 - (exponent - 3 * index)) : 0;
  return `${grouped(number.toFixed(places))}${units[index] ? space : ""}${units[index]}`;
}

const percent = (value) => `${significant(value)} %`;
const size = (count) => scaled(count, 2, ["B", "kB", "MB", "GB", "TB", "PB", "EB"], " ");
const flops = (count) => scaled(count, 2, ["FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP", "PFLOP", "EFLOP"], " ");
const amount = (count) => scaled(count, 3, ["", "K", "M", "B", "T"], "");

function span(low, high) {
  const ends = [percent(low), percent(high)];
  return ends[0] === ends[1] ? ends[0] : ends.join(" to ");
}

const loss = (band) => span(throughputLoss(band.low), throughputLoss(band.high));

function texts(answer, data) {
  const { figures: of, bands, verdict: judged } = answer;
  const direction = of.orders >= 0 ? "below" : "above";
  return {
    readouts: grouped(String(of.readouts)),
    flops: `${flops(of.readout_flops)} beside the forward pass's ${flops(of.forward_flops)}`,
    arithmetic: percent(of.arithmetic_overhead),
    orders: `${significant(Math.abs(of.orders))} orders of magnitude ${direction} the forward pass`,
    bytes: percent(of.bytes_overhead),
    weights: `${size(of.probe_bytes)} of probe weights beside ${size(of.model_bytes)} at work`,
    states_packed: size(of.packed_state_bytes),
    states_single: size(of.single_state_bytes),
    export: size(of.export_bytes),
    floor: percent(of.floor),
    naive: span(bands.naive.low, bands.naive.high),
    naive_loss: loss(bands.naive),
    batched: span(bands.batched.low, bands.batched.high),
    batched_loss: loss(bands.batched),
    floor_grade: judged.floor,
    naive_grade: judged.naive,
    batched_grade: judged.batched,
    verdict: [data.headlines[judged.headline], data.contrasts[judged.contrast], judged.caveat].filter(Boolean).join(" "),
  };
}
