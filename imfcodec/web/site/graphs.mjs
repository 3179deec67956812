/** The floating-point networks of an exported model, run by onnxruntime-web (docs/light.md says what each graph is). */

const MEMORY = ["keys_32", "values_32", "keys_16", "values_16", "field"];
const REFERENCE = ["luma", "chroma", ...MEMORY];
const ALIGNED = ["luma", "chroma", "copies", "features"];
const FIRST = REFERENCE.map((name) => `first_${name}`);
const SECOND = REFERENCE.map((name) => `second_${name}`);

/** Names of inputs and outputs, in order, as in `imfcodec/light/graphs.py`; an output nobody needs is left out. */
const GRAPHS = {
  predict_from_one: [["g", "u", ...FIRST], ALIGNED],
  predict_from_two: [["g", "u", "place", ...FIRST, ...SECOND], ALIGNED],
  token_frame: [[...ALIGNED, "qindex"], ["shown_luma", "shown_chroma"]],
  latent_shared: [
    ["hyper", "near", "luma", "chroma", "features", "role", "qindex"],
    ["mean_context", "row_context"],
  ],
  latent_pass: [["decoded", "symbols", "mean_context", "row_context", "number"], ["mean"]],
  reference_frame: [
    ["y", ...ALIGNED, "qindex"],
    ["shown_luma", "shown_chroma", "features_32", "features_16"],
  ],
  remember: [["g", "u", "features_32", "features_16"], MEMORY],
};

const OPTIONS = {
  executionProviders: ["wasm"],
  graphOptimizationLevel: "basic", // more makes opening slower and running no faster
  extra: { session: { intra_op: { allow_spinning: "0" } } }, // threads that wait actively hold up the other workers
};

export class Graphs {
  /** `ort` is onnxruntime-web, `load` gives the bytes of a graph by its file name. */
  constructor(ort, load) {
    this.ort = ort;
    this.load = load;
    this.sessions = {};
  }

  /** Load all graphs: no frame waits for one then. */
  async open() {
    for (const name of Object.keys(GRAPHS)) await this.session(name);
  }

  session(name) {
    this.sessions[name] ??= this.load(`${name}.onnx`).then((bytes) => this.ort.InferenceSession.create(bytes, OPTIONS));
    return this.sessions[name];
  }

  /** Outputs of a graph, in order, for its inputs, in order: onnxruntime's tensors. */
  async run(name, ...inputs) {
    const [inputNames, outputNames] = GRAPHS[name];
    const feeds = Object.fromEntries(inputNames.map((input, i) => [input, inputs[i]]));
    const results = await (await this.session(name)).run(feeds, outputNames);
    return outputNames.map((output) => results[output]);
  }

  floats(values, ...shape) {
    return new this.ort.Tensor("float32", values, shape);
  }

  zeros(...shape) {
    return this.floats(new Float32Array(shape.reduce((size, side) => size * side, 1)), ...shape);
  }

  /** A whole number: of a batch of one frame, or with an empty shape. */
  whole(value, shape = [1]) {
    return new this.ort.Tensor("int64", BigInt64Array.of(BigInt(value)), shape);
  }
}
