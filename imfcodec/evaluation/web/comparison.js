"use strict";

// Two videos and the curve of one metric; a click on the curve goes to the frame.

function drawCurve(player) {
  const metric = data.metrics.find((candidate) => candidate.name === byId("metric").value);
  const values = data.curves[metric.name];
  const trace = {
    x: values.map((value, index) => index + 1),
    y: values,
    mode: "lines",
    line: { color: colour("own"), width: 2 },
    hovertemplate: "frame %{x}: %{y:.4~g}<extra></extra>",
  };
  const layout = chartLayout({
    xaxis: { title: { text: "frame" } },
    yaxis: { title: { text: metric.axisTitle } },
    hovermode: "x",
  });
  Plotly.react("curve", [trace], layout, CHART_OPTIONS);
  byId("curve").removeAllListeners("plotly_click");
  byId("curve").on("plotly_click", (event) => player.step(event.points[0].x - 1 - player.frame));
  byId("curve-note").textContent =
    `${metric.label}: mean ${data.mean[metric.name].toPrecision(5)}. A click on the curve goes to that frame.`;
}

const player = new Player();
const redraw = () => drawCurve(player);
fillSelect(byId("metric"), data.metrics.map((metric) => [metric.name, metric.label]));
byId("metric").addEventListener("change", redraw);
redraw();
player.open(data.media);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
