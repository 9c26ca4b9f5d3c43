// Signing in and out, the theme, and who may see what.

import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { HOME, mark, session, signIn, startFleet } from './fleet.mjs';
import { assertGood, openPage, testEachView } from './lib.mjs';

let fleet;
before(async () => {
  fleet = await startFleet();
});

testEachView('a wrong password is told, the right one leads to where one wanted to go', async ({ page, problems, view }) => {
  await page.goto(`${fleet.server.url}${HOME}/devices?q=tag%3Abeta`);
  assert.match(page.url(), /\/sign-in\?next=/);
  await page.getByLabel('Email').fill(fleet.server.email);
  await page.getByLabel('Password').fill('not the password');
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('alert').getByText('do not belong together').waitFor();
  assert.equal(await page.getByLabel('Email').inputValue(), fleet.server.email);
  assert.match(problems.splice(0).join('\n'), /422/, 'the browser says that the form was refused, and nothing else');
  await assertGood(page);
  await page.getByLabel('Password').fill(fleet.server.password);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.waitForURL(`${fleet.server.url}${HOME}/devices?q=tag%3Abeta`);
});

testEachView('signing out ends the session in every tab', async ({ page, context, view }) => {
  await signIn(page, fleet.server, `${HOME}/firmware`);
  const other = await context.newPage();
  await other.goto(`${fleet.server.url}${HOME}/deployments`);
  await other.waitForFunction(() => document.documentElement.dataset.stream === 'open');
  if (view.width < 720) await page.getByRole('button', { name: 'Menu' }).click();
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.waitForURL(`${fleet.server.url}/sign-in`);
  await other.getByText('You are signed out').waitFor();
  await other.getByRole('link', { name: 'Sign in' }).click();
  await other.waitForURL(`${fleet.server.url}/sign-in`);
});

testEachView('products are made and listed', async ({ page, view }) => {
  await page.goto('/');
  const name = `Gate ${view.name}`;
  await page.getByLabel('New product').fill(name);
  await page.getByRole('button', { name: 'Create' }).click();
  await page.waitForURL(/devices$/);
  await page.getByText('No device yet').waitFor();
  await assertGood(page);
  await page.goto('/');
  await page.getByRole('link', { name }).waitFor();
}, () => session(fleet));

test('the theme is chosen at once and kept', async () => {
  const { page, context, problems } = await openPage(undefined, await session(fleet));
  await page.goto('/');
  const unchanged = await mark(page);
  await page.getByRole('button', { name: 'Light' }).click();
  assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), 'light');
  await unchanged();
  await page.reload();
  assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), 'light');
  assert.equal(await page.getByRole('button', { name: 'Light' }).getAttribute('aria-pressed'), 'true');
  await assertGood(page, problems);
  await context.close();
});

test('without script everything still works by forms', async () => {
  const { page, context } = await openPage(undefined, { ...(await session(fleet)), javaScriptEnabled: false });
  await page.goto(`${HOME}/new-device`);
  await page.getByLabel('Identifier').fill('by-hand-0001');
  await page.getByRole('button', { name: 'Add device' }).click();
  await page.waitForURL(/devices\/by-hand-0001$/);
  await page.goto(`${HOME}/devices`);
  await page.getByLabel('Filter devices').fill('state:new by-hand');
  await page.keyboard.press('Enter');
  await page.waitForURL(/q=/);
  await page.getByRole('link', { name: 'by-hand-0001' }).waitFor();
  await page.getByRole('button', { name: 'Dark' }).click();
  assert.equal(await page.locator('html').getAttribute('data-theme'), 'dark');
  await context.close();
});

test('a form of another session is refused, and what is not there is a page', async () => {
  const { page, context, problems } = await openPage(undefined, await session(fleet));
  await page.goto(`${HOME}/new-device`);
  const status = await page.evaluate(async (url) => {
    const body = new URLSearchParams({ identifier: 'forged', csrf: 'AAAA' });
    return (await fetch(url, { method: 'POST', body })).status;
  }, `${HOME}/devices`);
  assert.equal(status, 403);
  const answer = await page.goto('/org/somebody-else/kiosk/devices');
  assert.equal(answer.status(), 404);
  await page.getByRole('heading', { name: 'Not Found' }).waitFor();
  problems.length = 0;
  await assertGood(page);
  await context.close();
});
