"use strict";

// One stream: bits and quality of its frames by kind, key frames marked, and pictures.

const FRAME_KINDS = [
  ["key", "key frames", "bits-key"],
  ["golden", "golden frames", "bits-latent"],
  ["token", "token frames", "bits-token"],
];
const MEASURES = [
  ["psnr_y", "PSNR-Y, dB"],
  ["ssim_y", "SSIM-Y"],
  ["qindex", "quantiser index, higher is finer"],
];

/** Upright lines where key frames stand. */
function keyMarks() {
  return data.frames
    .filter((frame) => frame.kind === "key")
    .map(({ seconds }) => ({
      type: "line",
      x0: seconds,
      x1: seconds,
      y0: 0,
      y1: 1,
      yref: "paper",
      layer: "below",
      line: { color: colour("bits-key"), width: 1, dash: "dot" },
    }));
}

function frameTraces(value, extra) {
  return FRAME_KINDS.map(([kind, name, paint]) => {
    const frames = data.frames.filter((frame) => frame.kind === kind);
    return {
      name,
      x: frames.map((frame) => frame.seconds),
      y: frames.map((frame) => frame[value]),
      marker: { color: colour(paint), size: kind === "token" ? 4 : 8 },
      hovertemplate: `${name}, %{x:.2f} s: %{y:.4~g}<extra></extra>`,
      ...extra,
    };
  }).filter((trace) => trace.x.length);
}

function frameLayout(title, extra) {
  const end = data.media.frames / data.media.frameRate;
  return chartLayout({
    xaxis: { title: { text: "time, seconds" }, range: [0, Math.max(end, data.frames.at(-1).seconds)] },
    yaxis: { title: { text: title } },
    legend: { orientation: "h", y: 1.02, yanchor: "bottom" },
    margin: { l: 60, r: 16, t: 56, b: 48 },
    shapes: keyMarks(),
    showlegend: true,
    ...extra,
  });
}

function drawFrames() {
  const width = 1 / data.media.frameRate;
  const bars = frameTraces("bits", { type: "bar", width });
  const bits = { barmode: "overlay", yaxis: { type: "log", title: { text: "bits a frame" }, exponentformat: "none" } };
  Plotly.react("frame-bits", bars, frameLayout("bits a frame", bits), CHART_OPTIONS);
  const [measure, title] = MEASURES.find(([name]) => name === byId("measure").value);
  const dots = frameTraces(measure, { type: "scatter", mode: "markers" });
  Plotly.react("frame-quality", dots, frameLayout(title, {}), CHART_OPTIONS);
}

function framesNote() {
  const counts = FRAME_KINDS.map(([kind, name]) => [name, data.frames.filter((frame) => frame.kind === kind)]);
  const parts = counts
    .filter(([, frames]) => frames.length)
    .map(([name, frames]) => {
      const bits = frames.reduce((sum, frame) => sum + frame.bits, 0) / frames.length;
      return `${frames.length} ${name}, ${Math.round(bits)} bits each`;
    });
  const sound = data.soundBits ? ` Sound takes ${Math.round(data.soundBits / 8)} bytes more.` : "";
  return `${parts.join("; ")}. Frames that are coded together share their bits evenly. Dotted: key frames.${sound}`;
}

function drawPictures() {
  const figures = data.pictures.map(({ seconds, kind, source }) => {
    const label = `${seconds.toFixed(2)} s, ${kind}`;
    const caption = element("figcaption", { textContent: label });
    return element("figure", { className: kind }, [element("img", { src: source, alt: `Frame at ${label}` }), caption]);
  });
  byId("strip").replaceChildren(...figures);
}

function drawAll() {
  drawFrames();
  drawSpending(data.media);
}

fillSelect(byId("measure"), MEASURES.filter(([name]) => data.frames[0][name] !== undefined));
byId("measure").addEventListener("change", drawFrames);
byId("frames-note").textContent = framesNote();
drawAll();
drawPictures();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
