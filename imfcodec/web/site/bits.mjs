/** Numbers of the container, bounds-checked (SPEC.md, "Numbers"). */

export class InvalidStreamError extends Error {}

/** Throw InvalidStreamError(what) unless `condition` holds. */
export function need(condition, what) {
  if (!condition) throw new InvalidStreamError(what);
}

const LONGEST_VARINT = 9;

/** Takes fields one after another from bytes [place, end) of `data`. */
export class Cursor {
  constructor(data, place = 0, end = data.length) {
    this.data = data;
    this.place = place;
    this.end = end;
  }

  get left() {
    return this.end - this.place;
  }

  take(count) {
    need(count <= this.left, "a field runs past the end");
    this.place += count;
    return this.data.subarray(this.place - count, this.place);
  }

  u8() {
    return this.take(1)[0];
  }

  /** A varint as BigInt. */
  big() {
    let value = 0n;
    for (let index = 0; index < LONGEST_VARINT; index++) {
      const digit = this.u8();
      value |= BigInt(digit & 0x7f) << BigInt(7 * index);
      if (digit < 0x80) {
        need(digit > 0 || index === 0, "a varint is not in its shortest form");
        return value;
      }
    }
    throw new InvalidStreamError("a varint is too long");
  }

  /** A varint as number; `high` is at most 2^53 - 1. */
  varint(low, high) {
    const value = this.big();
    need(low <= value && value <= high, `${value} is outside ${low}..${high}`);
    return Number(value);
  }

  zigzag() {
    const value = this.big();
    return value & 1n ? -((value + 1n) >> 1n) : value >> 1n;
  }
}

const CRC_TABLE = Uint16Array.from({ length: 256 }, (_, byte) => {
  let register = byte << 8;
  for (let bit = 0; bit < 8; bit++) register = (register << 1) ^ (register & 0x8000 ? 0x11021 : 0);
  return register;
});

/** CRC-16/IBM-3740, going on from the register that bytes before have left. */
export function crc16(data, register = 0xffff) {
  for (const byte of data) register = ((register << 8) & 0xffff) ^ CRC_TABLE[(register >> 8) ^ byte];
  return register;
}

/** First 8 bytes of the SHA-256 in hexadecimal; null where the page may not compute it (no secure context). */
export async function shortHash(data) {
  if (!globalThis.crypto?.subtle) return null;
  return toHex(new Uint8Array(await crypto.subtle.digest("SHA-256", data)).subarray(0, 8));
}

export function toHex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
