"use strict";

// Bits of each packet over time, stacked by kind, for the clip in the players.

const KINDS = [
  ["key", "key frames"],
  ["latent", "y of golden frames"],
  ["golden_token", "tokens of golden frames"],
  ["token", "tokens of token frames"],
  ["other", "headers and other"],
];

/** A round step that cuts a span of seconds into 5 to 12 parts. */
function roundStep(seconds) {
  const power = 10 ** Math.floor(Math.log10(seconds / 5));
  return power * [5, 2, 1].find((factor) => factor * power <= seconds / 5);
}

function spendingTraces(media) {
  const packets = media.spending;
  // A packet of one frame must still be seen.
  const widths = packets.map((packet) => Math.max(packet.duration, 1 / media.frameRate));
  return KINDS.map(([kind, label]) => ({
    type: "bar",
    name: label,
    x: packets.map((packet, index) => packet.start + widths[index] / 2),
    y: packets.map((packet) => packet[kind] ?? 0),
    width: widths.map((width) => 0.94 * width),
    marker: { color: colour(`bits-${kind}`) },
    hovertemplate: `${label}: %{y:.0f} bits<extra></extra>`,
  })).filter((trace) => trace.y.some((bits) => bits > 0));
}

function spendingNote(media) {
  const totals = KINDS.map(([kind, label]) => [label, media.spending.reduce((sum, packet) => sum + (packet[kind] ?? 0), 0)]);
  const all = totals.reduce((sum, [, bits]) => sum + bits, 0);
  const shares = totals.filter(([, bits]) => bits > 0).map(([label, bits]) => `${label} ${((100 * bits) / all).toFixed(1)} %`);
  return `${media.clip}: ${Math.round(all / 8)} bytes; ${shares.join(", ")}. One bar a packet, as wide as the time it covers.`;
}

function drawSpending(media) {
  const isKnown = Boolean(media?.spending.length);
  byId("spending").hidden = !isKnown;
  if (!isKnown) {
    byId("bits-note").textContent = "This run kept no record of where the bits went.";
    return;
  }
  const end = Math.max(...media.spending.map((packet) => packet.start + packet.duration), media.frames / media.frameRate);
  const layout = chartLayout({
    barmode: "stack",
    bargap: 0,
    xaxis: { title: { text: "time, seconds" }, range: [0, end], tick0: 0, dtick: roundStep(end) },
    yaxis: { title: { text: "bits a packet" } },
    legend: { orientation: "h", y: 1.02, yanchor: "bottom", traceorder: "normal" },
    margin: { l: 60, r: 16, t: 56, b: 48 },
    hovermode: "x unified",
    showlegend: true,
  });
  Plotly.react("spending", spendingTraces(media), layout, CHART_OPTIONS);
  byId("bits-note").textContent = spendingNote(media);
}
