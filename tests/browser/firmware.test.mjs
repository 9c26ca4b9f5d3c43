// Firmware: dropped, verified, listed, refused, deleted; and the keys that it is signed with.

import assert from 'node:assert/strict';
import { before } from 'node:test';
import { HOME, ORG, mark, session, startFleet } from './fleet.mjs';
import { assertGood, matrix, testEachView } from './lib.mjs';

// Every view uploads a version of its own.
const version = (view) => `2.${matrix().findIndex((one) => one.name === view.name)}.0`;
let fleet;
let options;
before(async () => {
  fleet = await startFleet({ versions: ['1.0.0', ...matrix().map(version)], rootBytes: 3_000_000 });
  options = await session(fleet);
});

testEachView('an archive is uploaded and appears, without a reload', async ({ page, view }) => {
  await page.goto(`${HOME}/firmware`);
  const unchanged = await mark(page);
  await page.getByLabel(/Drop signed/).setInputFiles(fleet.archive(`${version(view)}.fw`));
  const row = page.locator('tbody tr', { hasText: version(view) });
  await row.waitFor();
  assert.match(await row.textContent(), /release/);
  await unchanged();
  await assertGood(page);
  await row.getByRole('link', { name: version(view), exact: true }).click();
  await page.getByText('Signed by release').waitFor();
}, () => options);

testEachView('an unsigned archive is refused with a sentence', async ({ page, problems }) => {
  await page.goto(`${HOME}/firmware`);
  await page.getByLabel(/Drop signed/).setInputFiles(fleet.archive('unsigned.fw'));
  await page.locator('#uploads .bad').getByText(/sign/i).waitFor();
  assert.equal(await page.locator('tbody tr', { hasText: 'unsigned' }).count(), 0);
  assert.match(problems.splice(0).join('\n'), /422/);
  await assertGood(page);
  await page.locator('#uploads').getByRole('button', { name: 'Close' }).click();
  await page.locator('#upload-box').waitFor({ state: 'hidden' });
}, () => options);

testEachView('firmware is deleted by its version', async ({ page, view }) => {
  await page.goto(`${HOME}/firmware`);
  await page.getByRole('link', { name: version(view), exact: true }).click();
  await page.getByRole('link', { name: 'Delete' }).click();
  await assertGood(page);
  await page.getByLabel(/Type its version/).fill(version(view));
  await page.getByRole('button', { name: 'Delete firmware' }).click();
  await page.waitForURL(/firmware$/);
  await page.locator('main').waitFor();
  assert.equal(await page.locator('tbody tr', { hasText: version(view) }).count(), 0);
}, () => options);

testEachView('signing keys are added and deleted', async ({ page, view, problems }) => {
  await page.goto(`/org/${ORG}/settings/keys`);
  await page.getByLabel('Name').fill(view.name);
  await page.getByLabel('Public key').fill('not a key');
  await page.getByRole('button', { name: 'Add key' }).click();
  await page.locator('.error').waitFor();
  await assertGood(page);
  problems.length = 0;
  const key = Buffer.from((await crypto.subtle.exportKey('raw', (await crypto.subtle.generateKey('Ed25519', true, ['sign', 'verify'])).publicKey))).toString('base64');
  await page.getByLabel('Public key').fill(key);
  await page.getByRole('button', { name: 'Add key' }).click();
  await page.getByRole('cell', { name: key }).waitFor();
  await assertGood(page);
  await page.getByRole('link', { name: `Delete ${view.name}` }).click();
  await page.getByLabel(/Type its name/).fill(view.name);
  await page.getByRole('button', { name: 'Delete key' }).click();
  await page.waitForURL(/keys$/);
  assert.equal(await page.getByRole('cell', { name: key }).count(), 0);
  await page.goto(`/org/${ORG}/settings/authorities`);
  await page.getByRole('heading', { name: 'CA certificates' }).waitFor();
}, () => options);
