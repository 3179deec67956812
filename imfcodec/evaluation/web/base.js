"use strict";

// What all parts of the page share: the results, elements by id, colours of the present theme.

const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const NARROW = "(max-width: 56rem)"; // as in page.css
const CHART_OPTIONS = {
  responsive: true,
  displaylogo: false,
  modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]],
};

function element(tag, properties = {}, children = []) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

/** Fill a select with [value, label] pairs; keeps the choice where it is still there. */
function fillSelect(select, pairs, preferred) {
  const chosen = [select.value, preferred].find((value) => pairs.some((pair) => pair[0] === value));
  select.replaceChildren(...pairs.map(([value, label]) => element("option", { value, textContent: label })));
  select.value = chosen ?? pairs[0]?.[0] ?? "";
  select.disabled = pairs.length < 2;
}

/** Layout every chart starts from. */
function chartLayout(extra) {
  const axis = { gridcolor: colour("line"), linecolor: colour("line"), zeroline: false, automargin: true };
  return {
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: "system-ui, sans-serif", size: 13, color: colour("ink") },
    margin: { l: 60, r: 16, t: 24, b: 48 },
    hoverlabel: { bgcolor: colour("panel"), bordercolor: colour("line"), font: { color: colour("ink") } },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: colour("quiet"), activecolor: colour("ink") },
    ...extra,
    xaxis: { ...axis, ...extra.xaxis },
    yaxis: { ...axis, ...extra.yaxis },
  };
}
