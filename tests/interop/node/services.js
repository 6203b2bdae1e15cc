'use strict';

// Express services that speak to each other through topics, as in the Node.js
// tutorials, each a process that is killed and started again.

const { spawn } = require('child_process');
const path = require('path');
const { Kafka, logLevel } = require('kafkajs');
const t = require('./lib.js');

const topics = {
  USERS: t.unique('users'), POSTS: t.unique('posts'),
  ORDERS: t.unique('orders'), INVOICES: t.unique('invoices'),
};
const USERS = 40;
const POSTS = 5; // of each user
const ORDERS = 600;
const BEGAN = Date.now() - 3600 * 1000; // order n is n seconds later

const kafka = new Kafka({ brokers: t.bootstrap, logLevel: logLevel.NOTHING });

class Service {
  constructor(name) {
    this.name = name;
  }

  async start() {
    this.process = spawn(process.execPath,
      [path.join(__dirname, '..', 'services', `${this.name}.js`)],
      { env: { ...process.env, ...topics }, stdio: ['ignore', 'pipe', 'inherit'] });
    let said = '';
    this.process.stdout.on('data', (bytes) => { said += bytes; });
    await t.until(() => /listening (\d+)\n/.test(said) || this.process.exitCode !== null, 60,
      () => `${this.name} does not listen`);
    this.url = `http://127.0.0.1:${/listening (\d+)/.exec(said)[1]}`;
  }

  async kill() {
    const gone = new Promise((resolve) => { this.process.once('exit', resolve); });
    this.process.kill('SIGKILL');
    await gone;
  }

  async call(method, where, body) {
    const response = await fetch(this.url + where, {
      method, body: body && JSON.stringify(body),
      headers: { 'content-type': 'application/json' },
    });
    if (!response.ok) throw new Error(`${method} ${where}: ${response.status}`);
    const answer = await response.text();
    return answer ? JSON.parse(answer) : null;
  }
}

const users = new Service('users');
const posts = new Service('posts');
const orders = new Service('orders');

const user = (n) => `user-${n}`;

/** Waits until exactly these users are there, and exactly their posts. */
async function settled(numbers) {
  const want = numbers.map(user).sort();
  await t.until(async () => t.same(Object.keys(await users.call('GET', '/users')).sort(), want),
    30, () => 'the users are not those');
  const wanted = want.flatMap((u) => Array.from({ length: POSTS }, (_, i) => `${u}-${i}`)).sort();
  let got;
  await t.until(async () => {
    got = (await posts.call('GET', '/posts')).map((p) => p.id).sort();
    return t.same(got, wanted);
  }, 60, () => `${got.length} posts, not ${wanted.length}`);
  return `${want.length} users, ${wanted.length} posts`;
}

const range = (from, to) => Array.from({ length: to - from }, (_, i) => from + i);

async function order(from, to) {
  for (const n of range(from, to)) {
    await orders.call('POST', '/orders', {
      id: `order-${n}`, amount: n * 7, time: BEGAN + n * 1000,
    });
  }
}

/** All records of a topic, by a client that knows nothing of the services. */
async function count(topic) {
  const admin = kafka.admin();
  await admin.connect();
  try {
    return (await admin.fetchTopicOffsets(topic)).reduce((sum, p) => sum + Number(p.high), 0);
  } finally {
    await admin.disconnect();
  }
}

async function invoices(from, to) {
  const answer = await orders.call('GET',
    `/invoices?from=${BEGAN + from * 1000}&to=${BEGAN + to * 1000}`);
  t.equal(answer.invoices.map((i) => i.order).sort(),
    range(Math.max(from, 0), Math.min(to, ORDERS)).map((n) => `order-${n}`).sort(),
    `invoices of orders ${from} to ${to}`);
  const wrong = answer.invoices.find((i) => i.amount !== Number(i.order.slice(6)) * 7);
  if (wrong) throw new Error(`altered: ${JSON.stringify(wrong)}`);
  return answer.read - answer.invoices.length;
}

async function main() {
  const admin = kafka.admin();
  await admin.connect();
  await admin.createTopics({
    waitForLeaders: true,
    topics: Object.values(topics).map((topic) => (
      { topic, numPartitions: t.PARTITIONS, replicationFactor: t.REPLICAS })),
  });
  await admin.disconnect();

  await t.check('users and their posts are there', async () => {
    await Promise.all([users.start(), posts.start()]);
    for (const n of range(0, USERS)) {
      await users.call('POST', '/users', { id: user(n), name: `Name ${n}` });
      for (const i of range(0, POSTS)) {
        await posts.call('POST', '/posts', { id: `${user(n)}-${i}`, user: user(n), text: 'text' });
      }
    }
    return settled(range(0, USERS));
  }, { vital: true });

  await t.check('posts follow a user who is deleted', async () => {
    for (const n of range(0, 10)) await users.call('DELETE', `/users/${user(n)}`);
    return settled(range(10, USERS));
  });

  await t.check('posts follow one who was deleted while their service was down', async () => {
    await posts.kill();
    for (const n of range(10, 20)) await users.call('DELETE', `/users/${user(n)}`);
    await posts.start();
    return settled(range(20, USERS));
  });

  await t.check('both know everything again after a restart', async () => {
    await Promise.all([users.kill(), posts.kill()]);
    await Promise.all([users.start(), posts.start()]);
    return settled(range(20, USERS));
  });

  await t.check('each order gets an invoice while its service is killed', async () => {
    await orders.start();
    await order(0, ORDERS / 3);
    await orders.kill();
    await orders.start();
    await order(ORDERS / 3, ORDERS * 2 / 3);
    // Retries of the shop: the same orders once more.
    await order(ORDERS / 3, ORDERS / 3 + 50);
    await orders.kill();
    await orders.start();
    await order(ORDERS * 2 / 3, ORDERS);
    let there;
    await t.until(async () => {
      there = await count(topics.INVOICES);
      return there >= ORDERS + 50 && (await orders.call('GET',
        `/invoices?from=0&to=${Date.now() * 2}`)).invoices.length >= ORDERS;
    }, 60, () => `${there} invoices`);
    return `${ORDERS} orders, ${there} invoices`;
  });

  await t.check('invoices between two timestamps are replayed, each once', async () => {
    const spans = [[0, ORDERS], [100, 101], [250, 420], [-50, 10], [ORDERS - 10, ORDERS + 500],
      [ORDERS + 10, ORDERS + 20]];
    let again = 0;
    for (const [from, to] of spans) again += await invoices(from, to);
    if (again < 50) throw new Error(`only ${again} were there more than once`);
    return `${spans.length} spans, ${again} left out as there already`;
  });

  for (const service of [users, posts, orders]) if (service.process) await service.kill();
}

t.suite(main);
