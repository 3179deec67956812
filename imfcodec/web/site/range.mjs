/** The range coder (SPEC.md, "Range coder"): payloads to whole numbers, exactly. */

import { InvalidStreamError, need } from "./bits.mjs";

const PRECISION = 2 ** 24;
const TABLE_TOTAL = 2 ** 16;
const LARGEST = 2 ** 20 - 1;
const CHECK = 0xa5;
const HALF = 2 ** 16; // 64-bit numbers are kept as high * HALF + low: products with 24 bits stay exact in a double
const WORD = 2 ** 32;

/** A table: left ends of the symbols' intervals and, last, 2^24; the smallest value; the escape symbol. */
export class Table {
  /** From c_0..c_n and v. */
  constructor(cdf, first) {
    const count = cdf.length - 1;
    const steps = cdf.slice(1).every((end, i) => end > cdf[i]);
    need(count >= 2 && cdf[0] === 0 && cdf[count] === TABLE_TOTAL && steps, "a table of the model is no distribution");
    this.ends = Int32Array.from(cdf, (end, i) => Math.floor((end * (PRECISION - count)) / TABLE_TOTAL) + i);
    this.ends[count] = PRECISION;
    this.first = first;
    this.escape = count - 1;
  }
}

const equalParts = (count) => ({ ends: Int32Array.from({ length: count + 1 }, (_, i) => (i * PRECISION) / count) });
const BYTE = equalParts(256);
const BIT = equalParts(2);

/** Reads one payload. */
export class RangeReader {
  /** Without `check` the payload must be what a writer makes of its symbols: DELAY_TOKEN. */
  constructor(payload, check = true) {
    this.payload = payload;
    this.place = 0;
    this.again = check ? null : new RangeWriter();
    const [first, second] = [this.takeWord(), this.takeWord()];
    this.high = first * HALF + (second >>> 16); // of D
    this.low = second & 0xffff;
    this.rangeHigh = 2 ** 48 - 1; // of R
    this.rangeLow = 0xffff;
  }

  bit() {
    return this.symbol(BIT.ends);
  }

  /** Read one set: table numbers in an Int32Array; values in another. */
  set(numbers, tables) {
    const values = new Int32Array(numbers.length);
    for (const [number, places] of byTable(numbers, tables.length)) {
      const table = tables[number];
      const escaped = [];
      for (const place of places) {
        const symbol = this.symbol(table.ends);
        values[place] = table.first + symbol;
        if (symbol === table.escape) escaped.push(place);
      }
      for (const place of escaped) values[place] = this.escaped(table);
    }
    return values;
  }

  /** Make sure that the payload ends where its symbols do. */
  finish() {
    const ends = this.again ? sameBytes(this.again.finish(), this.payload) : this.symbol(BYTE.ends) === CHECK;
    need(ends, "a payload does not end where its frames do");
  }

  escaped(table) {
    let folded = 0;
    for (let n = 0; n < 3; n++) folded += this.symbol(BYTE.ends) << (8 * n);
    const value = folded & 1 ? -(folded + 1) / 2 : folded / 2;
    need(Math.abs(value) <= LARGEST, "an escaped value is out of range");
    need(value < table.first || value >= table.first + table.escape, "an escaped value has a symbol");
    return value;
  }

  symbol(ends) {
    const step = Math.floor(this.rangeHigh / 256); // S
    const symbol = search(ends, this.quantile(step));
    const start = ends[symbol];
    const width = ends[symbol + 1] - start;
    [this.high, this.low] = subtractProduct(this.high, this.low, start, step);
    [this.rangeHigh, this.rangeLow] = subtractProduct(0, 0, -width, step);
    if (this.rangeHigh < HALF) this.refill();
    this.again?.symbol(start, width);
    return symbol;
  }

  /** Q = floor(D / S): a quotient of doubles is at most one off, which the rest tells. */
  quantile(step) {
    let quotient = Math.floor((this.high * HALF + this.low) / step);
    const [high, low] = subtractProduct(this.high, this.low, quotient, step);
    if (high < 0) quotient--;
    else if (high * HALF + low >= step) quotient++;
    if (quotient >= PRECISION) throw new InvalidStreamError("a payload that no writer makes");
    return quotient;
  }

  refill() {
    const word = this.takeWord();
    this.high = (this.high * HALF + this.low) * HALF + (word >>> 16);
    this.low = word & 0xffff;
    this.rangeHigh = (this.rangeHigh * HALF + this.rangeLow) * HALF;
    this.rangeLow = 0;
  }

  /** The next 4 bytes; zeros follow the last one. */
  takeWord() {
    let word = 0;
    for (let n = 0; n < 4; n++) word = (word << 8) | (this.payload[this.place++] ?? 0);
    return word >>> 0;
  }
}

/** Writes symbols again, to see that a payload is the shortest one. */
class RangeWriter {
  constructor() {
    this.words = []; // that have left `low`
    this.low = 0n;
    this.range = 2n ** 64n - 1n;
  }

  symbol(start, width) {
    const step = this.range >> 24n;
    this.low += BigInt(start) * step;
    this.range = BigInt(width) * step;
    if (this.low >> 64n) this.carry();
    if (this.range < WORD) {
      this.words.push(Number(this.low >> 32n));
      this.low = (this.low << 32n) & 0xffffffffffffffffn;
      this.range <<= 32n;
    }
  }

  carry() {
    this.low &= 0xffffffffffffffffn;
    let place = this.words.length - 1;
    while (this.words[place] === WORD - 1) this.words[place--] = 0;
    this.words[place]++;
  }

  /** The shortest message, without zeros at its end. */
  finish() {
    for (let spare = 64n; spare >= 0n; spare -= 8n) {
      const rounded = ((this.low + (1n << spare) - 1n) >> spare) << spare;
      if (rounded >= this.low + this.range) continue;
      this.low = rounded;
      if (rounded >> 64n) this.carry();
      break;
    }
    const words = [...this.words, Number(this.low >> 32n), Number(this.low & 0xffffffffn)];
    const bytes = words.flatMap((word) => [word >>> 24, (word >>> 16) & 255, (word >>> 8) & 255, word & 255]);
    return bytes.slice(0, bytes.findLastIndex((byte) => byte > 0) + 1);
  }
}

/** [table number, places in order] of each table in use, in ascending order. */
function byTable(numbers, count) {
  const places = Array.from({ length: count }, () => []);
  numbers.forEach((number, place) => places[number].push(place));
  return [...places.entries()].filter(([, list]) => list.length);
}

/** high * HALF + low - factor * step, as [high, low]; |factor| is at most 2^24, step below 2^40. */
function subtractProduct(high, low, factor, step) {
  const upper = Math.floor(step / HALF);
  const rest = low - factor * (step - upper * HALF);
  const carry = Math.floor(rest / HALF);
  return [high - factor * upper + carry, rest - carry * HALF];
}

/** The symbol whose interval holds `quantile`. */
function search(ends, quantile) {
  let [first, last] = [0, ends.length - 2];
  while (first < last) {
    const middle = (first + last + 1) >> 1;
    if (ends[middle] <= quantile) first = middle;
    else last = middle - 1;
  }
  return first;
}

function sameBytes(one, other) {
  return one.length === other.length && one.every((byte, i) => byte === other[i]);
}
