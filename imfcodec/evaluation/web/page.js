"use strict";

// Starts the parts of the page, and draws again when the theme or the layout changes.

const POINT_COLUMNS = [
  ["series", "codec"],
  ["setting", "setting"],
  ["kbps", "kbps"],
  ["bytes", "bytes"],
  ...data.metrics.map((metric) => [metric.name, metric.unit ? `${metric.label}, ${metric.unit}` : metric.label]),
  ["encode_fps", "encode, fps"],
  ["decode_fps", "decode, fps"],
];

function formatCell(value, name) {
  if (value === null || value === undefined) return "–";
  if (typeof value === "string") return value;
  if (name === "bytes") return String(value);
  return Math.abs(value) < 2 ? value.toFixed(4) : value.toFixed(2);
}

function pointRow(point, own) {
  const cells = POINT_COLUMNS.map(([name]) => {
    const isNumber = name !== "series" && name !== "setting";
    return element("td", { textContent: formatCell(point[name], name), className: isNumber ? "number" : "" });
  });
  return element("tr", { className: own.has(point.series) ? "own" : "" }, cells);
}

function drawPoints() {
  const clip = byId("table-clip").value;
  const own = new Set(data.series.filter((series) => series.role === "own").map((series) => series.name));
  const order = (point) => data.series.findIndex((series) => series.name === point.series);
  const points = data.points.filter((point) => point.clip === clip).sort((a, b) => order(a) - order(b) || a.kbps - b.kbps);
  const heads = POINT_COLUMNS.map(([name, label]) => {
    const isNumber = name !== "series" && name !== "setting";
    return element("th", { scope: "col", textContent: label, className: isNumber ? "number" : "" });
  });
  const rows = points.map((point) => pointRow(point, own));
  byId("points-table").replaceChildren(element("thead", {}, [element("tr", {}, heads)]), element("tbody", {}, rows));
}

function chosenMedia() {
  return data.media[Number(byId("clip").value)] ?? null;
}

function startPlayer() {
  const player = new Player();
  const show = () => {
    drawSpending(chosenMedia());
    return player.open(chosenMedia());
  };
  fillSelect(byId("clip"), data.media.map((media, index) => [String(index), media.clip]));
  byId("clip-choice").hidden = !data.media.length;
  byId("clip").addEventListener("change", show);
  show();
}

function drawAll() {
  drawCurves();
  drawSpending(chosenMedia());
}

fillSelect(byId("table-clip"), data.clips.map((clip) => [clip, clip]));
byId("table-clip").addEventListener("change", drawPoints);
startCurves();
drawCurves();
drawPoints();
startPlayer();
for (const change of ["(prefers-color-scheme: dark)", NARROW]) matchMedia(change).addEventListener("change", drawAll);
