// The view: all that shows and listens. It reads the drawing at every move of the pen, and shows what comes of it. It
// needs the elements of page.html, the classes and colours of style.css, the networks by name in NETWORKS, levelsOn, fit
// and inkIn of ink.js, and of engine.js nearly everything.
"use strict";

for (const name in NETWORKS) unpack(NETWORKS[name]);

const find = id => document.getElementById(id);
const pad = find("pad"), pen = pad.getContext("2d", { willReadFrequently: true });
const still = matchMedia("(prefers-reduced-motion: reduce)"), dark = matchMedia("(prefers-color-scheme: dark)");

// The network chosen, what it sees (as `run` returns it, and where the ink was and went; null without a digit), what
// is shown of each of its layers, and the pictures of growing receptive fields.
let network, seen = null, views = [], growth = [];

function make(tag, className = "", ...children) {
  const element = document.createElement(tag);
  element.className = className;
  element.append(...children);
  return element;
}

function button(className, text, label, act) {
  const element = make("button", className, text);
  element.type = "button";
  if (label) element.setAttribute("aria-label", label);
  element.addEventListener("click", act);
  return element;
}

// ---------------------------------------- numbers and sentences

// Numbers as they are shown: three figures, a true minus.
function figure(value) {
  const size = Math.abs(value), places = size >= 99.95 ? 0 : size >= 9.995 ? 1 : size >= 0.9995 || size < 5e-4 ? 2 : 3;
  const text = size.toFixed(places);
  return value < 0 && Number(text) ? `−${text}` : text;
}

// The same for a small cell.
function short(value) {
  const size = Math.abs(value);
  return size < 0.005 ? "0" : size < 9.995 ? value.toFixed(2).replace("-", "−") : figure(value);
}

const times = size => `${size}\u00a0×\u00a0${size}`;
const percent = share => share > 0.9995 && share < 1 ? "> 99.9\u00a0%" : `${(100 * share).toFixed(1)}\u00a0%`;
const spoken = share => percent(share).replace(">", "more than");
const words = (...sentences) => sentences.filter(Boolean).join(" ");
const say = text => { find("said").textContent = text; };

// ---------------------------------------- pictures

let colours;
function readColours() {
  const style = getComputedStyle(document.documentElement);
  const parts = name => style.getPropertyValue(name).trim().match(/[0-9a-f]{2}/gi).map(pair => parseInt(pair, 16));
  const [zero, below, above] = ["--zero", "--below", "--above"].map(parts);
  colours = { zero, below, above, room: style.getPropertyValue("--track") };
}

const shade = value => { const level = limit(value, 0, 255); return [level, level, level]; };

// Blue below zero, orange above. Colour grows with the square root, or a value that is small beside the scale would not
// show.
const signed = (scale, most = 1) => value => {
  const full = value < 0 ? colours.below : colours.above;
  const amount = most * Math.sqrt(Math.min(Math.abs(value) / (scale || 1), 1));
  return colours.zero.map((zero, k) => zero + amount * (full[k] - zero));
};

function paint(canvas, values, size, colour, height = size) {
  const context = canvas.getContext("2d"), picture = context.createImageData(size, height);
  values.forEach((value, at) => picture.data.set([...colour(value), 255], 4 * at));
  canvas.width = size;
  canvas.height = height;
  context.putImageData(picture, 0, 0);
}

// Paint pixels large, with so many pixels of room around, and let `over` draw on them in the pixels' own units.
const FINE = 384, scratch = document.createElement("canvas");
function enlarge(canvas, values, size, colour, over, room = 0, fine = FINE) {
  const context = canvas.getContext("2d"), unit = fine / (size + 2 * room);
  paint(scratch, values, size, colour);
  canvas.width = canvas.height = fine;
  context.fillStyle = colours.room;
  context.fillRect(0, 0, fine, fine);
  context.imageSmoothingEnabled = false;
  context.setTransform(unit, 0, 0, unit, room * unit, room * unit);
  context.drawImage(scratch, 0, 0);
  over(context, unit);
}

// Draw a path that shows on every colour: green in a black one.
function outline(context, unit, path, dashes = []) {
  for (const [colour, width] of [["#000", 7], ["#2fe0a5", 3]]) {
    context.strokeStyle = colour;
    context.lineWidth = width / unit;
    context.setLineDash(dashes.map(length => length / unit));
    context.beginPath();
    path();
    context.stroke();
  }
  context.setLineDash([]);
}

function frame(context, unit, { left, top, size, width = size, height = size }, dashes = []) {
  outline(context, unit, () => context.rect(left, top, width, height), dashes);
}

function line(context, unit, x, y, toX, toY) {
  outline(context, unit, () => { context.moveTo(x, y); context.lineTo(toX, toY); });
}

// Hardswish, and where a value lies on it.
function paintCurve(canvas, before, after) {
  const context = canvas.getContext("2d"), style = getComputedStyle(document.body);
  const span = Math.max(6, 1.2 * Math.abs(before)), across = x => 84 + 80 * x / span, up = y => 62 - 56 * y / span;
  canvas.width = 168;
  canvas.height = 84;
  const trace = (colour, width, points) => {
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.beginPath();
    for (const [x, y] of points) context.lineTo(x, y);
    context.stroke();
  };
  trace("#8888", 2, [[0, up(0)], [168, up(0)]]);
  trace("#8888", 2, [[84, 0], [84, 84]]);
  trace(style.color, 4, Array.from({ length: 169 }, (_, k) => [k, up(hardswish((k - 84) / 80 * span))]));
  context.fillStyle = style.getPropertyValue("--bar");
  context.beginPath();
  context.arc(across(before), up(after), 9, 0, 7);
  context.fill();
}

// ---------------------------------------- the layers

const NAMES = {
  convolution: "convolution", pool: "max pooling", scale: "BatchNorm", hardswish: "Hardswish", average: "average",
};
const REASONS = {
  kernel: () => "on every digit: its kernel’s weights are zero",
  scale: () => "on every digit: BatchNorm multiplies it by zero",
  hardswish: most => `on this digit: BatchNorm leaves ${figure(most)} at most, and Hardswish turns that into zero`,
  none: value => `on this digit: all its pixels are ${figure(value)}`,
};

const inputOf = number => number ? seen.maps[number - 1] : seen.first;
const largestOf = values => values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
const mapOf = ({ size, values }, channel) => values.slice(channel * size * size, (channel + 1) * size * size);

// The strongest pixel of all maps.
function strongest({ size, values }) {
  const at = values.reduce((best, value, k) => value > values[best] ? k : best, 0);
  return { channel: Math.floor(at / size / size), row: Math.floor(at / size) % size, column: at % size };
}

function showField(canvas, field, room, fine) {
  enlarge(canvas, seen.given, network.side, shade, (context, unit) => frame(context, unit, field), room, fine);
}

// The fields on the way to a unit of the last convolution, side by side.
function showGrowth(fields) {
  const beyond = ({ left, top, size }) => [-left, -top, left + size - network.side, top + size - network.side];
  const room = Math.max(0, ...fields.flatMap(beyond)) + 1;
  growth.forEach((canvas, at) => showField(canvas, fields[at], room, FINE / 2));
}

// A square of numbers.
function cellsOf(size) {
  const cells = Array.from({ length: size * size }, () => make("span")), grid = make("div", "cells", ...cells);
  grid.style.gridTemplateColumns = `repeat(${size}, minmax(0, 1fr))`;
  const fill = (values, scale) => cells.forEach((cell, at) => {
    const value = values[at], outside = value === null;
    cell.className = outside ? "outside" : "";
    cell.textContent = outside ? "0" : short(value);
    cell.style.background = outside ? "" : `rgb(${signed(scale, 0.4)(value).map(Math.round)})`;
  });
  return { grid, cells, fill };
}

// What a tap on a square of `size` pixels points at; a mouse may be drawn along with its button down.
function pointing(canvas, size, act) {
  const point = event => {
    const { top, left, width, height } = canvas.getBoundingClientRect();
    const place = (at, from, length) => limit(Math.floor((at - from) / length * size), 0, size - 1);
    act(place(event.clientY, top, height), place(event.clientX, left, width));
  };
  canvas.addEventListener("click", point);
  canvas.addEventListener("pointermove", event => {
    if (event.pointerType === "mouse" && event.buttons & 1) point(event);
  });
}

// The way of a sum to the pixel's value, as terms of an equation. `curve` is a canvas for Hardswish.
function flowOf(steps, { inputs, size: kernel }, { number, digit, curve }) {
  const term = (value, name) => make("span", "", make("b", "", value), make("small", "", name));
  const arrow = text => make("span", "arrow", text);
  return steps.flatMap(step => {
    const result = figure(step.value);
    if (step.kind === "convolution") {
      const sum = term(result, `sum of ${inputs * kernel * kernel} products`);
      return steps.length > 1 ? [sum] : [sum, arrow(`→ to layer ${number + 2} unchanged`)];
    }
    if (step.kind === "pool") return [term(result, "the largest")];
    if (step.kind === "average") {
      const pixels = term(`÷ ${step.pixels.length}`, "pixels");
      return [term(figure(step.sum), "sum"), pixels, arrow("="), term(result, `logit of ${digit}`)];
    }
    if (step.kind === "scale") {
      const factor = term(`× ${Number(step.factor.toPrecision(3))}`.replace("-", "−"), "BatchNorm’s scale");
      const summand = term(`${step.summand < 0 ? "−" : "+"} ${figure(Math.abs(step.summand))}`, "its shift");
      return [factor, summand, arrow("="), term(result, "BatchNorm")];
    }
    paintCurve(curve, step.before, step.value);
    return [arrow("→"), make("span", "", curve), arrow("="), term(result, "Hardswish")];
  });
}

// How a pixel of a layer is computed, in numbers: the elements, and what shows in them the steps of `explain` from the
// maps `x` before, of which map `from` is looked at. `choosePart` is called with the map whose kernel is tapped.
function arithmeticOf(layer, number, choosePart) {
  const first = layer.operations[0], { kind, inputs = 1, size: kernel } = first, curve = make("canvas");
  const sizes = kind === "convolution" ? [kernel, kernel, kernel] : [kind === "pool" ? 2 : sizeBefore(network, number)];
  const grids = sizes.map(size => cellsOf(size)), headings = grids.map(() => make("figcaption"));
  const squares = grids.map(({ grid }, at) => make("figure", "", grid, headings[at])), sentence = make("p", "sentence");
  const chips = Array.from({ length: kind === "convolution" && inputs > 1 ? inputs : 0 }, (_, map) => {
    const small = make("canvas"), text = make("span"), chip = button("part", "", "", () => choosePart(map));
    chip.append(small, text);
    return { chip, small, text };
  });
  const flow = make("div", "flow"), boxes = [make("div", "sums", ...squares, sentence), flow];
  if (chips.length) boxes.splice(1, 0, make("div", "parts", ...chips.map(({ chip }) => chip)));

  function showConvolution({ parts, value }, scale, from) {
    const { pixels, weights, products, sum } = parts[from], heaviest = largestOf(parts.flatMap(part => part.weights));
    grids[0].fill(pixels, scale);
    grids[1].fill(weights, heaviest);
    grids[2].fill(products, largestOf(products));
    headings[0].textContent = number ? `Pixels of map ${from + 1}` : "Pixels";
    headings[1].textContent = "times the kernel’s weights";
    headings[2].textContent = "are these products";
    sentence.textContent = words(`Their sum is ${figure(sum)}.`,
      inputs > 1 && `Over all maps it is ${figure(value)}. Tap a map’s kernel to see its products.`);
    chips.forEach(({ chip, small, text }, at) => {
      paint(small, parts[at].weights, kernel, signed(heaviest));
      text.textContent = figure(parts[at].sum);
      chip.setAttribute("aria-label", `Kernel for map ${at + 1}: sum ${figure(parts[at].sum)}`);
      chip.setAttribute("aria-pressed", at === from);
    });
  }

  function showSquare({ pixels, sum, value }, scale, from) {
    const [{ cells, fill }] = grids, pools = kind === "pool";
    fill(pixels, scale);
    if (pools) cells[pixels.indexOf(value)].classList.add("largest");
    headings[0].textContent = pools ? `Pixels of map ${from + 1}` : `Map ${from + 1} of the layer before`;
    sentence.textContent = pools ? `The largest is ${figure(value)}.` : `Their sum is ${figure(sum)}.`;
  }

  function show(steps, x, from) {
    (kind === "convolution" ? showConvolution : showSquare)(steps[0], largestOf(x.values), from);
    flow.replaceChildren(...flowOf(steps, { inputs, size: kernel }, { number, digit: from, curve }));
  }
  return { boxes, show };
}

// What is shown of a layer, with one pixel chosen: `own` if by hand, otherwise its strongest. `part` is the map whose
// kernel was tapped, `at` the pixel that is shown, and `timer` runs while the kernel slides.
function viewOf(layer, number) {
  const [channels, size] = layer.shape, { kind, padding, size: kernel } = layer.operations[0];
  const inputSize = sizeBefore(network, number);
  const view = { own: null, part: null, at: { channel: 0, row: 0, column: 0 }, timer: null };
  const arithmetic = arithmeticOf(layer, number, map => {
    view.part = map;
    view.own ??= { ...view.at };
    view.stop();
    render();
  });
  const digit = make("canvas", "digit"), input = make("canvas", "pick"), output = make("canvas", "pick");
  const captions = [digit, input, output].map(() => make("figcaption"));
  const summary = make("p", "sentence"), deadly = make("p", "deadly");
  const pictures = Array.from({ length: channels }, (_, channel) => {
    const map = make("canvas", "map");
    map.setAttribute("role", "img");
    pointing(map, size, (row, column) => pick({ channel, row, column }));
    return map;
  });
  const move = (sign, label, [maps, down, over]) => button("", sign, `${label}, layer ${number + 1}`, () => {
    const { channel, row, column } = view.at, within = place => limit(place, 0, size - 1);
    pick({ channel: (channel + maps + channels) % channels, row: within(row + down), column: within(column + over) });
    say(summary.textContent);
  });
  const slides = button("slide", "Slide", `Slide the kernel over the map, layer ${number + 1}`, () => slide());
  const nudge = make("div", "nudge",
    move("map −", "Map before", [-1, 0, 0]), move("↑", "Pixel above", [0, -1, 0]),
    move("map +", "Next map", [1, 0, 0]), move("←", "Pixel to the left", [0, 0, -1]),
    slides, move("→", "Pixel to the right", [0, 0, 1]), make("span"), move("↓", "Pixel below", [0, 1, 0]));
  const low = make("span"), high = make("span"), legends = [make("canvas"), make("canvas")];
  const operations = layer.operations.map(operation => NAMES[operation.kind]).join(", ");
  const sees = `${channels} maps of ${times(size)}. A pixel sees ${times(layer.field)} of the image.`;
  view.box = make("div", "layer",
    make("h3", "", `Layer ${number + 1}: ${operations}`),
    make("div", "fact", make("span", "", sees), make("span", "legend", low, legends[0], "0", legends[1], high)),
    make("div", channels > 8 && channels < 11 ? "maps tens" : "maps", ...pictures),
    deadly,
    make("div", "bench", ...[digit, input, output].map((canvas, at) => make("figure", "", canvas, captions[at])),
      make("div", "", nudge, summary)),
    ...arithmetic.boxes);
  pointing(output, size, (row, column) => pick({ ...view.at, row, column }));
  pointing(input, inputSize, (row, column) => {
    const unit = place => kind === "pool" ? place >> 1 : place + padding - (kernel - 1) / 2;
    pick({ ...view.at, row: limit(unit(row), 0, size - 1), column: limit(unit(column), 0, size - 1) });
  });

  function pick(at) {
    view.stop();
    if (at.channel !== view.at.channel) view.part = null;
    view.own = view.at = at;
    render();
  }

  // Let the kernel slide on to the map's end, or only to a column; where motion is unwelcome, one pixel on a press.
  function slide(until = null) {
    if (!seen) return;
    if (view.timer) return view.stop();
    const on = () => {
      const { row, column } = view.at, next = (row * size + column + 1) % (size * size);
      view.at = { ...view.at, row: Math.floor(next / size), column: next % size };
      if (until === null) view.own = view.at;
      else if (view.at.column >= until) view.stop();
      render();
    };
    if (still.matches) return on();
    view.timer = setInterval(on, until === null ? 90 : 70);
    slides.textContent = "Stop";
  }

  view.stop = () => {
    clearInterval(view.timer);
    view.timer = null;
    slides.textContent = "Slide";
  };

  // Once, when it comes into sight: over the row of the chosen pixel, up to it.
  view.glide = () => {
    if (!seen || still.matches || view.own || view.timer || kind !== "convolution" || !view.at.column) return;
    const until = view.at.column;
    view.at = { ...view.at, column: 0 };
    slide(until);
  };

  view.update = () => {
    view.box.classList.toggle("blank", !seen);
    const shown = seen?.maps[number] ?? { size, values: new Float32Array(channels * size * size) };
    const scale = largestOf(shown.values);
    low.textContent = seen ? figure(-scale) : "";
    high.textContent = seen ? figure(scale) : "";
    legends.forEach((legend, half) =>
      paint(legend, Array.from({ length: 61 }, (_, k) => k / 60 - 1 + half), 61, signed(1), 1));
    const reasons = pictures.map((_, channel) => {
      const dead = seen && deadness(layer, shown, channel);
      return dead && REASONS[dead.cause](dead.value);
    });
    pictures.forEach((map, channel) => {
      paint(map, mapOf(shown, channel), size, signed(scale));
      map.setAttribute("aria-label", `Map ${channel + 1} of layer ${number + 1}${reasons[channel] ? ", dead" : ""}`);
      map.classList.toggle("dead", !!reasons[channel]);
    });
    deadly.textContent = words(...reasons.map((why, channel) => why && `Map ${channel + 1} is dead ${why}.`));
    deadly.hidden = !deadly.textContent;
    if (seen && !view.timer) {
      view.at = view.own ?? strongest(shown);
      render();
    }
    if (!seen) summary.textContent = "";
  };

  function render() {
    if (!seen) return;
    const { channel, row, column } = view.at, x = inputOf(number), y = seen.maps[number];
    const steps = explain(layer, x, channel, row, column), { parts } = steps[0], field = fieldOf(layer, row, column);
    const patch = patchOf(layer, row, column);
    const loudest = parts?.reduce((best, { sum }, at) => Math.abs(sum) > Math.abs(parts[best].sum) ? at : best, 0);
    const from = kind === "convolution" ? view.part ?? loudest : channel;
    pictures.forEach((map, at) => map.classList.toggle("chosen", at === channel));
    showField(digit, field, Math.max(0, (layer.field - 1) / 2 - layer.start) + 1);  // of all its units
    captions[0].textContent = `On the digit: it sees ${times(layer.field)} pixels`;
    if (number === network.layers.length - 2) showGrowth(wayTo(network, number, row, column));
    enlarge(input, mapOf(x, from), x.size, signed(largestOf(x.values)),
      (context, unit) => frame(context, unit, patch), kind === "convolution" ? Math.max(padding, 0.5) : 0.5);
    captions[1].textContent = number ? `Before: map ${from + 1} of ${x.channels}` : "Before: what the network is given";
    enlarge(output, mapOf(y, channel), size, signed(largestOf(y.values)), (context, unit) => {
      if (view.timer) {  // not yet reached
        context.fillStyle = `rgb(${colours.zero})`;
        context.fillRect(column + 1, row, size, 1);
        context.fillRect(0, row + 1, size, size);
      }
      frame(context, unit, { left: column, top: row, size: 1 });
    }, 0.5);
    captions[2].textContent = `After: map ${channel + 1} of ${channels}`;
    const value = figure(steps.at(-1).value);
    summary.textContent = `Map ${channel + 1}, row ${row + 1}, column ${column + 1}: ${value}`;
    arithmetic.show(steps, x, from);
  }
  return view;
}

// The last layer: each digit's map, its average, which is the logit, and its share. The likeliest digit's average is
// shown in numbers, or of the digit in `own`.
function votesOf(layer, number) {
  const view = { own: null }, before = sizeBefore(network, number), [digits] = layer.shape;
  const arithmetic = arithmeticOf(layer, number);
  const lines = Array.from({ length: digits }, (_, digit) => {
    const map = make("canvas"), fill = make("div"), value = make("span", "value");
    const bar = make("div", "fill"), share = make("span", "value");
    const row = button("vote", "", "", () => {
      view.own = digit;
      view.update();
      say(row.getAttribute("aria-label"));
    });
    row.append(make("span", "", digit), map, make("div", "logit", fill), value, make("div", "track", bar), share);
    return { row, map, fill, value, bar, share };
  });
  const heads = ["", "map", "its average: the logit", "", "probability", ""].map(text => make("span", "", text));
  view.box = make("div", "layer",
    make("h3", "", `Layer ${number + 1}: ${NAMES.average}`),
    make("div", "fact"),
    make("div", "voters", ...heads),
    make("div", "votes", ...lines.map(({ row }) => row)),
    ...arithmetic.boxes);

  view.update = () => {
    view.box.classList.toggle("blank", !seen);
    const maps = seen ? inputOf(number) : { size: before, values: new Float32Array(digits * before * before) };
    const scale = largestOf(maps.values), most = seen ? largestOf(seen.logits) : 1;
    const shares = seen ? chancesOf(seen) : null, likeliest = shares && Math.max(...shares);
    const chosen = view.own ?? (shares ? shares.indexOf(likeliest) : 0);
    lines.forEach(({ row, map, fill, value, bar, share }, digit) => {
      const logit = seen ? seen.logits[digit] : 0, part = 50 * Math.abs(logit) / most, below = logit < 0;
      paint(map, mapOf(maps, digit), before, signed(scale));
      const background = `var(--${below ? "below" : "above"})`;
      Object.assign(fill.style, { left: `${below ? 50 - part : 50}%`, width: `${part}%`, background });
      value.textContent = seen ? figure(logit) : "";
      bar.style.width = `${shares ? 100 * shares[digit] : 0}%`;
      share.textContent = shares ? percent(shares[digit]) : "";
      row.classList.toggle("best", !!shares && shares[digit] === likeliest);
      row.setAttribute("aria-pressed", digit === chosen);
      const told = shares ? `${digit}: logit ${figure(logit)}, ${percent(shares[digit])}` : `${digit}`;
      row.setAttribute("aria-label", told);
    });
    if (seen) arithmetic.show(explain(layer, maps, chosen, 0, 0), maps, chosen);
  };
  return view;
}

function choose(name) {
  network = NETWORKS[name];
  find("network").value = name;
  const { layers } = network, pooled = layers.findIndex(layer => kindOf(layer) === "pool"), last = layers.length - 1;
  views.forEach(view => view.stop?.());
  views = layers.map((layer, number) => kindOf(layer) === "average" ? votesOf(layer, number) : viewOf(layer, number));
  growth = layers.slice(0, last).map(() => make("canvas"));
  const captioned = growth.map((canvas, at) =>
    make("figure", "", canvas, make("figcaption", "", `layer ${at + 1}: ${layers[at].field}`)));
  const places = { convolved: [], pooled: [], widened: [make("div", "maps growth", ...captioned)], averaged: [] };
  views.forEach(({ box }, number) => {
    const place = number === last ? "averaged" : number > pooled ? "widened"
      : number && number >= pooled - 1 ? "pooled" : "convolved";
    places[place].push(box);
  });
  for (const [id, boxes] of Object.entries(places)) document.querySelector(`#${id} .show`).replaceChildren(...boxes);
  read();
  showAll(true);
}

// ---------------------------------------- the eight paragraphs

function tell() {
  tellOfPreprocessing();
  tellOfLayers();
}

const setParagraph = (id, ...sentences) => {
  document.querySelector(`#${id} .tell p`).textContent = words(...sentences);
};

function tellOfPreprocessing() {
  const { side, box, preprocess: how, parameters } = network, bent = seen && shape(seen.image, side, how);
  setParagraph("drawn", "Draw one large digit; it is read at every move of your pen.",
    `${find("network").value} has ${parameters.toLocaleString("en")} parameters.`,
    "It runs in this page; nothing leaves it. It learnt from digits that Americans wrote around 1990.",
    "Elsewhere people cross the 7, curl the 9 or slash the 0: such digits are often misread.");

  const sides = ({ width, height }) => `${width} × ${height}`;
  setParagraph("centred", `The network reads images of ${times(side)} pixels.`,
    `The ink is fitted into ${times(box)} of them. The ink’s centre of mass goes to the middle.`,
    "MNIST’s digits were made in the same way.",
    seen && `Here, ${sides(seen.drawn)} pixels of the drawing become ${sides(seen.laid)}.`);

  const inDegrees = shear => Math.atan(shear) * 180 / Math.PI, most = inDegrees(how.maxShear);
  const leaning = bent && Math.abs(inDegrees(bent.shear));
  if (how.deslant) setParagraph("deslanted",
    "People slant their digits differently. The slant does not tell which digit it is.",
    "Deslanting shifts each row sideways until the digit stands upright.",
    bent && leaning < 0.5 && "This digit is upright already.",
    bent && leaning >= 0.5 &&
      `This digit leans ${leaning.toFixed(0)}° to the ${bent.shear < 0 ? "right" : "left"}; the line shows it.`,
    bent && Math.abs(bent.shear) >= how.maxShear && `At most ${most.toFixed(0)}° are removed.`);
  else setParagraph("deslanted", "This network does not deslant.");

  const change = (step, more, less) => Math.abs(1 / step - 1) < 0.005 ? `no ${more}`
    : `${Math.abs(100 / step - 100).toFixed(0)}\u00a0% ${step < 1 ? more : less}`;
  const [wide, tall] = bent ? bent.deviations.map(figure) : [];
  const [black, white] = [0, 255].map(value => figure(scaled(value, how)));
  if (how.sizeNormalisation) setParagraph("normalised", "Some write wide digits, some narrow ones.",
    bent && `The standard deviation of this one’s ink is ${wide} pixels across and ${tall} down.`,
    `On average, training digits have ${figure(how.ink[0])} and ${figure(how.ink[1])}.`,
    bent && "Size normalisation brings it nearer:",
    bent && `it gets ${change(bent.across, "wider", "narrower")} and ${change(bent.down, "taller", "less tall")}.`,
    "Deslanting and size normalisation are one resampling, so the digit is blurred only once.",
    `Finally, pixels are scaled as in training: black is ${black}, white is ${white}.`);
  else setParagraph("normalised", "This network does not normalise sizes.");
}

function tellOfLayers() {
  const { side, layers, detector } = network, last = layers.length - 1, first = layers[0], widest = layers[last - 1];
  const at = layers.findIndex(layer => kindOf(layer) === "pool"), before = layers[Math.max(at - 1, 0)];
  const { size: kernel } = first.operations[0], { inputs } = before.operations[0];
  setParagraph("convolved", `A convolution slides a kernel of ${times(kernel)} weights over the image.`,
    "At each place it multiplies pixels by weights, and adds up the products.",
    "BatchNorm then multiplies by a scale and adds a shift, both fixed since training.",
    "Hardswish keeps what is large, and turns what is far below zero into zero.",
    `Each of the ${first.shape[0]} kernels makes one map. Orange is above zero, blue is below, and grey is zero.`,
    "Tap a pixel to see how it is computed.");
  setParagraph("pooled", `The kernels of layer ${at} look at all ${inputs} maps at once:`,
    `each has ${inputs} × ${times(kernel)} weights. Max pooling then keeps the largest of each 2 × 2 pixels.`,
    `Maps of ${times(before.shape[1])} become maps of ${times(layers[at].shape[1])}.`,
    "Moving a stroke by a pixel now changes little.",
    layers[at].operations.length > 1 &&
      "In this network pooling comes before BatchNorm and Hardswish: they process fewer pixels.");
  setParagraph("widened", "With each layer, a pixel depends on more of the digit. That region is its receptive field.",
    `It grows from ${times(first.field)} pixels in layer 1 to ${times(widest.field)} in layer ${last}.`,
    widest.field > side && "That is more than the image: the field reaches beyond its edge.",
    "Where a kernel reaches beyond a map, zeros are read: padding.",
    `The row of digits shows it grow, for the pixel chosen in layer ${last}.`);

  const shares = seen && chancesOf(seen);
  const [best, next] = seen ? [...shares.keys()].sort((a, b) => seen.logits[b] - seen.logits[a]) : [];
  setParagraph("averaged", `Layer ${last} makes one map for each digit. The average of a map is that digit’s logit.`,
    "Softmax turns logits into probabilities.",
    seen && `The highest logit is ${figure(seen.logits[best])}, for ${best}: probability ${spoken(shares[best])}.`,
    seen && `Next is ${next}, with ${figure(seen.logits[next])}.`,
    "Softmax can be sure of a scribble, too.",
    "So the page also measures how far the maps’ activity is from that of the nearest class of training digits.",
    `Only 1\u00a0% of training digits are beyond ${figure(detector.limit)}; there it says “Not sure”.`,
    seen && `Here it is ${figure(seen.distance)}.`);
}

// ---------------------------------------- what is read, and how it is shown

function read() {
  seen = null;
  if (picture || extent() >= SMALLEST) {
    const found = fit(levelsOn(pen), pad.height, pad.width, network.box, network.side);
    seen = found && { ...run(network, found.image), drawn: found.drawn, laid: found.laid };
  }
  show();
}

// What is answered, in words: {answer, remark}.
function verdict() {
  if (!seen) return { answer: "", remark: strokes.length ? "Too small: draw one large digit." : "Draw one digit." };
  const chances = chancesOf(seen), best = Math.max(...chances);
  if (seen.distance > network.detector.limit)
    return { answer: "Not sure", remark: "This is unlike its training digits." };
  if (best < 0.5) return { answer: "Not sure", remark: "Several digits are likely." };
  return { answer: String(chances.indexOf(best)), remark: `${spoken(best)} sure` };
}

function announce() {
  const { answer, remark } = verdict();
  say(answer === "" ? remark : answer === "Not sure" ? `The network is not sure. ${remark}`
    : `The network reads ${answer}, ${remark}.`);
}

let waiting = null;
function show() {
  const chances = seen ? chancesOf(seen) : new Array(10).fill(0), best = Math.max(...chances);
  const { answer, remark } = verdict();
  find("answer").replaceChildren(answer, make("small", "", remark));
  find("answer").className = answer.length === 1 ? "sure" : "";
  find("brief").replaceChildren(answer || remark, " ", make("small", "", answer && remark));
  find("bars").replaceChildren(...chances.flatMap((chance, digit) => {
    const fill = make("div", "fill"), likeliest = seen && chance === best ? " best" : "";
    fill.style.width = `${100 * chance}%`;
    return [make("div", `name${likeliest}`, digit), make("div", `track${likeliest}`, fill),
      make("div", `value${likeliest}`, seen ? percent(chance) : "")];
  }));
  waiting ??= requestAnimationFrame(() => showAll());
}

// What is in sight is shown at once, and all else as soon as the pen rests.
let later = null;
function showAll(everything = false) {
  if (waiting !== null) cancelAnimationFrame(waiting);
  waiting = null;
  clearTimeout(later);
  if (!everything) later = setTimeout(showAll, 150, true);
  const near = element => {
    const { top, bottom } = element.getBoundingClientRect();
    return everything || (top < innerHeight && bottom > 0);
  };
  if (everything) tell();
  if (["centred", "deslanted", "normalised"].some(id => near(find(id)))) showPreprocessing();
  paint(find("thumb"), seen?.given ?? new Float32Array(network.side ** 2), network.side, shade);
  views.forEach(view => { if (near(view.box)) view.update(); });
}

// The pictures before the layers. `shear` and `size`, from 0 to 1, are how much of deslanting and of size normalisation
// has been done: less than all while it moves.
function showPreprocessing({ shear = 1, size = 1 } = {}) {
  const { side, box, preprocess: how } = network, image = seen?.image ?? new Float32Array(side * side);
  const bent = seen && shape(image, side, how), middle = (side - 1) / 2;
  const [x, y] = seen ? [middle + bent.x + 0.5, middle + bent.y + 0.5] : [];  // the centre of the ink
  const picture = (id, values, over, width = side) =>
    enlarge(find(id), values, width, shade, (context, unit) => { if (seen) over(context, unit); });
  picture("drawing", levelsOn(pen), (context, unit) => frame(context, unit, seen.drawn), pad.width);
  picture("laid", image, (context, unit) => {
    frame(context, unit, seen.laid);
    line(context, unit, x - 1, y, x + 1, y);
    line(context, unit, x, y - 1, x, y + 1);
  });
  document.querySelector("#centred figure:last-child figcaption").textContent =
    `On ${times(side)} pixels, fitted into ${times(box)}; the cross is the centre of mass`;
  const slant = part => (context, unit) => {
    const lean = 10 * part * bent.shear;
    if (how.deslant) line(context, unit, x - lean, y - 10, x + lean, y + 10);
  };
  picture("slanted", image, slant(1));
  picture("upright", preprocess(image, side, how, { shear, size: 0 }), slant(1 - shear));
  const spread = part => (context, unit) => {
    if (!how.sizeNormalisation) return;
    const around = ([wide, tall], dashes) =>
      frame(context, unit, { left: x - 2 * wide, top: y - 2 * tall, width: 4 * wide, height: 4 * tall }, dashes);
    around(how.ink, [10, 10]);
    around([bent.deviations[0] / bent.across ** part, bent.deviations[1] / bent.down ** part]);
  };
  picture("before", preprocess(image, side, how, { size: 0 }), spread(0));
  picture("given", preprocess(image, side, how, { size }), spread(size));
}

// When deslanting or size normalisation comes into sight, it happens.
let moving = null;
function happen(part) {
  if (still.matches || !seen) return;
  cancelAnimationFrame(moving);
  const started = performance.now();
  const step = now => {
    const passed = limit((now - started - 300) / 900, 0, 1), done = passed * passed * (3 - 2 * passed);
    showPreprocessing({ [part]: done });
    if (passed < 1) moving = requestAnimationFrame(step);
  };
  moving = requestAnimationFrame(step);
}

const watcher = new IntersectionObserver(entries => entries.forEach(({ target, isIntersecting }) => {
  if (isIntersecting) happen(target.id === "upright" ? "shear" : "size");
}), { threshold: 0.6 });
for (const id of ["upright", "given"]) watcher.observe(find(id));

const glider = new IntersectionObserver(entries => entries.forEach(({ target, isIntersecting }) => {
  if (!isIntersecting) return;
  glider.unobserve(target);
  views.find(view => view.box.contains(target))?.glide?.();
}), { threshold: 0.8 });

// ---------------------------------------- the drawing

// A drawing is its strokes, lists of points; the pen is in proportion to what is drawn, as MNIST's is.
const SMALLEST = 24, PEN = 0.14, THINNEST = 5, THICKEST = 24;
const EXAMPLES = [
  [
    [[165, 42], [139, 84], [111, 124], [87, 156], [132, 152], [180, 146], [215, 142]],
    [[230, 52], [203, 104], [170, 160], [130, 232]],
  ],
  [[
    [111, 92], [127, 66], [156, 48], [188, 50], [200, 72], [189, 104], [160, 142], [117, 184], [72, 222], [115, 216],
    [152, 220], [185, 214],
  ]],
  [[[108, 62], [148, 60], [191, 56], [227, 52], [197, 96], [164, 142], [135, 186], [108, 236]]],
];

// What the pad shows: a picture's ink, or strokes, which may be those of an example, by its number. `active` is the
// pointer that draws.
let strokes = [], active = null, picture = null, example = null;

function extent() {
  const points = strokes.flat();
  if (!points.length) return 0;
  const size = axis => {
    const places = points.map(point => point[axis]);
    return Math.max(...places) - Math.min(...places);
  };
  return Math.max(size(0), size(1));
}

function draw() {
  pen.fillStyle = "#000";
  pen.fillRect(0, 0, pad.width, pad.height);
  pen.strokeStyle = "#fff";
  pen.lineWidth = limit(PEN * extent(), THINNEST, THICKEST);
  pen.lineCap = pen.lineJoin = "round";
  if (picture) pen.drawImage(picture, 0, 0);
  else for (const stroke of strokes) {
    pen.beginPath();
    pen.moveTo(...stroke[0]);
    for (const point of stroke) pen.lineTo(...point);
    pen.stroke();
  }
  read();
}

// The first stroke of one's own takes the place of an example or a picture.
function start(point) {
  if (example !== null || picture) strokes = [];
  example = picture = null;
  note("");
  strokes.push([point]);
}

function begin(event) {
  if (active !== null || event.button) return;  // a second finger, another button
  event.preventDefault();
  getSelection().removeAllRanges();
  document.body.classList.add("drawing");
  pad.setPointerCapture(event.pointerId);
  active = event.pointerId;
  writing = false;
  start(onPad(event));
  draw();
}

function end(event) {
  if (event.pointerId !== active) return;
  rest();
  announce();
}

// No stroke is under way.
function rest() {
  active = null;
  writing = false;
  find("nib").classList.remove("down");
  document.body.classList.remove("drawing");
}

function undo() {
  if (active === null) {
    if (picture) picture = null;
    else strokes.pop();
    rest();
  }
  example = null;
  note("");
  draw();
  announce();
}

function clear() {
  strokes = [];
  picture = example = null;
  rest();
  note("");
  draw();
  announce();
}

function showExample(which) {
  rest();
  picture = null;
  example = which;
  strokes = EXAMPLES[which].map(stroke => stroke.map(point => [...point]));
  note("");
  draw();
}

// Where on the pad an event is, in its pixels.
function onPad(event) {
  const { left, top, width, height } = pad.getBoundingClientRect();
  return [(event.clientX - left) * pad.width / width, (event.clientY - top) * pad.height / height];
}

pad.addEventListener("pointerdown", begin);
pad.addEventListener("pointermove", event => {
  if (event.pointerId !== active) return;
  strokes.at(-1).push(...(event.getCoalescedEvents?.() ?? []).map(onPad), onPad(event));
  draw();
});
for (const name of ["pointerup", "pointercancel"]) pad.addEventListener(name, end);
for (const name of ["dragstart", "selectstart"]) pad.addEventListener(name, event => event.preventDefault());
find("clear").addEventListener("click", clear);
find("undo").addEventListener("click", undo);
find("another").addEventListener("click", () => {
  showExample(((example ?? -1) + 1) % EXAMPLES.length);
  announce();
});

// ---------------------------------------- the keyboard

// Its pen: arrows move it, by less with shift; space puts it down and lifts it.
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
let nib = [140, 60], writing = false;

function moveNib() {
  Object.assign(find("nib").style, { left: `${100 * nib[0] / pad.width}%`, top: `${100 * nib[1] / pad.height}%` });
  find("nib").classList.toggle("down", writing);
}

pad.addEventListener("keydown", event => {
  if (active !== null || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === " ") {
    writing = !writing;
    if (writing) { start([...nib]); draw(); } else announce();
  } else if (event.key in ARROWS) {
    nib = nib.map((at, axis) => limit(at + ARROWS[event.key][axis] * (event.shiftKey ? 4 : 12), 0, pad.width));
    if (writing) { strokes.at(-1).push([...nib]); draw(); }
  } else return;
  event.preventDefault();
  moveNib();
});
pad.addEventListener("blur", () => { if (writing) { writing = false; moveNib(); announce(); } });

addEventListener("keydown", event => {
  const combined = event.ctrlKey || event.metaKey;
  if (event.key === "Escape") clear();
  if (event.key === "Backspace" || (event.key === "z" && combined)) undo();
  if (event.defaultPrevented || event.altKey || combined || event.target.matches("select, input, #pad")) return;
  if (event.key === "ArrowRight") go(1);
  if (event.key === "ArrowLeft") go(-1);
});

// ---------------------------------------- a picture

const INVITATION = "Or drop, paste or choose a picture of one digit. " +
  "The page finds its ink in a simple way; the Python reader does so more carefully.";
function note(text, wrong = false) {
  find("note").textContent = text || INVITATION;
  find("note").className = wrong ? "wrong" : "";
}

// The ink found in a picture, on a canvas as large as the pad: large, and in the middle.
function laidOnPad({ ink, width, height, size, main: { top, bottom, left, right } }) {
  const sheet = document.createElement("canvas"), laid = document.createElement("canvas");
  paint(sheet, ink.map(value => 255 * value), width, shade, height);
  laid.width = laid.height = pad.width;
  const context = laid.getContext("2d"), scale = 0.75 * pad.width / size;
  const shift = (low, high) => pad.width / 2 - scale * (low + high + 1) / 2;
  context.setTransform(scale, 0, 0, scale, shift(left, right), shift(top, bottom));
  context.drawImage(sheet, 0, 0);
  return laid;
}

let turn = 0;
async function take(file) {
  const mine = ++turn;
  let bitmap = null;
  if (file) try { bitmap = await createImageBitmap(file); } catch { /* no picture */ }
  if (mine !== turn) return;  // another one came meanwhile
  if (!bitmap) {
    const what = file ? `“${file.name}” cannot be read as a picture` : "That is no picture";
    return note(`${what}: drop, paste or choose a PNG or JPEG.`, true);
  }
  const found = inkIn(bitmap, network.box);
  bitmap.close();
  if (found.wrong) return note(found.wrong, true);
  rest();
  if (example !== null) strokes = [];
  picture = laidOnPad(found);
  example = null;
  note("This is the ink that was found in your picture.");
  draw();
  announce();
}

find("file").addEventListener("change", event => {
  if (event.target.files.length) take(event.target.files[0]);
  event.target.value = "";
});
addEventListener("paste", event => {
  event.preventDefault();
  take(event.clipboardData?.files[0]);
});
for (const name of ["dragenter", "dragover"]) addEventListener(name, event => {
  event.preventDefault();
  document.body.classList.add("over");
});
addEventListener("dragleave", event => { if (!event.relatedTarget) document.body.classList.remove("over"); });
addEventListener("drop", event => {
  event.preventDefault();
  document.body.classList.remove("over");
  take(event.dataTransfer?.files[0]);
});

// ---------------------------------------- from step to step

const sections = [...document.querySelectorAll("section")];
let standing = 0;  // the section that one reads

function stand() {
  const level = 0.35 * innerHeight;
  standing = Math.max(0, sections.findLastIndex(section => section.getBoundingClientRect().top < level));
  const name = make("span", "", ` ${sections[standing].querySelector("h2").lastChild.textContent}`);
  find("step").replaceChildren(`${standing + 1} / ${sections.length}`, name);
  find("back").disabled = standing === 0;
  find("next").disabled = standing === sections.length - 1;
}

function go(by) {
  const section = sections[limit(standing + by, 0, sections.length - 1)];
  section.scrollIntoView({ behavior: still.matches ? "auto" : "smooth" });
  section.querySelector("h2").focus({ preventScroll: true });
}

// The drawing area comes along, wherever one is.
const desk = document.querySelector(".desk"), deskPlace = document.querySelector(".place");
function bring(open) {
  deskPlace.style.minHeight = open ? `${deskPlace.offsetHeight}px` : "";
  desk.classList.toggle("floating", open);
  find("bring").setAttribute("aria-expanded", open);
}

find("bring").addEventListener("click", () => {
  const { top, bottom } = deskPlace.getBoundingClientRect(), far = bottom < 200 || top > innerHeight - 200;
  bring(!desk.classList.contains("floating") && far);
  pad.focus({ preventScroll: true });
});
find("close").addEventListener("click", () => bring(false));
find("back").addEventListener("click", () => go(-1));
find("next").addEventListener("click", () => go(1));
addEventListener("scroll", stand, { passive: true });
addEventListener("resize", stand);

// ---------------------------------------- the beginning

sections.forEach((section, at) => { section.querySelector("h2 i").textContent = `${at + 1} of ${sections.length}`; });
for (const name of Object.keys(NETWORKS)) find("network").append(new Option(name, name));
find("network").addEventListener("change", event => { choose(event.target.value); announce(); });
dark.addEventListener("change", () => { readColours(); showAll(true); });
readColours();
moveNib();
choose(Object.keys(NETWORKS)[0]);
showExample(0);
showAll(true);
announce();
stand();
for (const { box } of views) glider.observe(box.querySelector(".bench") ?? box);
