/** Plays one stream on a canvas. Where decoding is slow, pictures are left out: the clock waits only if none comes. */

import { toNumber } from "./header.mjs";

const [LEAST_AHEAD, MOST_AHEAD, AHEAD_BYTES] = [4, 32, 2 ** 26]; // pictures asked for or at hand before they are due
const LATEST = 0.5; // seconds that pictures may be late before the clock stands still for them
const WINDOW = 2; // seconds over which rates are taken

export class Player extends EventTarget {
  /** `followers` keep to the clock: Sound of sound.mjs, Beside of beside.mjs; events: "time", "state". */
  constructor(canvas, decoder, followers) {
    super();
    Object.assign(this, { canvas, decoder, followers });
    const { header, times, end, packets } = decoder.stream;
    Object.assign(this, { header, times, end });
    this.rate = 1;
    this.playing = false;
    this.held = true; // the clock stands until the picture that is due has come
    this.time = 0; // seconds, where the clock stood at `since`
    this.since = 0;
    this.shown = -1;
    this.drawnTime = 0; // of the stream, when the last picture was drawn
    this.next = 0;
    this.pictures = new Map();
    this.drawn = []; // when pictures were drawn, of the last seconds
    this.ahead = Math.floor(AHEAD_BYTES / (4 * header.width * header.height));
    this.ahead = Math.max(LEAST_AHEAD, Math.min(MOST_AHEAD, this.ahead));
    this.bits = bitsByFrame(packets, times.length);
    this.source = new OffscreenCanvas(header.width, header.height);
    this.fit();
    this.seek(0);
  }

  /** Give the canvas the size of the stream's pictures; `shape` is width / height as they are shown. */
  fit() {
    const { width, height, shownWidth, shownHeight, aspect, rotation } = this.header;
    const turned = rotation % 180 !== 0;
    [this.canvas.width, this.canvas.height] = turned ? [height, width] : [width, height];
    const shape = (shownWidth * toNumber(aspect)) / shownHeight;
    this.shape = turned ? 1 / shape : shape;
  }

  get now() {
    if (!this.playing || this.held) return this.time;
    return Math.min(this.end, this.time + ((performance.now() - this.since) / 1000) * this.rate);
  }

  /** The frame that is shown at a time. */
  frameAt(time) {
    let [first, last] = [0, this.times.length - 1];
    while (first < last) {
      const middle = (first + last + 1) >> 1;
      if (this.times[middle] <= time + 1e-6) first = middle;
      else last = middle - 1;
    }
    return first;
  }

  play() {
    if (this.now >= this.end) this.seek(0);
    this.playing = true;
    this.held = this.shown !== this.frameAt(this.time);
    this.startClock();
  }

  pause() {
    this.time = this.now;
    this.playing = false;
    this.startClock();
  }

  setRate(rate) {
    this.time = this.now;
    this.rate = rate;
    this.startClock();
  }

  seek(time) {
    this.time = Math.max(0, Math.min(this.end, time));
    this.held = true;
    this.next = this.due = this.frameAt(this.time);
    this.pictures.clear();
    this.decoder.forget();
    this.startClock();
  }

  /** Go some frames on, or back. */
  step(count) {
    if (this.playing) this.pause();
    const frame = Math.max(0, Math.min(this.times.length - 1, this.frameAt(this.time) + count));
    this.seek(this.times[frame]);
  }

  /** Let the clock stand until a picture comes. */
  hold() {
    this.time = this.now;
    this.held = true;
    this.startClock();
  }

  startClock() {
    this.since = performance.now();
    const runs = this.playing && !this.held;
    for (const follower of this.followers) follower.follow(this.time, runs ? this.rate : 0);
    this.dispatchEvent(new Event("state"));
    this.wake();
  }

  /** Tick at the next refresh of the screen; ticks go on while something plays or is awaited. */
  wake() {
    cancelAnimationFrame(this.loop);
    this.loop = requestAnimationFrame(() => this.tick());
  }

  receive({ frame, pixels, width, height }) {
    this.pictures.set(frame, new ImageData(pixels, width, height));
    const due = this.frameAt(this.time);
    if (!this.held || frame < due) return;
    this.draw(frame);
    this.held = false;
    this.startClock();
  }

  tick() {
    const due = this.frameAt(this.now);
    const ready = [...this.pictures.keys()].filter((frame) => frame <= due);
    if (ready.length && !this.held) this.draw(Math.max(...ready));
    if (this.playing && !this.held && due !== this.shown && this.now - this.drawnTime > LATEST * this.rate) this.hold();
    if (due > this.due) this.decoder.skipTo((this.due = due));
    if (this.next < due) this.next = due + 1;
    const wanted = this.playing ? this.ahead : 1;
    while (this.decoder.waiting + this.pictures.size < wanted && this.next < this.times.length) {
      this.decoder.ask(this.next++);
    }
    if (this.playing && this.now >= this.end) this.pause();
    this.dispatchEvent(new Event("time"));
    if (this.playing || this.held) this.wake();
  }

  draw(frame) {
    const { canvas, source } = this;
    if (frame !== this.shown) {
      source.getContext("2d").putImageData(this.pictures.get(frame), 0, 0);
      const context = canvas.getContext("2d");
      context.setTransform(1, 0, 0, 1, canvas.width / 2, canvas.height / 2);
      context.rotate((this.header.rotation * Math.PI) / 180);
      context.drawImage(source, -source.width / 2, -source.height / 2);
      if (!performance.getEntriesByName("first-picture").length) performance.mark("first-picture");
      this.drawn.push(performance.now());
    }
    this.shown = frame;
    this.drawnTime = this.now;
    for (const early of this.pictures.keys()) if (early <= frame) this.pictures.delete(early);
  }

  /** Pictures drawn in a second, lately. */
  get drawRate() {
    const since = performance.now() - 1000 * WINDOW;
    this.drawn = this.drawn.filter((time) => time > since);
    return this.drawn.length / WINDOW;
  }

  /** Bits a second of the pictures around now, in thousands; sound and the container's own bytes are not in it. */
  get kbps() {
    const [first, last] = [this.now - WINDOW / 2, this.now + WINDOW / 2].map((time) => this.frameAt(time));
    const bits = this.bits.subarray(first, last + 1).reduce((sum, value) => sum + value, 0);
    const until = last + 1 < this.times.length ? this.times[last + 1] : this.end;
    return bits / 1000 / (until - this.times[first]);
  }

  close() {
    cancelAnimationFrame(this.loop);
    for (const follower of this.followers) follower.close();
    this.decoder.close();
  }
}

/** Bits of each frame: those of its packet, in equal parts. */
function bitsByFrame(packets, count) {
  const bits = new Float64Array(count);
  for (const { first, frames, size } of packets) bits.fill((8 * size) / frames, first, first + frames);
  return bits;
}
