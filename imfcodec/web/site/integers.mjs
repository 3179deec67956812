/** Networks in whole numbers that select tables (SPEC.md, "Exactness"). Sums count 1/1024, activations 1/16. */

import { need } from "./bits.mjs";
import { Table } from "./range.mjs";

const LIMIT = 127;
const LAST_TABLE = 63;
const MAX_CONTEXT = 7;

/** 1x1 layer. */
export class Pointwise {
  constructor(tensors, name) {
    const { shape, values } = tensors.get(`${name}.weight`);
    [this.outputs, this.inputs] = shape;
    this.bias = Int32Array.from(tensors.get(`${name}.bias`).values, (value) => roundEven(1024 * value));
    this.columns = new Int32Array(values.length); // weights of input 0, then of input 1, ...
    values.forEach((value, i) => {
      this.columns[(i % this.inputs) * this.outputs + Math.floor(i / this.inputs)] = toWeight(value);
    });
    this.bias.forEach((bias, output) => checkBound(this.column(output), bias, name));
  }

  column(output) {
    return Array.from({ length: this.inputs }, (_, input) => this.columns[input * this.outputs + output]);
  }

  /** sums[start + o] += x times the weight of `input` for output o. */
  add(sums, start, input, x) {
    const { columns, outputs } = this;
    const from = input * outputs;
    for (let o = 0; o < outputs; o++) sums[start + o] += x * columns[from + o];
  }

  /** The layer at one place: `sums` becomes that of activations x[from..]. */
  run(sums, x, from) {
    sums.set(this.bias);
    for (let input = 0; input < this.inputs; input++) if (x[from + input]) this.add(sums, 0, input, x[from + input]);
  }
}

/** 3x3 depthwise layer; weights [9][channels]. */
export class Depthwise {
  constructor(tensors, name) {
    const { shape, values } = tensors.get(`${name}.weight`);
    this.channels = shape[1];
    this.weights = Int32Array.from(values, toWeight);
    for (let channel = 0; channel < this.channels; channel++) {
      checkBound(Array.from({ length: 9 }, (_, k) => this.weights[k * this.channels + channel]), 0, name);
    }
  }

  /** Spread x at (row, column) to the sums of the places around; sums [rows][columns][channels]. */
  scatter(sums, rows, columns, row, column, channel, x) {
    for (let k = 0; k < 9; k++) {
      const [r, c] = [row + 1 - Math.floor(k / 3), column + 1 - (k % 3)];
      if (r < 0 || r >= rows || c < 0 || c >= columns) continue;
      sums[(r * columns + c) * this.channels + channel] += x * this.weights[k * this.channels + channel];
    }
  }
}

/** The integer part of a model: tables and networks; `config` as in the model file. */
export class IntegerModel {
  constructor(tensors, config) {
    need(config.context_limit <= MAX_CONTEXT, "the model's context_limit is above 7");
    this.config = config;
    this.gaussian = readTables(tensors, "gaussian");
    this.hyper = readTables(tensors, "hyper");
    const layers = (prefix, names) => names.map((name) => new Pointwise(tensors, `${prefix}.${name}`));
    const y = "latent_prior.indices";
    this.y = { around: new Depthwise(tensors, `${y}.around`), layers: layers(y, ["enter", "body", "leave"]) };
    [this.u, this.g] = ["token_prior.u_index", "token_prior.g_index"].map((part) => ({
      around: new Depthwise(tensors, `${part}.around`),
      layers: layers(`${part}.index`, ["0", "1", "2"]),
    }));
  }
}

/** Units of 1/1024 to those of 1/16, halves to even, clipped; `count` of them, in place of `target`. */
export function activate(target, sums, start, count) {
  for (let i = 0; i < count; i++) {
    const sum = sums[start + i];
    target[i] = sum <= 32 ? 0 : sum >= LIMIT * 64 ? LIMIT : roundShift(sum, 6);
  }
}

/** Table index of an output. */
export function tableIndex(sum) {
  const eighths = sum + 1024; // 8 (8 o + 8) of o = sum / 1024, in units of 1/128
  return eighths <= 0 ? 0 : eighths >= LAST_TABLE * 128 ? LAST_TABLE : roundShift(eighths, 7);
}

/** x / 2^bits for x >= 0, halves to even. */
function roundShift(x, bits) {
  const half = 1 << (bits - 1);
  const whole = x >> bits;
  const rest = x & ((1 << bits) - 1);
  return rest > half || (rest === half && whole & 1) ? whole + 1 : whole;
}

function roundEven(x) {
  const rounded = Math.round(x);
  return Math.abs(x % 1) === 0.5 && rounded % 2 ? rounded - 1 : rounded;
}

function toWeight(value) {
  return Math.max(-LIMIT, Math.min(LIMIT, roundEven(64 * value)));
}

function checkBound(weights, bias, name) {
  const sum = weights.reduce((total, weight) => total + Math.abs(weight), 0);
  need(LIMIT * sum + Math.abs(bias) < 2 ** 24, `${name} of the model is too large to be exact`);
}

function readTables(tensors, name) {
  const [cdf, lengths, offsets] = ["cdf", "lengths", "offsets"].map((part) => tensors.get(`tables.${name}.${part}`));
  const width = cdf.shape[1];
  return Array.from(lengths.values, (length, row) => {
    return new Table(cdf.values.subarray(row * width, row * width + length), offsets.values[row]);
  });
}
