// The helpers themselves: a check that cannot fail would make every other browser test worthless.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import { after, before, test } from 'node:test';
import { assertGood, axeViolations, openPage, testEachView } from './lib.mjs';

const page = (body) =>
  `<!doctype html><html lang="en"><head><title>A page</title><link rel="icon" href="data:,">
  <meta name="viewport" content="width=device-width"><link rel="stylesheet" href="/style.css"></head>
  <body><main><h1>A page</h1>${body}</main></body></html>`;
const answers = {
  '/good': ['text/html', page('<label>Name <input name="name"></label>')],
  '/unlabelled': ['text/html', page('<input name="name">')],
  '/wide': ['text/html', page('<p class="wide">Wider than any window</p>')],
  '/loud': ['text/html', page('<script src="/loud.js"></script>')],
  '/inline': ['text/html', page('<script>document.title = "no"</script>')],
  '/missing-picture': ['text/html', page('<img src="/none.png" alt="">')],
  '/loud.js': ['text/javascript', 'console.error("so loud"); setTimeout(() => { throw new Error("so lost"); })'],
  '/style.css': ['text/css', ':root { color-scheme: light dark } .wide { width: 5000px }'],
};

const server = http.createServer((request, response) => {
  const [type, body] = answers[request.url] ?? [];
  response.writeHead(body ? 200 : 404, {
    'content-type': type ?? 'text/plain',
    'content-security-policy': "default-src 'self'; img-src 'self' data:",
  });
  response.end(body);
});
let origin;
before(async () => {
  await once(server.listen(0, '127.0.0.1'), 'listening');
  origin = `http://127.0.0.1:${server.address().port}`;
});
after(() => server.close());

testEachView('a good page under a strict content policy passes', async ({ page, view }) => {
  await page.goto(`${origin}/good`);
  assert.equal(await page.evaluate(() => innerWidth), view.width);
  assert.equal(await page.evaluate(() => matchMedia('(prefers-color-scheme: dark)').matches), view.theme === 'dark');
});

for (const [path, complaint] of [
  ['/unlabelled', /axe label/],
  ['/wide', /scrolls sideways/],
  ['/loud', /so loud[^]*so lost/],
  ['/inline', /Content Security Policy/],
  ['/missing-picture', /404/],
]) {
  test(`${path} is complained of`, async () => {
    const { page, context, problems } = await openPage();
    await page.goto(origin + path, { waitUntil: 'load' });
    await page.waitForTimeout(50);
    await assert.rejects(assertGood(page, problems), complaint);
    await context.close();
  });
}

test('axe finds nothing to say of a good page', async () => {
  const { page, context } = await openPage();
  await page.goto(`${origin}/good`);
  assert.deepEqual(await axeViolations(page), []);
  await context.close();
});
