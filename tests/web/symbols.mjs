/** Prints what the page's payload decoder finds in streams, as JSON: node symbols.mjs SITE MODEL STREAM... */

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [site, model, ...streams] = process.argv.slice(2);
const load = (name) => import(pathToFileURL(`${site}/${name}.mjs`));
const [{ InvalidStreamError }, { readStream }, { RangeReader }, { SymbolReader }, { IntegerModel }, { readTensors }] =
  await Promise.all(["bits", "container", "range", "symbols", "integers", "tensors"].map(load));

let taken = [];
for (const name of ["bit", "set"]) {
  const method = RangeReader.prototype[name];
  RangeReader.prototype[name] = function (...given) {
    const found = method.apply(this, given);
    for (const value of name === "set" ? found : [found]) taken.push(value);
    return found;
  };
}

function bytesOf(name) {
  return new Uint8Array(readFileSync(name));
}

const { tensors, metadata } = readTensors(bytesOf(model).buffer);
const integers = new IntegerModel(tensors, JSON.parse(metadata.config));
const modelId = createHash("sha256").update(bytesOf(model)).digest("hex").slice(0, 16);

async function describe(name) {
  const packets = [];
  let stream = {};
  try {
    stream = await readStream(bytesOf(name));
    const { header } = stream;
    if (header.modelId !== modelId) throw new InvalidStreamError("another model");
    const reader = new SymbolReader(integers, header.width, header.height);
    for (const packet of stream.packets) {
      taken = [];
      reader.read(packet);
      packets.push(createHash("sha256").update(Int32Array.from(taken)).digest("hex").slice(0, 16));
    }
    if (stream.fault) throw stream.fault;
  } catch (error) {
    if (!(error instanceof InvalidStreamError)) throw error;
    return { fault: error.message, packets };
  }
  const pts = stream.packets.flatMap(({ stamps }) => stamps.map(String));
  return { packets, pts, lastDuration: String(stream.lastDuration) };
}

const results = {};
for (const name of streams) results[name] = await describe(name);
console.log(JSON.stringify(results));
