// The device link as the protocol's own JavaScript client speaks it: npm's `phoenix` over `ws`, with a device's certificate.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Socket } from 'phoenix';
import { WebSocket } from 'ws';
import { startFleet } from './fleet.mjs';

const DEVICE = 'kiosk-0001';
const JOIN = { device_api_version: '2.3.0', nerves_fw_uuid: '3a1f0c6e-7d55-5b1e-9b0a-6c1f2f0a9d11' };
let fleet;
let tls;
before(async () => {
  fleet = await startFleet({ boards: [DEVICE], versions: ['1.0.0'] });
  await fleet.register(DEVICE);
  await fleet.pin(DEVICE);
  const { cert, key } = await fleet.credential(DEVICE);
  tls = { cert, key, ca: await readFile(fleet.server.ca, 'utf8') };
});

/** A client that counts the replies to its heartbeats and the pings of the server. */
function connect() {
  const seen = { heartbeats: 0, pings: 0, closes: [] };
  class Transport extends WebSocket {
    constructor(url, protocols) {
      super(url, protocols, tls);
      this.on('ping', () => (seen.pings += 1));
    }
  }
  const socket = new Socket(`wss://${fleet.server.devices}/socket`, { transport: Transport, heartbeatIntervalMs: 300 });
  socket.onMessage(({ topic, event, payload }) => {
    if (topic === 'phoenix' && event === 'phx_reply' && payload.status === 'ok') seen.heartbeats += 1;
  });
  socket.onClose((event) => seen.closes.push(event.code));
  socket.connect();
  return { socket, seen };
}

/** The reply to a push of the client. */
const reply = (push) =>
  new Promise((resolve, reject) => {
    push.receive('ok', resolve).receive('error', reject).receive('timeout', () => reject(new Error('no reply')));
  });

async function until(what, ready, seconds = 10) {
  for (const deadline = Date.now() + seconds * 1000; Date.now() < deadline; await sleep(50)) {
    if (await ready()) return;
  }
  throw new Error(`${what} did not come`);
}

const status = async () => (await fleet.rest('GET', `${fleet.product}/devices/${DEVICE}`)).connection_status;

test('npm phoenix joins, sends heartbeats and pushes, leaves and joins again', async () => {
  const { socket, seen } = connect();
  const device = socket.channel('device', JOIN);
  const asked = new Promise((resolve) => device.on('extensions:get', resolve));
  assert.deepEqual(await reply(device.join()), {});
  assert.deepEqual(await asked, {});
  await until('the device as connected', async () => (await status()) === 'connected');

  const extensions = socket.channel('extensions', { health: '0.0.1' });
  assert.deepEqual(await reply(extensions.join()), [], 'the product switches none on');

  await until('replies to three heartbeats', () => seen.heartbeats >= 3);

  // A push has no reply: one would kill NervesHubLink.
  const push = device.push('status_update', { status: 'received' }, 1000);
  await assert.rejects(reply(push), /no reply/);
  assert.equal(socket.isConnected(), true);

  assert.deepEqual(await reply(device.leave()), {});
  const again = socket.channel('device', JOIN);
  assert.deepEqual(await reply(again.join()), {});

  // The connection is lost: the client comes back by itself and joins again.
  const before = seen.closes.length;
  const rejoined = new Promise((resolve) => again.joinPush.receive('ok', resolve));
  socket.conn.terminate();
  await until('the loss', () => seen.closes.length > before);
  await rejoined;
  await until('the device as connected', async () => (await status()) === 'connected');
  assert.equal(again.state, 'joined');

  await new Promise((resolve) => socket.disconnect(resolve, 1000, 'bye'));
  await until('the device as disconnected', async () => (await status()) === 'disconnected');
  assert.equal(seen.pings, 0, 'a ping kills NervesHubLink');
});

test('a topic that is not there is refused and the link goes on', async () => {
  const { socket } = connect();
  await assert.rejects(reply(socket.channel('users:1', {}).join()), { reason: 'unmatched topic' });
  assert.deepEqual(await reply(socket.channel('device', JOIN).join()), {});
  await new Promise((resolve) => socket.disconnect(resolve));
});
