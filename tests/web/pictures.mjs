/** Decodes streams to raw planes on standard output: node pictures.mjs SITE RUNTIME MODEL STREAM... */

import { readFileSync, writeSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [site, runtime, model, ...streams] = process.argv.slice(2);
const load = (name) => import(pathToFileURL(`${site}/${name}.mjs`));
const bytesOf = (name) => new Uint8Array(readFileSync(name));
const ort = await import(pathToFileURL(`${runtime}/ort.wasm.min.mjs`));
ort.env.wasm.numThreads = 1;
ort.env.wasm.wasmPaths = pathToFileURL(`${runtime}/`).href;
const [{ readStream }, { SymbolReader }, { IntegerModel }, { readTensors }, { Graphs }, { PictureDecoder, toPlanes }] =
  await Promise.all(["container", "symbols", "integers", "tensors", "graphs", "pictures"].map(load));

const { config } = JSON.parse(readFileSync(`${model}/model.json`, "utf8"));
const { tensors } = readTensors(bytesOf(`${model}/tables.safetensors`).buffer);
const integers = new IntegerModel(tensors, config);
const graphs = new Graphs(ort, async (name) => bytesOf(`${model}/${name}`));
for (const stream of streams) {
  const { header, packets } = await readStream(bytesOf(stream));
  const reader = new SymbolReader(integers, header.width, header.height);
  const decoder = new PictureDecoder(graphs, tensors, config, header.width, header.height);
  for (const packet of packets) {
    for (const makePicture of await decoder.take(packet, reader.read(packet))) {
      const { y, u, v } = toPlanes(await makePicture(), header.width, header.height);
      for (const plane of [y, u, v]) writeSync(1, plane);
    }
  }
}
