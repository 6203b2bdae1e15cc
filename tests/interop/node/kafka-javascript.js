'use strict';

// @confluentinc/kafka-javascript: librdkafka behind the interface of kafkajs.

const { KafkaJS: { Kafka, logLevel } } = require('@confluentinc/kafka-javascript');
const t = require('./lib.js');

const kafka = new Kafka({
  kafkaJS: { clientId: 'interop', brokers: t.bootstrap, logLevel: logLevel.NOTHING },
});
const admin = kafka.admin();
const topic = t.unique('records');

const message = ({ partition, key, value, headers }) => ({ partition, key, value, headers });

const create = (name) => admin.createTopics({
  topics: [{ topic: name, numPartitions: t.PARTITIONS, replicationFactor: t.REPLICAS }],
});

async function produce(name, list, options = {}) {
  const producer = kafka.producer({ kafkaJS: { idempotent: true, ...options } });
  await producer.connect();
  for (let i = 0; i < list.length; i += 500) {
    await producer.send({ topic: name, messages: list.slice(i, i + 500).map(message) });
  }
  await producer.disconnect();
}

/** A running member of a group; its `owned()` are the partitions it has now. */
async function member(groupId, name, each, config = {}) {
  const consumer = kafka.consumer({
    kafkaJS: {
      groupId, fromBeginning: true, sessionTimeout: 10000, heartbeatInterval: 300, ...config,
    },
  });
  await consumer.connect();
  await consumer.subscribe({ topic: name });
  await consumer.run({ eachMessage: async ({ partition, message: m }) => each(partition, m) });
  return { consumer, owned: () => consumer.assignment().map((a) => a.partition) };
}

async function readAll(name, count) {
  const ledger = new t.Ledger();
  const { consumer } = await member(t.unique(`read-${name}`), name,
    (p, m) => ledger.add(p, m.key, m.value, flat(m.headers)));
  try {
    return await ledger.complete(count);
  } finally {
    await consumer.disconnect();
  }
}

/** Each header may be there more than once, so its value is a list. */
function flat(headers) {
  return Object.fromEntries(Object.entries(headers || {}).map(([k, v]) => [k, [v].flat()[0]]));
}

async function resume() {
  const group = t.unique('resume');
  const first = new t.Ledger();
  const one = await member(group, topic, (p, m) => {
    if (first.count < 4000) first.add(p, m.key, m.value, flat(m.headers));
  }, { autoCommit: false });
  await t.until(() => first.count >= 4000 || first.error, 60, () => `${first.count} records came`);
  if (first.error) throw first.error;
  await one.consumer.commitOffsets(first.next.map((next, partition) => (
    { topic, partition, offset: String((next - partition) / t.PARTITIONS) })));
  await one.consumer.disconnect();
  const rest = new t.Ledger({ next: first.next });
  const two = await member(group, topic,
    (p, m) => rest.add(p, m.key, m.value, flat(m.headers)));
  try {
    return `${first.count} then ${await rest.complete(t.RECORDS - first.count)}`;
  } finally {
    await two.consumer.disconnect();
  }
}

async function rebalance() {
  const name = t.unique('rebalance');
  await create(name);
  const tally = new t.Tally();
  const a = await member(name, name, (_, m) => tally.add('a', m.key));
  await t.until(() => a.owned().length === 3, 40, () => 'the first has not all');
  const b = await member(name, name, (_, m) => tally.add('b', m.key));
  await t.until(() => t.shared(a.owned(), b.owned()), 40, () => 'they do not share');
  await produce(name, t.records(300));
  await t.until(() => tally.has(t.records(300)), 40, () => `${tally.seen.size} of 300`);
  await b.consumer.disconnect();
  await t.until(() => a.owned().length === 3, 40, () => 'the first has not all');
  await produce(name, t.records(300, 300));
  await t.until(() => tally.has(t.records(600)), 40, () => `${tally.seen.size} of 600`);
  await a.consumer.disconnect();
  return `${tally.by('a')} and ${tally.by('b')} records`;
}

/** Three transactions, the second one aborted, each with a group's offset. */
async function transactions() {
  const name = t.unique('transactions');
  const group = t.unique('offsets');
  await create(name);
  const reader = await member(group, topic, () => {}, { autoCommit: false });
  await t.until(() => reader.owned().length === 3, 40, () => 'no assignment');
  const producer = kafka.producer({
    kafkaJS: { transactionalId: t.unique('id') },
  });
  await producer.connect();
  for (const n of [0, 1, 2]) {
    const transaction = await producer.transaction();
    await transaction.send({ topic: name, messages: t.records(300, n * 300).map(message) });
    await transaction.sendOffsets({
      consumer: reader.consumer,
      topics: [{ topic, partitions: [{ partition: 0, offset: String(10 + n % 2 * 100) }] }],
    });
    await (n === 1 ? transaction.abort() : transaction.commit());
  }
  await producer.disconnect();
  await reader.consumer.disconnect();
  const tally = new t.Tally();
  const all = await member(t.unique('committed'), name, (_, m) => tally.add('all', m.key));
  const wanted = [...t.records(300), ...t.records(300, 600)];
  await t.until(() => tally.has(wanted), 40, () => `${tally.seen.size} of 600`);
  await t.sleep(300);
  await all.consumer.disconnect();
  t.equal(tally.seen.size, 600, 'committed records');
  const [stored] = await admin.fetchOffsets({ groupId: group, topics: [topic] });
  t.equal(stored.partitions.find((p) => p.partition === 0).offset, '10', 'offset');
}

t.suite(async () => {
  await t.check('writes 10,000 records with keys and headers', async () => {
    await admin.connect();
    await create(topic);
    await produce(topic, t.records(t.RECORDS));
  }, { vital: true });
  await t.check('consumes them back complete and in order', () => readAll(topic, t.RECORDS));
  for (const compression of ['gzip', 'snappy', 'lz4', 'zstd']) {
    await t.check(`compression ${compression} produces and consumes`, async () => {
      const name = t.unique(`compressed-${compression}`);
      await create(name);
      await produce(name, t.records(1500), { compression });
      return readAll(name, 1500);
    });
  }
  await t.check('resumes from committed offsets', resume);
  await t.check('a group rebalances when a second member joins and leaves', rebalance);
  await t.check('transactions are committed and aborted, offsets with them', transactions);
  await t.check('a topic is deleted', async () => {
    await admin.deleteTopics({ topics: [topic] });
    await t.until(async () => !(await admin.listTopics()).includes(topic), 20,
      () => 'it is still listed');
    await admin.disconnect();
  });
});
