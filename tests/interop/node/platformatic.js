'use strict';

// @platformatic/kafka: admin, idempotent and compressed producing, streams of a
// consumer group.  It asks for the newest version of every call.  With
// GROUP_PROTOCOL=consumer only groups, by the protocol of KIP-848.

const {
  Admin, Consumer, Producer, ConfigResourceTypes,
  stringSerializers, stringDeserializers,
} = require('@platformatic/kafka');
const t = require('./lib.js');

const options = {
  clientId: 'interop', bootstrapBrokers: t.bootstrap, retries: 10, retryDelay: 100,
};
const admin = new Admin({ ...options, strict: true });
const modern = process.env.GROUP_PROTOCOL === 'consumer';
const unique = (what) => t.unique(modern ? `modern-${what}` : what);
const topic = unique('records');

async function create(name) {
  await admin.createTopics({ topics: [name], partitions: t.PARTITIONS, replicas: t.REPLICAS });
}

async function produce(name, list, extra = {}) {
  const producer = new Producer({ ...options, serializers: stringSerializers, ...extra });
  for (let i = 0; i < list.length; i += 500) {
    const messages = list.slice(i, i + 500).map(
      ({ partition, key, value, headers }) => ({ topic: name, partition, key, value, headers }));
    await producer.send({ acks: -1, messages });
  }
  await producer.close();
}

// The new protocol leaves sessions and heartbeats to the broker.
const groupOptions = modern ? { groupProtocol: 'consumer' }
  : { sessionTimeout: 10000, rebalanceTimeout: 10000, heartbeatInterval: 200 };

const headersOf = (m) => Object.fromEntries(m.headers);

/** A member of a group with one stream; records go to `each`. */
async function member(groupId, name, each, extra = {}) {
  const consumer = new Consumer({
    ...options, groupId, deserializers: stringDeserializers,
    maxWaitTime: 200, ...groupOptions,
  });
  const stream = await consumer.consume({
    topics: [name], mode: 'committed', fallbackMode: 'earliest', autocommit: 100, ...extra,
  });
  const self = {
    consumer, stream,
    get owned() {
      return (consumer.assignments || []).flatMap((a) => a.topic === name ? a.partitions : []);
    },
    async close() {
      await stream.close();
      await consumer.close();
    },
  };
  stream.on('error', (error) => { self.error = error; });
  stream.on('data', (m) => each(m.partition, m, self));
  return self;
}

async function readAll(name, count) {
  const ledger = new t.Ledger();
  const reader = await member(unique(`read-${name}`), name,
    (p, m) => ledger.add(p, m.key, m.value, headersOf(m)));
  const detail = await ledger.complete(count);
  await reader.close();
  return detail;
}

async function topicChecks() {
  await t.check('creates a topic with three partitions and three replicas', async () => {
    await create(topic);
    await t.until(async () => {
      const metadata = await admin.metadata({ topics: [topic], forceUpdate: true });
      const { partitions } = metadata.topics.get(topic);
      return partitions.length === t.PARTITIONS &&
        partitions.every((p) => p.replicas.length === 3 && p.isr.length === 3);
    }, 20, () => 'the replicas are not all in sync');
    return topic;
  }, { vital: true });

  await t.check('admin lists topics and describes their configuration', async () => {
    t.equal((await admin.listTopics()).includes(topic), true, 'listed');
    const [described] = await admin.describeConfigs({
      resources: [{
        resourceType: ConfigResourceTypes.TOPIC, resourceName: topic,
        configurationKeys: ['cleanup.policy'],
      }],
    });
    t.equal(described.configs.map((c) => [c.name, c.value]),
      [['cleanup.policy', 'delete']], 'the configuration');
  });

  await t.check('admin adds partitions and deletes a topic', async () => {
    const name = unique('grows');
    await create(name);
    const ids = [...(await admin.metadata({ topics: [name] })).brokers.keys()];
    const assignments = [0, 1].map(() => ({ brokerIds: ids.slice(0, t.REPLICAS) }));
    await admin.createPartitions({ topics: [{ name, count: 5, assignments }] });
    await t.until(async () => (await admin.metadata({ topics: [name], forceUpdate: true }))
      .topics.get(name).partitions.length === 5, 10, () => 'not 5 partitions');
    await admin.deleteTopics({ topics: [name] });
    await t.until(async () => !(await admin.listTopics()).includes(name), 10,
      () => 'the topic is still listed');
  });
}

async function recordChecks() {
  await t.check('produces 10,000 records with keys and headers', async () => {
    await produce(topic, t.records(t.RECORDS));
    const [{ partitions }] = await admin.listOffsets({
      topics: [{
        name: topic,
        partitions: [0, 1, 2].map((partitionIndex) => ({ partitionIndex, timestamp: -1n })),
      }],
    });
    t.equal(partitions.sort((a, b) => a.partitionIndex - b.partitionIndex)
      .map((p) => p.offset), [3334, 3333, 3333], 'end offsets');
  }, { vital: true });

  await t.check('consumes them back complete and in order',
    () => readAll(topic, t.RECORDS));

  for (const compression of ['none', 'gzip', 'snappy', 'lz4', 'zstd']) {
    await t.check(`compression ${compression} produces and consumes`, async () => {
      const name = unique(`compressed-${compression}`);
      await create(name);
      await produce(name, t.records(1500), { compression });
      return readAll(name, 1500);
    });
  }

  await t.check('idempotent producer writes each record once', async () => {
    const name = unique('idempotent');
    await create(name);
    await produce(name, t.records(t.RECORDS), { idempotent: true });
    return readAll(name, t.RECORDS);
  });
}

async function groupChecks() {
  await t.check('resumes from committed offsets', async () => {
    const groupId = unique('resume');
    const first = new t.Ledger();
    let last = null;
    const one = await member(groupId, topic, (p, m) => {
      if (first.count === 4000) return;
      first.add(p, m.key, m.value, headersOf(m));
      last = m;
    }, { autocommit: false });
    await t.until(() => first.count === 4000 || first.error, 30,
      () => `${first.count} records came`);
    if (first.error) throw first.error;
    const offsets = first.next.map((next, partition) => ({
      topic, partition, offset: BigInt((next - partition) / t.PARTITIONS),
      leaderEpoch: last.leaderEpoch,
    }));
    await one.consumer.commit({ offsets });
    await one.close();

    const rest = new t.Ledger({ next: first.next });
    const two = await member(groupId, topic,
      (p, m) => rest.add(p, m.key, m.value, headersOf(m)));
    const detail = await rest.complete(t.RECORDS - first.count);
    await two.close();
    return `${first.count} then ${detail}`;
  });

  await t.check('a stream paused and resumed misses nothing', async () => {
    const ledger = new t.Ledger();
    let pauses = 0;
    const reader = await member(unique('pause'), topic, (p, m, { stream }) => {
      ledger.add(p, m.key, m.value, headersOf(m));
      if (ledger.count % 2500 === 0) {
        pauses++;
        stream.pause();
        setTimeout(() => stream.resume(), 100);
      }
    });
    await ledger.complete(t.RECORDS);
    await reader.close();
    return `${pauses} pauses`;
  });

  await t.check('rebalances when a second member joins and leaves', async () => {
    const name = unique('rebalance');
    const group = unique('rebalance');
    const tally = new t.Tally();
    await create(name);
    const a = await member(group, name, (_, m) => tally.add('a', m.key));
    await t.until(() => t.shared(a.owned), 20, () => `the first owns ${a.owned}`);
    const b = await member(group, name, (_, m) => tally.add('b', m.key));
    await t.until(() => t.shared(a.owned, b.owned), 30,
      () => `they own ${a.owned} and ${b.owned}`);

    await produce(name, t.records(300));
    await t.until(() => tally.has(t.records(300)), 20, () => `${tally.seen.size} of 300 came`);
    // A fetch of the first that was waiting before the second joined may bring
    // all of what comes first.
    for (let at = 1000; at < 2500 && !(tally.by('a') && tally.by('b')); at += 300) {
      await produce(name, t.records(300, at));
      await t.until(() => tally.has(t.records(300, at)), 20, () => `not all from ${at} on came`);
    }
    if (!tally.by('a') || !tally.by('b')) throw new Error('one member read nothing');
    if (!modern) {
      const described = (await admin.describeGroups({ groups: [group] })).get(group);
      t.equal([described.state, described.members.size], ['Stable', 2], 'the group');
    }

    await b.close();
    await t.until(() => t.shared(a.owned), 30, () => `the first owns ${a.owned}`);
    await produce(name, t.records(300, 300));
    await t.until(() => tally.has(t.records(600)), 20, () => `${tally.seen.size} of 600 came`);
    await a.close();
    return `${tally.by('a')} and ${tally.by('b')} records`;
  });

  await t.check('admin lists and deletes a group', async () => {
    const group = unique('resume');
    const types = [modern ? 'consumer' : 'classic'];
    t.equal((await admin.listGroups({ types })).has(group), true, 'listed');
    const [stored] = await admin.listConsumerGroupOffsets({ groups: [group] });
    t.equal(stored.topics[0].partitions.length, t.PARTITIONS, 'partitions with offsets');
    await admin.deleteGroups({ groups: [group] });
    t.equal((await admin.listGroups({ types })).has(group), false, 'listed after delete');
  });
}

t.suite(async () => {
  await topicChecks();
  if (modern) await produce(topic, t.records(t.RECORDS));
  else await recordChecks();
  await groupChecks();
  await admin.close();
});
