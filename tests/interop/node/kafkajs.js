'use strict';

// kafkajs 2.2.4: admin, producer with every compression, idempotent producer,
// consumer group with seek, pause, resume and fromBeginning.

const { Kafka, CompressionTypes, CompressionCodecs, ConfigResourceTypes, logLevel } =
  require('kafkajs');
const lz4 = require('lz4-napi');
const zstd = require('@bokuweb/zstd-wasm');
const t = require('./lib.js');

// kafkajs brings gzip along and takes the others as plug-ins.
CompressionCodecs[CompressionTypes.Snappy] = require('kafkajs-snappy');
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: (encoder) => lz4.compressFrame(encoder.buffer),
  decompress: (buffer) => lz4.decompressFrame(buffer),
});
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async (encoder) => Buffer.from(zstd.compress(encoder.buffer, 3)),
  decompress: async (buffer) => Buffer.from(zstd.decompress(buffer)),
});

const kafka = new Kafka({
  clientId: 'interop', brokers: t.bootstrap, logLevel: logLevel.NOTHING,
  retry: { initialRetryTime: 50, retries: 10 },
});
const admin = kafka.admin();
const topic = t.unique('records');

const message = ({ partition, key, value, headers }) => ({ partition, key, value, headers });

async function create(name, numPartitions = t.PARTITIONS) {
  await admin.createTopics({
    waitForLeaders: true,
    topics: [{ topic: name, numPartitions, replicationFactor: t.REPLICAS }],
  });
}

/** Sends records in batches of 500 and returns what the brokers answered. */
async function produce(name, list, { compression, ...options } = {}) {
  const producer = kafka.producer({
    createPartitioner: () => ({ message: m }) => m.partition, ...options,
  });
  const answers = [];
  await producer.connect();
  for (let i = 0; i < list.length; i += 500) {
    const messages = list.slice(i, i + 500).map(message);
    answers.push(...await producer.send({ topic: name, acks: -1, compression, messages }));
  }
  await producer.disconnect();
  return answers;
}

/**
 * A running member of a group.  `owned` is what it was assigned last; each
 * record goes to `each`.
 */
async function member(groupId, name, each, { fromBeginning = true, ...config } = {}) {
  const consumer = kafka.consumer({
    groupId, sessionTimeout: 10000, heartbeatInterval: 200, maxWaitTimeInMs: 200,
    rebalanceTimeout: 10000,
  });
  const self = { consumer, owned: [] };
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
    self.owned = payload.memberAssignment[name] || [];
  });
  await consumer.connect();
  await consumer.subscribe({ topic: name, fromBeginning });
  await consumer.run({
    eachMessage: async ({ partition, message: m }) => each(partition, m, consumer),
    ...config,
  });
  await t.until(() => self.owned.length > 0, 30, () => 'no assignment');
  return self;
}

/** Reads a whole topic with a group of its own. */
async function readAll(name, count) {
  const ledger = new t.Ledger();
  const { consumer } = await member(t.unique(`read-${name}`), name,
    (p, m) => ledger.add(p, m.key, m.value, m.headers));
  try {
    return await ledger.complete(count);
  } finally {
    await consumer.disconnect();
  }
}

async function adminChecks() {
  await t.check('creates a topic with three partitions and three replicas', async () => {
    await admin.connect();
    await create(topic);
    await t.until(async () => {
      const { topics } = await admin.fetchTopicMetadata({ topics: [topic] });
      return topics[0].partitions.length === t.PARTITIONS &&
        topics[0].partitions.every((p) => p.leader >= 0 && p.replicas.length === 3 &&
          p.isr.length === 3);
    }, 20, () => 'the replicas are not all in sync');
    return topic;
  }, { vital: true });

  await t.check('admin describes the cluster', async () => {
    const { brokers, controller, clusterId } = await admin.describeCluster();
    if (brokers.length < 3) throw new Error(`${brokers.length} brokers`);
    if (!brokers.some((b) => b.nodeId === controller)) {
      throw new Error(`controller ${controller} is not among the brokers`);
    }
    return `${brokers.length} brokers, cluster ${clusterId}`;
  });

  await t.check('admin refuses a topic that exists', async () => {
    const made = await admin.createTopics({ topics: [{ topic }] });
    t.equal(made, false, 'createTopics of an existing topic');
  });

  await t.check('admin changes and describes a topic\'s configuration', async () => {
    const resource = { type: ConfigResourceTypes.TOPIC, name: topic };
    await admin.alterConfigs({
      resources: [{ ...resource, configEntries: [{ name: 'retention.ms', value: '86400000' }] }],
    });
    await t.until(async () => {
      const { resources } = await admin.describeConfigs({
        resources: [{ ...resource, configNames: ['retention.ms'] }],
      });
      return resources[0].configEntries[0].configValue === '86400000';
    }, 10, () => 'retention.ms is not 86400000');
  });

  await t.check('admin adds partitions, lists and deletes a topic', async () => {
    const name = t.unique('grows');
    await create(name, 1);
    await admin.createPartitions({ topicPartitions: [{ topic: name, count: 4 }] });
    await t.until(async () => (await admin.fetchTopicMetadata({ topics: [name] }))
      .topics[0].partitions.length === 4, 10, () => 'not 4 partitions');
    await admin.deleteTopics({ topics: [name] });
    await t.until(async () => !(await admin.listTopics()).includes(name), 10,
      () => 'the topic is still listed');
  });
}

async function recordChecks() {
  await t.check('produces 10,000 records with keys and headers', async () => {
    const answers = await produce(topic, t.records(t.RECORDS));
    const wrong = answers.find((a) => a.errorCode !== 0);
    if (wrong) throw new Error(JSON.stringify(wrong));
    const ends = (await admin.fetchTopicOffsets(topic))
      .sort((a, b) => a.partition - b.partition).map((o) => o.high);
    t.equal(ends, ['3334', '3333', '3333'], 'end offsets');
  }, { vital: true });

  await t.check('consumes them back complete and in order',
    () => readAll(topic, t.RECORDS));

  for (const type of ['None', 'GZIP', 'Snappy', 'LZ4', 'ZSTD']) {
    await t.check(`compression ${type.toLowerCase()} produces and consumes`, async () => {
      const name = t.unique(`compressed-${type}`);
      await create(name);
      await produce(name, t.records(1500), { compression: CompressionTypes[type] });
      return readAll(name, 1500);
    });
  }

  await t.check('idempotent producer writes each record once', async () => {
    const name = t.unique('idempotent');
    await create(name);
    await produce(name, t.records(t.RECORDS), { idempotent: true, maxInFlightRequests: 1 });
    return readAll(name, t.RECORDS);
  });
}

async function groupChecks() {
  await t.check('resumes from committed offsets', async () => {
    const group = t.unique('resume');
    const first = new t.Ledger();
    let stopped = false;
    const one = await member(group, topic, (p, m, consumer) => {
      if (stopped) return;
      first.add(p, m.key, m.value, m.headers);
      if (first.count === 4000) {
        stopped = true;
        consumer.pause([{ topic }]);
      }
    }, { autoCommit: false });
    await t.until(() => stopped || first.error, 30, () => `${first.count} records came`);
    if (first.error) throw first.error;
    const committed = first.next.map((next, partition) => (
      { topic, partition, offset: String((next - partition) / t.PARTITIONS) }));
    await one.consumer.commitOffsets(committed);
    await one.consumer.disconnect();

    const [stored] = await admin.fetchOffsets({ groupId: group, topics: [topic] });
    t.equal(stored.partitions.sort((a, b) => a.partition - b.partition)
      .map((p) => p.offset), committed.map((c) => c.offset), 'stored offsets');

    const rest = new t.Ledger({ next: first.next });
    const two = await member(group, topic, (p, m) => rest.add(p, m.key, m.value, m.headers));
    try {
      return `${first.count} then ${await rest.complete(t.RECORDS - first.count)}`;
    } finally {
      await two.consumer.disconnect();
    }
  });

  await t.check('seek moves a running consumer', async () => {
    const got = [];
    const { consumer } = await member(t.unique('seek'), topic, (partition, m) => {
      if (partition === 1) got.push(Number(m.offset));
    });
    await t.until(() => got.includes(3332), 30, () => 'partition 1 was not read to its end');
    got.length = 0;
    consumer.seek({ topic, partition: 1, offset: '3000' });
    await t.until(() => got.includes(3332), 30, () => `${got.length} records after seek`);
    await consumer.disconnect();
    t.equal(got, Array.from({ length: 333 }, (_, i) => 3000 + i), 'offsets after seek');
    return '333 records from offset 3000';
  });

  await t.check('pause holds a partition back and resume continues it', async () => {
    const name = t.unique('pause');
    await create(name);
    const seen = [0, 0, 0];
    const { consumer } = await member(t.unique('pause'), name, (p) => { seen[p]++; });
    const sum = () => seen.reduce((a, b) => a + b);
    await produce(name, t.records(30));
    await t.until(() => sum() === 30, 20, () => `${sum()} of 30 records came`);
    consumer.pause([{ topic: name, partitions: [2] }]);
    await produce(name, t.records(300, 30));
    await t.until(() => seen[0] + seen[1] === 220, 20, () => `${seen} records came`);
    await t.sleep(500);
    t.equal(seen, [110, 110, 10], 'records while partition 2 is paused');
    consumer.resume([{ topic: name, partitions: [2] }]);
    await t.until(() => seen[2] === 110, 20, () => `${seen[2]} of 110 records came`);
    await consumer.disconnect();
  });

  await t.check('fromBeginning false gives only what comes after', async () => {
    const name = t.unique('latest');
    await create(name);
    await produce(name, t.records(30));
    const got = new Set();
    const { consumer } = await member(t.unique('latest'), name,
      (_, m) => got.add(t.text(m.key)), { fromBeginning: false });
    // It is placed at the end by its first fetches; a record is sure to be new
    // for it once one has come.
    let sent = 30;
    await t.until(async () => {
      await produce(name, t.records(3, sent));
      sent += 3;
      return got.size > 0;
    }, 20, () => 'no new record came');
    await consumer.disconnect();
    const old = t.records(30).filter((r) => got.has(r.key));
    t.equal(old, [], 'records from before');
  });

  await t.check('rebalances when a second member joins and leaves', async () => {
    const name = t.unique('rebalance');
    const group = t.unique('rebalance');
    const tally = new t.Tally();
    await create(name);
    const a = await member(group, name, (_, m) => tally.add('a', m.key));
    await t.until(() => t.shared(a.owned), 20, () => `the first owns ${a.owned}`);
    const b = await member(group, name, (_, m) => tally.add('b', m.key));
    await t.until(() => t.shared(a.owned, b.owned), 30,
      () => `they own ${a.owned} and ${b.owned}`);

    await produce(name, t.records(300));
    await t.until(() => tally.has(t.records(300)), 20, () => `${tally.seen.size} of 300 came`);
    if (!tally.by('a') || !tally.by('b')) throw new Error('one member read nothing');
    const { groups } = await admin.describeGroups([group]);
    t.equal([groups[0].state, groups[0].members.length], ['Stable', 2], 'the group');

    await b.consumer.disconnect();
    await t.until(() => t.shared(a.owned), 30, () => `the first owns ${a.owned}`);
    await produce(name, t.records(300, 300));
    await t.until(() => tally.has(t.records(600)), 20, () => `${tally.seen.size} of 600 came`);
    await a.consumer.disconnect();
    return `${tally.by('a')} and ${tally.by('b')} records`;
  });

  await t.check('admin lists, moves and deletes a group\'s offsets', async () => {
    const groupId = t.unique('resume');
    const { groups } = await admin.listGroups();
    if (!groups.some((g) => g.groupId === groupId)) throw new Error('the group is not listed');
    await admin.resetOffsets({ groupId, topic, earliest: true });
    await admin.setOffsets({ groupId, topic, partitions: [{ partition: 0, offset: '17' }] });
    const [stored] = await admin.fetchOffsets({ groupId, topics: [topic] });
    t.equal(stored.partitions.find((p) => p.partition === 0).offset, '17', 'the offset');
    await admin.deleteGroups([groupId]);
    const after = await admin.listGroups();
    t.equal(after.groups.some((g) => g.groupId === groupId), false, 'listed after delete');
  });

  await t.check('admin deletes the records before an offset', async () => {
    await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: '1000' }] });
    const offsets = await admin.fetchTopicOffsets(topic);
    t.equal(offsets.find((o) => o.partition === 0).low, '1000', 'the first offset');
  });
}

t.suite(async () => {
  await zstd.init();
  await adminChecks();
  await recordChecks();
  await groupChecks();
  await admin.disconnect();
});
