/** Planes to RGBA, by the matrix and range that the stream names. */

const WEIGHTS = { 1: [0.2126, 0.0722], 9: [0.2627, 0.0593] }; // of red and blue, by MatrixCoefficients of H.273
const DEFAULT_WEIGHTS = [0.299, 0.114]; // BT.601, as players take it where nothing is said

/** RGBA bytes of 4:2:0 planes {y, u, v}; `colour` is that of the header. */
export function toRgba({ y, u, v }, width, height, { matrix, full }) {
  const [red, blue] = WEIGHTS[matrix] ?? DEFAULT_WEIGHTS;
  const green = 1 - red - blue;
  const [luma, black] = full ? [1, 0] : [255 / 219, 16];
  const chroma = full ? 1 : 255 / 224;
  const [redOfV, blueOfU] = [2 * (1 - red) * chroma, 2 * (1 - blue) * chroma];
  const [greenOfU, greenOfV] = [(-blueOfU * blue) / green, (-redOfV * red) / green];
  const pixels = new Uint8ClampedArray(4 * width * height);
  const stride = (width + 1) >> 1;
  for (let row = 0, at = 0; row < height; row++) {
    for (let column = 0; column < width; column++, at++) {
      const place = (row >> 1) * stride + (column >> 1);
      const [grey, du, dv] = [luma * (y[at] - black), u[place] - 128, v[place] - 128];
      pixels[4 * at] = grey + redOfV * dv;
      pixels[4 * at + 1] = grey + greenOfU * du + greenOfV * dv;
      pixels[4 * at + 2] = grey + blueOfU * du;
      pixels[4 * at + 3] = 255;
    }
  }
  return pixels;
}
