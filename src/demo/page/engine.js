// The engine: from an image of a digit to a network's ten logits, and how each number comes about. It needs nothing:
// neither a page nor another file. `unpack` a network as src/demo/page.py describes it; then `run` it on an image as
// MNIST has them, 28 x 28 values from 0 to 255, white ink on black, row by row.
//
// A network is {side, box, preprocess, layers, detector, parameters}. Maps are {channels, size, values}: square,
// values channel by channel, row by row.
"use strict";

// Turn a network's weights from base64 into numbers, in place.
function unpack({ detector, layers }) {
  const unpackAll = (holder, names) => {
    for (const name of names) if (name in holder) {
      const bytes = Uint8Array.from(atob(holder[name]), letter => letter.charCodeAt(0));
      holder[name] = new Float32Array(bytes.buffer);
    }
  };
  unpackAll(detector, ["means", "whitening"]);
  for (const { operations } of layers)
    for (const operation of operations) unpackAll(operation, ["weights", "factor", "summand"]);
}

const limit = (value, low, high) => Math.min(Math.max(value, low), high);

// ---------------------------------------- preprocessing, as src/learn/images.py does it

// The centre of the ink from the middle of the image, and its second moments about that centre.
function moments(image, height, width) {
  let mass = 0, x = 0, y = 0, xx = 0, yy = 0, xy = 0;
  for (let r = 0; r < height; r++) for (let c = 0; c < width; c++) {
    const ink = image[r * width + c], across = c - (width - 1) / 2, down = r - (height - 1) / 2;
    mass += ink; x += ink * across; y += ink * down;
    xx += ink * across * across; yy += ink * down * down; xy += ink * across * down;
  }
  mass = Math.max(mass, 1e-6); x /= mass; y /= mass;
  return { x, y, xx: Math.max(xx / mass - x * x, 0), yy: Math.max(yy / mass - y * y, 0), xy: xy / mass - x * y };
}

// How an image is sheared and stretched about the centre of its ink, and how far its ink spreads once it is upright.
// `how` is the network's `preprocess`; `parts`, from 0 to 1, take less of the shear and of the stretching.
function shape(image, side, how, { shear: sheared = 1, size: sized = 1 } = {}) {
  const { x, y, xx, yy, xy } = moments(image, side, side);
  const whole = how.deslant ? limit(xy / Math.max(yy, 1e-3), -how.maxShear, how.maxShear) : 0;
  const deviations = [Math.sqrt(Math.max(xx - 2 * whole * xy + whole * whole * yy, 0)), Math.sqrt(yy)];
  const [across, down] = deviations.map((deviation, axis) =>
    limit((deviation / how.ink[axis]) ** how.sizeNormalisation, how.minStep, how.maxStep) ** sized);
  return { x, y, shear: sheared * whole, across, down, deviations };
}

// Deslant and normalise the size, both in one resampling. `parts` as for shape.
function preprocess(image, side, how, parts) {
  if (!how.deslant && !how.sizeNormalisation) return Float32Array.from(image);
  const { x, y, shear, across, down } = shape(image, side, how, parts);
  const lean = shear * down, middle = (side - 1) / 2, preprocessed = new Float32Array(side * side);
  const pixel = (r, c) => r >= 0 && r < side && c >= 0 && c < side ? image[r * side + c] : 0;
  for (let r = 0; r < side; r++) for (let c = 0; c < side; c++) {
    const u = c - middle - x, v = r - middle - y;
    const column = middle + x + across * u + lean * v, row = middle + y + down * v;
    const left = Math.floor(column), top = Math.floor(row), right = column - left, below = row - top;
    preprocessed[r * side + c] =
      (1 - below) * ((1 - right) * pixel(top, left) + right * pixel(top, left + 1)) +
      below * ((1 - right) * pixel(top + 1, left) + right * pixel(top + 1, left + 1));
  }
  return preprocessed;
}

// The value that the network is given for a pixel of 0 to 255.
const scaled = (value, { mean, std }) => (value - 255 * mean) / (255 * std);

// ---------------------------------------- the network, as PyTorch computes it

const hardswish = value => value * limit(value + 3, 0, 6) / 6;

const OPERATIONS = {
  convolution(x, { inputs, outputs, size: kernel, padding, weights }) {
    const size = x.size + 2 * padding - kernel + 1, values = new Float32Array(outputs * size * size);
    for (let o = 0; o < outputs; o++) for (let r = 0; r < size; r++) for (let c = 0; c < size; c++) {
      let sum = 0;
      for (let i = 0; i < inputs; i++) for (let a = 0; a < kernel; a++) {
        const row = r + a - padding;
        if (row < 0 || row >= x.size) continue;
        for (let b = 0; b < kernel; b++) {
          const column = c + b - padding;
          if (column < 0 || column >= x.size) continue;
          sum += weights[((o * inputs + i) * kernel + a) * kernel + b] * x.values[(i * x.size + row) * x.size + column];
        }
      }
      values[(o * size + r) * size + c] = sum;
    }
    return { channels: outputs, size, values };
  },
  pool(x) {
    const size = x.size >> 1, values = new Float32Array(x.channels * size * size);
    for (let k = 0; k < x.channels; k++) for (let r = 0; r < size; r++) for (let c = 0; c < size; c++) {
      const at = (k * x.size + 2 * r) * x.size + 2 * c, four = [at, at + 1, at + x.size, at + x.size + 1];
      values[(k * size + r) * size + c] = Math.max(...four.map(place => x.values[place]));
    }
    return { channels: x.channels, size, values };
  },
  scale(x, { factor, summand }) {
    const channel = at => Math.floor(at / (x.size * x.size));
    return { ...x, values: x.values.map((value, at) => value * factor[channel(at)] + summand[channel(at)]) };
  },
  hardswish: x => ({ ...x, values: x.values.map(hardswish) }),
  average(x) {
    const area = x.size * x.size, values = new Float32Array(x.channels);
    for (let at = 0; at < x.values.length; at++) values[Math.floor(at / area)] += x.values[at] / area;
    return { channels: x.channels, size: 1, values };
  },
};

// What a network makes of an image: `given` is the image preprocessed, `first` the same scaled, `maps` are those of
// every layer, with what Hardswish was given as `before`, or null; then logits, and the distance from training digits.
function run(network, image) {
  const { side, preprocess: how } = network, given = preprocess(image, side, how);
  const first = { channels: 1, size: side, values: given.map(value => scaled(value, how)) };
  let x = first;
  const maps = network.layers.map(layer => {
    let before = null;
    for (const operation of layer.operations) {
      if (operation.kind === "hardswish") before = x;
      x = OPERATIONS[operation.kind](x, operation);
    }
    return { ...x, before };
  });
  return { image, given, first, maps, logits: Array.from(x.values), distance: distance(network, maps) };
}

function softmax(logits) {
  const highest = Math.max(...logits), parts = logits.map(value => Math.exp(value - highest));
  const sum = parts.reduce((a, b) => a + b);
  return parts.map(part => part / sum);
}

// The probability of each digit, of what `run` returns.
const chancesOf = ({ logits }) => softmax(logits.slice(0, 10));

// How far the maps' activity is from that of the nearest class of training digits, as src/demo/mahalanobis.py has it.
function distance({ detector: { means, whitening } }, maps) {
  const squares = maps.filter(({ before }) => before).flatMap(({ channels, values }) => {
    const area = values.length / channels, sums = new Array(channels).fill(0);
    values.forEach((value, at) => { sums[Math.floor(at / area)] += value * value / area; });
    return sums;
  });
  const count = squares.length, distances = [];
  for (let from = 0; from < means.length; from += count) {
    const gap = squares.map((square, at) => Math.sqrt(square) - means[from + at]);
    let sum = 0;
    for (let to = 0; to < count; to++)
      sum += gap.reduce((all, value, at) => all + value * whitening[at * count + to], 0) ** 2;
    distances.push(sum);
  }
  return Math.min(...distances);
}

// ---------------------------------------- how a number comes about

const kindOf = layer => layer.operations[0].kind;

// The rows, and columns, of the maps that a layer is given.
const sizeBefore = (network, number) => number ? network.layers[number - 1].shape[1] : network.side;

// Where a unit of a layer looks, as places of the maps before: `size` rows and columns from `top` and `left`, or all.
function patchOf(layer, row, column) {
  const { kind, size, padding } = layer.operations[0];
  if (kind === "convolution") return { top: row - padding, left: column - padding, size };
  return kind === "pool" ? { top: 2 * row, left: 2 * column, size: 2 } : { top: 0, left: 0 };
}

// The box of the image that a unit sees.
function fieldOf({ start, jump, field }, row, column) {
  const first = start - (field - 1) / 2;
  return { left: first + column * jump, top: first + row * jump, size: field };
}

// What the units on the way from the image to one of a convolution see; each is in the middle of what the next one
// looks at.
function wayTo(network, number, row, column) {
  const way = [];
  for (let at = number; at >= 0; at--) {
    way.unshift(fieldOf(network.layers[at], row, column));
    const { top, left, size } = patchOf(network.layers[at], row, column), last = sizeBefore(network, at) - 1;
    row = limit(top + Math.floor((size - 1) / 2), 0, last);
    column = limit(left + Math.floor((size - 1) / 2), 0, last);
  }
  return way;
}

// How one pixel of a layer comes about from the maps before it: the steps of the layer, each {kind, before, value} with
// what it is computed from. Pixels outside of the maps are null.
function explain(layer, x, channel, row, column) {
  const { top, left, size = x.size } = patchOf(layer, row, column), area = size * size;
  const inside = (r, c) => r >= 0 && c >= 0 && r < x.size && c < x.size;
  const pixel = (map, r, c) => inside(r, c) ? x.values[(map * x.size + r) * x.size + c] : null;
  const patch = map => Array.from({ length: area }, (_, k) => pixel(map, top + Math.floor(k / size), left + k % size));
  let value;
  return layer.operations.map(operation => {
    const step = { kind: operation.kind, before: value };
    if (step.kind === "convolution") {
      step.parts = Array.from({ length: operation.inputs }, (_, map) => {
        const from = (channel * operation.inputs + map) * area;
        const weights = Array.from(operation.weights.slice(from, from + area)), pixels = patch(map);
        const products = pixels.map((level, k) => (level ?? 0) * weights[k]);
        return { pixels, weights, products, sum: products.reduce((a, b) => a + b) };
      });
      value = step.parts.reduce((sum, part) => sum + part.sum, 0);
    } else if (step.kind === "pool") {
      step.pixels = patch(channel);
      value = Math.max(...step.pixels);
    } else if (step.kind === "average") {
      step.pixels = patch(channel);
      step.sum = step.pixels.reduce((a, b) => a + b);
      value = step.sum / area;
    } else if (step.kind === "scale") {
      step.factor = operation.factor[channel];
      step.summand = operation.summand[channel];
      value = value * step.factor + step.summand;
    } else value = hardswish(value);
    return { ...step, value };
  });
}

// Why all pixels of a map are the same: {cause, value}, or null where they differ. On every digit: the kernel's weights
// are zero, or the scale is. On this digit: Hardswish is given `value` at most, or, of no such cause, all are `value`.
function deadness(layer, { size, values, before }, channel) {
  const ofChannel = all => all.slice(channel * size * size, (channel + 1) * size * size), pixels = ofChannel(values);
  if (size < 2 || Math.max(...pixels) - Math.min(...pixels) > 1e-3) return null;
  const theOne = kind => layer.operations.find(operation => operation.kind === kind);
  const convolution = theOne("convolution"), scale = theOne("scale");
  const area = convolution && convolution.inputs * convolution.size ** 2;
  if (convolution?.weights.slice(channel * area, (channel + 1) * area).every(weight => Math.abs(weight) < 1e-4))
    return { cause: "kernel" };
  if (scale && Math.abs(scale.factor[channel]) < 1e-4) return { cause: "scale" };
  const most = before && Math.max(...ofChannel(before.values));
  return before && most <= -3 ? { cause: "hardswish", value: most } : { cause: "none", value: pixels[0] };
}
