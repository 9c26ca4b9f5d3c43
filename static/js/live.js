// Live pages. News carries ids only: what it touches is fetched anew, at most twice a second for each region, and
// morphed into place, so that nothing jumps, keeps its focus, and a changed cell is tinted once.
//
//   <section id="…" data-live="deployment.changed:ID device.changed" data-every="1000">   fetched as a part of this page
//   <tbody data-live-rows="URL">  with <tr id="…" data-subject="ID">                        rows fetched by ids

import { morph } from './morph.js';
import { timeOfDay } from './times.js';

const EVERY_MS = 500;
const LIST_EVERY_MS = 2_000;
const GRACE_MS = 1_500; // shorter interruptions are not worth a banner
const MOST_ROWS = 100;

const product = document.documentElement.dataset.product ?? '';
const source = document.documentElement.dataset.worker;
const due = new Map();
const rows = new Set();

/** Runs `act` for `key` now or, when it ran lately, once when its time has come. */
function soon(key, every, act) {
  const entry = due.get(key) ?? { last: 0 };
  if (entry.timer) return;
  entry.timer = setTimeout(
    async () => {
      try {
        await act();
      } catch {
        // The stream's own state tells the reader; the next news tries again.
      } finally {
        entry.last = Date.now();
        entry.timer = undefined;
      }
    },
    Math.max(entry.last + every - Date.now(), 60),
  );
  due.set(key, entry);
}

async function load(url) {
  const answer = await fetch(url, { headers: { 'x-muster-live': 'yes' }, redirect: 'error' });
  if (!answer.ok) throw new Error(String(answer.status));
  return new DOMParser().parseFromString(await answer.text(), 'text/html');
}

async function refresh(ids) {
  const fresh = await load(location.href);
  for (const id of ids) {
    const [from, to] = [document.getElementById(id), fresh.getElementById(id)];
    if (from && to) morph(from, to);
  }
}

async function refreshRows(body) {
  const ids = [...rows].slice(0, MOST_ROWS);
  ids.forEach((id) => rows.delete(id));
  if (ids.length === 0) return;
  const fresh = await load(`${body.dataset.liveRows}?ids=${ids.join(',')}`);
  for (const row of fresh.querySelectorAll('tr[id]')) {
    const old = document.getElementById(row.id);
    if (old) morph(old, row);
  }
  if (rows.size) soon('rows', EVERY_MS, () => refreshRows(body));
}

function region(element, every = EVERY_MS) {
  soon(`#${element.id}`, Math.max(every, Number(element.dataset.every ?? 0)), () => refresh([element.id]));
}

function onNews({ kind, product: of, subject }) {
  if (of && product && of !== product) return;
  const body = document.querySelector('[data-live-rows]');
  const list = body?.closest('[data-live]');
  for (const element of document.querySelectorAll('[data-live]')) {
    const wanted = element.dataset.live.split(' ');
    if (!wanted.includes(kind) && !wanted.includes(`${kind}:${subject}`)) continue;
    if (element === list && body.querySelector(`[data-subject="${CSS.escape(subject)}"]`)) {
      rows.add(subject);
      soon('rows', EVERY_MS, () => refreshRows(body));
    } else region(element, element === list ? LIST_EVERY_MS : EVERY_MS);
  }
}

function refreshAll() {
  const ids = [...document.querySelectorAll('[data-live]')].map((element) => element.id);
  if (ids.length) soon('all', EVERY_MS, () => refresh(ids));
}
/** For acts of this page that change it, such as an upload. */
document.addEventListener('muster:refresh', refreshAll);

let grace;
function onState({ state, at }) {
  const banner = document.getElementById('banner');
  clearTimeout(grace);
  document.documentElement.dataset.stream = state;
  if (state === 'open') banner.hidden = true;
  else {
    const show = () => {
      banner.querySelector('[data-say]').textContent =
        state === 'ended'
          ? 'You are signed out. What you see is no longer live.'
          : `Reconnecting… shown as of ${timeOfDay(at)}`;
      banner.querySelector('a').hidden = state !== 'ended';
      banner.hidden = false;
    };
    if (state === 'ended') show();
    else grace = setTimeout(show, GRACE_MS);
  }
}

function start() {
  const worker = window.SharedWorker ? new SharedWorker(source, { name: 'muster' }) : new Worker(source);
  const port = worker.port ?? worker;
  port.onmessage = ({ data }) => {
    if (data.news) onNews(data.news);
    else if (data.reset) refreshAll();
    else onState(data);
  };
  port.postMessage('hello');
  addEventListener('pagehide', () => port.postMessage('bye'));
  addEventListener('pageshow', (event) => event.persisted && location.reload());
}
if (source) start();
