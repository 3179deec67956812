/** The order of a packet's frames, as `imfcodec/models/structure.py` has it (SPEC.md, "Order of a packet's frames"). */

export const KEY = 0;
export const GOLDEN = 1;
export const TOKEN = 2;

const MAX_LEVEL = 7;

/** A golden frame predicted from the anchor alone. */
export function goldenAfter(position) {
  return makeStep(position, GOLDEN, [0], [0], 0, 0);
}

/** A token frame from the past. */
export function tokenAfter(position) {
  return makeStep(position, TOKEN, [0], [position - 1], 1, 0);
}

/**
 * The levels of golden frames between 0 and `length`, and the intervals that are not split.
 *
 * `readBit` gives the splits in coding order.
 */
export function readSplits(length, readBit) {
  const levels = [];
  const leaves = [];
  let intervals = wide([[0, length]]);
  while (intervals.length) {
    const bits = intervals.map(() => readBit());
    leaves.push(...intervals.filter((_, i) => !bits[i]));
    const split = intervals.filter((_, i) => bits[i]);
    if (split.length) levels.push(split.map((interval) => middle(interval, interval, GOLDEN, levels.length + 1)));
    intervals = wide(split.flatMap(halves));
  }
  return { levels, leaves: leaves.sort((one, other) => one[0] - other[0]) };
}

/** Token frames between golden ones: the middles of all intervals, then those of their halves, and so on. */
export function tokenLevels(leaves) {
  const levels = [];
  let parts = leaves.map((leaf) => [leaf, leaf]);
  while ((parts = parts.filter(([, [left, right]]) => right - left > 1)).length) {
    levels.push(parts.map(([leaf, part]) => middle(leaf, part, TOKEN, 0)));
    parts = parts.flatMap(([leaf, part]) => halves(part).map((half) => [leaf, half]));
  }
  return levels;
}

/** qindex of a step. */
export function stepQindex(step, quantisers) {
  if (step.role === TOKEN) return quantisers.token;
  return Math.max(0, quantisers.golden - step.depth * quantisers.deeper);
}

function middle(references, neighbours, role, depth) {
  const [left, right] = neighbours;
  const level = Math.min(MAX_LEVEL, 1 + bitLength(right - left - 1));
  return makeStep((left + right) >> 1, role, references, neighbours, level, depth);
}

function makeStep(position, role, references, neighbours, level, depth) {
  const span = references.length === 2 ? references[1] - references[0] : position;
  const [place, share] = [shareOf(position, references), shareOf(position, neighbours)];
  return { position, role, references, neighbours, level, depth, span, place, share };
}

function shareOf(position, ends) {
  return ends.length === 2 ? (position - ends[0]) / (ends[1] - ends[0]) : 0;
}

function wide(intervals) {
  return intervals.filter(([left, right]) => right - left > 1);
}

function halves([left, right]) {
  const cut = (left + right) >> 1;
  return [[left, cut], [cut, right]];
}

function bitLength(value) {
  return 32 - Math.clz32(value);
}
