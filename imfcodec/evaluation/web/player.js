"use strict";

// Two videos of one clip in step, with a wipe between them: each is drawn to a canvas, as it is or as its difference to
// the original.

const ORIGINAL = "original";
const WIPE_STEP = 5;
const LONGEST_WAIT_MS = 250;

/** A video element with the content of a text element in base64; `ready` settles when its first frame can be drawn. */
function loadVideo(id) {
  const holder = byId(id);
  const bytes = Uint8Array.from(atob(holder.textContent), (letter) => letter.charCodeAt(0));
  const video = element("video", { muted: true, playsInline: true, preload: "auto" });
  video.ready = new Promise((resolve, reject) => {
    video.addEventListener("loadeddata", resolve, { once: true });
    video.addEventListener("error", () => reject(new Error(video.error?.message || "it cannot be decoded")), { once: true });
  });
  watchFrames(video);
  byId("stage").prepend(video); // browsers keep time less well for videos outside the page
  video.src = URL.createObjectURL(new Blob([bytes], { type: holder.dataset.type }));
  video.load();
  return video;
}

function unloadVideo(video) {
  video.pause();
  video.remove();
  URL.revokeObjectURL(video.src);
}

/** Keep in `shownSeconds` the time stamp of the frame that drawing the video gives, and tell of each by an event. */
function watchFrames(video) {
  const note = (now, frame) => {
    video.shownSeconds = frame.mediaTime;
    video.dispatchEvent(new Event("shown"));
    video.requestVideoFrameCallback(note);
  };
  video.requestVideoFrameCallback(note);
}

/** Resolves when the frame at a time can be drawn, which may be some time after the video's own "seeked". */
function seekVideo(video, seconds, frameSeconds) {
  const isShown = () =>
    !video.seeking && seconds >= video.shownSeconds && seconds < video.shownSeconds + frameSeconds;
  if (isShown()) return Promise.resolve();
  return new Promise((resolve) => {
    const finish = () => {
      video.removeEventListener("shown", check);
      resolve();
    };
    const check = () => isShown() && finish();
    video.addEventListener("shown", check);
    // A frame that stood there already is not told of again, and a video that ends early never shows it.
    video.addEventListener("seeked", () => setTimeout(finish, LONGEST_WAIT_MS), { once: true });
    video.currentTime = seconds;
  });
}

class Player {
  constructor() {
    this.media = null;
    this.videos = new Map();
    this.frame = 0;
    this.isPlaying = false;
    this.isSeeking = false;
    this.bindControls();
    this.bindStage();
  }

  /** Show another clip, or say that there is none; resolves when its first frame is drawn. */
  async open(media) {
    this.setPlaying(false);
    this.videos.forEach(unloadVideo);
    this.media = media;
    this.videos = new Map(media?.videos.map(({ name, id }) => [name, loadVideo(id)]));
    for (const video of this.videos.values()) video.addEventListener("shown", () => this.isPlaying || this.draw());
    for (const id of ["player", "sources"]) byId(id).hidden = !this.videos.size;
    notify(this.videos.size ? "" : "This run kept no videos to look at.");
    if (!this.videos.size) return;
    this.describe();
    try {
      await Promise.all([...this.videos.values()].map((video) => video.ready));
    } catch (error) {
      if (this.media === media) notify(`The videos of ${media.clip} do not play in this browser: ${error.message}.`);
      return;
    }
    if (this.media === media) await this.seek(0);
  }

  describe() {
    const names = [...this.videos.keys()].map((name) => [name, name]);
    const coded = names.filter(([name]) => name !== ORIGINAL);
    fillSelect(byId("left-source"), names, coded[0]?.[0]);
    fillSelect(byId("right-source"), names, coded[1]?.[0] ?? ORIGINAL);
    byId("seek").max = this.media.frames - 1;
    byId("difference").disabled = !this.videos.has(ORIGINAL);
    const captions = this.media.videos.flatMap(({ name, caption }) => [
      element("dt", { textContent: name }),
      element("dd", { textContent: caption || "–" }),
    ]);
    byId("captions").replaceChildren(...captions);
  }

  get showsDifference() {
    return byId("difference").getAttribute("aria-pressed") === "true" && this.videos.has(ORIGINAL);
  }

  /** Go to a frame, counted from 0. Calls that come while a seek is under way are joined: the last one counts. */
  async seek(frame) {
    this.frame = Math.max(0, Math.min(this.media.frames - 1, frame));
    if (this.isSeeking) return;
    this.setSeeking(true);
    let reached;
    do {
      reached = this.frame;
      // The middle of the frame, so that rounding cannot land on its neighbour.
      const frameSeconds = 1 / this.media.frameRate;
      const seconds = (reached + 0.5) * frameSeconds;
      await Promise.all([...this.videos.values()].map((video) => seekVideo(video, seconds, frameSeconds)));
    } while (reached !== this.frame);
    this.setSeeking(false);
    this.draw();
  }

  setSeeking(isSeeking) {
    this.isSeeking = isSeeking;
    byId("stage").setAttribute("aria-busy", String(isSeeking));
  }

  async toggle() {
    this.setPlaying(!this.isPlaying);
    if (!this.isPlaying) return this.seek(this.frame);
    if (this.frame === this.media.frames - 1) await this.seek(0);
    return this.run();
  }

  step(count) {
    this.setPlaying(false);
    return this.seek(this.frame + count);
  }

  setPlaying(isPlaying) {
    this.isPlaying = isPlaying;
    byId("play").textContent = isPlaying ? "Pause" : "Play";
    if (!isPlaying) this.halt();
  }

  halt() {
    for (const video of this.videos.values()) {
      video.pause();
      video.shownSeconds = NaN; // another frame may still be on its way
    }
  }

  async run() {
    try {
      await Promise.all([...this.videos.values()].map((video) => video.play()));
    } catch (error) {
      if (this.isPlaying) notify(`The videos do not play: ${error.message}.`); // a pause while starting is no failure
      return;
    }
    requestAnimationFrame(() => this.tick());
  }

  async tick() {
    if (!this.isPlaying) return;
    const [leader, ...followers] = this.videos.values();
    if (leader.ended) {
      this.halt(); // the others may have a little left
      await this.seek(0);
      if (this.isPlaying) await this.run();
      return;
    }
    for (const video of followers) {
      const lag = leader.currentTime - video.currentTime;
      video.playbackRate = Math.abs(lag) < 0.004 ? 1 : Math.max(0.5, Math.min(2, 1 + 4 * lag));
    }
    if (Number.isFinite(leader.shownSeconds)) {
      this.frame = Math.min(this.media.frames - 1, Math.round(leader.shownSeconds * this.media.frameRate));
    }
    this.draw();
    requestAnimationFrame(() => this.tick());
  }

  draw() {
    for (const side of ["left", "right"]) {
      const name = byId(`${side}-source`).value;
      this.paint(byId(`${side}-canvas`), this.videos.get(name));
      byId(`${side}-tag`).textContent = this.showsDifference ? `${name}: difference` : name;
    }
    byId("seek").value = this.frame;
    byId("position").textContent =
      `frame ${this.frame + 1} of ${this.media.frames}, ${(this.frame / this.media.frameRate).toFixed(2)} s`;
  }

  paint(canvas, video) {
    if (!video.videoWidth) return; // still loading
    if (canvas.width !== video.videoWidth || canvas.height !== video.videoHeight) {
      Object.assign(canvas, { width: video.videoWidth, height: video.videoHeight });
    }
    const context = canvas.getContext("2d");
    context.globalCompositeOperation = "copy";
    context.drawImage(video, 0, 0, canvas.width, canvas.height);
    if (!this.showsDifference) return;
    context.globalCompositeOperation = "difference";
    context.drawImage(this.videos.get(ORIGINAL), 0, 0, canvas.width, canvas.height);
    context.globalCompositeOperation = "lighter"; // adding the picture to itself doubles it
    for (let gain = 1; gain < Number(byId("gain").value); gain *= 2) context.drawImage(canvas, 0, 0);
  }

  setWipe(percent) {
    const place = Math.max(0, Math.min(100, percent));
    byId("wipe").value = place;
    byId("stage").style.setProperty("--wipe", `${place}%`);
  }

  toggleDifference() {
    if (!this.videos.has(ORIGINAL)) return;
    byId("difference").setAttribute("aria-pressed", String(!this.showsDifference));
    this.draw();
  }

  bindControls() {
    const on = (id, event, action) => byId(id).addEventListener(event, action);
    on("play", "click", () => this.toggle());
    on("back", "click", () => this.step(-1));
    on("forward", "click", () => this.step(1));
    on("difference", "click", () => this.toggleDifference());
    for (const id of ["gain", "left-source", "right-source"]) on(id, "change", () => this.draw());
    on("wipe", "input", (event) => this.setWipe(Number(event.target.value)));
    on("seek", "input", (event) => this.step(Number(event.target.value) - this.frame));
  }

  bindStage() {
    const stage = byId("stage");
    const follow = (event) => {
      const box = stage.getBoundingClientRect();
      this.setWipe((100 * (event.clientX - box.left)) / box.width);
    };
    stage.addEventListener("pointerdown", (event) => {
      stage.setPointerCapture(event.pointerId);
      follow(event);
    });
    stage.addEventListener("pointermove", (event) => event.buttons && follow(event));
    stage.addEventListener("keydown", (event) => this.pressKey(event));
  }

  pressKey(event) {
    const direction = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === " ") this.toggle();
    else if (event.key.toLowerCase() === "d") this.toggleDifference();
    else if (direction && event.shiftKey) this.setWipe(Number(byId("wipe").value) + WIPE_STEP * direction);
    else if (direction) this.step(direction);
    else return;
    event.preventDefault();
  }
}

/** Say what went wrong above the players; an empty text takes it back. */
function notify(text) {
  byId("watch-notice").textContent = text;
  byId("watch-notice").hidden = !text;
}
