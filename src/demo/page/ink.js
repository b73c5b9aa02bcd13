// Ink: from a canvas with a drawing, or from a picture of a digit, to an image as MNIST has them. It needs `limit` and
// `moments` of engine.js, and canvases of the browser to read from. It shows nothing.
"use strict";

// ---------------------------------------- a drawing

// What is drawn white on black on a canvas, by its context: values from 0 to 255, row by row.
function levelsOn(context) {
  const { width, height } = context.canvas, { data } = context.getImageData(0, 0, width, height);
  return Float32Array.from({ length: width * height }, (_, at) => data[4 * at]);
}

const FAINTEST = 25.5;  // of 255: what is paler does not count for a drawing's size

// Fit ink (values from 0 to 255) into the box and lay its centre of mass in the middle, as MNIST's digits were made.
// In float32 and with halves rounded to even, as src/demo/picture.py: then both make the same image. Null without ink.
function fit(ink, height, width, box, side) {
  let top = height, bottom = -1, left = width, right = -1;
  for (let r = 0; r < height; r++) for (let c = 0; c < width; c++) if (ink[r * width + c] >= FAINTEST) {
    top = Math.min(top, r); bottom = Math.max(bottom, r); left = Math.min(left, c); right = Math.max(right, c);
  }
  if (bottom < 0) return null;
  const { fround } = Math, tall = bottom - top + 1, wide = right - left + 1, scale = box / Math.max(tall, wide);
  const rows = Math.max(1, Math.round(tall * scale)), columns = Math.max(1, Math.round(wide * scale));
  const small = new Float32Array(rows * columns);
  let highest = 0;
  for (let r = 0; r < rows; r++) for (let c = 0; c < columns; c++) {
    const r0 = Math.floor(r * tall / rows), r1 = Math.ceil((r + 1) * tall / rows);
    const c0 = Math.floor(c * wide / columns), c1 = Math.ceil((c + 1) * wide / columns);
    let sum = 0;
    for (let a = r0; a < r1; a++) for (let b = c0; b < c1; b++) {
      const value = ink[(top + a) * width + left + b];
      if (value >= FAINTEST) sum = fround(sum + fround(value / 255));
    }
    small[r * columns + c] = fround(sum / (r1 - r0)) / (c1 - c0);
    highest = Math.max(highest, small[r * columns + c]);
  }
  const { x, y } = moments(small, rows, columns), image = new Float32Array(side * side);
  const down = limit(Math.round(side / 2 - (rows - 1) / 2 - y), 0, side - rows);
  const over = limit(Math.round(side / 2 - (columns - 1) / 2 - x), 0, side - columns);
  for (let r = 0; r < rows; r++) for (let c = 0; c < columns; c++)
    image[(r + down) * side + c + over] = roundHalfToEven(fround(255 * fround(small[r * columns + c] / highest)));
  const laid = { top: down, left: over, height: rows, width: columns };
  return { image, drawn: { top, left, height: tall, width: wide }, laid };
}

const roundHalfToEven = value => value % 1 === 0.5 ? 2 * Math.round(value / 2) : Math.round(value);

// ---------------------------------------- a picture, whose ink is found in a simple way

const LONGEST = 280, WINDOW = 35;  // pixels: a picture's longer side, and how far from a pixel there is paper
const DARKEST = 12;  // of 255, added to the paper: the camera's own black
const CLEAR = 6, LEAST_NOISE = 0.015;  // what stands out from the noise by fewer times is grain; in units of density
const HIGH = 0.5, LOW = 0.3;  // of the ink's density: a mark has a pixel over the first, and ends at the second
const SPECK = 20;  // pixels: what is no larger is no mark
const THICKNESSES = [1.7, 3.4];  // pixels of the box: thinner or thicker pens than these are brought here

// What `along` makes of every row, and then of every column of that.
function separably(values, height, width, along) {
  const across = new Float32Array(values.length), both = new Float32Array(values.length);
  for (let r = 0; r < height; r++) across.set(along(values.subarray(r * width, (r + 1) * width)), r * width);
  for (let c = 0; c < width; c++) {
    const column = along(Float32Array.from({ length: height }, (_, r) => across[r * width + c]));
    for (let r = 0; r < height; r++) both[r * width + c] = column[r];
  }
  return both;
}

// For each pixel the highest of those at most `reach` away, across and down, in van Herk's way; `pick` may be Math.min.
function extremes(values, height, width, reach, pick) {
  const block = 2 * reach + 1;
  return separably(values, height, width, from => {
    const { length } = from, ahead = from.slice(), back = from.slice();  // from the block's beginning, and to its end
    for (let k = 1; k < length; k++) if (k % block) ahead[k] = pick(ahead[k - 1], from[k]);
    for (let k = length - 2; k >= 0; k--) if ((k + 1) % block) back[k] = pick(back[k + 1], from[k]);
    return from.map((_, k) => {
      const low = Math.max(0, k - reach), high = Math.min(length - 1, k + reach);
      if (low % block === 0) return ahead[high];
      return Math.floor(low / block) === Math.floor(high / block) ? back[low] : pick(back[low], ahead[high]);
    });
  });
}

// For each pixel the mean of those at most `reach` away.
function blur(values, height, width, reach) {
  return separably(values, height, width, from => {
    const sums = new Float64Array(from.length + 1);
    from.forEach((value, k) => { sums[k + 1] = sums[k] + value; });
    return from.map((_, k) => {
      const low = Math.max(0, k - reach), high = Math.min(from.length, k + reach + 1);
      return (sums[high] - sums[low]) / (high - low);
    });
  });
}

const quantile = (values, share) => Float32Array.from(values).sort()[Math.floor(share * (values.length - 1))];

// How far each pixel of a mark is from its edge.
function depth(mark, height, width) {
  const far = new Float32Array(mark.length);
  const sweep = (at, steps) => {
    if (!mark[at]) return;
    const r = Math.floor(at / width), c = at % width;
    let best = far[at] || Infinity;
    for (const [down, over, length] of steps) {
      const row = r + down, column = c + over;
      const outside = row < 0 || column < 0 || row >= height || column >= width;
      best = Math.min(best, length + (outside ? 0 : far[row * width + column]));
    }
    far[at] = best;
  };
  const back = [[-1, 0, 1], [0, -1, 1], [-1, -1, Math.SQRT2], [-1, 1, Math.SQRT2]];
  const ahead = back.map(([down, over, length]) => [-down, -over, length]);
  for (let at = 0; at < mark.length; at++) sweep(at, back);
  for (let at = mark.length - 1; at >= 0; at--) sweep(at, ahead);
  return far;
}

// How much of the paper's light each pixel lacks, about 1 on ink; null where nothing is clear. In `dark`, ink is dark,
// even where it is `light` in the picture.
function density(dark, height, width, light) {
  const widened = extremes(dark, height, width, WINDOW, Math.max);
  const paper = blur(extremes(widened, height, width, WINDOW, Math.min), height, width, 4);  // a closing, made smooth
  let lacks = dark.map((value, at) => (paper[at] - value) / ((light ? 255 - paper[at] : paper[at]) + DARKEST));
  const usual = quantile(lacks, 0.5);
  lacks = lacks.map(value => value - usual);
  const noise = Math.max(1.48 * quantile(lacks.map(Math.abs), 0.5), LEAST_NOISE), contrast = quantile(lacks, 0.998);
  return contrast < CLEAR * noise ? null : lacks.map(value => value / contrast);
}

// The marks of ink: connected, with their boxes; whatever is small or pale is none. `labels` has each pixel's mark.
function marksOf(ink, height, width) {
  const low = ink.map(value => value > LOW ? 1 : 0), near = extremes(low, height, width, 1, Math.max);
  const labels = new Int32Array(ink.length), marks = [];
  for (let from = 0; from < ink.length; from++) {
    if (!near[from] || labels[from]) continue;
    const number = marks.length + 1, waiting = [from];
    const mark = { number, area: 0, highest: 0, top: height, bottom: -1, left: width, right: -1 };
    labels[from] = number;
    while (waiting.length) {
      const at = waiting.pop(), r = Math.floor(at / width), c = at % width;
      if (low[at]) {
        mark.area++;
        mark.highest = Math.max(mark.highest, ink[at]);
        mark.top = Math.min(mark.top, r); mark.bottom = Math.max(mark.bottom, r);
        mark.left = Math.min(mark.left, c); mark.right = Math.max(mark.right, c);
      }
      for (let a = Math.max(0, r - 1); a <= Math.min(height - 1, r + 1); a++)
        for (let b = Math.max(0, c - 1); b <= Math.min(width - 1, c + 1); b++) {
          const beside = a * width + b;
          if (near[beside] && !labels[beside]) { labels[beside] = number; waiting.push(beside); }
        }
    }
    marks.push(mark);
  }
  return { labels, marks: marks.filter(({ area, highest }) => area > SPECK && highest > HIGH) };
}

// The ink of a mark and its parts, values from 0 to 1, redrawn with a pen as thick as MNIST's; and the size of it then.
function redrawn(mark, height, width, size, box) {
  const inside = depth(mark, height, width), outside = depth(mark.map(value => 1 - value), height, width);
  const unit = size / box, crest = extremes(inside, height, width, 1, Math.max);
  const ridge = inside.filter((value, at) => value && value === crest[at]);
  const thickness = (2 * quantile(ridge, 0.5) - 1) / unit, thicker = (limit(thickness, ...THICKNESSES) - thickness) / 2;
  const ink = inside.map((value, at) => limit((value - outside[at]) / unit + thicker + 0.5, 0, 1));
  return { ink, size: size + 2 * thicker * unit };
}

const sizeOf = ({ top, bottom, left, right }) => Math.max(bottom - top, right - left) + 1;

// The ink of the one digit on sheets of shades, values from 0 to 1, and its main mark; or {wrong}: one sentence.
function inkOf({ shades, height, width }, box) {
  const readings = shades.map((values, light) => {
    const dark = blur(values, height, width, 1), around = blur(dark, height, width, LONGEST / 2);
    const ink = density(dark, height, width, light);
    const differs = (sum, value, at) => sum + (value > HIGH ? Math.max(around[at] - dark[at], 0) : 0);
    return ink && { ink, differs: ink.reduce(differs, 0) };
  }).filter(Boolean);
  if (!readings.length)
    return { wrong: "Nothing stands out from the paper: choose a picture of one digit, or move closer." };
  const { ink } = readings.reduce((best, other) => other.differs > best.differs ? other : best);
  const { labels, marks } = marksOf(ink, height, width);
  if (!marks.length) return { wrong: "There is no mark large and dark enough: choose a picture of one digit." };
  // A mark at the border is a shadow or the table's edge, if another lies inside.
  const inner = marks.filter(({ top, bottom, left, right }) =>
    top > 0 && left > 0 && bottom < height - 1 && right < width - 1);
  const whole = inner.length ? inner : marks, main = whole.reduce((best, mark) => mark.area > best.area ? mark : best);
  const size = sizeOf(main);
  const gap = ({ top, bottom, left, right }) =>
    Math.max(top - main.bottom, main.top - bottom, left - main.right, main.left - right);
  const beside = ({ top, bottom, left, right }) =>
    Math.min(bottom, main.bottom) - Math.max(top, main.top) > 0 && (left > main.right || right < main.left);
  const large = whole.filter(mark => mark !== main && mark.area > 0.3 * main.area);
  if (large.some(mark => gap(mark) > 0.3 * size || beside(mark)))
    return { wrong: "There are several marks of similar size: choose a picture of one digit." };
  const parts = whole.filter(mark => mark === main || (mark.area > 0.02 * main.area && gap(mark) < 0.3 * size));
  const numbers = new Set(parts.map(({ number }) => number));
  const full = ink.map((value, at) => value > HIGH && numbers.has(labels[at]) ? 1 : 0);
  return { main, ...redrawn(full, height, width, size, box) };
}

// A picture, its longer side LONGEST, as two sheets of shades on which ink is dark: for dark ink each pixel's darkest
// colour, for light ink its lightest one, turned dark. So a yellow marker is dark, too. What is transparent is paper.
function shadesOf(bitmap) {
  const scale = LONGEST / Math.max(bitmap.width, bitmap.height), canvas = document.createElement("canvas");
  const width = canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  const height = canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, width, height);
  const { data } = context.getImageData(0, 0, width, height);
  let opaque = 0, sum = 0;
  for (let at = 0; at < data.length; at += 4) {
    opaque += data[at + 3];
    sum += data[at + 3] * (data[at] + data[at + 1] + data[at + 2]) / 3;
  }
  const behind = sum / Math.max(opaque, 1) < 128 ? 255 : 0;
  const cover = (at, value) => (data[at + 3] * value + (255 - data[at + 3]) * behind) / 255;
  const sheet = shade => Float32Array.from({ length: width * height }, (_, at) => shade(4 * at));
  const darkest = sheet(at => cover(at, Math.min(data[at], data[at + 1], data[at + 2])));
  const lightest = sheet(at => 255 - cover(at, Math.max(data[at], data[at + 1], data[at + 2])));
  return { shades: [darkest, lightest], height, width };
}

// The ink of the one digit in a picture, as inkOf returns it, with the size of its sheet. A small digit is looked at
// from nearer. `box` is that of the network.
function inkIn(bitmap, box) {
  const sheets = shadesOf(bitmap), { height, width } = sheets, found = inkOf(sheets, box);
  if (found.wrong) return found;
  const { top, bottom, left, right } = found.main, extent = sizeOf(found.main);
  if (extent >= LONGEST / 4) return { ...found, height, width };
  const scale = bitmap.width / width, side = Math.ceil(3 * extent * scale), nearer = document.createElement("canvas");
  nearer.width = nearer.height = side;
  const from = (low, high) => scale * (low + high + 1) / 2 - side / 2;
  const context = nearer.getContext("2d");
  context.drawImage(bitmap, from(left, right), from(top, bottom), side, side, 0, 0, side, side);
  return inkIn(nearer, box);
}
