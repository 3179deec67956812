/**
 * Worker that reads streams and the symbols of their packets.
 *
 * From the page: {data, port}: a stream's bytes, and where the other worker asks; answers {stream} or {error}.
 * At the port: a packet's number; answers {packet, levels} or {error}. Packets are asked for in order, from a KEY
 * packet on.
 */

import { readStream } from "./container.mjs";
import { toNumber } from "./header.mjs";
import { IntegerModel } from "./integers.mjs";
import { loadTables } from "./model.mjs";
import { SymbolReader } from "./symbols.mjs";

self.onmessage = async ({ data: { data, port } }) => {
  try {
    const stream = await readStream(new Uint8Array(data));
    const { header, packets } = stream;
    const { config, tensors } = await loadTables(header.modelId);
    const reader = new SymbolReader(new IntegerModel(tensors, config), header.width, header.height);
    port.onmessage = ({ data: number }) => port.postMessage(readPacket(reader, packets[number]));
    self.postMessage({ stream: describe(stream) });
  } catch (error) {
    self.postMessage({ error: error.message });
  }
};

function readPacket(reader, packet) {
  try {
    const { kind, frames, golden } = packet;
    return { packet: { kind, frames, golden }, levels: reader.read(packet) };
  } catch (error) {
    return { error: error.message };
  }
}

/** What the page needs to know of a stream; times in seconds from its start. */
function describe({ header, packets, sound, lastDuration, fault }) {
  const stamps = packets.flatMap((packet) => packet.stamps);
  const tick = toNumber(header.base);
  const origin = stamps[0] ?? 0n;
  const times = Float64Array.from(stamps, (stamp) => Number(stamp - origin) * tick);
  const end = stamps.length ? times[stamps.length - 1] + Number(lastDuration || header.step) * tick : 0;
  let first = 0;
  const list = packets.map(({ kind, frames, size }) => ({ kind, frames, size, first: (first += frames) - frames }));
  const start = Number(origin) * tick; // sound counts from 0 of the stream's own clock
  const described = { sound: describeSound(header, sound, start), fault: fault?.message ?? null };
  return { header, times, end, packets: list, ...described };
}

function describeSound({ audio }, sound, start) {
  if (!audio) return null;
  const tick = toNumber(audio.base);
  const packets = sound.map(({ stamp, duration, data }) => {
    return { time: Number(stamp) * tick - start, duration: Number(duration) * tick, data };
  });
  const { codec, sampleRate, channels, extradata } = audio;
  return { codec, sampleRate, channels, extradata, packets };
}
