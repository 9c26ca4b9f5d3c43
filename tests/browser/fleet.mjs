// A fleet for browser tests: a server with a product, its key, its firmware and virtual boards, all through the REST API.

import { spawn } from 'node:child_process';
import { appendFile, readFile } from 'node:fs/promises';
import path from 'node:path';
import { after } from 'node:test';
import { program, run, startServer, temporaryFolder } from './lib.mjs';

export const PRODUCT = 'kiosk';
export const ORG = 'default';
export const HOME = `/org/${ORG}/${PRODUCT}`;

const [agents, servers] = [[], []];
// Here and not in startFleet: what a hook registers ends with the hook.
after(async () => {
  agents.forEach((agent) => agent.kill('SIGKILL'));
  await Promise.all(servers.map((server) => server.stop()));
});

/** The REST API as CI uses it. */
async function api(server) {
  const call = async (method, route, body, token) => {
    const form = body instanceof FormData;
    const answer = await fetch(`${server.url}/api${route}`, {
      method,
      headers: {
        ...(token && { authorization: `token ${token}` }),
        ...(body && !form && { 'content-type': 'application/json' }),
      },
      body: form ? body : body && JSON.stringify(body),
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${route}: ${answer.status} ${text}`);
    return text ? JSON.parse(text).data : undefined;
  };
  const { token } = await call('POST', '/users/login', {
    email: server.email,
    password: server.password,
    note: 'browser tests',
  });
  return (method, route, body) => call(method, route, body, token);
}

/**
 * A server with PRODUCT and its signing key. `boards` are made but not registered; each is `identifier` or
 * `identifier:script that decides on updates`. Everything ends with the test file.
 */
export async function startFleet({ boards = [], versions = ['1.0.0', '1.1.0'], rootBytes = 200_000 } = {}) {
  const server = await startServer();
  const folder = await temporaryFolder('boards');
  servers.push(server);
  run('muster-boards', [
    folder,
    ...['--product', PRODUCT],
    ...['--versions', versions.join(',')],
    ...['--server', server.devices],
    ...['--server-ca', server.ca],
    ...['--root-bytes', String(rootBytes)],
    ...boards.flatMap((board) => ['--board', board]),
  ]);
  const rest = await api(server);
  const product = `/orgs/${ORG}/products/${PRODUCT}`;
  await rest('POST', `/orgs/${ORG}/products`, { name: PRODUCT });
  const key = await readFile(path.join(folder, 'key.pub'), 'utf8');
  await rest('POST', `/orgs/${ORG}/keys`, { name: 'release', key });

  return {
    server,
    rest,
    product,
    /** The path of an archive, such as `1.1.0.fw` or `unsigned.fw`. */
    archive: (name) => path.join(folder, name),
    async upload(version) {
      const form = new FormData();
      form.append('firmware', new Blob([await readFile(path.join(folder, `${version}.fw`))]), `${version}.fw`);
      return rest('POST', `${product}/firmwares`, form);
    },
    async register(identifier, tags = []) {
      await rest('POST', `${product}/devices`, { identifier, tags });
    },
    async pin(identifier) {
      const pem = await readFile(path.join(folder, identifier, 'device.pem'));
      await rest('POST', `${product}/devices/${identifier}/certificates`, { cert: pem.toString('base64') });
    },
    certificate: (identifier) => readFile(path.join(folder, identifier, 'device.pem'), 'utf8'),
    async credential(identifier) {
      const read = (file) => readFile(path.join(folder, identifier, file), 'utf8');
      return { cert: await read('device.pem'), key: await read('device.key') };
    },
    /** Adds tables to a board's configuration. */
    configure: (identifier, tables) => appendFile(path.join(folder, identifier, 'agent.toml'), `\n${tables}\n`),
    /** Switches a board's power on; the answer switches it off. */
    power(identifier) {
      const agent = spawn(program('muster-agent'), ['run', '--config', 'agent.toml'], {
        cwd: path.join(folder, identifier),
        stdio: 'ignore',
      });
      agents.push(agent);
      return () => agent.kill('SIGTERM');
    },
  };
}

/** Signs in by the form and goes to `to`. */
export async function signIn(page, server, to = '/') {
  await page.goto(server.url + to);
  await page.getByLabel('Email').fill(server.email);
  await page.getByLabel('Password').fill(server.password);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.waitForURL(server.url + to);
}

/** A session once, for tests that are about something else: gives the options of their contexts. */
export async function session(fleet) {
  const answer = await fetch(`${fleet.server.url}/sign-in`, {
    method: 'POST',
    redirect: 'manual',
    body: new URLSearchParams({ email: fleet.server.email, password: fleet.server.password, next: '/' }),
  });
  const [, value] = /muster_session=([^;]+)/.exec(answer.headers.get('set-cookie')) ?? [];
  if (!value) throw new Error(`signing in was answered ${answer.status}`);
  const { hostname } = new URL(fleet.server.url);
  const cookie = { name: 'muster_session', value, domain: hostname, path: '/', httpOnly: true, sameSite: 'Lax' };
  return { baseURL: fleet.server.url, storageState: { cookies: [{ ...cookie, expires: -1, secure: false }], origins: [] } };
}

/** Marks the page; what it gives fails when the page was loaded anew since. */
export async function mark(page) {
  await page.evaluate(() => {
    globalThis.notReloaded = true;
  });
  return async () => {
    if (!(await page.evaluate(() => globalThis.notReloaded))) throw new Error('the page was loaded anew');
  };
}
