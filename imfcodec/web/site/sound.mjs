/** Sound of a stream through WebCodecs and Web Audio, following the player's clock. */

const AHEAD = 1; // seconds that are decoded before they are due

/** Codec strings of WebCodecs by FFmpeg's names. */
const CODECS = { opus: "opus", aac: "mp4a.40.2", mp3: "mp3", flac: "flac", vorbis: "vorbis" };

export class Sound {
  /** null where there is no sound; where the browser cannot play it, says so and gives null. */
  static open(track, say) {
    if (!track) return null;
    if (CODECS[track.codec] && globalThis.AudioDecoder) return new Sound(track, say);
    say(`this browser cannot play sound in ${track.codec}`);
    return null;
  }

  constructor(track, say) {
    Object.assign(this, { track, say });
    this.context = new AudioContext();
    this.gain = this.context.createGain();
    this.gain.connect(this.context.destination);
    this.playing = []; // AudioBufferSourceNodes that are on their way
    this.rate = 0;
  }

  setVolume(volume) {
    this.gain.gain.value = volume;
  }

  /** Sound from `time` on at a rate; 0 is silence. */
  follow(time, rate) {
    this.stop();
    this.rate = rate;
    if (!rate) return;
    this.context.resume();
    this.start = { time, at: this.context.currentTime };
    const first = this.track.packets.findIndex((packet) => packet.time + packet.duration > time);
    this.next = first < 0 ? this.track.packets.length : first;
    this.decoder = new AudioDecoder({
      output: (data) => this.schedule(data),
      error: () => this.say(`this browser cannot decode the sound (${this.track.codec})`),
    });
    this.decoder.configure(this.configuration());
    this.timer = setInterval(() => this.feed(), (AHEAD * 1000) / 4);
    this.feed();
  }

  configuration() {
    const { codec, sampleRate, channels, extradata } = this.track;
    const description = extradata.length ? { description: extradata } : {};
    return { codec: CODECS[codec], sampleRate, numberOfChannels: channels, ...description };
  }

  feed() {
    const { packets } = this.track;
    const until = this.start.time + (this.context.currentTime - this.start.at + AHEAD) * this.rate;
    for (; this.next < packets.length && packets[this.next].time < until; this.next++) {
      const { time, data } = packets[this.next];
      this.decoder.decode(new EncodedAudioChunk({ type: "key", timestamp: Math.round(time * 1e6), data }));
    }
  }

  schedule(data) {
    const [time, channels] = [data.timestamp / 1e6, data.numberOfChannels];
    const buffer = this.context.createBuffer(channels, data.numberOfFrames, data.sampleRate);
    for (let channel = 0; channel < channels; channel++) {
      data.copyTo(buffer.getChannelData(channel), { planeIndex: channel, format: "f32-planar" });
    }
    data.close();
    const at = this.start.at + (time - this.start.time) / this.rate;
    const late = Math.max(0, this.context.currentTime - at);
    if (late * this.rate >= buffer.duration) return;
    const node = new AudioBufferSourceNode(this.context, { buffer, playbackRate: this.rate });
    node.connect(this.gain);
    node.start(at + late, late * this.rate);
    this.playing.push(node);
    node.onended = () => this.playing.splice(this.playing.indexOf(node), 1);
  }

  stop() {
    clearInterval(this.timer);
    if (this.decoder && this.decoder.state !== "closed") this.decoder.close();
    for (const node of this.playing) {
      node.onended = null;
      node.stop();
    }
    this.playing = [];
  }

  close() {
    this.stop();
    this.context.close();
  }
}
