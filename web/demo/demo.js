// demo.js: the demo page: choose a model, watch it load, talk to it. It uses the public interface of doppler-web only.
import { Doppler } from '../index.js';

const $ = (id) => document.getElementById(id);
const BUNDLED = new URL('../../models/storyteller/', import.meta.url).href;
const IDEAS = ['Tell me a story about a brave fox.', 'Tell me a story about a lost balloon.', 'Tell me a story about two friends and a boat.'];
const DEAD = ['crashed', 'device', 'closed']; // codes of errors behind which the engine must be loaded again
const DEFAULTS = { system: '', temperature: 0.7, topP: 0.95, minP: 0.05, maxTokens: 400, seed: '', backend: 'auto', vram: '' };

const state = { engine: undefined, messages: [], abort: undefined, settings: readSettings() };

// ---- numbers for people ----

function size(bytes) {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let unit = 0;
  for (; bytes >= 1000 && unit < 4; unit++) bytes /= 1000;
  return `${unit && bytes < 100 ? bytes.toFixed(1) : Math.round(bytes)} ${units[unit]}`;
}
function duration(seconds) {
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 60) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  return seconds < 3600 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}
const count = (n) => (n >= 1e9 ? `${(n / 1e9).toFixed(1)} billion` : n >= 1e6 ? `${(n / 1e6).toFixed(1)} million` : String(n));

// ---- small helpers for the page ----

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) made.addEventListener(name.slice(2), value);
    else if (value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}
function facts(list, pairs) {
  list.replaceChildren(...pairs.filter(([, value]) => value !== undefined && value !== '').map(([name, value]) => element('div', {}, element('dt', {}, name), element('dd', {}, String(value)))));
}
function show(section) {
  for (const id of ['welcome', 'loading', 'chat']) $(id).hidden = id !== section;
  $('composer').hidden = section !== 'chat';
  $('change').hidden = section !== 'chat';
  $('back').hidden = section !== 'welcome' || !state.engine; // to the conversation
}
/** A message as a sentence; one that begins with an address or a file's name stays as it is. */
const sentence = (text) => (/^[a-z]+('s)? /.test(text) ? text[0].toUpperCase() + text.slice(1) : text);

/** note: nothing went wrong, but the user should know. */
function complain(error, note = false) {
  if (error?.name === 'AbortError') return;
  $('error').querySelector('p').textContent = sentence(error?.message ?? String(error));
  $('error').classList.toggle('note', note);
  $('again').hidden = !(DEAD.includes(error?.code) && state.loaded);
  $('error').hidden = false;
}
const calm = () => $('error').hidden = true;

// ---- loading ----

function showProgress({ phase, done, total, bytesPerSecond, secondsLeft, what }) {
  const part = total ? Math.min(1, done / total) : 0;
  $('progress').firstElementChild.style.width = `${100 * part}%`;
  $('progress').setAttribute('aria-valuenow', Math.round(100 * part));
  if (phase === 'download') {
    const rate = bytesPerSecond ? `, ${size(bytesPerSecond)}/s` : '';
    $('progress-text').textContent = `${size(done)} of ${size(total)}${rate}${secondsLeft > 1 ? `, ${duration(secondsLeft)} left` : ''}`;
  } else {
    const names = { verify: 'Checking what is stored', load: what === 'to the GPU' ? 'Moving it to the GPU' : 'Preparing', convert: 'Converting' };
    $('progress-text').textContent = `${names[phase] ?? phase}, ${Math.round(100 * part)} %`;
  }
}

function askForRoom({ missing, evictable, chosen }) {
  const names = evictable.filter((m) => chosen.includes(m.key)).map((m) => `${m.name} (${size(m.bytes)})`).join(', ');
  return confirm(`The browser's storage is ${size(missing)} short. Remove ${names}?`);
}

/** The model that is there goes when the next one needs its place, so that a wrong address costs no conversation. */
async function leave() {
  const { engine } = state;
  state.engine = undefined;
  await engine?.unload();
}
const about = ({ model, backend }) => `${model.name} on the ${backend === 'gpu' ? 'GPU' : 'CPU'}`;

/** before: makes what is to be loaded (a conversion); talk: a conversation that goes on. */
async function load(source, title, before, talk = []) {
  calm();
  show('loading');
  $('loading-title').textContent = `Loading ${title}`;
  $('status').textContent = `Loading ${title}`;
  showProgress({ phase: 'load', done: 0, total: 1 });
  state.abort = new AbortController();
  const onProgress = (progress) => {
    if (progress.phase === 'load') leave();
    showProgress(progress);
  };
  const onShortage = async (shortage) => askForRoom(shortage) && leave().then(() => true);
  const options = { signal: state.abort.signal, onProgress, onShortage };
  try {
    const what = before ? await before(options) : source;
    state.engine = await Doppler.load(what, { ...options, backend: state.settings.backend, budgets: { vram: state.settings.vram * 1e6 } });
    state.loaded = [what, title];
    begin(talk);
  } catch (error) {
    complain(error);
    $('status').textContent = state.engine ? about(state.engine) : 'No model loaded';
    show('welcome');
  } finally {
    state.abort = undefined;
    refresh();
  }
}

/** A conversation with the engine that was loaded: a fresh one, or one that its predecessor did not end. */
function begin(talk) {
  const { model, notice } = state.engine;
  state.messages = talk;
  if (!talk.length) $('messages').replaceChildren();
  $('status').textContent = about(state.engine);
  $('notice').hidden = !notice;
  $('notice').textContent = sentence(notice);
  if (notice) complain(new Error(notice), true);
  if (!talk.length) $('ideas').replaceChildren(...(model.name === 'storyteller' ? IDEAS : ['Hello, who are you?', 'Explain the Doppler effect in two sentences.'])
    .map((text) => element('button', { type: 'button', class: 'quiet small', onclick: () => ask(text) }, text)));
  show('chat');
  $('prompt').focus();
}

// ---- conversation ----

function request() {
  const { system, temperature, topP, minP, maxTokens, seed } = state.settings;
  const messages = [...(system ? [{ role: 'system', content: system }] : []), ...state.messages];
  return { messages, temperature, topP, minP, max_tokens: maxTokens, seed: seed === '' ? undefined : Number(seed), stream: true };
}

function addMessage(role, text = '') {
  const body = element('div', { class: 'text' }, text);
  const item = element('li', { class: role }, element('span', { class: 'hidden' }, role === 'user' ? 'You: ' : 'Answer: '), body);
  $('messages').append(item);
  return { item, body };
}

const atEnd = () => $('chat').scrollHeight - $('chat').scrollTop - $('chat').clientHeight < 80;
const toEnd = () => $('chat').scrollTop = $('chat').scrollHeight;

function busy(on) {
  $('send').hidden = on;
  $('stop').hidden = !on;
  if (on) $('ideas').replaceChildren();
}

async function ask(text) {
  if (state.abort || !text.trim()) return;
  calm();
  state.messages.push({ role: 'user', content: text.trim() });
  addMessage('user', text.trim());
  $('prompt').value = '';
  await answer();
}

async function answer() {
  const { item, body } = addMessage('assistant');
  item.classList.add('busy');
  document.querySelectorAll('.messages .again').forEach((button) => button.remove());
  state.abort = new AbortController();
  busy(true);
  toEnd();
  let content = '', usage, stopped = false;
  const onCompile = ({ done, total }) => body.textContent = content || (done < total ? `Preparing the GPU, ${done} of ${total}` : '');
  const start = performance.now();
  let first, tokens = 0, shown = start;
  try {
    for await (const chunk of await state.engine.chat.completions.create({ ...request(), onCompile, signal: state.abort.signal })) {
      const piece = chunk.choices[0].delta.content;
      usage = chunk.usage ?? usage;
      stopped = chunk.choices[0].finish_reason === 'abort';
      if (!piece) continue;
      first ??= performance.now();
      content += piece;
      tokens++;
      const follow = atEnd();
      body.textContent = content;
      if (follow) toEnd();
      $('s-first').textContent = duration((first - start) / 1000);
      if (performance.now() - shown > 500) {
        shown = performance.now();
        refreshEngine().catch(() => {});
      }
      if (tokens > 1) $('s-rate').textContent = ((tokens - 1) / (performance.now() - first) * 1000).toFixed(1);
    }
  } catch (error) {
    if (error.name === 'AbortError') stopped = true;
    else complain(error);
  }
  state.abort = undefined;
  finish(item, body, content, usage, stopped);
}

/** Ends an answer: its numbers, and the button to write it anew. */
function finish(item, body, content, usage, stopped) {
  item.classList.remove('busy');
  body.textContent = content;
  state.messages.push({ role: 'assistant', content });
  body.hidden = !content;
  const words = !content && !stopped ? 'No answer' : usage ? `${usage.completion_tokens} tokens, ${usage.extra.decodeTokensPerSecond.toFixed(1)} per second` : '';
  item.append(element('div', { class: 'under' }, element('button', { type: 'button', class: 'quiet small again', onclick: () => regenerate(item) }, 'Regenerate'),
    element('span', {}, [stopped ? 'Stopped' : '', words].filter(Boolean).join(', '))));
  if (usage) {
    $('s-rate').textContent = usage.extra.decodeTokensPerSecond.toFixed(1);
    $('s-prompt').textContent = usage.prompt_tokens;
    $('s-new').textContent = usage.completion_tokens;
  }
  $('said').textContent = stopped ? 'Stopped.' : content; // read out once, when it is whole
  busy(false);
  if (atEnd()) toEnd();
  refresh();
}

function regenerate(item) {
  if (state.abort) return;
  state.messages.pop();
  item.remove();
  answer();
}

// ---- the panel ----

async function refreshCache() {
  const [models, storage] = await Promise.all([Doppler.cache.list(), Doppler.cache.estimate()]);
  const part = storage.quota ? storage.usage / storage.quota : 0;
  $('quota').firstElementChild.style.width = `${Math.max(part * 100, storage.usage ? 1 : 0)}%`;
  $('quota-text').textContent = `${size(storage.usage)} used of ${size(storage.quota)}${storage.persisted ? ', kept' : ''}`;
  $('persist').hidden = storage.persisted;
  const row = (model, ...buttons) => element('li', {}, element('span', { title: model.url || model.key }, `${model.name} `, element('small', {}, model.complete ? size(model.bytes) : 'incomplete')), ...buttons);
  const remove = (model) => element('button', { type: 'button', class: 'quiet small', 'aria-label': `Remove ${model.name}`, onclick: () => Doppler.cache.evict(model.key).catch(complain).then(refresh) }, 'Remove');
  const open = (model) => element('button', { type: 'button', class: 'small', 'aria-label': `Load ${model.name}`, onclick: () => load(model.complete || !model.url ? { key: model.key } : model.url, model.name) }, 'Load');
  const recent = models.reverse();
  $('cache').replaceChildren(...recent.map((model) => row(model, remove(model))));
  $('kept-list').replaceChildren(...recent.map((model) => row(model, open(model), remove(model))));
  $('kept').hidden = !recent.length;
}

async function refreshEngine() {
  if (!state.engine) {
    facts($('memory'), [['No model loaded', ' ']]);
    facts($('model'), [['No model loaded', ' ']]);
    return;
  }
  const { memory, model, adapter, paging } = await state.engine.stats();
  showTiers(paging, model);
  facts($('memory'), [['GPU', memory.gpu ? size(memory.gpu) : undefined], ['WebAssembly', size(memory.wasm)], ['JavaScript', memory.js ? size(memory.js) : undefined]]);
  facts($('model'), [['name', model.name], ['architecture', model.architecture], ['weights', `${model.quantization}, ${size(model.weightBytes)}`], ['parameters', count(model.parameters)],
    ['experts', model.experts ? `${model.expertsPerToken} of ${model.experts}` : undefined], ['layers', model.layers], ['context', `${model.context} tokens`]]);
  if (adapter) showAdapter(adapter, true);
}

/** Where experts are, and what moving them took. */
function showTiers(paging, model) {
  $('tiers').parentElement.hidden = !paging;
  if (!paging) return;
  const hits = ({ hits, misses }) => `${count(hits)} of ${count(hits + misses)}`, { host } = paging;
  facts($('tiers'), [['experts resident', `${paging.residentExperts} of ${model.experts * paging.layers.length}, ${size(paging.expertBytes)}`], ['slots a layer', paging.slots[0] === paging.slots[1] ? paging.slots[0] : paging.slots.join(' to ')],
    ['found there', hits(paging)], ['brought there', `${count(paging.reads)}, ${size(paging.readBytes)}`], ['found in memory', host && hits(host)], ['kept in memory', host && size(host.bytes)],
    ['read from storage', host && `${count(host.reads)}, ${size(host.readBytes)}`], ['time to come', `${(paging.latencyP50 * 1e3).toFixed(1)} ms, 95 %: ${(paging.latencyP95 * 1e3).toFixed(1)} ms`]]);
}

function showAdapter(adapter, webgpu, jspi) {
  const yes = (flag) => (flag ? 'yes' : 'no');
  facts($('adapter'), adapter ? [['name', adapter.name], ['kind', adapter.software ? 'software' : 'GPU'], ['f16', yes(adapter.f16)], ['subgroups', adapter.subgroups ? `${adapter.subgroupMin} to ${adapter.subgroupMax}` : 'no'],
    ['largest buffer', size(adapter.bufferMax)], ['largest binding', size(adapter.bindingMax)], ['workgroup memory', size(adapter.workgroupMemory)], ['JSPI', jspi === undefined ? undefined : yes(jspi)]]
    : [['WebGPU', webgpu ? 'no adapter' : 'not in this browser'], ['runs on', 'the CPU']]);
}

function refresh() {
  refreshCache().catch((error) => $('quota-text').textContent = error.message);
  refreshEngine().catch(() => {});
}

// ---- settings and theme ----

function readSettings() {
  try {
    return { ...DEFAULTS, ...JSON.parse(localStorage.getItem('doppler-demo') ?? '{}') };
  } catch {
    return { ...DEFAULTS };
  }
}
function putSettings() {
  for (const [name, value] of Object.entries(state.settings)) $(name).value = value;
  document.querySelectorAll('dialog output').forEach((output) => output.value = Number($(output.htmlFor[0]).value).toFixed(2));
}
function takeSettings() {
  for (const name of Object.keys(DEFAULTS)) {
    const { value, type } = $(name);
    state.settings[name] = type === 'range' || name === 'maxTokens' ? Number(value) || DEFAULTS[name] * (type === 'range' ? 0 : 1) : value;
  }
  localStorage.setItem('doppler-demo', JSON.stringify(state.settings));
  putSettings();
}
function setTheme(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
}

// ---- wiring ----

$('bundled').onclick = () => load(BUNDLED, 'Storyteller');
$('url-form').onsubmit = (event) => {
  event.preventDefault();
  load($('url').value, new URL($('url').value).pathname.split('/').filter(Boolean).pop() ?? 'the model');
};
const converted = (source) => (options) => Doppler.convert(source, options).then(({ key }) => ({ key }));
$('file').onchange = () => {
  const [file] = $('file').files;
  if (!file) return;
  load(file, file.name, $('keep').checked ? converted(file) : undefined);
  $('file').value = '';
};
$('folder').onchange = () => {
  const files = [...$('folder').files];
  if (!files.length) return;
  const ready = files.some((file) => file.name === 'manifest.json'); // an RDRR model: read in place
  load(files, files[0].webkitRelativePath.split('/')[0], ready ? undefined : converted(files));
  $('folder').value = '';
};
$('cancel').onclick = () => state.abort?.abort();
$('stop').onclick = () => state.abort?.abort();
$('change').onclick = () => {
  state.abort?.abort();
  calm();
  show('welcome');
};
$('back').onclick = () => {
  show('chat');
  $('prompt').focus();
};
$('composer').onsubmit = (event) => {
  event.preventDefault();
  ask($('prompt').value);
};
$('prompt').onkeydown = (event) => {
  if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  ask($('prompt').value);
};
$('dismiss').onclick = calm;
$('again').onclick = () => load(...state.loaded, undefined, state.messages);
$('settings-open').onclick = () => {
  putSettings();
  $('settings').showModal();
};
$('settings').oninput = takeSettings;
$('defaults').onclick = () => {
  state.settings = { ...DEFAULTS };
  putSettings();
  takeSettings();
};
function togglePanel() {
  const narrow = matchMedia('(max-width: 980px)').matches;
  $('panel').classList.toggle(narrow ? 'open' : 'closed');
  const open = narrow ? $('panel').classList.contains('open') : !$('panel').classList.contains('closed');
  $('panel-open').setAttribute('aria-expanded', open);
  (open && narrow ? $('panel-close') : $('panel-open')).focus();
}
$('panel-open').onclick = togglePanel;
$('panel-close').onclick = togglePanel;
addEventListener('keydown', (event) => {
  if (event.key !== 'Escape') return;
  if ($('panel').classList.contains('open')) togglePanel();
  else if (!document.querySelector('dialog[open]')) state.abort?.abort();
});
$('persist').onclick = () => Doppler.cache.persist().then(refresh);
$('theme').onclick = () => {
  const dark = getComputedStyle(document.documentElement).colorScheme === 'dark' || (!document.documentElement.dataset.theme && matchMedia('(prefers-color-scheme: dark)').matches);
  setTheme(dark ? 'light' : 'dark');
  localStorage.setItem('doppler-theme', dark ? 'light' : 'dark');
};

navigator.serviceWorker?.register(new URL('../sw.js', import.meta.url)).catch(() => {}); // then the page opens offline too
setTheme(localStorage.getItem('doppler-theme'));
putSettings();
show('welcome');
refresh();
Doppler.adapter().then(({ adapter, webgpu, jspi }) => {
  showAdapter(adapter, webgpu, jspi);
  if (adapter) return;
  $('notice').hidden = false;
  $('notice').textContent = `${webgpu ? 'WebGPU finds no graphics adapter here' : 'This browser has no WebGPU'}, so models run on the CPU. Small ones are fine.`;
}).catch(complain);
