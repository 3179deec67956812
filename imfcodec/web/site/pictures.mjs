/**
 * Symbols to pictures: what `imfcodec/light/executor.py` does, one frame at a time.
 *
 * A picture is {luma [1, 1, H, W], chroma [1, 2, H / 2, W / 2]}, tensors of -0.5..0.5, H and W multiples of 64.
 */

import { GOLDEN, KEY } from "./plan.mjs";

const PLACES = [[0, 0], [1, 1], [0, 1], [1, 0]];
const PASSES = 4;
const PATCH_CHANNELS = 96;
const MOTION_CHANNELS = 2; // of u; what the others say concerns a frame's own references

/** Decodes the packets of one stream, in order; a group may be entered at any KEY packet. */
export class PictureDecoder {
  /** `steps` are tensors (tensors.mjs) of quantisation steps, `width` and `height` those of the coded frames. */
  constructor(graphs, steps, config, width, height) {
    Object.assign(this, { graphs, steps, config });
    [this.width, this.height] = [width, height].map((side) => Math.ceil(side / 64) * 64);
    this.known = null; // {token, reference} by position after the anchor; token frames have no reference
    this.before = 0;
  }

  /**
   * Decode key and golden frames of a packet, whose symbols symbols.mjs has read.
   *
   * Gives, for each frame in display order, a function that makes its picture: token frames cost nothing unless shown.
   */
  async take(packet, levels) {
    if (packet.kind === "KEY") return this.takeKey(levels[0][0]);
    const { known } = this;
    for (const level of levels) {
      for (const frame of level) known.set(frame.step.position, this.token(frame, known));
      for (const frame of level) if (frame.step.role === GOLDEN) await this.refine(frame, known);
    }
    if (packet.golden) {
      const { picture, features } = known.get(this.before + packet.frames).reference;
      await this.anchor(picture, features);
    } else this.before += packet.frames;
    const frames = levels.flat().sort((one, other) => one.step.position - other.step.position);
    return frames.map((frame) => () => this.render(frame, known));
  }

  async takeKey({ qindex, z, y }) {
    const [height, width] = [this.height, this.width];
    const nothing = [
      this.graphs.zeros(1, 1, height, width),
      this.graphs.zeros(1, 2, height / 2, width / 2),
      this.graphs.zeros(1, 2 * PATCH_CHANNELS, height / 8, width / 8),
      this.graphs.zeros(1, this.config.align_channels[1], height / 16, width / 16),
    ];
    const { picture, features } = await this.latent(KEY, qindex, nothing, z, y);
    await this.anchor(picture, features);
    return [async () => picture];
  }

  /** A decoded frame becomes the anchor: its token counts as zero from here on. */
  async anchor(picture, features) {
    const token = { g: new Float32Array(this.config.global_channels), u: this.emptyGrid() };
    const memory = await this.graphs.run("remember", ...this.tokenTensors(token), ...features);
    this.known = new Map([[0, { token, reference: { picture, features, memory } }]]);
    this.before = 0;
  }

  /** The token of a frame: the guess between its neighbours and what was coded. */
  token({ step, qindex, u, g }, known) {
    const [first, second] = step.neighbours.map((position) => known.get(position).token);
    const guess = (part) => first[part].map((a, i) => (second ? a + (second[part][i] - a) * step.share : a));
    const motion = guess("u").fill(0, (MOTION_CHANNELS * u.length) / this.config.grid_channels);
    const scaled = (values, name) => {
      const [channels, places] = [this.steps.get(name).shape[1], values.length / this.steps.get(name).shape[1]];
      const sizes = this.steps.get(name).values.subarray(qindex * channels, (qindex + 1) * channels);
      return values.map((value, i) => value * sizes[Math.floor(i / places)]);
    };
    const moved = inverseCosineTransform(scaled(u, "steps.u"), this.height / 32, this.width / 32);
    const added = scaled(g, "steps.g");
    return { token: { g: guess("g").map((a, i) => a + added[i]), u: motion.map((a, i) => a + moved[i]) } };
  }

  /** Decode y of a golden frame whose token is known. */
  async refine({ step, qindex, z, y }, known) {
    const frame = known.get(step.position);
    const { picture, features } = await this.latent(GOLDEN, qindex, await this.predict(step, known), z, y);
    const memory = await this.graphs.run("remember", ...this.tokenTensors(frame.token), ...features);
    frame.reference = { picture, features, memory };
  }

  async render({ step, qindex }, known) {
    const { reference } = known.get(step.position);
    if (reference) return reference.picture;
    const aligned = await this.predict(step, known);
    const [luma, chroma] = await this.graphs.run("token_frame", ...aligned, this.graphs.whole(qindex));
    return { luma, chroma };
  }

  /** Prediction of a frame: luma, chroma, moved copies, features. */
  predict(step, known) {
    const token = this.tokenTensors(known.get(step.position).token);
    const sides = step.references.map((position) => {
      const { picture, memory } = known.get(position).reference;
      return [picture.luma, picture.chroma, ...memory];
    });
    if (sides.length === 1) return this.graphs.run("predict_from_one", ...token, ...sides[0]);
    return this.graphs.run("predict_from_two", ...token, this.graphs.floats([step.place], 1), ...sides[0], ...sides[1]);
  }

  /** Decode y and the frame: picture and features. Tables are not its business: what only they need stays zero. */
  async latent(role, qindex, aligned, z, y) {
    const { graphs } = this;
    const [luma, chroma, , features] = aligned;
    const shape = [this.config.latent_channels, this.height / 16, this.width / 16];
    const hyper = graphs.floats(z, 1, this.config.hyper_channels, this.height / 64, this.width / 64);
    const unused = graphs.zeros(1, ...shape);
    const known = [hyper, unused, luma, chroma, features, graphs.whole(role), graphs.whole(qindex)];
    const contexts = await graphs.run("latent_shared", ...known);
    const decoded = new Float32Array(y.length);
    for (let pass = 0; pass < PASSES; pass++) {
      const number = graphs.whole(pass, []);
      const [mean] = await graphs.run("latent_pass", graphs.floats(decoded, 1, ...shape), unused, ...contexts, number);
      addPass(decoded, y, mean.data, pass, shape);
    }
    const steps = this.steps.get(role === KEY ? "steps.key" : "steps.golden").values;
    const places = shape[1] * shape[2];
    const scaled = decoded.map((value, i) => value * steps[qindex * shape[0] + Math.floor(i / places)]);
    const inputs = [graphs.floats(scaled, 1, ...shape), ...aligned, graphs.whole(qindex)];
    const [shownLuma, shownChroma, ...shownFeatures] = await graphs.run("reference_frame", ...inputs);
    return { picture: { luma: shownLuma, chroma: shownChroma }, features: shownFeatures };
  }

  emptyGrid() {
    return new Float32Array((this.config.grid_channels * this.height * this.width) / 1024);
  }

  tokenTensors({ g, u }) {
    const { graphs, config } = this;
    const grid = [1, config.grid_channels, this.height / 32, this.width / 32];
    return [graphs.floats(g, 1, config.global_channels), graphs.floats(u, ...grid)];
  }
}

/** Planes of 8-bit samples, cropped to the coded size: {y, u, v}. */
export function toPlanes({ luma, chroma }, width, height) {
  const [halfWidth, halfHeight] = [(width + 1) >> 1, (height + 1) >> 1];
  const [rows, columns] = chroma.dims.slice(2);
  return {
    y: cropPlane(luma.data, luma.dims[3], width, height),
    u: cropPlane(chroma.data, columns, halfWidth, halfHeight),
    v: cropPlane(chroma.data.subarray(rows * columns), columns, halfWidth, halfHeight),
  };
}

function cropPlane(values, stride, width, height) {
  const plane = new Uint8ClampedArray(width * height);
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      plane[row * width + column] = (values[row * stride + column] + 0.5) * 255; // the array rounds and clips
    }
  }
  return plane;
}

/** Make y of the symbols and means of a pass, where it codes: of quarter g of the channels, place g + pass of cells. */
function addPass(decoded, symbols, means, pass, [channels, rows, columns]) {
  for (let c = 0; c < channels; c++) {
    const [firstRow, firstColumn] = PLACES[(Math.floor((4 * c) / channels) + pass) % PASSES];
    for (let row = firstRow; row < rows; row += 2) {
      for (let column = firstColumn; column < columns; column += 2) {
        const i = (c * rows + row) * columns + column;
        decoded[i] = symbols[i] + means[i];
      }
    }
  }
}

/** Inverse orthonormal two-dimensional DCT-II of each channel of [channels][rows][columns]. */
function inverseCosineTransform(x, rows, columns) {
  const [down, across] = [cosineBasis(rows), cosineBasis(columns)];
  const moved = new Float32Array(x.length);
  const middle = new Float64Array(rows * columns);
  for (let start = 0; start < x.length; start += rows * columns) {
    if (!x.subarray(start, start + rows * columns).some(Boolean)) continue;
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        let sum = 0;
        for (let k = 0; k < rows; k++) sum += down[k * rows + row] * x[start + k * columns + column];
        middle[row * columns + column] = sum;
      }
    }
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        let sum = 0;
        for (let k = 0; k < columns; k++) sum += middle[row * columns + k] * across[k * columns + column];
        moved[start + row * columns + column] = sum;
      }
    }
  }
  return moved;
}

function cosineBasis(size) {
  return Float64Array.from({ length: size * size }, (_, i) => {
    const [k, n] = [Math.floor(i / size), i % size];
    return Math.cos((Math.PI / size) * (n + 0.5) * k) * Math.sqrt((k ? 2 : 1) / size);
  });
}
