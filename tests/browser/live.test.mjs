// The live stream itself: one for all tabs, lost and found again; and the pictures of the README.

import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { HOME, mark, session, startFleet } from './fleet.mjs';
import { assertGood, openPage, screenshot } from './lib.mjs';

const pictures = process.env.MUSTER_SCREENSHOTS === '1';
const boards = Array.from({ length: 8 }, (_, index) => `kiosk-000${index + 1}`);
// Some decide at once, some think it over, one asks for later, one declines.
const policies = ['sleep 20; echo apply', 'sleep 25; echo apply', 'sleep 2; echo apply', 'sleep 3; echo apply',
  'echo reschedule 30s a visitor is using the kiosk', 'echo ignore the battery is low', 'sleep 22; echo apply', 'echo apply'];
let fleet;
let options;
before(async () => {
  fleet = await startFleet({
    boards: pictures ? boards.map((board, index) => `${board}:${policies[index]}`) : boards.slice(0, 1),
    rootBytes: 3_000_000,
  });
  await fleet.upload('1.0.0');
  await fleet.upload('1.1.0');
  for (const [index, board] of boards.entries()) {
    await fleet.register(board, index % 3 === 0 ? ['lobby'] : index % 3 === 1 ? ['lobby', 'beta'] : ['station']);
  }
  for (const board of pictures ? boards : boards.slice(0, 1)) await fleet.pin(board);
  options = await session(fleet);
});

test('many tabs share one stream, and all of them hear', async () => {
  const { page, context, problems } = await openPage(undefined, options);
  const tabs = [page, ...(await Promise.all([1, 2, 3, 4, 5, 6, 7].map(() => context.newPage())))];
  // HTTP/1.1 allows six connections to a server: eight streams of their own would leave none for the pages.
  for (const tab of tabs) await tab.goto(`${HOME}/devices/${boards[0]}`);
  const unchanged = await Promise.all(tabs.map(mark));
  const off = fleet.power(boards[0]);
  for (const tab of tabs) await tab.locator('.badge', { hasText: 'Online' }).waitFor();
  off();
  for (const tab of tabs) await tab.locator('.badge', { hasText: 'Offline' }).waitFor();
  for (const check of unchanged) await check();
  await assertGood(page, problems);
  await context.close();
});

test('without SharedWorker each tab has its own stream', async () => {
  const { page, context, problems } = await openPage(undefined, options);
  await page.addInitScript(() => {
    delete globalThis.SharedWorker;
  });
  await page.goto(`${HOME}/devices/${boards[0]}`);
  const off = fleet.power(boards[0]);
  await page.locator('.badge', { hasText: 'Online' }).waitFor();
  off();
  await page.locator('.badge', { hasText: 'Offline' }).waitFor();
  await assertGood(page, problems);
  await context.close();
});

if (pictures) test('pictures for the README', async () => {
  const dark = await openPage({ theme: 'dark', width: 1280, height: 800 }, options);
  const light = await openPage({ theme: 'light', width: 1280, height: 800 }, options);
  const phone = await openPage({ theme: 'dark', width: 390, height: 844 }, options);
  boards.forEach((board) => fleet.power(board));
  await dark.page.goto(`${HOME}/devices`);
  await dark.page.waitForFunction(() => document.querySelectorAll('.status.ok').length === 8);
  await light.page.goto(`${HOME}/new-deployment`);
  await light.page.getByLabel('Name').fill('everyone');
  const firmware = await light.page.locator('#firmware option', { hasText: '1.1.0' }).getAttribute('value');
  await light.page.getByLabel('Firmware').selectOption(firmware);
  await light.page.getByLabel('Updates at once').fill('6');
  await light.page.getByLabel('Start at once').check();
  await light.page.getByRole('button', { name: 'Create deployment' }).click();
  await light.page.getByText(/[2-9] of 8 devices run 1\.1\.0/).waitFor({ timeout: 40_000 });
  await phone.page.goto(`${HOME}/devices/${boards[0]}`);
  await screenshot(dark.page, 'devices');
  await screenshot(light.page, 'deployment');
  await screenshot(phone.page, 'device');
  for (const { context } of [dark, light, phone]) await context.close();
});

// Last: it ends the server.
test('a lost stream is told, with the time of what is shown', async () => {
  const { page, context } = await openPage(undefined, options);
  await page.goto(`${HOME}/devices`);
  await page.waitForFunction(() => document.documentElement.dataset.stream === 'open');
  await fleet.server.stop();
  await page.getByText(/Reconnecting… shown as of \d\d:\d\d:\d\d/).waitFor();
  await assertGood(page);
  assert.equal(await page.locator('#banner').getAttribute('role'), 'status');
  await context.close();
});
