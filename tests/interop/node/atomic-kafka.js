'use strict';

// atomic-kafka 0.1.1: its server takes records from a browser's socket.io
// connection, produces them, consumes them and emits them back.  Its producer
// writes values only: no keys, headers or choice of partition.

const http = require('http');
const { Kafka, logLevel } = require('kafkajs');
const { io } = require('socket.io-client');
const t = require('./lib.js');

// It reads the cluster's address from the environment when it's loaded.
process.env.KAFKA_BOOTSTRAP_SERVER = t.bootstrap[0];

const AtomicKafkaServer = require('atomic-kafka/server');

const topic = t.unique('records');
const kafka = new Kafka({ brokers: t.bootstrap, logLevel: logLevel.NOTHING });
const admin = kafka.admin();

/** It prints each record: that is dropped, our own lines are kept. */
function silence() {
  const print = console.log;
  console.log = (line, ...rest) => {
    if (/^(ok|FAILED) /.test(line)) print(line, ...rest);
  };
}

/** Its server on a free port, with a producer and a consumer. */
async function serve(name, group) {
  const web = http.createServer();
  const server = new AtomicKafkaServer(web);
  server.newProducer(name);
  server.socketProduce('to-kafka', name);
  await new Promise((resolve) => web.listen(0, '127.0.0.1', resolve));
  if (group) {
    server.newConsumer(group);
    server.socketConsume(group, name, 'from-kafka');
  }
  return {
    server, url: `http://127.0.0.1:${web.address().port}`,
    async close() {
      for (const c of Object.values(server.Consumers)) await c.consumer.disconnect();
      for (const p of Object.values(server.Producers)) await p.producer.disconnect();
      await new Promise((resolve) => server.io.close(resolve));
    },
  };
}

function dial(url) {
  const socket = io(url, { forceNew: true });
  return new Promise((resolve, reject) => {
    socket.once('connect', () => resolve(socket));
    socket.once('connect_error', reject);
  });
}

async function endOffsets() {
  const offsets = await admin.fetchTopicOffsets(topic);
  return offsets.reduce((sum, o) => sum + Number(o.high), 0);
}

t.suite(async () => {
  silence();
  await admin.connect();

  await t.check('its topic has three partitions and three replicas', async () => {
    await admin.createTopics({
      waitForLeaders: true,
      topics: [{ topic, numPartitions: t.PARTITIONS, replicationFactor: t.REPLICAS }],
    });
  }, { vital: true });

  await t.check('a socket.io client produces 10,000 records through the server', async () => {
    const { url, close } = await serve(topic);
    const socket = await dial(url);
    // One socket event is one Produce request: keep a bounded number going.
    for (let i = 0; i < t.RECORDS; i += 250) {
      for (const r of t.records(250, i)) socket.emit('to-kafka', { number: r.i, text: r.value });
      await t.until(async () => (await endOffsets()) >= i + 250, 60,
        () => `not ${i + 250} records`);
    }
    socket.close();
    await close();
    return `${await endOffsets()} records`;
  }, { seconds: 180, vital: true });

  const group = t.unique('group');
  await t.check('the server consumes them all', async () => {
    const seen = [];
    const { server, close } = await serve(topic);
    server.newConsumer(group);
    server.Consumers[group].consume((m) => seen.push(JSON.parse(m.value)), topic);
    await t.until(() => seen.length >= t.RECORDS, 60, () => `${seen.length} records came`);
    await close();
    const numbers = new Set(seen.map((s) => s.number));
    t.equal([seen.length, numbers.size], [t.RECORDS, t.RECORDS], 'records and different ones');
    if (seen.some((s) => s.text !== t.record(s.number).value)) throw new Error('altered text');
    return `${seen.length} records, complete`;
  });

  await t.check('a second start resumes and emits to a socket.io client', async () => {
    // It emits a record to the clients that connect after it was consumed.
    const { server, url, close } = await serve(topic, group);
    const producer = await dial(url);
    for (const i of [1, 2, 3]) producer.emit('to-kafka', { number: t.RECORDS + i });
    await t.until(async () => (await endOffsets()) === t.RECORDS + 3, 20,
      () => 'the three were not produced');
    const got = new Set();
    const reader = io(url, { forceNew: true, autoConnect: false });
    reader.on('from-kafka', (data) => got.add(JSON.parse(data).number));
    await t.until(async () => {
      reader.disconnect().connect();
      await t.sleep(200);
      return got.size >= 3;
    }, 30, () => `${got.size} of 3 came`);
    producer.close();
    reader.close();
    await close();
    t.equal([...got].sort(), [1, 2, 3].map((i) => t.RECORDS + i), 'numbers');
  });

  await t.check('rebalances when a second server joins and leaves', async () => {
    const two = t.unique('rebalance');
    const owned = { a: [], b: [] };
    const start = async (who) => {
      const it = await serve(topic, two);
      const { consumer } = it.server.Consumers[two];
      consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
        owned[who] = payload.memberAssignment[topic] || [];
      });
      return it;
    };
    const a = await start('a');
    await t.until(() => t.shared(owned.a), 30, () => `the first owns ${owned.a}`);
    const b = await start('b');
    await t.until(() => t.shared(owned.a, owned.b), 60,
      () => `they own ${owned.a} and ${owned.b}`);
    await b.close();
    await t.until(() => t.shared(owned.a), 60, () => `the first owns ${owned.a}`);
    await a.close();
  });

  await admin.disconnect();
});
