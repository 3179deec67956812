/** Videos beside a stream's pictures, following the player's clock. Where that ends later, their last pictures stay. */

const FAR = 0.5; // seconds: what is further away is jumped to, the rest is caught up with
const EARLY = 0.002; // seconds into a frame, so that rounding cannot land on the one before
const [SLOWEST, FASTEST] = [0.5, 2]; // of the clock, to catch up

export class Beside {
  /** `list` has {name, file, kbps}; the videos go to the end of the element `stage`. */
  constructor(stage, list, say) {
    this.videos = list.map((entry) => this.add(stage, entry, say));
    this.follow(0, 0);
  }

  add(stage, { name, file, kbps }, say) {
    const video = Object.assign(document.createElement("video"), { muted: true, playsInline: true });
    const caption = Object.assign(document.createElement("figcaption"), { textContent: captionOf(name, kbps) });
    const figure = document.createElement("figure");
    figure.append(video, caption);
    stage.append(figure);
    video.addEventListener("loadedmetadata", () => this.align(video));
    video.addEventListener("timeupdate", () => this.keepUp(video));
    video.addEventListener("error", () => say(`${name}: this browser cannot play it`));
    load(video, file).catch(() => say(`${name}: ${file} is not there`));
    return video;
  }

  get now() {
    return this.time + ((performance.now() - this.since) / 1000) * this.rate;
  }

  /** Go on from `time` at a rate; 0 stands still. */
  follow(time, rate) {
    Object.assign(this, { time, rate, since: performance.now() });
    for (const video of this.videos) this.align(video);
  }

  align(video) {
    if (video.readyState < HTMLMediaElement.HAVE_METADATA) return; // once it is loaded, this comes again
    const place = Math.min(this.now + EARLY, video.duration);
    const isFar = Math.abs(video.currentTime - place) > (this.rate ? FAR : 0);
    if (isFar || video.ended) video.currentTime = place;
    video.playbackRate = this.rate || 1;
    if (this.rate && place < video.duration) video.play().catch(() => {}); // a pause may come before it starts
    else video.pause();
  }

  keepUp(video) {
    if (!this.rate || video.paused || video.seeking) return;
    const lag = this.now - video.currentTime;
    if (Math.abs(lag) > FAR) this.align(video);
    else video.playbackRate = this.rate * Math.max(SLOWEST, Math.min(FASTEST, 1 + 2 * lag));
  }

  close() {
    for (const video of this.videos) {
      video.parentElement.remove();
      URL.revokeObjectURL(video.src);
    }
  }
}

/** A name with a rate. */
export function captionOf(name, kbps) {
  return `${name}: ${kbps.toFixed(kbps < 100 ? 2 : 0)} kbps`;
}

/** As a whole: not every server sends the parts that seeking asks for. */
async function load(video, file) {
  const response = await fetch(file);
  if (!response.ok) throw new Error(response.statusText);
  const blob = await response.blob();
  if (video.isConnected) video.src = URL.createObjectURL(blob);
}
