// Archives: dropped, verified, listed, handed out by a release, refused, deleted; and the code of connects in the forms.

import assert from 'node:assert/strict';
import { before } from 'node:test';
import { HOME, mark, session, startFleet } from './fleet.mjs';
import { assertGood, matrix, testEachView } from './lib.mjs';

// Every view has an archive, a deployment and a device of its own.
const version = (view) => `2.${matrix().findIndex((one) => one.name === view.name)}.0`;
let fleet;
let options;
before(async () => {
  fleet = await startFleet({ versions: ['1.0.0', ...matrix().map(version)] });
  await fleet.upload('1.0.0');
  for (const view of matrix()) await fleet.register(`kiosk-${view.name}`);
  options = await session(fleet);
});

testEachView('an archive is uploaded and appears, without a reload', async ({ page, view }) => {
  await page.goto(HOME);
  if (await page.getByRole('button', { name: 'Menu' }).isVisible()) await page.getByRole('button', { name: 'Menu' }).click();
  await page.getByRole('link', { name: 'Archives' }).click();
  await page.waitForURL(/archives$/);
  if ((await page.locator('tbody tr').count()) === 0) await page.getByText('curl -F archive=@models.fw').waitFor();
  await assertGood(page);
  const unchanged = await mark(page);
  await page.getByLabel(/Drop signed/).setInputFiles(fleet.archive(`${version(view)}.fw`));
  const row = page.locator('tbody tr', { hasText: version(view) });
  await row.waitFor();
  assert.match(await row.textContent(), /release/);
  await unchanged();
  await assertGood(page);
  await row.getByRole('link', { name: version(view), exact: true }).click();
  await page.getByText('Signed by release').waitFor();
  await page.getByText("No deployment's current release has it.").waitFor();
}, () => options);

testEachView('an unsigned archive is refused with a sentence', async ({ page, problems }) => {
  await page.goto(`${HOME}/archives`);
  await page.getByLabel(/Drop signed/).setInputFiles(fleet.archive('unsigned.fw'));
  await page.locator('#uploads .bad').getByText(/sign/i).waitFor();
  assert.match(problems.splice(0).join('\n'), /422/);
  await assertGood(page);
}, () => options);

testEachView('a release hands it out, and it cannot be deleted meanwhile', async ({ page, view, problems }) => {
  await page.goto(`${HOME}/new-deployment`);
  await page.getByLabel('Name').fill(`all ${view.name}`);
  await page.getByLabel('Firmware').selectOption({ index: 1 });
  await page.getByLabel('Code at each connect').fill('Toolshed.hi()');
  await page.getByRole('button', { name: 'Create deployment' }).click();
  await page.getByText('Toolshed.hi()').waitFor();
  await page.getByRole('link', { name: 'New release' }).click();
  await assertGood(page);
  const uuid = await page.locator('#archive option', { hasText: version(view) }).getAttribute('value');
  await page.getByLabel('Archive').selectOption(uuid);
  await page.getByRole('button', { name: 'Release' }).click();
  await page.getByRole('heading', { name: `Release 2: 1.0.0 with archive ${version(view)}` }).waitFor();
  await assertGood(page);

  await page.goto(`${HOME}/archives`);
  const row = page.locator('tbody tr', { hasText: version(view) });
  assert.match(await row.textContent(), new RegExp(`all ${view.name}`));
  await row.getByRole('link', { name: version(view), exact: true }).click();
  await page.getByRole('link', { name: 'Delete' }).click();
  await page.getByLabel(/Type its version/).fill(version(view));
  await page.getByRole('button', { name: 'Delete archive' }).click();
  await page.getByText(`release 2 of all ${view.name}`).waitFor();
  problems.length = 0;
  await assertGood(page);
}, () => options);

testEachView('an archive is deleted by its version', async ({ page, view }) => {
  await fleet.rest('DELETE', `${fleet.product}/deployments/all%20${view.name}`);
  await page.goto(`${HOME}/archives`);
  await page.getByRole('link', { name: version(view), exact: true }).click();
  await page.getByRole('link', { name: 'Delete' }).click();
  await assertGood(page);
  await page.getByLabel(/Type its version/).fill(version(view));
  await page.getByRole('button', { name: 'Delete archive' }).click();
  await page.waitForURL(/archives$/);
  await page.locator('main').waitFor();
  assert.equal(await page.locator('tbody tr', { hasText: version(view) }).count(), 0);
}, () => options);

testEachView('the code of connects of a device is kept as it was typed', async ({ page, view }) => {
  await page.goto(`${HOME}/devices/kiosk-${view.name}/edit`);
  await assertGood(page);
  const code = '\nfirst()\n  second()';
  await page.getByLabel('Code at each connect').fill(code);
  await page.getByRole('button', { name: 'Save' }).click();
  await page.waitForURL(new RegExp(`devices/kiosk-${view.name}$`));
  await page.goto(`${HOME}/devices/kiosk-${view.name}/edit`);
  assert.equal(await page.getByLabel('Code at each connect').inputValue(), code);
  const { connecting_code: kept } = await fleet.rest('GET', `${fleet.product}/devices/kiosk-${view.name}`);
  assert.equal(kept, code);
}, () => options);
