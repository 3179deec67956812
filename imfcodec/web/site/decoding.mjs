/**
 * Worker that turns symbols into pictures.
 *
 * From the page: {stream, port} once, where `port` leads to the worker that reads; then {frame, turn} for each picture
 * wanted, answered in order with {frame, turn, width, height, pixels}; {turn, due} when earlier turns, and pictures
 * before frame `due`, are no longer wanted: those are answered {frame, turn}. Errors are answered {error, turn}.
 */

import * as ort from "./ort.wasm.min.mjs";
import { toRgba } from "./colours.mjs";
import { Graphs } from "./graphs.mjs";
import { loadFile, loadTables } from "./model.mjs";
import { PictureDecoder, toPlanes } from "./pictures.mjs";

const MOST_THREADS = 4; // more gain nothing at the sizes that play

const asked = new URL(self.location).searchParams.get("threads");
const threads = Number(asked) || Math.min(MOST_THREADS, navigator.hardwareConcurrency);
ort.env.wasm.numThreads = self.crossOriginIsolated ? threads : 1;
ort.env.wasm.wasmPaths = new URL(".", import.meta.url).href;

let turn = 0;
let due = 0;
let source = null; // promise of a FrameSource
let work = Promise.resolve();
let openRest = null;

self.onmessage = ({ data }) => {
  if (data.stream) source = FrameSource.open(data.stream, data.port);
  else if (data.due === undefined) work = work.then(() => answer(data));
  else ({ turn, due } = data);
};

async function answer(wanted) {
  await new Promise((resolve) => setTimeout(resolve)); // messages come in between two pictures
  if (wanted.turn !== turn) return;
  if (wanted.frame < due) return self.postMessage(wanted);
  try {
    const picture = await (await source).picture(wanted.frame);
    self.postMessage({ frame: wanted.frame, turn: wanted.turn, ...picture }, [picture.pixels.buffer]);
    // The other graphs, while somebody looks at the first picture.
    openRest ??= work = work.then(async () => (await source).decoder.graphs.open());
  } catch (error) {
    self.postMessage({ error: error.message, turn: wanted.turn });
  }
}

/** Any frame of a stream; the next ones are cheapest. */
class FrameSource {
  static async open(stream, port) {
    const { config, tensors } = await loadTables(stream.header.modelId);
    const graphs = new Graphs(ort, (name) => loadFile(stream.header.modelId, name));
    const { width, height } = stream.header;
    return new FrameSource(stream, port, new PictureDecoder(graphs, tensors, config, width, height));
  }

  constructor({ header, packets }, port, decoder) {
    Object.assign(this, { header, packets, port, decoder });
    this.number = -1; // of the packet whose frames are at hand
    this.frames = [];
    this.asked = null; // {number, answer}: the packet read ahead
  }

  async picture(frame) {
    const number = this.packets.findLastIndex(({ first }) => first <= frame);
    const key = this.packets.findLastIndex(({ kind, first }) => kind === "KEY" && first <= frame);
    if (number < this.number || key > this.number) this.number = key - 1;
    while (this.number < number) await this.decode(this.number + 1);
    const picture = await this.frames[frame - this.packets[number].first]();
    const { width, height, colour } = this.header;
    return { width, height, pixels: toRgba(toPlanes(picture, width, height), width, height, colour) };
  }

  async decode(number) {
    const { packet, levels, error } = await this.read(number);
    this.number = -1; // what fails is begun anew at its key frame
    if (error) throw new Error(error);
    if (number + 1 < this.packets.length) this.asked = { number: number + 1, answer: this.ask(number + 1) };
    this.frames = await this.decoder.take(packet, levels);
    this.number = number;
  }

  /** Symbols of a packet, of the one read ahead if it is that. */
  async read(number) {
    const { asked } = this;
    this.asked = null;
    const answer = await asked?.answer; // answers come in order
    return asked?.number === number ? answer : this.ask(number);
  }

  ask(number) {
    return new Promise((resolve) => {
      this.port.onmessage = ({ data }) => resolve(data);
      this.port.postMessage(number);
    });
  }
}
