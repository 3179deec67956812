/**
 * Symbols of packets (SPEC.md, "Symbols of a frame"): everything that whole numbers decide.
 *
 * Grids lie place by place, [rows][columns][channels], where networks read them, and [channels][rows][columns] where
 * the format names them and in what is handed out.
 */

import { need } from "./bits.mjs";
import { activate, tableIndex } from "./integers.mjs";
import { GOLDEN, KEY, goldenAfter, readSplits, stepQindex, tokenAfter, tokenLevels } from "./plan.mjs";
import { RangeReader } from "./range.mjs";

const PLACES = [[0, 0], [1, 1], [0, 1], [1, 0]]; // row and column of the places of each 2x2 cell, in coding order
const PASSES = 4;
const GROUP_PIXELS = 2 ** 19;
const UNIT = 16; // of activations

/** Reads the packets of one stream, in order; a group may be entered at any KEY packet. */
export class SymbolReader {
  /** `width` and `height` are those of the coded frames. */
  constructor(model, width, height) {
    this.model = model;
    this.limit = model.config.context_limit;
    [this.width, this.height] = [width, height].map((side) => Math.ceil(side / 64) * 64);
    this.y = { rows: this.height / 16, columns: this.width / 16, channels: model.config.latent_channels };
    this.u = { rows: this.height / 32, columns: this.width / 32, channels: model.config.grid_channels };
    this.g = { rows: 1, columns: 1, channels: model.config.global_channels };
    const empty = ({ rows, columns, channels }) => new Uint8Array(rows * columns * channels);
    this.nothing = { u: empty(this.u), g: empty(this.g), y: empty(this.y) };
    this.seen = null; // magnitudes of symbols by position after the anchor
    this.before = 0;
  }

  /**
   * Read a packet of container.mjs.
   *
   * Gives levels of frames in coding order: {step, qindex, u, g} and, of key and golden frames, {z, y}: the symbols,
   * Float32Arrays [channels][rows][columns]; a key frame has no step, u and g.
   */
  read({ kind, frames, golden, qindex, quantisers, payload }) {
    const message = new RangeReader(payload, kind !== "DELAY_TOKEN");
    const levels = kind === "KEY" ? this.readKey(message, qindex) : this.readChunk(message, frames, golden, quantisers);
    message.finish();
    if (kind === "KEY" || golden) [this.seen, this.before] = [new Map([[0, this.nothing]]), 0];
    else this.before += frames;
    return levels;
  }

  readKey(message, qindex) {
    const frame = { qindex, near: [this.nothing.y] };
    this.readGroup(message, [frame], KEY);
    return [[{ qindex, z: frame.z, y: frame.y }]];
  }

  readChunk(message, frames, golden, quantisers) {
    need(this.seen, "the stream does not start with a key frame");
    need(!golden || this.before === 0 || frames === 1, "a golden frame follows token frames");
    const end = this.before + frames;
    if (!golden) return this.readPast(message, end, quantisers);
    const { levels, leaves } = readSplits(this.before === 0 ? end : 1, () => message.bit());
    const goldens = [[goldenAfter(end)], ...levels].map((steps) => this.readLevel(message, steps, quantisers));
    return [...goldens, ...tokenLevels(leaves).map((steps) => this.readLevel(message, steps, quantisers))];
  }

  readPast(message, end, quantisers) {
    const levels = [];
    for (let position = this.before + 1; position <= end; position++) {
      levels.push(this.readLevel(message, [tokenAfter(position)], quantisers));
    }
    return levels;
  }

  /** Frames of one role: all of their tokens, then, of golden frames, y in groups. */
  readLevel(message, steps, quantisers) {
    const frames = steps.map((step) => ({ step, qindex: stepQindex(step, quantisers) }));
    for (const part of ["u", "g"]) this.readPart(message, frames, part);
    for (const { step, magnitudes } of frames) this.seen.set(step.position, magnitudes);
    if (steps[0].role === GOLDEN) {
      const size = Math.max(1, Math.floor(GROUP_PIXELS / (this.width * this.height)));
      for (let start = 0; start < frames.length; start += size) {
        const group = frames.slice(start, start + size);
        for (const frame of group) frame.near = frame.step.references.map((place) => this.seen.get(place).y);
        this.readGroup(message, group, GOLDEN);
      }
    }
    return frames.map(({ step, qindex, u, g, z, y }) => ({ step, qindex, u, g, z, y }));
  }

  /** One part of the tokens of some frames: u or g. */
  readPart(message, frames, part) {
    const { channels, rows, columns } = this[part];
    const size = channels * rows * columns;
    const numbers = new Int32Array(frames.length * size);
    frames.forEach(({ step, qindex }, i) => {
      this.tokenTables(numbers.subarray(i * size, (i + 1) * size), step, qindex, part);
    });
    const values = message.set(numbers, this.model.gaussian);
    frames.forEach((frame, i) => {
      frame[part] = Float32Array.from(values.subarray(i * size, (i + 1) * size));
      frame.magnitudes = { ...frame.magnitudes, [part]: this.magnitudes(frame[part], this[part]) };
    });
  }

  /** Magnitudes of symbols [channels][places] as context, [places][channels]. */
  magnitudes(values, { channels, rows, columns }) {
    const places = rows * columns;
    const found = new Uint8Array(values.length);
    values.forEach((value, i) => {
      found[(i % places) * channels + Math.floor(i / places)] = Math.min(this.limit, Math.abs(value));
    });
    return found;
  }

  /** Tables of one frame's u or g. */
  tokenTables(numbers, step, qindex, part) {
    const { channels, rows, columns } = this[part];
    const { around, layers } = this.model[part];
    const [first, second] = [0, 1].map((side) => (this.seen.get(step.neighbours[side]) ?? this.nothing)[part]);
    const sums = new Int32Array(first.length);
    for (let i = 0; i < first.length; i++) {
      const both = Math.min(this.limit, first[i] + second[i]) * UNIT;
      const place = Math.floor(i / channels);
      const [row, column] = [Math.floor(place / columns), place % columns];
      if (both) around.scatter(sums, rows, columns, row, column, i % channels, both);
    }
    const known = [...conditions(qindex, step.role), UNIT * step.level, 2 * Math.min(step.span, 63)];
    const x = new Int32Array(layers[0].inputs);
    x.set(known, 3 * channels);
    for (let place = 0; place < rows * columns; place++) {
      const [row, column] = [Math.floor(place / columns), place % columns];
      for (let c = 0; c < channels; c++) {
        x[c] = UNIT * first[place * channels + c];
        x[channels + c] = UNIT * second[place * channels + c];
      }
      activate(x.subarray(2 * channels), sums, place * channels, channels);
      const frequency = [Math.floor((128 * row) / rows), Math.floor((128 * column) / columns)];
      x.set([...frequency, Math.max(...frequency)], 3 * channels + known.length);
      runNetwork(layers, x).forEach((sum, c) => (numbers[c * rows * columns + place] = tableIndex(sum)));
    }
  }

  /** z and y of some frames {qindex, near}; sets `z`, `y` and their magnitudes. */
  readGroup(message, frames, role) {
    const { rows, columns, channels } = this.y;
    const hyperPlaces = (rows * columns) / 16;
    const hyperSize = this.model.config.hyper_channels * hyperPlaces;
    const numbers = Int32Array.from({ length: frames.length * hyperSize }, (_, i) => {
      return Math.floor((i % hyperSize) / hyperPlaces);
    });
    const z = message.set(numbers, this.model.hyper);
    const contexts = frames.map((frame, i) => {
      frame.z = Float32Array.from(z.subarray(i * hyperSize, (i + 1) * hyperSize));
      frame.y = new Float32Array(rows * columns * channels);
      return new LatentTables(this, frame, role);
    });
    const part = (rows * columns * channels) / PASSES;
    for (let pass = 0; pass < PASSES; pass++) {
      const indices = new Int32Array(frames.length * part);
      contexts.forEach((context, i) => context.indices(indices.subarray(i * part, (i + 1) * part), pass));
      const values = message.set(indices, this.model.gaussian);
      contexts.forEach((context, i) => context.take(values.subarray(i * part, (i + 1) * part), pass));
    }
    frames.forEach((frame, i) => (frame.magnitudes = { ...frame.magnitudes, y: contexts[i].symbols }));
    for (const { step, magnitudes } of frames) if (step) this.seen.set(step.position, magnitudes);
  }
}

/** Tables of one frame's y, pass by pass. What a symbol adds to the first layer is added once, when it is known. */
class LatentTables {
  constructor({ model, limit, y }, frame, role) {
    const [enter, body, leave] = model.y.layers;
    Object.assign(this, { limit, grid: y, frame, enter, body, leave, around: model.y.around });
    const places = y.rows * y.columns;
    this.symbols = new Uint8Array(places * y.channels); // magnitudes
    this.aroundSums = new Int32Array(places * y.channels);
    this.sums = new Int32Array(places * enter.outputs);
    for (let place = 0; place < places; place++) this.addKnown(place, role, model.config.hyper_channels);
  }

  /** Of one place: bias, the references' magnitudes, z, quantiser and role. */
  addKnown(place, role, hyperChannels) {
    const { channels, columns, rows } = this.grid;
    const { near, z, qindex } = this.frame;
    const start = place * this.enter.outputs;
    this.sums.set(this.enter.bias, start);
    const add = (input, x) => x && this.enter.add(this.sums, start, input, x);
    for (let c = 0; c < channels; c++) {
      const i = place * channels + c;
      add(2 * channels + c, (UNIT * (near[0][i] + near[near.length - 1][i])) / 2); // the same one twice, if alone
    }
    const [row, column] = [Math.floor(place / columns) >> 2, (place % columns) >> 2];
    for (let c = 0; c < hyperChannels; c++) {
      const value = z[(c * (rows / 4) + row) * (columns / 4) + column];
      const size = Math.min(this.limit, Math.abs(value)) * UNIT;
      add(3 * channels + (value < 0 ? hyperChannels : 0) + c, size);
    }
    conditions(qindex, role).forEach((x, i) => add(3 * channels + 2 * hyperChannels + i, x));
  }

  /** Table indices of a pass, [channels][rows / 2][columns / 2]. */
  indices(target, pass) {
    const { channels, rows, columns } = this.grid;
    const { enter, body, leave } = this;
    const flag = enter.inputs - PASSES + pass;
    const around = new Int32Array(channels);
    const hidden = new Int32Array(enter.outputs);
    const sums = [enter, body, leave].map((layer) => new Int32Array(layer.outputs));
    for (let place = 0; place < rows * columns; place++) {
      const start = place * enter.outputs;
      sums[0].set(this.sums.subarray(start, start + enter.outputs));
      enter.add(sums[0], 0, flag, UNIT);
      activate(around, this.aroundSums, place * channels, channels);
      for (let c = 0; c < channels; c++) if (around[c]) enter.add(sums[0], 0, channels + c, around[c]);
      activate(hidden, sums[0], 0, enter.outputs);
      body.run(sums[1], hidden, 0);
      activate(hidden, sums[1], 0, body.outputs);
      leave.run(sums[2], hidden, 0);
      this.eachCoded(place, pass, (c, coded) => (target[coded] = tableIndex(sums[2][c])));
    }
  }

  /** Take the symbols of a pass. */
  take(values, pass) {
    const { channels, rows, columns } = this.grid;
    for (let place = 0; place < rows * columns; place++) {
      const [row, column] = [Math.floor(place / columns), place % columns];
      this.eachCoded(place, pass, (c, coded) => {
        const value = values[coded];
        if (!value) return;
        this.frame.y[c * rows * columns + place] = value;
        const size = Math.min(this.limit, Math.abs(value));
        this.symbols[place * channels + c] = size;
        this.enter.add(this.sums, place * this.enter.outputs, c, UNIT * size);
        this.around.scatter(this.aroundSums, rows, columns, row, column, c, UNIT * size);
      });
    }
  }

  /** Call with each channel that a pass codes at a place, and where it stands in the set. */
  eachCoded(place, pass, call) {
    const { channels, rows, columns } = this.grid;
    const [row, column] = [Math.floor(place / columns), place % columns];
    const cell = (row >> 1) * (columns / 2) + (column >> 1);
    const number = PLACES.findIndex(([r, c]) => r === (row & 1) && c === (column & 1));
    const first = ((number - pass + PASSES) % PASSES) * (channels / 4);
    for (let c = first; c < first + channels / 4; c++) call(c, (c * rows * columns) / 4 + cell);
  }
}

/** Activations of quantiser index and role. */
function conditions(qindex, role) {
  return [qindex >> 1, ...[0, 1, 2].map((other) => (role === other ? 2 * UNIT : 0))];
}

/** Sums of the last layer at one place. */
function runNetwork(layers, x) {
  let sums;
  for (const layer of layers) {
    if (sums) activate((x = new Int32Array(sums.length)), sums, 0, sums.length);
    sums = new Int32Array(layer.outputs);
    layer.run(sums, x, 0);
  }
  return sums;
}
