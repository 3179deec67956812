/** A stream and the two workers that decode it. */

export class Decoder {
  /**
   * Open a stream; `data` is an ArrayBuffer, which goes to the workers.
   *
   * `receive` is called with each picture {frame, turn, width, height, pixels}, `fail` with the message of an error.
   */
  static async open(data, receive, fail) {
    const decoder = new Decoder(receive, fail);
    try {
      decoder.stream = await decoder.read(data);
    } catch (error) {
      decoder.close();
      throw error;
    }
    return decoder;
  }

  constructor(receive, fail) {
    const start = (name) => new Worker(new URL(`./${name}.mjs${location.search}`, import.meta.url), { type: "module" });
    [this.reader, this.maker] = [start("reading"), start("decoding")];
    this.turn = 0;
    this.waiting = 0; // pictures that were asked for and have not come
    this.maker.onmessage = ({ data }) => {
      if (data.turn !== this.turn) return;
      this.waiting--;
      if (data.error) fail(data.error);
      else if (data.pixels) receive(data);
    };
    for (const worker of [this.reader, this.maker]) worker.onerror = () => fail("this browser cannot run the decoder");
  }

  read(data) {
    const { port1, port2 } = new MessageChannel();
    return new Promise((resolve, reject) => {
      this.reader.onmessage = ({ data: { stream, error } }) => {
        if (error) return reject(new Error(error));
        const { header, packets } = stream;
        this.maker.postMessage({ stream: { header, packets }, port: port2 }, [port2]);
        resolve(stream);
      };
      this.reader.postMessage({ data, port: port1 }, [data, port1]);
    });
  }

  /** Ask for a picture; they come in the order they are asked for. */
  ask(frame) {
    this.waiting++;
    this.maker.postMessage({ frame, turn: this.turn });
  }

  /** Forget what was asked for. */
  forget() {
    this.turn++;
    this.waiting = 0;
    this.skipTo(0);
  }

  /** Pictures before frame `due` are no longer wanted. */
  skipTo(due) {
    this.maker.postMessage({ turn: this.turn, due });
  }

  close() {
    this.reader.terminate();
    this.maker.terminate();
  }
}
