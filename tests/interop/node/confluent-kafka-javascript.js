'use strict';

// @confluentinc/kafka-javascript, librdkafka for Node.js: its API that is like
// kafkajs's, with groups of both protocols, and the one with callbacks that
// comes from node-rdkafka.

const rdkafka = require('@confluentinc/kafka-javascript');
const t = require('./lib.js');

const { Kafka, CompressionTypes, logLevel } = rdkafka.KafkaJS;
const kafka = new Kafka({
  kafkaJS: { clientId: 'interop', brokers: t.bootstrap, logLevel: logLevel.NOTHING },
  'topic.metadata.refresh.interval.ms': 1000,
});
const servers = { 'metadata.broker.list': t.bootstrap.join(','), 'log_level': 0 };
const admin = kafka.admin();
const topic = t.unique('records');

/** Members of the new protocol leave these times to the broker. */
const CLASSIC = { sessionTimeout: 10000, heartbeatInterval: 200 };
const PROTOCOLS = {
  classic: { kafkaJS: CLASSIC },
  consumer: { 'group.protocol': 'consumer' },
};

const message = ({ partition, key, value, headers }) => ({ partition, key, value, headers });
const total = (partitions) => partitions.reduce((sum, p) => sum + Number(p.offset), 0);

// ---- the API that is like kafkajs's ----

async function create(name, numPartitions = t.PARTITIONS) {
  const made = await admin.createTopics({
    topics: [{ topic: name, numPartitions, replicationFactor: t.REPLICAS }],
  });
  t.equal(made, true, `createTopics of ${name}`);
  await t.until(async () => {
    const [found] = await admin.fetchTopicMetadata({ topics: [name] });
    return found.partitions.length === numPartitions &&
      found.partitions.every((p) => p.leader >= 0 && p.isr.length === t.REPLICAS);
  }, 20, () => `the replicas of ${name} are not all in sync`);
}

async function withProducer(options, work) {
  const producer = kafka.producer({ kafkaJS: options });
  await producer.connect();
  try {
    return await work(producer);
  } finally {
    await producer.disconnect();
  }
}

/** Sends records and returns where the brokers put the first of each partition. */
function produce(name, list, options = {}) {
  return withProducer({ acks: -1, ...options }, (producer) =>
    producer.send({ topic: name, messages: list.map(message) }));
}

/** A running member of a group; each record goes to `each`. */
async function member(groupId, name, each, { protocol = 'classic', ...options } = {}) {
  const base = PROTOCOLS[protocol];
  const consumer = kafka.consumer({
    ...base,
    kafkaJS: { groupId, fromBeginning: true, autoCommitInterval: 200, ...base.kafkaJS, ...options },
  });
  await consumer.connect();
  await consumer.subscribe({ topics: [name] });
  await consumer.run({ eachMessage: async ({ partition, message: m }) => each(partition, m) });
  return { consumer, owned: () => consumer.assignment().map((p) => p.partition) };
}

const taker = (ledger) => (p, m) => ledger.add(p, m.key, m.value, m.headers);

/** Reads a whole topic with a group of its own. */
async function readAll(name, count, options = {}) {
  const ledger = new t.Ledger();
  const group = `read-${options.protocol}-${name}`;
  const { consumer } = await member(group, name, taker(ledger), options);
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
    const again = await admin.createTopics({ topics: [{ topic }] });
    t.equal(again, false, 'createTopics of an existing topic');
    return `librdkafka ${rdkafka.librdkafkaVersion}`;
  }, { vital: true });

  await t.check('admin lists and deletes a topic', async () => {
    const name = t.unique('gone');
    await create(name, 1);
    await t.until(async () => (await admin.listTopics()).includes(name), 10,
      () => 'the topic is not listed');
    await admin.deleteTopics({ topics: [name] });
    await t.until(async () => !(await admin.listTopics()).includes(name), 10,
      () => 'the topic is still listed');
  });
}

async function recordChecks() {
  await t.check('produces 10,000 records with keys and headers', async () => {
    const answers = await produce(topic, t.records(t.RECORDS));
    t.equal(answers.map((a) => [a.errorCode, a.baseOffset]), Array(3).fill([0, '0']), 'answers');
    const ends = (await admin.fetchTopicOffsets(topic))
      .sort((a, b) => a.partition - b.partition).map((o) => o.high);
    t.equal(ends, ['3334', '3333', '3333'], 'end offsets');
  }, { vital: true });

  for (const protocol of Object.keys(PROTOCOLS)) {
    await t.check(`a member of the ${protocol} protocol reads them complete and in order`,
      () => readAll(topic, t.RECORDS, { protocol }));
  }

  for (const type of Object.keys(CompressionTypes)) {
    await t.check(`compression ${type.toLowerCase()} produces and consumes 10,000`, async () => {
      const name = t.unique(`compressed-${type}`);
      await create(name);
      await produce(name, t.records(t.RECORDS), { compression: CompressionTypes[type] });
      return readAll(name, t.RECORDS);
    });
  }

  await t.check('idempotent producer writes each record once', async () => {
    const name = t.unique('idempotent');
    await create(name);
    await produce(name, t.records(t.RECORDS), { idempotent: true });
    t.equal(total((await admin.fetchTopicOffsets(name))), t.RECORDS, 'end offsets');
    return readAll(name, t.RECORDS);
  });
}

async function resume() {
  const group = t.unique('resume');
  const first = new t.Ledger();
  const one = await member(group, topic, (p, m) => {
    if (first.count < 4000) taker(first)(p, m);
  }, { autoCommit: false });
  await t.until(() => first.count === 4000 || first.error, 30, () => `${first.count} came`);
  if (first.error) throw first.error;
  const committed = first.next.map((next, partition) => (
    { topic, partition, offset: String((next - partition) / t.PARTITIONS) }));
  await one.consumer.commitOffsets(committed);
  await one.consumer.disconnect();

  const [stored] = await admin.fetchOffsets({ groupId: group, topics: [topic] });
  t.equal(stored.partitions.sort((a, b) => a.partition - b.partition)
    .map((p) => p.offset), committed.map((c) => c.offset), 'stored offsets');

  const rest = new t.Ledger({ next: first.next });
  const two = await member(group, topic, taker(rest));
  const detail = await rest.complete(t.RECORDS - first.count);
  await two.consumer.disconnect(); // commits the last ones
  const [end] = await admin.fetchOffsets({ groupId: group, topics: [topic] });
  t.equal(total(end.partitions), t.RECORDS, 'offsets at the end');
  return `${first.count} then ${detail}`;
}

async function rebalance(protocol) {
  const name = t.unique(`rebalance-${protocol}`);
  const tally = new t.Tally();
  await create(name);
  const join = (who) => member(name, name, (_, m) => tally.add(who, m.key), { protocol });
  const a = await join('a');
  await t.until(() => t.shared(a.owned()), 40, () => `the first owns ${a.owned()}`);
  const b = await join('b');
  await t.until(() => t.shared(a.owned(), b.owned()), 40,
    () => `they own ${a.owned()} and ${b.owned()}`);

  await produce(name, t.records(300));
  await t.until(() => tally.has(t.records(300)), 20, () => `${tally.seen.size} of 300 came`);
  if (!tally.by('a') || !tally.by('b')) throw new Error('one member read nothing');
  const { groups } = await admin.describeGroups([name]);
  t.equal(groups[0].members.length, 2, 'members');

  await b.consumer.disconnect();
  await t.until(() => t.shared(a.owned()), 40, () => `the first owns ${a.owned()}`);
  await produce(name, t.records(300, 300));
  await t.until(() => tally.has(t.records(600)), 20, () => `${tally.seen.size} of 600 came`);
  await a.consumer.disconnect();
  return `${tally.by('a')} and ${tally.by('b')} records`;
}

async function groupChecks() {
  await t.check('resumes from committed offsets', resume);
  for (const protocol of Object.keys(PROTOCOLS)) {
    await t.check(`a group of the ${protocol} protocol rebalances when a second joins and leaves`,
      () => rebalance(protocol));
  }
  await t.check('admin lists and deletes a group', async () => {
    const group = t.unique('resume');
    const listed = async () =>
      (await admin.listGroups()).groups.some((g) => g.groupId === group);
    await t.until(listed, 10, () => 'the group is not listed');
    await admin.deleteGroups([group]);
    t.equal(await listed(), false, 'listed after delete');
  });
  await t.check('admin deletes the records before an offset', async () => {
    const name = t.unique('idempotent');
    await admin.deleteTopicRecords({
      topic: name, partitions: [{ partition: 0, offset: '1000' }],
    });
    const offsets = await admin.fetchTopicOffsets(name);
    t.equal(offsets.find((o) => o.partition === 0).low, '1000', 'the first offset');
  });
}

// ---- transactions ----

const COPIED = 2000;

/** Some records of a partition, and where the group goes on, in a transaction. */
async function copy(producer, consumer, name, { partition, messages }, commit) {
  const transaction = await producer.transaction();
  await transaction.send({
    topic: name,
    messages: messages.map(({ key, value, headers }) => ({ partition, key, value, headers })),
  });
  await transaction.sendOffsets({
    consumer,
    topics: [{ topic, partitions: [{
      partition, offset: String(Number(messages[messages.length - 1].offset) + 1),
    }] }],
  });
  await (commit ? transaction.commit() : transaction.abort());
}

/** Copies the first records of the topic; every fifth transaction is aborted
 *  and made again. */
async function transform() {
  const [name, groupId] = [t.unique('copy'), t.unique('copiers')];
  const seen = { copied: 0, commits: 0, aborts: 0 };
  await create(name);
  const consumer = kafka.consumer({
    kafkaJS: { groupId, fromBeginning: true, autoCommit: false, ...CLASSIC },
    'js.consumer.max.batch.size': 100,
  });
  await withProducer({ transactionalId: t.unique('copier'), idempotent: true },
    async (producer) => {
      await consumer.connect();
      await consumer.subscribe({ topics: [topic] });
      let last = Promise.resolve();
      const step = async (batch) => {
        if (seen.copied >= COPIED) return;
        if ((seen.commits + seen.aborts) % 5 === 4) {
          await copy(producer, consumer, name, batch, false);
          seen.aborts++;
        }
        await copy(producer, consumer, name, batch, true);
        seen.commits++;
        seen.copied += batch.messages.length;
      };
      await consumer.run({
        eachBatch: ({ batch }) => { last = last.then(() => step(batch)); return last; },
      });
      await t.until(() => seen.copied >= COPIED, 60, () => `${seen.copied} are copied`);
      await last;
    });
  const [{ partitions }] = await admin.fetchOffsets({ groupId, topics: [topic] });
  await consumer.disconnect();
  t.equal(total(partitions), seen.copied, 'offsets of the group');
  await readAll(name, seen.copied);
  return `${seen.copied} records, ${seen.commits} commits, ${seen.aborts} aborts`;
}

async function fenced() {
  const name = t.unique('fenced');
  await create(name);
  const options = { transactionalId: name, idempotent: true };
  const send = (transaction, list) =>
    transaction.send({ topic: name, messages: list.map(message) });
  await withProducer(options, async (old) => {
    const open = await old.transaction();
    await send(open, t.records(300));
    await withProducer(options, async (young) => {
      const next = await young.transaction();
      await send(next, t.records(600));
      await next.commit();
    });
    const error = await open.commit().then(() => null, (e) => e);
    if (!error) throw new Error('the older producer still commits');
    t.equal(error.code, rdkafka.CODES.ERRORS.ERR__FENCED, error.message);
  });
  return readAll(name, 600);
}

async function transactionChecks() {
  await t.check('consumes, transforms, produces in transactions with sendOffsets', transform);
  await t.check('an older producer of the same transactional id is fenced', fenced);
}

// ---- the API with callbacks ----

function connected(client) {
  return new Promise((resolve, reject) => {
    client.connect({ timeout: 20000 }, (error) => (error ? reject(error) : resolve(client)));
  });
}

const disconnected = (client) => new Promise((resolve) => { client.disconnect(resolve); });

async function produceByCallbacks(name, list) {
  const producer = await connected(new rdkafka.Producer({
    ...servers, 'enable.idempotence': true, dr_cb: true, 'linger.ms': 5,
  }));
  const reports = [];
  producer.on('delivery-report', (error, report) => reports.push(error || report));
  producer.setPollInterval(20);
  for (const r of list) {
    const headers = Object.entries(r.headers).map(([k, v]) => ({ [k]: v }));
    producer.produce(name, r.partition, Buffer.from(r.value), r.key, 0, r.i, headers);
  }
  await t.until(() => reports.length === list.length, 60, () => `${reports.length} reports`);
  await disconnected(producer);
  // Each report has its record's number, and the offset that belongs to it.
  const wrong = reports.find((r) => r.offset !== Math.floor(r.opaque / t.PARTITIONS) ||
    r.partition !== r.opaque % t.PARTITIONS);
  if (wrong) throw new Error(`report ${JSON.stringify(wrong)}`);
}

/**
 * Reads until a ledger has so many records, and commits.  To the end of the topic
 * in flowing mode, else by hundreds: a client that disconnects with records on
 * their way to `data` never ends.
 */
async function consumeByCallbacks(group, name, ledger, count) {
  const consumer = await connected(new rdkafka.KafkaConsumer({
    ...servers, 'group.id': group, 'enable.auto.commit': false,
    'heartbeat.interval.ms': 200,
  }, { 'auto.offset.reset': 'earliest' }));
  const take = (m) =>
    ledger.add(m.partition, m.key, m.value, Object.assign({}, ...m.headers));
  consumer.subscribe([name]);
  if (count === t.RECORDS) {
    consumer.on('data', take);
    consumer.consume();
    await t.until(() => ledger.error || ledger.count >= count, 60, () => `${ledger.count} came`);
  } else {
    const some = (n) => new Promise((resolve, reject) => {
      consumer.consume(n, (error, list) => (error ? reject(error) : resolve(list)));
    });
    await t.until(async () => {
      (await some(Math.min(100, count - ledger.count))).forEach(take);
      return ledger.error || ledger.count >= count;
    }, 60, () => `${ledger.count} came`);
  }
  consumer.commitSync(ledger.next.map((next, partition) => (
    { topic: name, partition, offset: (next - partition) / t.PARTITIONS })));
  await disconnected(consumer);
  if (ledger.error) throw ledger.error;
}

async function callbackChecks() {
  const name = t.unique('callbacks');
  await t.check('callbacks: produces 10,000 records, each with its report', async () => {
    await create(name);
    await produceByCallbacks(name, t.records(t.RECORDS));
  });
  await t.check('callbacks: consumes complete and in order, resumes', async () => {
    const ledger = new t.Ledger();
    await consumeByCallbacks(name, name, ledger, 4000);
    await consumeByCallbacks(name, name, ledger, t.RECORDS);
    t.equal(ledger.count, t.RECORDS, 'records');
    return '4000 then 6000 records';
  });
  await t.check('callbacks: metadata and watermarks', async () => {
    const client = await connected(new rdkafka.Producer(servers));
    const ask = (call, ...words) => new Promise((resolve, reject) => {
      client[call](...words, (error, answer) => (error ? reject(error) : resolve(answer)));
    });
    const { brokers, topics } = await ask('getMetadata', { topic: name, timeout: 10000 });
    t.equal([brokers.length, topics[0].partitions.length], [3, t.PARTITIONS], 'metadata');
    const { lowOffset, highOffset } = await ask('queryWatermarkOffsets', name, 0, 10000);
    t.equal([lowOffset, highOffset], [0, 3334], 'watermarks');
    await disconnected(client);
  });
}

t.suite(async () => {
  await adminChecks();
  await recordChecks();
  await groupChecks();
  await transactionChecks();
  await callbackChecks();
  await admin.disconnect();
});
