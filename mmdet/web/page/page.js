'use strict';
// The server sends all boxes of all scores once; sliders and check boxes only draw anew. Files to download are made here, of what is shown.

const $ = (id) => document.getElementById(id);
const state = { settings: null, file: null, picture: null, classes: [], colors: [], off: new Set(), frames: [], model: '', running: null };
const VIEWS = ['boxes', 'regions', 'mosaic'];
const GONE = 'mmdet web does not answer; is it still running?';
// Browsers draw nothing on a canvas that is larger; those of phones less.
const MOST_SIDE = 16384;
const MOST_PIXELS = /Mobi|Android|iPhone|iPad/.test(navigator.userAgent) ? 16e6 : 120e6;

function say(text, bad = false) {
  $('status').textContent = text;
  $('status').classList.toggle('bad', bad);
}

async function start() {
  const answer = await fetch('api/settings');
  state.settings = await answer.json();
  const groups = [['given at the start', true], ['with published weights', false]];
  for (const [title, given] of groups) {
    const models = state.settings.models.filter((model) => model.given === given);
    if (!models.length) continue;
    const group = document.createElement('optgroup');
    group.label = title;
    for (const { name } of models) group.append(new Option(name, name));
    $('model').append(group);
  }
}

function isVideo(file) {
  return state.settings.videos.some((suffix) => file.name.toLowerCase().endsWith(suffix));
}

const plural = (count, word) => `${count} ${word}${count === 1 ? '' : word.endsWith('x') ? 'es' : 's'}`;

function choose(files) {
  const [file] = files;
  if (!file || !state.settings) return;
  const limit = state.settings.max_upload;
  if (file.size > limit * 1e6) {
    say(`${file.name} has ${(file.size / 1e6).toFixed(1)} MB; the limit of this page is ${limit} MB (mmdet web --max-upload).`, true);
    return;
  }
  if (!file.size) {
    say(`${file.name} is empty.`, true);
    return;
  }
  state.file = file;
  $('name').textContent = `${file.name}, ${(file.size / 1e6).toFixed(2)} MB`;
  $('detect').disabled = false;
  $('track-row').hidden = !isVideo(file) || !state.settings.tracking;
  const more = files.length > 1 ? `Of ${files.length} files, only the first is taken. ` : '';
  say(more + (isVideo(file) ? `Of a video, up to ${state.settings.max_frames} frames are looked at.` : ''));
}

// ---- detection

async function detect() {
  const looks = [...document.querySelectorAll('#looks input:checked')].map((box) => box.value);
  if (!looks.length) return say('Choose at least one of whole, tiled and packed.', true);
  const { file } = state;
  const picture = isVideo(file) ? null : await createImageBitmap(file).catch(() => null); // upright by EXIF, as the detector sees it
  const query = new URLSearchParams([['model', $('model').value], ...looks.map((look) => ['look', look])]);
  if (!picture) query.set('picture', 1);
  if (isVideo(file) && state.settings.tracking && $('track').checked) query.set('track', 1);
  state.running = new AbortController();
  $('detect').textContent = 'Stop';
  say('Sending…');
  const begin = performance.now();
  try {
    const answer = await fetch(`api/detect?${query}`, {
      method: 'POST', body: file, headers: { 'x-file-name': encodeURIComponent(file.name) }, signal: state.running.signal,
    }).catch(lost);
    if (!answer.ok) throw new Error((await answer.json().catch(() => ({}))).error ?? `mmdet web answers: ${answer.statusText}.`);
    clear();
    state.picture = picture;
    state.model = $('model').value;
    state.source = file.name;
    let ended = false;
    for await (const line of lines(answer.body)) {
      if (line.event === 'error') throw new Error(line.message);
      ended = ended || line.event === 'done';
      await take(line);
    }
    if (!ended) throw new Error('The connection to mmdet web has broken.');
    const missing = state.missing.length ? ` This model cannot be ${state.missing.join(' or ')}.` : '';
    say(`Done in ${((performance.now() - begin) / 1000).toFixed(1)} s.${missing}`);
  } catch (error) {
    if (error.name === 'AbortError') say('Stopped.');
    else say(error.message, true);
  } finally {
    state.running = null;
    $('detect').textContent = 'Detect';
  }
}

// What the browser says of a lost connection is different in each.
function lost(error) {
  if (error.name === 'AbortError') throw error;
  throw new Error(GONE);
}

async function* lines(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const { value, done } = await reader.read().catch(lost);
    if (done) return;
    const parts = (rest + value).split('\n');
    rest = parts.pop();
    for (const part of parts) yield JSON.parse(part);
  }
}

async function take(line) {
  if (line.event === 'waiting') say(`Waiting: ${line.before} before this one.`);
  else if (line.event === 'loading') say(`Loading ${line.model}…`);
  else if (line.event === 'model') {
    say('Detecting…');
    Object.assign(state, { classes: line.classes, colors: line.colors, looks: line.looks, missing: line.missing, off: new Set() });
  } else if (line.event === 'frame') {
    const image = line.jpeg ? await load(line.jpeg) : state.picture;
    if (!state.frames.length) makePanels();
    state.frames.push({ ...line, image, looks: {} });
    if (state.frames.length > 1) say(`Detecting… ${state.frames.length} frames`);
  } else if (line.event === 'look') {
    const frame = state.frames.at(-1);
    if (line.mosaic) line.mosaic.image = await load(line.mosaic.jpeg);
    frame.looks[line.look] = line;
    $('filters').hidden = false;
    $('frames').hidden = state.frames.length < 2;
    $('frame').max = state.frames.length - 1;
    if (state.running) $('frame').value = state.frames.length - 1;
    makeClasses();
    drawAll();
  }
}

async function load(address) {
  const image = new Image();
  image.src = address;
  await image.decode();
  return image;
}

// ---- what is shown

const empty = $('empty');

function clear() {
  state.frames = [];
  $('results').replaceChildren(empty);
  $('filters').hidden = true;
}

const current = () => state.frames[Math.min($('frame').value, state.frames.length - 1)];
const threshold = () => Number($('score').value);

// Positions of the boxes that pass the score and the classes.
function shown(found) {
  const least = threshold();
  return found.scores.flatMap((score, i) => (score >= least && !state.off.has(found.labels[i]) ? [i] : []));
}

function makePanels() {
  $('results').classList.toggle('steps', state.looks.includes('packed'));
  $('results').replaceChildren(...state.looks.map((look) => {
    const panel = $('panel').content.firstElementChild.cloneNode(true);
    panel.dataset.look = look;
    panel.dataset.view = 'boxes';
    panel.querySelector('h2').textContent = look;
    const enlarge = panel.querySelector('.enlarge');
    enlarge.hidden = state.looks.length < 2;
    enlarge.setAttribute('aria-label', `Enlarge the picture of the ${look} look`);
    enlarge.onclick = panel.querySelector('canvas').onclick = () => {
      enlarge.setAttribute('aria-pressed', panel.classList.toggle('large'));
      drawAll();
    };
    for (const button of panel.querySelectorAll('[data-save]')) button.onclick = () => save(look, panel.dataset.view, button.dataset.save);
    return panel;
  }));
}

// Classes that occur in any frame, in the order of the labels, with what the chosen score leaves in each look of the current frame.
function makeClasses() {
  const labels = new Set(state.frames.flatMap((frame) => Object.values(frame.looks).flatMap((look) => look.labels)));
  const wanted = [...labels].sort((a, b) => a - b);
  if (String(wanted) === $('classes').dataset.labels && String(state.classes) === $('classes').dataset.names) return;
  Object.assign($('classes').dataset, { labels: String(wanted), names: String(state.classes) });
  $('classes').replaceChildren(...wanted.map((label) => {
    const row = document.createElement('label');
    const box = Object.assign(document.createElement('input'), { type: 'checkbox', checked: !state.off.has(label), value: label });
    box.onchange = () => { state.off[box.checked ? 'delete' : 'add'](label); drawAll(); };
    const color = document.createElement('i');
    color.style.background = css(label);
    const count = document.createElement('span');
    row.append(box, color, nameOf(label), count);
    return row;
  }));
}

function drawAll() {
  const frame = current();
  if (!frame) return;
  $('score-value').textContent = threshold().toFixed(2);
  $('frame-value').textContent = `${frame.number} (${frame.second.toFixed(2)} s), ${Number($('frame').value) + 1} of ${state.frames.length}`;
  $('columns').textContent = state.looks.length > 1 ? state.looks.join(' / ') : '';
  for (const row of $('classes').children) {
    const label = Number(row.querySelector('input').value);
    row.querySelector('span').textContent = state.looks.map((name) => countOf(frame.looks[name], label)).join(' / ');
  }
  for (const panel of $('results').querySelectorAll('article')) drawPanel(panel, frame);
}

const countOf = (look, label) => (look ? look.labels.filter((each, i) => each === label && look.scores[i] >= threshold()).length : 0);

// Different ids of a look in the frames up to one, of the boxes that pass the score and the classes.
function tracksUpTo(frame, name) {
  const frames = state.frames.slice(0, state.frames.indexOf(frame) + 1).map((each) => each.looks[name]).filter(Boolean);
  return new Set(frames.flatMap((look) => shown(look).map((i) => look.ids[i]))).size;
}

function drawPanel(panel, frame) {
  const look = frame.looks[panel.dataset.look];
  if (!look) return;
  const views = VIEWS.filter((view) => view === 'boxes' || (view === 'regions' && look.regions?.length) || (view === 'mosaic' && look.mosaic));
  if (!views.includes(panel.dataset.view)) panel.dataset.view = 'boxes';
  panel.querySelector('nav').replaceChildren(...(look.regions ? views : []).map((view) => {
    const button = Object.assign(document.createElement('button'), { type: 'button', textContent: view });
    button.setAttribute('aria-pressed', view === panel.dataset.view);
    button.onclick = () => { panel.dataset.view = view; drawAll(); };
    return button;
  }));
  const { total, ...steps } = look.times;
  const regions = look.regions ? `, ${plural(look.regions.length, 'region')}` : '';
  const tracks = look.ids ? `, ${plural(tracksUpTo(frame, panel.dataset.look), 'track')}` : '';
  panel.querySelector('.summary').textContent = `${shown(look).length} of ${plural(look.scores.length, 'box')}${regions}${tracks}`;
  const parts = Object.entries(steps).map(([name, time]) => `${name} ${time.toFixed(0)}`);
  panel.querySelector('.times').textContent = `${total.toFixed(0)} ms${parts.length ? ` (${parts.join(', ')})` : ''}`;
  const canvas = panel.querySelector('canvas');
  const room = Math.max(panel.querySelector('.times').clientWidth, 200);
  // Beside the others a tall picture is no taller than twice its width; enlarged, than four times.
  draw(canvas, frame, look, panel.dataset.view, room * devicePixelRatio, (panel.classList.contains('large') ? 4 : 2) * room * devicePixelRatio);
  canvas.style.width = `${canvas.width / devicePixelRatio}px`;
  const found = Object.entries(tally(look)).map(([name, count]) => `${count} ${name}`).join(', ');
  canvas.setAttribute('aria-label', `${panel.dataset.look}, ${panel.dataset.view}: ${found || 'no boxes'}`);
}

// Boxes that are shown, by the name of their class.
function tally(look) {
  const counts = {};
  for (const i of shown(look)) {
    const name = nameOf(look.labels[i]);
    counts[name] = (counts[name] ?? 0) + 1;
  }
  return counts;
}

const nameOf = (label) => state.classes[label] ?? `class ${label}`;

const css = (label) => `rgb(${(state.colors[label] ?? [255, 200, 0]).join(',')})`;

// Draw one view into a canvas of a width, or less where it would be too high; boxes are drawn in its pixels, so that their lines are as wide in every size.
function draw(canvas, frame, look, view, width, most = MOST_SIDE) {
  const [image, wide, high] = view === 'mosaic' ? [look.mosaic.image, look.mosaic.width, look.mosaic.height] : [frame.image, frame.width, frame.height];
  const factor = Math.min(width / wide, MOST_SIDE / wide, most / high, Math.sqrt(MOST_PIXELS / (wide * high)));
  canvas.width = Math.max(Math.round(wide * factor), 1);
  canvas.height = Math.max(Math.round(high * factor), 1);
  const to = canvas.getContext('2d');
  to.imageSmoothingQuality = 'high';
  to.drawImage(image, 0, 0, canvas.width, canvas.height);
  const unit = Math.max(devicePixelRatio, canvas.width / 800);
  if (view === 'regions') return drawRegions(to, canvas, image, look, factor, unit);
  const found = view === 'mosaic' ? look.fine : look;
  if (view === 'mosaic') for (const [, , w, h, x, y, zoom] of look.regions) outline(to, [x * factor, y * factor, w * zoom * factor, h * zoom * factor], '#fff', unit);
  const chosen = shown(found).sort((a, b) => found.scores[b] - found.scores[a]);
  for (const i of [...chosen].reverse()) { // the surest on top
    const [x1, y1, x2, y2] = found.bboxes[i].map((value) => value * factor);
    outline(to, [x1, y1, x2 - x1, y2 - y1], css(found.labels[i]), 1.5 * unit);
  }
  const taken = [];
  if ($('names').checked) for (const i of chosen) tag(to, found, i, factor, unit, canvas.width, taken, chosen.length > 12);
}

function outline(to, [x, y, w, h], color, width) {
  to.lineWidth = width;
  to.strokeStyle = color;
  to.strokeRect(x, y, w, h);
}

// Class and score above a box, unless they would lie on those of a surer one, or, where there are many, hide what is beside a small box.
function tag(to, found, i, factor, unit, limit, taken, many) {
  const text = `${nameOf(found.labels[i])} ${found.ids ? found.ids[i] : found.scores[i].toFixed(2)}`;
  const size = 9.5 * unit;
  to.font = `${size}px system-ui, sans-serif`;
  const wide = to.measureText(text).width + 4 * unit;
  const x = Math.max(Math.min(found.bboxes[i][0] * factor, limit - wide), 0);
  const y = Math.max(found.bboxes[i][1] * factor - size * 1.25, 0);
  if (many && wide > 4 * (found.bboxes[i][2] - found.bboxes[i][0]) * factor) return;
  if (taken.some(([left, top, right, bottom]) => x < right && x + wide > left && y < bottom && y + size * 1.25 > top)) return;
  taken.push([x, y, x + wide, y + size * 1.25]);
  const [r, g, b] = state.colors[found.labels[i]] ?? [255, 200, 0];
  to.fillStyle = css(found.labels[i]);
  to.fillRect(x, y, wide, size * 1.25);
  to.fillStyle = 0.3 * r + 0.59 * g + 0.11 * b > 110 ? '#000' : '#fff';
  to.fillText(text, x + 2 * unit, y + size);
}

// The regions bright, the rest dimmed, and the boxes of the first pass of which they were made.
function drawRegions(to, canvas, image, look, factor, unit) {
  to.fillStyle = 'rgba(0, 0, 0, .6)';
  to.fillRect(0, 0, canvas.width, canvas.height);
  const scale = [image.width / canvas.width, image.height / canvas.height];
  const rects = look.regions.map((region) => region.slice(0, 4).map((value) => value * factor));
  for (const [x, y, w, h] of rects) to.drawImage(image, x * scale[0], y * scale[1], w * scale[0], h * scale[1], x, y, w, h);
  const least = threshold();
  look.coarse.bboxes.forEach((box, i) => {
    const [x1, y1, x2, y2] = box.map((value) => value * factor);
    if (look.coarse.scores[i] >= least) outline(to, [x1, y1, x2 - x1, y2 - y1], '#ffd400', unit);
  });
  rects.forEach((rect, i) => {
    outline(to, rect, '#fff', unit);
    to.font = `bold ${11 * unit}px system-ui, sans-serif`;
    const text = `×${Number(look.regions[i][6].toFixed(1))}`;
    if (to.measureText(text).width + 4 * unit > rect[2]) return;
    to.fillStyle = '#fff';
    to.fillRect(rect[0], rect[1], to.measureText(text).width + 4 * unit, 13 * unit);
    to.fillStyle = '#000';
    to.fillText(text, rect[0] + 2 * unit, rect[1] + 10.5 * unit);
  });
}

// ---- downloads: the boxes that are shown

function result(frame, name) {
  const look = frame.looks[name];
  if (!look) return null;
  const chosen = shown(look);
  const pick = (field) => chosen.map((i) => look[field][i]);
  return { labels: pick('labels'), scores: pick('scores'), bboxes: pick('bboxes'), ...(look.ids && { ids: pick('ids') }) };
}

function toJson(name) {
  const facts = { file: state.source, model: state.model, look: name, score_thr: threshold(), classes: state.classes };
  const frames = state.frames.map((frame) => ({ frame, found: result(frame, name) })).filter(({ found }) => found);
  if (isVideo({ name: state.source })) {
    return { ...facts, frames: frames.map(({ frame, found }) => ({ frame: frame.number, second: frame.second, width: frame.width, height: frame.height, ...found })) };
  }
  const [{ frame, found }] = frames;
  return { ...facts, width: frame.width, height: frame.height, ...found };
}

// Category ids begin at 1, as most readers want them.
function toCoco(name) {
  const document = { images: [], annotations: [], categories: state.classes.map((each, i) => ({ id: i + 1, name: each })) };
  for (const frame of state.frames) {
    const found = result(frame, name);
    if (!found) continue;
    const id = document.images.length + 1;
    const stem = state.source.replace(/\.[^.]*$/, '');
    const file = isVideo({ name: state.source }) ? `${stem}/${String(frame.number).padStart(6, '0')}.jpg` : state.source;
    document.images.push({ id, file_name: file, width: frame.width, height: frame.height });
    found.bboxes.forEach(([x1, y1, x2, y2], i) => {
      const [w, h] = [x2 - x1, y2 - y1].map((side) => Number(side.toFixed(2)));
      document.annotations.push({
        id: document.annotations.length + 1, image_id: id, category_id: found.labels[i] + 1, bbox: [x1, y1, w, h],
        area: Number((w * h).toFixed(2)), iscrowd: 0, score: found.scores[i], ...(found.ids && { track_id: found.ids[i] }),
      });
    });
  }
  return document;
}

async function save(look, view, kind) {
  const stem = `${state.source.replace(/\.[^.]*$/, '')}_${look}`;
  let blob;
  if (kind === 'picture') {
    const canvas = document.createElement('canvas');
    const frame = current();
    draw(canvas, frame, frame.looks[look], view, Math.max(view === 'mosaic' ? frame.looks[look].mosaic.width : frame.width, 640));
    blob = await new Promise((done) => canvas.toBlob(done, 'image/png'));
    if (!blob) return say('This browser cannot make a picture of this size; save the boxes, and draw them with mmdet predict.', true);
  } else {
    blob = new Blob([JSON.stringify(kind === 'coco' ? toCoco(look) : toJson(look))], { type: 'application/json' });
  }
  const name = { json: `${stem}.json`, coco: `${stem}_coco.json`, picture: `${stem}_${view}.png` }[kind];
  const link = Object.assign(document.createElement('a'), { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

// ---- events

$('file').onchange = () => choose($('file').files);
for (const kind of ['dragenter', 'dragover']) addEventListener(kind, (event) => { event.preventDefault(); $('drop').classList.add('over'); });
for (const kind of ['dragleave', 'drop']) addEventListener(kind, (event) => { event.preventDefault(); $('drop').classList.remove('over'); });
addEventListener('drop', (event) => choose(event.dataTransfer.files));
$('detect').onclick = () => (state.running ? state.running.abort() : detect());
for (const id of ['score', 'frame']) $(id).oninput = drawAll;
$('names').onchange = drawAll;
addEventListener('resize', drawAll);
$('all').onclick = () => { state.off.clear(); for (const box of $('classes').querySelectorAll('input')) box.checked = true; drawAll(); };
$('none').onclick = () => { for (const box of $('classes').querySelectorAll('input')) { box.checked = false; state.off.add(Number(box.value)); } drawAll(); };
start().catch(() => say(GONE, true));
