/** Safetensors files. */

const KINDS = { F32: Float32Array, I32: Int32Array };

/** From an ArrayBuffer: `tensors`, a Map of name to {shape, values} of those in 32 bits, and `metadata`. */
export function readTensors(buffer) {
  const length = Number(new DataView(buffer).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length)));
  const { __metadata__: metadata = {}, ...entries } = header;
  const tensors = new Map();
  for (const [name, { dtype, shape, data_offsets: [start, end] }] of Object.entries(entries)) {
    const kind = KINDS[dtype];
    if (kind) tensors.set(name, { shape, values: new kind(buffer.slice(8 + length + start, 8 + length + end)) });
  }
  return { tensors, metadata };
}
