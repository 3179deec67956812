/** Streams to packets, strictly (SPEC.md, "Packets"). */

import { Cursor, InvalidStreamError, crc16, need, shortHash, toHex } from "./bits.mjs";
import { isStamp, readHeaderBody, roundedTimes } from "./header.mjs";

const VERSION = 2;
const MAX_HEADER_BYTES = 65792;
const MAX_PACKET_BYTES = 67108864;
const MAX_FRAMES = 4294967295;
const MAX_DURATION = 1n << 60n;
const MAX_SOUND_DURATION = 1n << 40n;
const HASH_BYTES = 8;

const KINDS = new Map([[1, "KEY"], [3, "DELAY_GOLDEN"], [4, "DELAY_TOKEN"], [5, "AUDIO"], [6, "INDEX"], [7, "END"]]);
const NUMBERED = new Set(["CHUNK", "DELAY_GOLDEN", "DELAY_TOKEN"]); // their checksums count the frames before
const OWN = { DELAY_GOLDEN: ["golden"], DELAY_TOKEN: ["token"] };

/**
 * Read a stream that lies in memory (Uint8Array).
 *
 * Gives `header` (see header.mjs), `packets`, `sound`, `lastDuration` in ticks, and `fault`: null, or the
 * InvalidStreamError that ended reading; what came before it is given all the same.
 * A packet is {kind, frames, golden, qindex, quantisers: {golden, deeper, token}, stamps (BigInt ticks), payload,
 * size}; a packet of sound is {stamp, duration, data}.
 */
export async function readStream(data) {
  const source = new Cursor(data);
  const reader = new Reader(source, readHeader(source));
  try {
    await reader.readAll();
  } catch (error) {
    if (!(error instanceof InvalidStreamError)) throw error;
    reader.fault = error;
  }
  const { header, packets, sound, lastDuration, fault } = reader;
  return { header, packets, sound, lastDuration, fault };
}

function readHeader(source) {
  need(String.fromCharCode(...source.take(3)) === "IMF", "this is not an .imf stream");
  const version = source.u8();
  need(version === VERSION, `format version ${version} is unknown; this page reads ${VERSION}`);
  return readHeaderBody(readSealed(source, 0, MAX_HEADER_BYTES));
}

/** A length, a body and the checksum of everything from `start` on, which goes on from a register. */
function readSealed(source, start, limit, register) {
  const length = source.varint(0, limit);
  const body = new Cursor(source.data, source.place, source.place + length);
  source.take(length);
  const sum = crc16(source.data.subarray(start, source.place), register);
  need(sum === (source.u8() << 8) + source.u8(), "a checksum does not match");
  return body;
}

class Reader {
  constructor(source, header) {
    Object.assign(this, { source, header, packets: [], sound: [], lastDuration: 0n, fault: null });
    this.frame = 0;
    this.stamp = null; // of the last frame
    this.usual = null; // quantisers of the group
    this.keys = [];
    this.indexSize = 0;
  }

  async readAll() {
    while (!(await this.readPacket()));
    need(this.source.left === 0, "bytes follow the END packet");
  }

  /** Read one packet; whether it was END. */
  async readPacket() {
    const start = this.source.place;
    const head = readHead(this.source.u8());
    const body = readSealed(this.source, start, MAX_PACKET_BYTES, this.numbered(head.kind));
    need(head.kind === "END" || !this.indexSize, "a packet follows the INDEX packet");
    const size = this.source.place - start;
    if (head.kind === "AUDIO") this.readSound(body);
    else if (head.kind === "INDEX") this.readIndex(body, size);
    else if (head.kind === "END") await this.readEnd(body);
    else this.readVideo(head, body, start, size);
    return head.kind === "END";
  }

  /** Where the checksum of a packet starts: with the number of frames before it, for those that do not say it. */
  numbered(kind) {
    if (!NUMBERED.has(kind)) return undefined;
    const number = new Uint8Array(4);
    new DataView(number.buffer).setUint32(0, this.frame);
    return crc16(number);
  }

  readVideo({ kind, frames, golden, own }, body, start, size) {
    let qindex = 0;
    if (kind === "KEY") {
      qindex = body.u8();
      this.usual = { golden: body.u8(), deeper: body.u8(), token: body.u8() };
      need(body.varint(0, MAX_FRAMES) === this.frame, "a key frame's number is wrong");
      this.keys.push({ place: this.keys.length ? start : 0, frame: this.frame });
    }
    need(this.usual, "a frame comes before the first key frame");
    const quantisers = own ? this.readOwn(kind, golden, body) : this.usual;
    const stamps = Array.from({ length: frames }, () => this.readStamp(kind, body));
    const payload = body.take(body.left);
    this.packets.push({ kind, frames, golden, qindex, quantisers, stamps, payload, size });
  }

  readOwn(kind, golden, body) {
    const names = OWN[kind] ?? (golden ? ["golden", "deeper", "token"] : ["token"]);
    const values = { ...this.usual, ...Object.fromEntries(names.map((name) => [name, body.u8()])) };
    need(names.some((name) => values[name] !== this.usual[name]), "a packet spells out the usual quantisers");
    return values;
  }

  readStamp(kind, body) {
    const { header } = this;
    let stamp;
    if (!header.variableRate) stamp = header.firstStamp + roundedTimes(BigInt(this.frame), header.ticks);
    else if (kind === "KEY") stamp = header.firstStamp + body.zigzag();
    else stamp = this.stamp + header.step + body.zigzag();
    need(isStamp(stamp) && (this.stamp === null || stamp > this.stamp), "time stamps do not increase");
    this.stamp = stamp;
    this.frame++;
    return stamp;
  }

  readSound(body) {
    need(this.header.audio, "sound without an audio track");
    const flags = body.u8();
    need(flags < 4, "unknown flags of an AUDIO packet");
    const times = readTimes(body, body.varint(1, 1024), flags & 1);
    const readSize = () => body.varint(1, MAX_PACKET_BYTES);
    const equal = flags & 2 ? readSize() : 0;
    const sizes = times.map(() => equal || readSize());
    need(sizes.reduce((sum, size) => sum + size) === body.left, "sizes of sound do not add up");
    times.forEach((time, i) => this.sound.push({ ...time, data: body.take(sizes[i]) }));
  }

  readIndex(body, size) {
    const entries = this.keys.slice(1);
    let [place, frame] = [0, 0];
    for (const key of entries) {
      place += body.varint(0, Number.MAX_SAFE_INTEGER);
      frame += body.varint(0, Number.MAX_SAFE_INTEGER);
      need(place === key.place && frame === key.frame, "the index is wrong");
    }
    need(body.left === 0, "the index names too many key frames");
    this.indexSize = size;
  }

  async readEnd(body) {
    need(body.varint(0, MAX_FRAMES) === this.frame, "the number of frames is wrong");
    const duration = body.big();
    need(duration <= MAX_DURATION && duration !== this.header.step, "the last duration is out of range");
    need(duration === 0n || this.frame > 0, "a duration without frames");
    const indexSize = body.left === HASH_BYTES ? 0 : body.varint(1, Number.MAX_SAFE_INTEGER);
    need(indexSize === this.indexSize, "the size of the index is wrong");
    const hashed = this.source.data.subarray(0, body.place);
    need(body.left === HASH_BYTES, "the END packet has another length");
    const found = await shortHash(hashed);
    need(found === null || found === toHex(body.take(HASH_BYTES)), "the stream's hash does not match");
    if (this.frame) this.lastDuration = duration || this.header.step;
  }
}

/** Kind, frames, golden and own quantisers of a first byte. */
function readHead(byte) {
  if (byte >= 0x40 && byte < 0xc0) {
    return { kind: "CHUNK", frames: (byte & 31) + 1, golden: byte >= 0x80, own: Boolean(byte & 0x20) };
  }
  const own = byte === 0x23 || byte === 0x24;
  const kind = KINDS.get(own ? byte - 0x20 : byte);
  need(kind, `unknown packet type ${byte}`);
  return { kind, frames: 1, golden: kind === "DELAY_GOLDEN", own };
}

/** Time stamps and durations of an AUDIO packet's packets. */
function readTimes(body, count, irregular) {
  const times = [];
  let end = 0n;
  let duration = 0n;
  for (let index = 0; index < count; index++) {
    const gap = index === 0 || irregular ? body.zigzag() : 0n;
    if (index === 0 || irregular) duration = body.big();
    need(duration <= MAX_SOUND_DURATION && isStamp(end + gap), "times of sound are out of range");
    times.push({ stamp: end + gap, duration });
    end += gap + duration;
  }
  return times;
}
