// Deployments: made, started, paused, released anew; real agents update before one's eyes.

import assert from 'node:assert/strict';
import { before } from 'node:test';
import { HOME, mark, session, startFleet } from './fleet.mjs';
import { assertGood, matrix, testEachView } from './lib.mjs';

// Every view has two boards of its own, chosen by a tag. The first one thinks it over, so that its steps are seen; the
// second one declines.
const good = (view) => `good-${view.name}`;
const declines = (view) => `declines-${view.name}`;
let fleet;
let options;
let uuid;
before(async () => {
  const boards = matrix().flatMap((view) => [`${good(view)}:sleep 2; echo apply`, `${declines(view)}:echo ignore the battery is low`]);
  fleet = await startFleet({ boards, rootBytes: 3_000_000 });
  await fleet.upload('1.0.0');
  uuid = (await fleet.upload('1.1.0')).uuid;
  for (const view of matrix()) {
    for (const board of [good(view), declines(view)]) {
      await fleet.register(board, [view.name]);
      await fleet.pin(board);
    }
  }
  options = await session(fleet);
});

testEachView('a deployment is made, started, and updates devices live', async ({ page, context, view, problems }) => {
  const off = [fleet.power(good(view)), fleet.power(declines(view))];
  const device = await context.newPage();
  await device.goto(`${HOME}/devices/${good(view)}`);
  await device.locator('.badge', { hasText: 'Online' }).waitFor();

  await page.goto(`${HOME}/deployments`);
  await page.getByRole('link', { name: 'New deployment' }).first().click();
  await page.getByLabel('Name').fill(`roll ${view.name}`);
  await page.getByLabel('Firmware').selectOption(uuid);
  await page.getByLabel('Tags', { exact: true }).fill(view.name);
  await page.getByLabel('Version requirement').fill('nonsense');
  await page.getByRole('button', { name: 'Create deployment' }).click();
  await page.locator('.error').waitFor();
  await assertGood(page);
  problems.length = 0;
  await page.getByLabel('Version requirement').fill('>= 1.0.0');
  await page.getByRole('button', { name: 'Create deployment' }).click();
  await page.getByText('Paused').first().waitFor();
  await page.getByText('decided when it starts').waitFor();
  await assertGood(page);

  const [unchanged, deviceUnchanged] = [await mark(page), await mark(device)];
  await device.getByText('No running deployment takes it').waitFor();
  await page.getByRole('button', { name: 'Start' }).click();
  await page.getByRole('button', { name: 'Pause' }).waitFor();
  await device.locator('.steps [aria-current="step"]', { hasText: 'Told' }).waitFor();
  await page.getByText(/1 of 2 devices run 1\.1\.0, 1 declined/).waitFor({ timeout: 30_000 });
  await page.getByText('the battery is low').first().waitFor();
  await assertGood(page);
  await device.locator('.timeline').getByText('Updated').first().waitFor();
  await device.getByText('It runs 1.1.0, the release of').waitFor();
  await assertGood(device);

  await page.getByRole('button', { name: 'Pause' }).click();
  await page.getByRole('button', { name: 'Start' }).waitFor();
  await unchanged();
  await deviceUnchanged();
  off.forEach((end) => end());
}, () => options);

testEachView('a release is replaced, and a deployment deleted by its name', async ({ page, view }) => {
  await page.goto(`${HOME}/deployments`);
  await assertGood(page);
  await page.getByRole('link', { name: `roll ${view.name}` }).click();
  await page.getByRole('link', { name: 'New release' }).click();
  await assertGood(page);
  const old = await page.locator('#firmware option', { hasText: '1.0.0' }).getAttribute('value');
  await page.getByLabel('Firmware').selectOption(old);
  await page.getByRole('button', { name: 'Release' }).click();
  await page.getByRole('heading', { name: /Release 2/ }).waitFor();
  await page.getByRole('link', { name: 'Delete' }).click();
  await page.getByLabel(/Type its name/).fill(`roll ${view.name}`);
  await page.getByRole('button', { name: 'Delete deployment' }).click();
  await page.waitForURL(/deployments$/);
  assert.equal(await page.getByRole('link', { name: `roll ${view.name}` }).count(), 0);
}, () => options);
