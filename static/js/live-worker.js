// One event stream for all tabs of a browser (HTTP/1.1 allows six connections to a server, and tabs are many).
// Messages to the tabs: {state: 'open' | 'lost' | 'ended', at} and {news: {kind, product, subject}} and {reset: true}.

const REPLAY_MS = 10_000; // a tab hears what came while it loaded
const SILENCE_MS = 45_000; // three heartbeats
const RETRY_MS = [1_000, 2_000, 5_000, 10_000, 30_000];

const ports = new Set();
let recent = [];
let stream;
let lastId = '';
let state = { state: 'lost', at: Date.now() };
let failures = 0;
let silence;
let retry;

function tell(message) {
  for (const port of ports) port.postMessage(message);
}

function change(name) {
  if (state.state === name) return;
  state = { state: name, at: Date.now() };
  tell(state);
}

function heard(event) {
  if (event?.lastEventId) lastId = event.lastEventId;
  clearTimeout(silence);
  silence = setTimeout(lost, SILENCE_MS);
}

function lost() {
  change('lost');
  stream?.close();
  stream = undefined;
  clearTimeout(silence);
  clearTimeout(retry);
  retry = setTimeout(connect, RETRY_MS[Math.min(failures++, RETRY_MS.length - 1)] * (0.75 + Math.random() / 2));
}

function connect() {
  clearTimeout(retry);
  stream?.close();
  stream = new EventSource(lastId ? `/live?after=${lastId}` : '/live');
  stream.onopen = () => {
    failures = 0;
    heard();
    change('open');
  };
  stream.onerror = lost;
  stream.addEventListener('beat', heard);
  stream.addEventListener('news', (event) => {
    heard(event);
    const news = JSON.parse(event.data);
    const now = Date.now();
    recent = [...recent.filter((one) => now - one.at < REPLAY_MS), { at: now, news }].slice(-500);
    tell({ news });
  });
  stream.addEventListener('reset', (event) => {
    heard(event);
    tell({ reset: true });
  });
  stream.addEventListener('end', () => {
    stream.close();
    stream = undefined;
    clearTimeout(silence);
    lastId = '';
    recent = [];
    change('ended');
  });
}

function join(port) {
  ports.add(port);
  port.onmessage = ({ data }) => {
    if (data === 'bye') ports.delete(port);
    if (data === 'hello' && !stream) connect();
  };
  port.postMessage(state);
  const now = Date.now();
  for (const { at, news } of recent) if (now - at < REPLAY_MS) port.postMessage({ news });
  if (state.state !== 'open') port.postMessage({ reset: true });
}

// A SharedWorker has many ports; where there is none of it, live.js runs this file as the worker of one tab.
if ('onconnect' in self) self.onconnect = (event) => join(event.ports[0]);
else join(self);
