'use strict';

// kafkajs 2.2.4: consume, transform, produce.  Each batch of what one topic has
// goes to another in a transaction with the offsets (sendOffsets); every fifth
// is aborted and done again.  A reader of committed records (kafkajs's default)
// must see each record once, and in the order of its partition.

const { Kafka, logLevel } = require('kafkajs');
const t = require('./lib.js');

const kafka = new Kafka({
  clientId: 'interop', brokers: t.bootstrap, logLevel: logLevel.NOTHING,
  retry: { initialRetryTime: 50, retries: 10 },
});
const source = t.unique('txn-source');
const target = t.unique('txn-target');
const group = t.unique('txn-group');
const COUNT = 2000;

async function create() {
  const admin = kafka.admin();
  await admin.connect();
  await admin.createTopics({
    waitForLeaders: true,
    topics: [source, target].map((topic) => ({
      topic, numPartitions: t.PARTITIONS, replicationFactor: t.REPLICAS,
    })),
  });
  await admin.disconnect();
}

async function fill() {
  const producer = kafka.producer({ createPartitioner: () => ({ message: m }) => m.partition });
  await producer.connect();
  await producer.send({
    topic: source, acks: -1,
    messages: t.records(COUNT).map(({ partition, key, value }) => ({ partition, key, value })),
  });
  await producer.disconnect();
}

/** One transaction: records of one partition, and the offset behind them. */
async function copy(producer, { partition, messages }, commit) {
  const next = (BigInt(messages[messages.length - 1].offset) + 1n).toString();
  const transaction = await producer.transaction();
  await transaction.send({
    topic: target, acks: -1,
    messages: messages.map(({ key, value }) => ({ partition, key, value })),
  });
  await transaction.sendOffsets({
    consumerGroupId: group, topics: [{ topic: source, partitions: [{ partition, offset: next }] }],
  });
  if (commit) await transaction.commit();
  else await transaction.abort();
}

async function transform() {
  const producer = kafka.producer({
    transactionalId: t.unique('txn-id'), maxInFlightRequests: 1, idempotent: true,
    createPartitioner: () => ({ message: m }) => m.partition,
  });
  const consumer = kafka.consumer({ groupId: group, maxWaitTimeInMs: 100 });
  let copied = 0;
  let commits = 0;
  let aborts = 0;
  await producer.connect();
  await consumer.connect();
  await consumer.subscribe({ topics: [source], fromBeginning: true });
  await consumer.run({
    autoCommit: false,
    eachBatchAutoResolve: false,
    eachBatch: async ({ batch, resolveOffset, heartbeat }) => {
      for (let i = 0; i < batch.messages.length; i += 50) {
        const part = { partition: batch.partition, messages: batch.messages.slice(i, i + 50) };
        if ((commits + aborts) % 5 === 4) {
          await copy(producer, part, false);
          aborts += 1;
        }
        await copy(producer, part, true);
        commits += 1;
        copied += part.messages.length;
        resolveOffset(part.messages[part.messages.length - 1].offset);
        await heartbeat();
      }
    },
  });
  await t.until(() => copied === COUNT, 60, () => `${copied} of ${COUNT} are copied`);
  await consumer.disconnect();
  await producer.disconnect();
  return `${commits} commits, ${aborts} aborts`;
}

async function read() {
  const ledger = new t.Ledger({ headers: false });
  const consumer = kafka.consumer({ groupId: t.unique('txn-reader'), maxWaitTimeInMs: 100 });
  await consumer.connect();
  await consumer.subscribe({ topics: [target], fromBeginning: true });
  await consumer.run({
    eachMessage: async ({ partition, message }) => {
      ledger.add(partition, t.text(message.key), t.text(message.value));
    },
  });
  const detail = await ledger.complete(COUNT);
  await consumer.disconnect();
  return detail;
}

async function offsets() {
  const admin = kafka.admin();
  await admin.connect();
  const [{ partitions }] = await admin.fetchOffsets({ groupId: group, topics: [source] });
  await admin.disconnect();
  t.equal(partitions.reduce((sum, p) => sum + Number(p.offset), 0), COUNT, 'offsets');
}

t.suite(async () => {
  await t.check('creates topics', create, { vital: true });
  await t.check('fills one', fill, { vital: true });
  await t.check('copies it by transactions', transform, { vital: true });
  await t.check('each record once, in order', read);
  await t.check('the group has gone to the end', offsets);
});
