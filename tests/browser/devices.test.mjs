// The device list and a device's page: filter, sort, keys, register, pin, come online, delete.

import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { HOME, mark, session, startFleet } from './fleet.mjs';
import { assertGood, matrix, openPage, testEachView } from './lib.mjs';

const live = matrix().map((view) => `live-${view.name}`);
let fleet;
let options;
before(async () => {
  fleet = await startFleet({ boards: live });
  for (let number = 1; number <= 60; number += 1) {
    const identifier = `kiosk-${String(number).padStart(4, '0')}`;
    await fleet.register(identifier, number % 3 === 0 ? ['beta', 'lobby'] : []);
  }
  options = await session(fleet);
});

const names = (page) => page.locator('tbody a.name').allTextContents();

testEachView('the list is filtered as one types, and says what is wrong where it stands', async ({ page, view }) => {
  await page.goto(`${HOME}/devices`);
  const unchanged = await mark(page);
  await page.getByLabel('Filter devices').fill('tag:beta kiosk-000');
  await page.waitForURL(/q=tag/);
  await page.waitForFunction(() => document.querySelectorAll('tbody tr').length === 3);
  assert.deepEqual(await names(page), ['kiosk-0003', 'kiosk-0006', 'kiosk-0009']);
  await page.getByLabel('Filter devices').fill('colour:red');
  await page.getByText('colour: is not known').waitFor();
  await assertGood(page);
  await page.getByLabel('Filter devices').fill('nowhere-to-be-found');
  await page.getByText('No device matches').waitFor();
  await assertGood(page);
  await unchanged();
  await page.getByRole('link', { name: 'Show all devices' }).click();
  await page.getByRole('link', { name: 'Never seen' }).click();
  await page.waitForURL(/q=state%3Anew/);
  await page.waitForFunction(() => document.querySelector('.chip[aria-current]'));
}, () => options);

testEachView('the list is sorted and turned over by key, and the keyboard walks it', async ({ page }) => {
  await page.goto(`${HOME}/devices?q=kiosk`);
  assert.equal((await names(page))[0], 'kiosk-0001');
  await page.getByRole('columnheader', { name: 'Device' }).getByRole('link').click();
  await page.waitForURL(/sort=-identifier|sort=identifier/);
  if (!page.url().includes('-identifier')) {
    await page.getByRole('columnheader', { name: 'Device' }).getByRole('link').click();
    await page.waitForURL(/sort=-identifier/);
  }
  assert.equal((await names(page))[0], 'kiosk-0060');
  await page.getByRole('link', { name: 'Next' }).click();
  await page.waitForURL(/after=/);
  assert.deepEqual((await names(page)).at(-1), 'kiosk-0001');
  await page.getByRole('link', { name: 'Previous' }).click();
  await page.waitForURL(/before=/);
  assert.equal((await names(page))[0], 'kiosk-0060');
  await page.keyboard.press('/');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'q');
  await page.keyboard.press('Escape');
  await page.keyboard.press('j');
  await page.keyboard.press('j');
  assert.equal(await page.evaluate(() => document.activeElement.textContent), 'kiosk-0059');
  await page.keyboard.press('?');
  await page.getByRole('heading', { name: 'Keys' }).waitFor();
  await assertGood(page);
  await page.keyboard.press('Escape');
  await page.keyboard.press('k');
  await page.keyboard.press('Enter');
  await page.waitForURL(/devices\/kiosk-0060$/);
}, () => options);

async function isAsked(page, identifier) {
  await page.goto(`${HOME}/devices/${identifier}`);
  await page.getByRole('button', { name: 'Identify' }).click();
  await page.getByText('Asked to identify').waitFor();
  await page.getByRole('link', { name: 'Reboot' }).click();
  await page.getByRole('button', { name: 'Reboot device' }).waitFor();
  await assertGood(page);
  await page.goto(`${HOME}/devices`);
  await page.getByRole('link', { name: 'Ask all' }).click();
  await page.getByText('connected and will hear it').waitFor();
  await assertGood(page);
  await page.getByLabel(/Type the product's name/).fill('another');
  await page.getByRole('button', { name: 'Ask them' }).click();
  await page.getByText('Is not the name of this product.').waitFor();
  await page.getByLabel(/Type the product's name/).fill('kiosk');
  await page.getByRole('button', { name: 'Ask them' }).click();
  await page.getByText(/asked to identify/).waitFor();
  await assertGood(page);
  await page.close();
}

testEachView('a device has a secret of its own, and goes to another product', async ({ page, view, problems }) => {
  const identifier = `mover-${view.name}`;
  await fleet.register(identifier);
  await page.goto(`${HOME}/devices/${identifier}`);
  await page.getByRole('link', { name: 'a shared secret of its own' }).click();
  await page.getByText('No secret yet').waitFor();
  await assertGood(page);
  await page.getByRole('button', { name: 'Make a secret' }).click();
  await page.getByText('shared_key = "nhd_').waitFor();
  await assertGood(page);
  await page.getByRole('link', { name: /Deactivate/ }).click();
  await page.getByLabel(/Type the device's identifier/).fill('kiosk');
  await page.getByRole('button', { name: 'Deactivate' }).click();
  await page.getByText('Is not the identifier of this device.').waitFor();
  await assertGood(page);
  problems.length = 0;
  await page.getByLabel(/Type the device's identifier/).fill(identifier);
  await page.getByRole('button', { name: 'Deactivate' }).click();
  await page.getByText('Deactivated').waitFor();
  const name = `lamp-${view.name}`;
  await fleet.rest('POST', fleet.product.replace(/\/[^/]+$/, ''), { name });
  await page.goto(`${HOME}/devices/${identifier}`);
  await page.getByRole('link', { name: 'Move' }).click();
  await assertGood(page);
  await page.getByLabel('To the product').selectOption({ label: `${HOME.split('/')[2]}/${name}` });
  await page.getByRole('button', { name: 'Move device' }).click();
  await page.waitForURL(new RegExp(`/${name}/devices/${identifier}$`));
  await page.getByText('Moved here').waitFor();
}, () => options);

testEachView('a device is registered, pinned, and comes online before one\'s eyes', async ({ page, context, view, problems }) => {
  const identifier = `live-${view.name}`;
  const list = await context.newPage();
  await list.goto(`${HOME}/devices?q=${identifier}`);
  await page.goto(`${HOME}/devices`);
  await page.getByRole('link', { name: 'Add device' }).click();
  await page.getByLabel('Identifier').fill('not an identifier');
  await page.getByRole('button', { name: 'Add device' }).click();
  await page.getByText('Must have no slash, space or control character.').waitFor();
  await assertGood(page);
  problems.length = 0;
  await page.getByLabel('Identifier').fill(identifier);
  await page.getByLabel('Tags').fill('beta, lobby');
  await page.getByRole('button', { name: 'Add device' }).click();
  await page.waitForURL(new RegExp(`devices/${identifier}$`));
  await page.getByText('Add a certificate').click();
  await page.locator('textarea#certificate').fill(await fleet.certificate(identifier));
  await page.getByRole('button', { name: 'Add certificate' }).click();
  await page.waitForURL(/#certificates$/);
  const unchanged = await mark(page);
  await list.getByRole('link', { name: identifier }).waitFor();
  const listUnchanged = await mark(list);
  const off = fleet.power(identifier);
  await page.locator('.badge', { hasText: 'Online' }).waitFor();
  await page.getByText('generic · x86_64').waitFor();
  await list.locator('tr', { hasText: identifier }).getByText('1.0.0').waitFor();
  await assertGood(page);
  await assertGood(list);
  await isAsked(await context.newPage(), identifier);
  off();
  await page.locator('.badge', { hasText: 'Offline' }).waitFor();
  await unchanged();
  await listUnchanged();
}, () => options);

testEachView('a device is deleted by its name, restored, and destroyed', async ({ page, view, problems }) => {
  const identifier = `doomed-${view.name}`;
  await fleet.register(identifier);
  await page.goto(`${HOME}/devices/${identifier}`);
  await page.getByRole('link', { name: 'Delete' }).click();
  await assertGood(page);
  await page.getByLabel(/Type its identifier/).fill('kiosk-0001');
  await page.getByRole('button', { name: 'Delete device' }).click();
  await page.getByText('Is not the identifier of this device.').waitFor();
  problems.length = 0;
  await page.getByLabel(/Type its identifier/).fill(identifier);
  await page.getByRole('button', { name: 'Delete device' }).click();
  await page.locator('.badge', { hasText: 'Deleted' }).waitFor();
  await page.getByRole('button', { name: 'Restore' }).click();
  await page.locator('.badge', { hasText: 'Never seen' }).waitFor();
  await page.getByRole('link', { name: 'Settings' }).last().click();
  await page.getByLabel('Description').fill('By the door');
  await page.getByRole('button', { name: 'Save' }).click();
  await page.getByText('By the door').first().waitFor();
  for (const act of ['Delete', 'Destroy']) {
    await page.getByRole('link', { name: act, exact: true }).click();
    await page.getByLabel(/Type its identifier/).fill(identifier);
    await page.getByRole('button', { name: `${act} device` }).click();
    await page.waitForURL(/devices(\/[^/]+)?$/);
  }
  await page.waitForURL(/devices$/);
}, () => options);

test('a refused device is shown with its reason', async () => {
  const { page, context, problems } = await openPage(undefined, options);
  const identifier = 'refused-0001';
  await fleet.register(identifier);
  await fleet.rest('DELETE', `${fleet.product}/devices/${live[0]}`);
  const off = fleet.power(live[0]);
  await page.goto(`${HOME}/devices`);
  for (const deadline = Date.now() + 15_000; Date.now() < deadline; await page.reload()) {
    if (await page.getByText('It was deleted. Restore it').count()) break;
  }
  await page.getByText('It was deleted. Restore it').waitFor();
  await assertGood(page, problems);
  off();
  await context.close();
});
