"use strict";

// Rate-distortion curves: one metric, for one clip or as a mean over the clips.

const TICKS_KBPS = [0.5, 1, 2, 3, 5, 8, 12, 20, 40, 80, 160, 320, 640, 1280, 2560, 5120];
const DASHES = ["solid", "dash", "dot", "dashdot"];
const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "cross", "x"];
const MEAN = "mean";
const MEAN_NOTE =
  "Lines: mean over the clips at equal rate, each clip interpolated linearly in the logarithm of the rate and never " +
  "extrapolated, where all clips of a codec have a curve. Dotted: mean over the clips setting by setting, at the geometric " +
  "mean of their rates.";

/** Colour, dash and symbol of a series; what belongs to one family shares its colour. */
function seriesStyle(series) {
  if (series.role === "own") return { colour: colour("own"), width: 4, dash: "solid", symbol: "circle" };
  if (series.role === "baseline") return { colour: colour("baseline"), width: 1.5, dash: "dash", symbol: "circle" };
  const peers = data.series.filter((other) => ["peer", "envelope", "part"].includes(other.role));
  const families = [...new Set(peers.map((other) => other.family))];
  const place = families.indexOf(series.family);
  const parts = peers.filter((other) => other.role === "part" && other.family === series.family);
  const dash = series.role === "part" ? DASHES[1 + (parts.indexOf(series) % 3)] : "solid";
  const width = series.role === "part" ? 1.2 : 2;
  return { colour: colour(`peer-${place % 6}`), width, dash, symbol: SYMBOLS[place % SYMBOLS.length] };
}

function curveTrace(series, curve, extra) {
  const style = seriesStyle(series);
  return {
    name: series.name,
    legendgroup: series.name,
    x: curve.kbps,
    y: curve.value,
    text: curve.setting,
    mode: "lines+markers",
    visible: series.role === "part" ? "legendonly" : true,
    hovertemplate: "%{fullData.name} %{text}<br>%{x:.3~g} kbps: %{y:.4~g}<extra></extra>",
    ...extra,
    line: { color: style.colour, width: style.width, dash: style.dash, ...extra.line },
    marker: { color: style.colour, symbol: style.symbol, size: series.role === "own" ? 9 : 7, ...extra.marker },
  };
}

/** Lines of a series: one for a clip; for the mean, the one at equal rate and a dotted one setting by setting. */
function seriesTraces(series, views, view) {
  if (view !== MEAN) return views[view]?.kbps.length ? [curveTrace(series, views[view], {})] : [];
  const traces = [];
  // A mean at equal rate bends at every clip's points: marks there would only be noise.
  if (views["equal rate"].kbps.length) traces.push(curveTrace(series, views["equal rate"], { marker: { opacity: 0 } }));
  const dotted = { opacity: 0.6, line: { width: 1, dash: "dot" }, showlegend: !traces.length };
  if (views.setting.kbps.length) traces.push(curveTrace(series, views.setting, dotted));
  return traces;
}

function curvesNote(view, missing) {
  const note = view === MEAN ? MEAN_NOTE : "Points as measured.";
  const folded = data.series.some((series) => series.role === "part")
    ? " An envelope takes, clip by clip, whichever of the coded sizes is better; a click on the legend shows each size."
    : "";
  return note + folded + (missing.length ? ` No curve here: ${missing.join(", ")}.` : "");
}

function drawCurves() {
  const metric = data.metrics.find((candidate) => candidate.name === byId("metric").value);
  if (!metric) return;
  const view = byId("view").value;
  const views = data.curves[metric.name];
  const drawn = data.series.map((series) => (views[series.name] ? seriesTraces(series, views[series.name], view) : []));
  const missing = data.series.filter((series, index) => !drawn[index].length).map((series) => series.name);
  const layout = chartLayout({
    xaxis: { type: "log", title: { text: "rate, kbps" }, tickvals: TICKS_KBPS },
    yaxis: { title: { text: metric.axisTitle } },
    legend: { traceorder: "reversed", ...(matchMedia(NARROW).matches ? { orientation: "h", yref: "container", y: 0, yanchor: "bottom" } : { x: 1.01, y: 1 }) },
    showlegend: true,
    uirevision: "keep",
  });
  // Ours comes last, on top of the others, but first in the legend.
  Plotly.react("curves", drawn.flat().reverse(), layout, CHART_OPTIONS);
  const viewLabel = byId("view").selectedOptions[0].textContent;
  byId("curves").setAttribute("aria-label", `${metric.label} against rate, ${viewLabel}; the numbers are in the tables below`);
  byId("curves-note").textContent = curvesNote(view, missing);
}

function startCurves() {
  if (!data.metrics.length) {
    byId("curves").hidden = true;
    byId("curves-note").textContent = "This run holds no results.";
  }
  const clipViews = data.clips.map((clip) => [`clip ${clip}`, clip]);
  const mean = [MEAN, `Mean of ${data.clips.length} clips`];
  fillSelect(byId("metric"), data.metrics.map((metric) => [metric.name, metric.label]));
  fillSelect(byId("view"), data.clips.length > 1 ? [mean, ...clipViews] : clipViews);
  byId("metric").addEventListener("change", drawCurves);
  byId("view").addEventListener("change", drawCurves);
}
