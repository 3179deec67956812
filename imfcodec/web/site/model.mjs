/** Models that lie beside the page: files are named ID-FILE. */

import { readTensors } from "./tensors.mjs";

/** Bytes of a file of a model; a message for a person where it is not there. */
export async function loadFile(modelId, file) {
  const response = await fetch(new URL(`${modelId}-${file}`, import.meta.url));
  if (!response.ok) throw new Error(`this page has no model ${modelId}, which the stream needs`);
  return response.arrayBuffer();
}

/** Configuration, tables, integer networks and quantisation steps of a model. */
export async function loadTables(modelId) {
  const files = ["model.json", "tables.safetensors"];
  const [description, tables] = await Promise.all(files.map((file) => loadFile(modelId, file)));
  const { config } = JSON.parse(new TextDecoder().decode(description));
  return { config, tensors: readTensors(tables).tensors };
}
