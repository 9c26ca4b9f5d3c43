// What every browser test needs: a real server, real agents, Debian's Chromium, and what must hold on every page.
// A test file is NAME.test.mjs; tests/browser/run runs them all with node's own test runner.

import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

const root = fileURLToPath(new URL('../..', import.meta.url));
const axeSource = createRequire(import.meta.url)('axe-core').source;

// ---- programs of ours ---------------------------------------------------------------------------------------------

const running = new Set();
// A test run that is cut off takes its programs with it; SIGTERM, so that a server still stops its Postgres.
process.on('exit', () => running.forEach((child) => child.kill('SIGTERM')));
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1));

export function program(name) {
  // Names another server to test: one that is built with the feature `upgrade-socket`.
  if (name === 'muster-server' && process.env.MUSTER_SERVER) return path.resolve(process.env.MUSTER_SERVER);
  return path.resolve(root, process.env.CARGO_TARGET_DIR ?? 'target', 'debug', name);
}

/** Starts a program; what it prints is kept and shown when it ends before it was asked to. */
function start(name, args, options = {}) {
  const child = spawn(program(name), args, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
  let printed = '';
  let failure;
  const keep = (chunk) => {
    printed += chunk;
  };
  child.stdout.setEncoding('utf8').on('data', keep);
  child.stderr.setEncoding('utf8').on('data', keep);
  child.once('error', (error) => {
    failure = error;
  });
  running.add(child);
  const ended = once(child, 'close').then(() => running.delete(child), () => running.delete(child));

  return {
    pid: child.pid,
    log: () => printed,
    /** Waits until `ready` gives something, and says what the program printed when it does not. */
    async until(what, ready, seconds = 60) {
      for (const deadline = Date.now() + seconds * 1000; Date.now() < deadline; await sleep(50)) {
        if (failure || !running.has(child)) break;
        const found = await ready(printed);
        if (found) return found;
      }
      throw new Error(`${name}: ${what} did not come (${failure ?? 'see what it printed'})\n${printed}`);
    },
    async stop() {
      child.kill('SIGTERM');
      const stopped = await Promise.race([ended.then(() => true), sleep(20_000, false, { ref: false })]);
      if (!stopped) {
        child.kill('SIGKILL');
        await ended;
        throw new Error(`${name} did not stop within 20 s of SIGTERM\n${printed}`);
      }
    },
  };
}

/** A folder that is gone when the test file ends. The user that Postgres runs as when we are root must be able to pass through it. */
export async function temporaryFolder(name) {
  const folder = await mkdtemp(path.join(tmpdir(), `muster-${name}-`));
  await chmod(folder, 0o755);
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/**
 * Starts a server with everything embedded, on free ports and a folder of its own.
 * This function alone knows the server's flags, what it leaves in its data folder and what it prints.
 */
export async function startServer(extra = []) {
  const data = path.join(await temporaryFolder('server'), 'data');
  const server = start('muster-server', [
    'up',
    ...['--data-dir', data],
    ...['--web', '127.0.0.1:0'],
    ...['--devices', '127.0.0.1:0'],
    ...extra,
  ]);
  try {
    const addresses = await server.until('addrs.json', async () => {
      const text = await readFile(path.join(data, 'addrs.json'), 'utf8').catch(() => '');
      return text.endsWith('\n') && JSON.parse(text);
    });
    const url = addresses.public_url;
    await server.until('/status/ready', () => fetch(`${url}/status/ready`).then((answer) => answer.ok, () => false));
    const signIn = await server.until('the sign-in of the first admin', (printed) => {
      const email = /\b[\w.+-]+@[\w.-]+\b/.exec(printed)?.[0];
      const password = /password\s+(\S+)/i.exec(printed)?.[1];
      return email && password ? { email, password } : undefined;
    });
    return { ...server, ...signIn, url, devices: addresses.devices, ca: path.join(data, 'ca.pem') };
  } catch (error) {
    await server.stop().catch(() => {});
    throw error;
  }
}

const tomlValue = (value) => (Array.isArray(value) ? `[${value.map(tomlValue).join(', ')}]` : JSON.stringify(value));

/** Starts a real agent in `folder`, where its keys and its disk lie. `config` has the agent's own sections. */
export async function startAgent(folder, config) {
  const text = Object.entries(config)
    .map(([section, values]) => {
      const lines = Object.entries(values).map(([key, value]) => `${key} = ${tomlValue(value)}`);
      return [`[${section}]`, ...lines, ''].join('\n');
    })
    .join('\n');
  await writeFile(path.join(folder, 'agent.toml'), text);
  return start('muster-agent', ['run', '--config', 'agent.toml'], { cwd: folder });
}

/** Runs one of our programs to its end and gives what it printed, as in `run('muster-fwup', ['--version'])`. */
export function run(name, args, options = {}) {
  const result = spawnSync(program(name), args, { encoding: 'utf8', ...options });
  assert.equal(result.status, 0, `${name} ${args.join(' ')}: ${result.error ?? result.stderr}`);
  return result.stdout;
}

// ---- the browser --------------------------------------------------------------------------------------------------

function chromiumPath() {
  if (process.env.CHROMIUM) return process.env.CHROMIUM;
  for (const name of ['chromium', 'chromium-browser', 'google-chrome']) {
    const found = spawnSync('sh', ['-c', `command -v ${name}`], { encoding: 'utf8' }).stdout.trim();
    if (found) return found;
  }
  throw new Error('there is no Chromium; `make setup-test` installs it');
}

let shared;
/** One browser for a test file; every test has a context, and so cookies, of its own. */
export function browser() {
  shared ??= chromium.launch({
    executablePath: chromiumPath(),
    headless: true,
    args: [
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });
  return shared;
}
after(async () => (await shared)?.close());

/** The four ways in which every page must be good. */
export function matrix() {
  return ['dark', 'light'].flatMap((theme) =>
    [
      { width: 1280, height: 800 },
      { width: 390, height: 844 },
    ].map((viewport) => ({ name: `${theme}-${viewport.width}`, theme, ...viewport })),
  );
}

/** A page in a context of its own; `problems` grows with everything that the browser complains of. */
export async function openPage(view = matrix()[0], options = {}) {
  const context = await (await browser()).newContext({
    viewport: { width: view.width, height: view.height },
    colorScheme: view.theme,
    reducedMotion: 'reduce',
    locale: 'en-GB',
    timezoneId: 'Europe/Berlin',
    ...options,
  });
  context.setDefaultTimeout(15_000);
  const page = await context.newPage();
  const problems = [];
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') {
      problems.push(`console ${message.type()}: ${message.text()} (${message.location().url})`);
    }
  });
  page.on('pageerror', (error) => problems.push(`uncaught: ${error.stack ?? error}`));
  page.on('requestfailed', (request) => {
    // Leaving a page ends its event stream; that is no fault.
    const reason = request.failure()?.errorText ?? '';
    if (reason !== 'net::ERR_ABORTED') problems.push(`request failed: ${request.url()} ${reason}`);
  });
  return { page, context, problems };
}

/** What axe finds against WCAG 2.2 AA and good practice. CSP does not stop it: it is not injected as a script tag. */
export async function axeViolations(page) {
  await page.evaluate(axeSource);
  const { violations } = await page.evaluate(() =>
    globalThis.axe.run(document, {
      runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'],
      resultTypes: ['violations'],
    }),
  );
  return violations.flatMap(({ id, help, nodes }) =>
    nodes.map((node) => `axe ${id}: ${help}\n    ${node.html}\n    ${node.failureSummary?.replaceAll('\n', '\n    ')}`),
  );
}

async function overflow(page) {
  const [inner, outer] = await page.evaluate(() => [
    document.documentElement.scrollWidth,
    document.documentElement.clientWidth,
  ]);
  return inner > outer ? [`the page is ${inner} px wide in a window of ${outer} px: it scrolls sideways`] : [];
}

/** What must hold on every page at any time: no complaint of the browser, none of axe, no sideways scrolling. */
export async function assertGood(page, problems = []) {
  const found = [...problems, ...(await axeViolations(page)), ...(await overflow(page))];
  assert.equal(found.length, 0, `${page.url()}\n${found.join('\n')}`);
}

/** Writes docs/screenshots/NAME.png, for the README, when MUSTER_SCREENSHOTS=1. */
export async function screenshot(page, name) {
  if (process.env.MUSTER_SCREENSHOTS !== '1') return;
  const folder = path.join(root, 'docs', 'screenshots');
  await mkdir(folder, { recursive: true });
  await page.screenshot({ path: path.join(folder, `${name}.png`), animations: 'disabled' });
}

/**
 * Declares one test for each way of looking at it. `body` gets { page, context, problems, view, t }; when it is done the
 * page it leaves must be good. A failure leaves a picture in tests/browser/results.
 */
export function testEachView(name, body, options = {}) {
  for (const view of matrix()) {
    test(`${name} (${view.name})`, async (t) => {
      const opened = await openPage(view, typeof options === 'function' ? await options() : options);
      try {
        await body({ ...opened, view, t });
        await assertGood(opened.page, opened.problems);
      } catch (error) {
        const folder = path.join(root, 'tests', 'browser', 'results');
        await mkdir(folder, { recursive: true });
        const file = path.join(folder, `${name} ${view.name}`.replaceAll(/\W+/g, '-') + '.png');
        await opened.page.screenshot({ path: file, fullPage: true }).catch(() => {});
        t.diagnostic(`a picture of the page is in ${path.relative(root, file)}`);
        throw error;
      } finally {
        await opened.context.close();
      }
    });
  }
}
