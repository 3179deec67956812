/** The stream header (SPEC.md, "Header"). Time stamps, rates and time bases are BigInt, sizes and codes numbers. */

import { need, toHex } from "./bits.mjs";

const RATES = [[30, 1], [25, 1], [24, 1], [30000, 1001], [24000, 1001], [60, 1], [50, 1], [60000, 1001]]
  .concat([15, 10, 12, 20, 48, 100, 120].map((rate) => [rate, 1]))
  .map(([num, den]) => fraction(num, den));
const BASES = [600, 1000, 12288, 12800, 15360, 24000, 25000, 30000, 48000, 50000, 60000, 90000, 1e6, 1e9]
  .map((ticks) => fraction(1, ticks));
const COLOURS = [[1, 1, 1], [6, 6, 6], [5, 6, 5], [5, 6, 6], [9, 16, 9], [9, 18, 9], [2, 2, 1], [2, 2, 6]];
const UNKNOWN = 2; // of H.273: "unspecified"
const MAX_TERM = 2 ** 31 - 1;
export const MAX_STAMP = 1n << 60n;

/** A fraction in lowest terms. */
export function fraction(num, den) {
  const [n, d] = [BigInt(num), BigInt(den)];
  const divisor = greatestDivisor(n, d);
  return { num: n / divisor, den: d / divisor };
}

export function toNumber({ num, den }) {
  return Number(num) / Number(den);
}

/** floor(n x + 1/2) for a fraction x. */
export function roundedTimes(n, { num, den }) {
  return floorDivide(2n * n * num + den, 2n * den);
}

/**
 * Read the fields of a header's body.
 *
 * Gives flags, width, height, shownWidth, shownHeight, modelId (hexadecimal), rate, base, aspect, colour, firstStamp,
 * ticks (per frame), step (nominal, in ticks), rotation (degrees clockwise), variableRate, audio (or null).
 */
export function readHeaderBody(body) {
  const flags = body.varint(0, 511);
  const width = body.varint(16, 4096);
  const height = body.varint(16, 4096);
  need(Math.min(width, height) <= 2304, "the shorter side is above 2304");
  const given = (bit) => Boolean(flags & (1 << bit));
  const [shownWidth, shownHeight] = given(8) ? [body.varint(1, 16384), body.varint(1, 16384)] : [width, height];
  need(!given(8) || shownWidth !== width || shownHeight !== height, "the shown size is the coded size");
  const modelId = toHex(body.take(8));
  const { rate, base } = readTiming(body);
  const aspect = given(2) ? readFraction(body) : fraction(1, 1);
  need(!given(2) || aspect.num !== aspect.den, "the default aspect is given");
  const colour = given(3) ? readColour(body) : { primaries: UNKNOWN, transfer: UNKNOWN, matrix: UNKNOWN, full: false };
  const firstStamp = given(6) ? body.zigzag() : 0n;
  need(isStamp(firstStamp) && (firstStamp !== 0n || !given(6)), "first_pts is out of range");
  const variableRate = given(0);
  const ticks = given(7) ? readFraction(body) : fraction(rate.den * base.den, rate.num * base.num);
  need(variableRate || ticks.num >= ticks.den, "the time base is coarser than a frame");
  const audio = given(1) ? readAudioTrack(body) : null;
  need(body.left === 0, "the header is too long");
  const rounded = roundedTimes(1n, ticks);
  const step = rounded > 1n ? rounded : 1n;
  const rotation = 90 * ((flags >> 4) & 3);
  const size = { width, height, shownWidth, shownHeight, aspect, rotation };
  return { ...size, modelId, rate, base, colour, firstStamp, variableRate, ticks, step, audio };
}

export function isStamp(value) {
  return -MAX_STAMP <= value && value <= MAX_STAMP;
}

function readTiming(body) {
  const timing = body.u8();
  const rate = timing >> 4 ? RATES[(timing >> 4) - 1] : readFraction(body);
  need(timing >> 4 || !RATES.some((other) => same(rate, other)), "the frame rate has a code");
  const code = timing & 15;
  const frame = { num: rate.den, den: rate.num };
  const base = code === 0 ? readFraction(body) : code === 1 ? frame : BASES[code - 2];
  need(code === 1 || !same(base, frame), "the time base is one frame");
  need(code > 0 || !BASES.some((other) => same(base, other)), "the time base has a code");
  return { rate, base };
}

function readColour(body) {
  const value = body.u8();
  const [full, code] = [value >= 128, value & 127];
  need(code <= COLOURS.length, "unknown colour code");
  const points = code ? COLOURS[code - 1] : [body.u8(), body.u8(), body.u8()];
  const equals = (other) => other.every((point, i) => point === points[i]);
  need(code > 0 || !COLOURS.some(equals), "the colour has a code");
  need(full || !equals([UNKNOWN, UNKNOWN, UNKNOWN]), "the default colour is given");
  const [primaries, transfer, matrix] = points;
  return { primaries, transfer, matrix, full };
}

function readAudioTrack(body) {
  const name = body.take(body.varint(1, 32));
  need(name.every((byte) => byte >= 32 && byte < 127), "the audio codec's name is not printable");
  const codec = String.fromCharCode(...name);
  const sampleRate = body.varint(1, 1000000);
  const channels = body.u8();
  need(channels >= 1, "no audio channels");
  const num = body.varint(0, MAX_TERM);
  const den = num ? body.varint(1, MAX_TERM) : sampleRate;
  const base = fraction(num || 1, den);
  need(!num || Number(base.den) === den, "the audio time base is not in lowest terms");
  need(!num || num !== 1 || den !== sampleRate, "the audio time base is a sample");
  const extradata = body.take(body.varint(0, 65536));
  return { codec, sampleRate, channels, base, extradata };
}

function readFraction(body) {
  const num = body.varint(1, MAX_TERM);
  const den = body.varint(1, MAX_TERM);
  const value = fraction(num, den);
  need(Number(value.den) === den, "a fraction is not in lowest terms");
  return value;
}

function same(one, other) {
  return one.num === other.num && one.den === other.den;
}

function floorDivide(num, den) {
  const quotient = num / den;
  return num % den < 0n ? quotient - 1n : quotient;
}

function greatestDivisor(a, b) {
  return b ? greatestDivisor(b, a % b) : a;
}
