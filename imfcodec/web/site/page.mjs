/** The page: which stream is played, and the controls. */

import { Beside, captionOf } from "./beside.mjs";
import { Decoder } from "./decoder.mjs";
import { Player } from "./player.mjs";
import { Sound } from "./sound.mjs";

const SPEEDS = [0.25, 0.5, 0.75, 1, 1.25, 1.5, 2];
const SKIP = 5; // seconds

const find = (id) => document.getElementById(id);
const canvas = find("picture");
let player = null;
let sound = null;
let opening = 0; // number of the last attempt to open a stream

/** Play a stream; `name` is shown unless the list shows it, `beside` lists videos for beside.mjs. */
async function openStream({ name, load, beside = [], isListed = false }) {
  const attempt = ++opening;
  player?.close();
  player = sound = null;
  document.body.dataset.state = "loading";
  find("name").textContent = isListed && !find("streams").hidden ? "imfcodec" : name;
  say("");
  try {
    const data = await load();
    const { byteLength } = data;
    const decoder = await Decoder.open(data, (picture) => player?.receive(picture), say);
    if (attempt !== opening) return decoder.close();
    if (!decoder.stream.times.length) throw new Error(decoder.stream.fault ?? "the stream holds no frames");
    start(decoder, byteLength, beside);
  } catch (error) {
    if (attempt !== opening) return;
    document.body.dataset.state = "failed";
    say(`${name}: ${error.message}`);
  }
}

function start(decoder, byteLength, beside) {
  const { stream } = decoder;
  sound = Sound.open(stream.sound, say);
  const videos = new Beside(find("stage"), beside, say);
  find("caption").textContent = beside.length ? captionOf("imfcodec", pictureKbps(stream, byteLength)) : "";
  document.body.classList.toggle("beside", beside.length > 0);
  player = new Player(canvas, decoder, sound ? [sound, videos] : [videos]);
  find("stage").style.setProperty("--shape", player.shape);
  player.addEventListener("time", showTime);
  player.addEventListener("state", showState);
  player.setRate(Number(find("speed").value));
  sound?.setVolume(volume());
  find("sound").hidden = !sound;
  find("seek").max = player.end;
  find("about").textContent = describe(stream, byteLength);
  if (stream.fault) say(`the stream is damaged: ${stream.fault}; what comes before can be played`);
  showState();
}

function describe({ header, times, end }, byteLength) {
  const { width, height, shownWidth, shownHeight } = header;
  const shown = shownWidth === width && shownHeight === height ? "" : `, shown ${shownWidth}x${shownHeight}`;
  const kbps = ((8 * byteLength) / 1000 / end).toFixed(2);
  return `${width}x${height}${shown}, ${times.length} frames, ${byteLength} bytes, ${kbps} kbps`;
}

/** Of a stream without its sound; its container is counted. */
function pictureKbps({ sound, end }, byteLength) {
  const soundBytes = (sound?.packets ?? []).reduce((sum, { data }) => sum + data.length, 0);
  return (8 * (byteLength - soundBytes)) / 1000 / end;
}

function say(message) {
  find("message").textContent = message;
}

function showTime() {
  if (!find("seek").matches(":active")) find("seek").value = player.now;
  find("time").textContent = `${clock(player.now)} / ${clock(player.end)}`;
  find("live").textContent = `${player.kbps.toFixed(2)} kbps now, ${player.drawRate.toFixed(0)} fps`;
}

function showState() {
  if (!player) return;
  document.body.dataset.state = player.playing ? "playing" : "paused";
  document.body.classList.toggle("waiting", player.held);
  find("play").ariaLabel = player.playing ? "Pause" : "Play";
}

function clock(seconds) {
  const [minutes, rest] = [Math.floor(seconds / 60), seconds % 60];
  return `${minutes}:${rest.toFixed(2).padStart(5, "0")}`;
}

function toggle() {
  if (player.playing) player.pause();
  else player.play();
}

function volume() {
  return find("mute").ariaPressed === "true" ? 0 : Number(find("volume").value);
}

function setVolume(value = Number(find("volume").value)) {
  find("volume").value = value;
  sound?.setVolume(volume());
}

function mute() {
  find("mute").ariaPressed = find("mute").ariaPressed !== "true";
  setVolume();
}

function changeSpeed(change) {
  const place = SPEEDS.indexOf(Number(find("speed").value)) + change;
  find("speed").value = SPEEDS[Math.max(0, Math.min(SPEEDS.length - 1, place))];
  player.setRate(Number(find("speed").value));
}

function fullScreen() {
  if (document.fullscreenElement) document.exitFullscreen();
  else find("stage").requestFullscreen();
}

const KEYS = {
  " ": toggle,
  k: toggle,
  ",": () => player.step(-1),
  ".": () => player.step(1),
  ArrowLeft: () => player.seek(player.now - SKIP),
  ArrowRight: () => player.seek(player.now + SKIP),
  Home: () => player.seek(0),
  End: () => player.seek(player.end),
  ArrowUp: () => setVolume(Math.min(1, Number(find("volume").value) + 0.1)),
  ArrowDown: () => setVolume(Math.max(0, Number(find("volume").value) - 0.1)),
  m: mute,
  f: fullScreen,
  "[": () => changeSpeed(-1),
  "]": () => changeSpeed(1),
};

function onKey(event) {
  const action = KEYS[event.key];
  if (!action || !player || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  action();
}

function onDrop(event) {
  event.preventDefault();
  document.body.classList.remove("dragging");
  const [file] = event.dataTransfer.files;
  if (file) openStream({ name: file.name, load: () => file.arrayBuffer() });
}

async function fetchStream(file) {
  const response = await fetch(file);
  if (!response.ok) throw new Error("is not there");
  return response.arrayBuffer();
}

async function listStreams() {
  const { streams } = await (await fetch("streams.json")).json();
  const list = find("streams");
  list.replaceChildren(...streams.map(({ name, file }) => new Option(name, file)));
  list.hidden = streams.length < 2;
  const open = () => {
    const { name, file, beside } = streams[list.selectedIndex];
    openStream({ name, load: () => fetchStream(file), beside, isListed: true });
  };
  list.addEventListener("change", open);
  open();
}

function connect() {
  find("speed").replaceChildren(...SPEEDS.map((speed) => new Option(`${speed}x`, speed, speed === 1, speed === 1)));
  find("speed").addEventListener("change", () => changeSpeed(0));
  const actions = { play: toggle, back: KEYS[","], forward: KEYS["."], mute, full: fullScreen };
  for (const [id, action] of Object.entries(actions)) find(id).addEventListener("click", () => player && action());
  find("stage").addEventListener("click", ({ target }) => player && target.matches("canvas, video") && toggle());
  find("seek").addEventListener("input", ({ target }) => player?.seek(Number(target.value)));
  find("volume").addEventListener("input", () => setVolume());
  addEventListener("keydown", onKey);
  addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("dragging");
  });
  addEventListener("dragleave", (event) => event.relatedTarget || document.body.classList.remove("dragging"));
  addEventListener("drop", onDrop);
}

connect();
listStreams().catch(() => say("the list of streams is not there; drop an .imf file here"));
