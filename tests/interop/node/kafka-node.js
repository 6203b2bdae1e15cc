'use strict';

// kafka-node 5.0.0, a client of 2015: message sets instead of batches, no
// headers, Produce and Fetch up to version 2.  createTopics, Producer,
// HighLevelProducer, Consumer, ConsumerGroup.

const { promisify } = require('util');
const kafka = require('kafka-node');
const t = require('./lib.js');
const { kafkaHost, connect, metadataOf, create, produce } = require('./kafka-node-lib.js');

const topic = t.unique('records');

// It has no headers.  When a second broker answers before the first one's
// records are decoded, it asks the first again from the same offset, so it can
// show a record twice.
const ledger = (next) => new t.Ledger({ next, headers: false, repeats: true });

/** Reads a whole topic with the plain Consumer, from offset 0. */
async function readAll(name, count, from = [0, 0, 0], next = undefined) {
  const client = await connect();
  const all = ledger(next);
  const consumer = new kafka.Consumer(client,
    from.map((offset, partition) => ({ topic: name, partition, offset })),
    { autoCommit: false, fromOffset: true, keyEncoding: 'utf8' });
  consumer.on('error', (error) => { all.error = error; });
  consumer.on('message', (m) => all.add(m.partition, m.key, m.value));
  try {
    return await all.complete(count);
  } finally {
    await promisify((done) => consumer.close(false, done))();
  }
}

/** A member of a group; `owned` follows its assignment. */
async function member(groupId, name, each, options = {}) {
  const group = new kafka.ConsumerGroup({
    kafkaHost, groupId, fromOffset: 'earliest', keyEncoding: 'utf8',
    sessionTimeout: 10000, heartbeatInterval: 200, autoCommitIntervalMs: 100,
    protocol: ['roundrobin'], ...options,
  }, [name]);
  const self = {
    group, error: null,
    get owned() {
      return group.ready && !group.connecting ? group.topicPayloads.map((p) => p.partition) : [];
    },
    // The event loop of a fetch calls back after close(), so wait it out.
    close: (commit = true) => new Promise((resolve, reject) => group.close(commit,
      (error) => (error ? reject(error) : resolve()))),
  };
  group.on('error', (error) => { self.error = error; });
  group.on('message', (m) => each(m.partition, m, self));
  await t.until(() => self.owned.length > 0 || self.error, 30, () => 'no assignment');
  if (self.error) throw self.error;
  return self;
}

/** The offsets that a group has committed in the three partitions. */
async function committed(group) {
  const client = await connect();
  const offset = new kafka.Offset(client);
  const stored = await promisify(offset.fetchCommitsV1.bind(offset))(
    group, [0, 1, 2].map((partition) => ({ topic, partition })));
  await promisify(client.close.bind(client))();
  return [0, 1, 2].map((p) => stored[topic][p]);
}

async function recordChecks() {
  await t.check('createTopics makes three partitions and three replicas',
    () => create(topic), { vital: true });

  await t.check('createTopics reports a topic that exists', async () => {
    const client = await connect();
    const [result] = await promisify(client.createTopics.bind(client))(
      [{ topic, partitions: 1, replicationFactor: 1 }]);
    await promisify(client.close.bind(client))();
    if (!result || !/already exists/.test(result.error)) {
      throw new Error(`answered ${JSON.stringify(result)}`);
    }
    return result.error;
  });

  await t.check('Producer sends 10,000 records with keys', async () => {
    const answer = await produce(kafka.Producer, topic, t.records(t.RECORDS));
    t.equal(Object.keys(answer[topic]).sort(), ['0', '1', '2'], 'partitions answered');
  }, { vital: true });

  await t.check('Consumer receives them complete and in order',
    () => readAll(topic, t.RECORDS));

  await t.check('Consumer starts at an offset', () => readAll(topic, 1000,
    [3000, 3000, 3000], [9000, 9001, 9002]));

  await t.check('Offset tells the first and the last offset', async () => {
    const client = await connect();
    const offset = new kafka.Offset(client);
    const fetch = (time) => promisify(offset.fetch.bind(offset))(
      [0, 1, 2].map((partition) => ({ topic, partition, time, maxNum: 1 })));
    const [last, first] = [await fetch(-1), await fetch(-2)];
    await promisify(client.close.bind(client))();
    t.equal([0, 1, 2].map((p) => last[topic][p][0]), [3334, 3333, 3333], 'last');
    t.equal([0, 1, 2].map((p) => first[topic][p][0]), [0, 0, 0], 'first');
  });

  await t.check('HighLevelProducer sends 10,000 records', async () => {
    const name = t.unique('high-level');
    await create(name);
    await produce(kafka.HighLevelProducer, name, t.records(t.RECORDS));
    return readAll(name, t.RECORDS);
  });

  await t.check('HighLevelProducer spreads records over the partitions', async () => {
    const name = t.unique('cyclic');
    await create(name);
    const client = await connect();
    const producer = new kafka.HighLevelProducer(client, { requireAcks: -1, ackTimeoutMs: 5000 });
    const send = promisify(producer.send.bind(producer));
    await promisify(client.refreshMetadata.bind(client))([name]);
    for (let i = 0; i < 9; i++) await send([{ topic: name, messages: `round ${i}` }]);
    const ends = await promisify((done) => new kafka.Offset(client).fetchLatestOffsets(
      [name], done))();
    await promisify(client.close.bind(client))();
    t.equal(Object.values(ends[name]), [3, 3, 3], 'records per partition');
  });

  await t.check('gzip message sets come back complete and in order', async () => {
    const name = t.unique('gzip');
    await create(name);
    await produce(kafka.Producer, name, t.records(1500), { attributes: 1 });
    return readAll(name, 1500);
  });

  await t.check('acks 0 delivers without an answer', async () => {
    const name = t.unique('acks-0');
    await create(name);
    await produce(kafka.Producer, name, t.records(300), { requireAcks: 0 });
    return readAll(name, 300);
  });

  await t.check('a topic is created by asking for its metadata', async () => {
    const name = t.unique('auto');
    const client = await connect();
    const producer = new kafka.Producer(client);
    await promisify((done) => producer.createTopics([name], done))();
    await t.until(async () => (await metadataOf(client, name)).length > 0, 20,
      () => 'no partitions');
    await promisify(client.close.bind(client))();
  });
}

async function groupChecks() {
  await t.check('ConsumerGroup receives 10,000 records complete and in order', async () => {
    const all = ledger();
    const one = await member(t.unique('group'), topic, (p, m) => all.add(p, m.key, m.value));
    const detail = await all.complete(t.RECORDS);
    await one.close();
    return detail;
  });

  await t.check('ConsumerGroup resumes from committed offsets', async () => {
    const group = t.unique('resume');
    const first = ledger();
    const one = await member(group, topic, (p, m, self) => {
      first.add(p, m.key, m.value);
      if (first.count >= 4000) self.group.pause();
    }, { autoCommit: false });
    await t.until(() => first.count >= 4000 || first.error, 30,
      () => `${first.count} records came`);
    // What was asked for before the pause still comes.
    await t.until(() => one.group._pendingFetches <= 0, 20, () => 'a fetch is still under way');
    if (first.error) throw first.error;
    await promisify((done) => one.group.commit(true, done))();
    await one.close(false);
    const offsets = await committed(group);
    const sum = offsets.reduce((x, y) => x + y);
    if (sum < 1000 || sum > first.count) throw new Error(`committed ${offsets}`);

    const rest = ledger(offsets.map((offset, p) => offset * t.PARTITIONS + p));
    const two = await member(group, topic, (p, m) => rest.add(p, m.key, m.value));
    const detail = await rest.complete(t.RECORDS - sum);
    await two.close();
    return `${sum} then ${detail}`;
  });

  await t.check('ConsumerGroup rebalances when a second member joins and leaves', async () => {
    const name = t.unique('rebalance');
    const group = t.unique('rebalance');
    const tally = new t.Tally();
    await create(name);
    const a = await member(group, name, (_, m) => tally.add('a', m.key));
    await t.until(() => t.shared(a.owned), 20, () => `the first owns ${a.owned}`);
    const b = await member(group, name, (_, m) => tally.add('b', m.key));
    await t.until(() => t.shared(a.owned, b.owned), 30,
      () => `they own ${a.owned} and ${b.owned}`);

    await produce(kafka.Producer, name, t.records(300));
    await t.until(() => tally.has(t.records(300)), 20, () => `${tally.seen.size} of 300 came`);
    if (!tally.by('a') || !tally.by('b')) throw new Error('one member read nothing');

    await b.close();
    await t.until(() => t.shared(a.owned), 30, () => `the first owns ${a.owned}`);
    await produce(kafka.Producer, name, t.records(300, 300));
    await t.until(() => tally.has(t.records(600)), 20, () => `${tally.seen.size} of 600 came`);
    await a.close();
    return `${tally.by('a')} and ${tally.by('b')} records`;
  });
}

t.suite(async () => {
  await recordChecks();
  await groupChecks();
});
