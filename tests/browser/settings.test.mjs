// The settings of a product: extensions are switched for all its devices, and taken from one of them.

import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { HOME, session, startFleet } from './fleet.mjs';
import { assertGood, matrix, openPage, testEachView } from './lib.mjs';

const BOARD = 'kiosk-0001';
let fleet;
let options;
before(async () => {
  fleet = await startFleet({ boards: [BOARD], versions: ['1.0.0'] });
  for (const identifier of [BOARD, ...matrix().map((view) => `plain-${view.name}`)]) await fleet.register(identifier);
  options = await session(fleet);
});

const on = async (path) => (await fleet.rest('GET', `${fleet.product}${path}`)).extensions;

testEachView('extensions are switched where one looks for it, and saved', async ({ page, view }) => {
  await fleet.rest('PUT', fleet.product, { extensions: { health: false, geo: true } });
  await page.goto(`${HOME}/devices`);
  if (view.width < 600) await page.getByRole('button', { name: 'Menu' }).click();
  await page.getByRole('link', { name: 'Settings', exact: true }).first().click();
  await page.waitForURL(/kiosk\/settings$/);
  assert.equal(await page.getByRole('checkbox').count(), 5);
  assert.equal(await page.getByLabel('Location').isChecked(), true);
  await page.getByText('Devices say where they are.').waitFor();
  await assertGood(page);
  await page.getByLabel('Health').check();
  await page.getByLabel('Location').uncheck();
  await page.getByRole('button', { name: 'Save' }).click();
  await page.getByText('Saved. Devices that are connected are told now.').waitFor();
  assert.equal(await page.getByLabel('Health').isChecked(), true);
  const { health, geo, local_shell: shell } = await on('');
  assert.deepEqual({ health, geo, shell }, { health: true, geo: false, shell: false });
}, () => options);

testEachView('one device is left out, and what is off for the product is greyed', async ({ page, view }) => {
  const identifier = `plain-${view.name}`;
  await fleet.rest('PUT', fleet.product, { extensions: { health: true, geo: false } });
  await page.goto(`${HOME}/devices/${identifier}/edit`);
  assert.equal(await page.getByLabel('Location').isDisabled(), true);
  await page.getByText('Off for the product. Devices say where they are.').waitFor();
  await assertGood(page);
  await page.getByLabel('Health').uncheck();
  await page.getByRole('button', { name: 'Save' }).click();
  await page.waitForURL(new RegExp(`devices/${identifier}$`));
  const { health, geo } = await on(`/devices/${identifier}`);
  assert.deepEqual({ health, geo }, { health: false, geo: true });
  await page.goto(`${HOME}/devices/${identifier}/edit`);
  assert.equal(await page.getByLabel('Health').isChecked(), false);
  await page.getByRole('link', { name: "the product's settings" }).click();
  await page.waitForURL(/kiosk\/settings$/);
}, () => options);

test('a device that is connected tells its keys, which its page shows', async () => {
  const { page, context, problems } = await openPage(undefined, options);
  await fleet.pin(BOARD);
  const key = '{ service = "tailscale", identifier = "nodekey:7f", details = { ip = "100.64.0.7" } }';
  await fleet.configure(BOARD, `[extensions]\nnetwork_identity = [${key}]`);
  const off = fleet.power(BOARD);
  await page.goto(`${HOME}/devices/${BOARD}`);
  await page.locator('.badge', { hasText: 'Online' }).waitFor();
  assert.equal(await page.getByRole('heading', { name: 'Network identities' }).count(), 0);
  await page.goto(`${HOME}/settings`);
  await page.getByLabel('Network identities').check();
  await page.getByRole('button', { name: 'Save' }).click();
  await page.getByText('Saved.').waitFor();
  await page.goto(`${HOME}/devices/${BOARD}`);
  for (const deadline = Date.now() + 15_000; Date.now() < deadline; await sleep(250)) {
    if (await page.getByText('nodekey:7f').count()) break;
    await page.reload();
  }
  await page.getByText('100.64.0.7').waitFor();
  await assertGood(page, problems);
  off();
  await context.close();
});
