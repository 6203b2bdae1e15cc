'use strict';

// kafka-node's plain Consumer resumes from the offsets that it committed.
//
// It commits and asks in version 0, which is older than coordinators, sends
// these requests to the leaders of the partitions, takes every error for "no
// offset", and begins at 0 then.  So whatever broker it asks has to give the
// right answer, also when the coordinator has just died.
//
// This suite has a cluster of its own, CLUSTER, whose nodes it kills; node I
// listens at the I-th address of BOOTSTRAP.

const { execFile } = require('child_process');
const path = require('path');
const { promisify } = require('util');
const kafka = require('kafka-node');
const t = require('./lib.js');
const { connect, metadataOf, create, produce } = require('./kafka-node-lib.js');

const COUNT = 9000;
const END = COUNT / t.PARTITIONS; // of each partition
const topic = t.unique('records');
const NODES = t.bootstrap.map((_, i) => i + 1);

/** scripts/cluster WORD NODE */
async function cluster(word, node) {
  await promisify(execFile)(path.join(process.env.LEAT_TOP, 'scripts', 'cluster'),
    [word, String(node), '--dir', process.env.CLUSTER]);
}

/** Addresses of all nodes but one. */
const without = (node) => t.bootstrap.filter((_, i) => i + 1 !== node).join(',');

async function withClient(host, work) {
  const client = await connect(host);
  try {
    return await work(client);
  } finally {
    await promisify(client.close.bind(client))();
  }
}

/**
 * A plain Consumer of all three partitions.  `first[p]` is the offset of the
 * first record that it showed, null if there was none; `next[p]` that of the
 * one it wants next.  It pauses when these are `upTo` or more.
 */
class Reader {
  constructor(groupId, upTo, options, host = t.bootstrap.join(',')) {
    this.first = [null, null, null];
    this.error = null;
    this.client = new kafka.KafkaClient({ kafkaHost: host, requestTimeout: 30000 });
    this.consumer = new kafka.Consumer(this.client,
      [0, 1, 2].map((partition) => ({ topic, partition })),
      { groupId, fromOffset: false, keyEncoding: 'utf8', fetchMaxBytes: 8192, ...options });
    this.client.on('error', (error) => { this.error = this.error || error; });
    this.consumer.on('error', (error) => { this.error = this.error || error; });
    this.consumer.on('offsetOutOfRange', (error) => { this.error = error; });
    this.consumer.on('message', (m) => this.take(m, upTo));
  }

  take({ partition, offset, key, value }, upTo) {
    const want = t.record(offset * t.PARTITIONS + partition);
    if (key !== want.key || value !== want.value) {
      this.error = new Error(`partition ${partition} offset ${offset}: ${key}`);
    }
    if (this.first[partition] === null) this.first[partition] = offset;
    if (this.next.every((n) => n >= upTo)) this.consumer.pause();
  }

  get next() {
    return this.consumer.payloads.map((p) => p.offset);
  }

  /** Waits until it has paused and what was asked for before has come. */
  async stopped(upTo) {
    await t.until(() => this.error || this.next.every((n) => n >= upTo), 40,
      () => `it wants ${this.next} next`);
    this.consumer.pause();
    // What has arrived is shown some turns of the loop later.
    let quiet = 0;
    await t.until(() => {
      const waits = Object.values(this.client.longpollingBrokers).some((b) => b.socket.waiting);
      quiet = waits ? 0 : quiet + 1;
      return this.error || quiet > 2;
    }, 20, () => 'a fetch is still under way');
    if (this.error) throw this.error;
    return this.next;
  }

  commit() {
    return promisify((done) => this.consumer.commit(true, done))();
  }

  close(commit = false) {
    return promisify((done) => this.consumer.close(commit, done))();
  }
}

/** Reads up to offset `upTo` and a bit, and leaves that behind as committed. */
async function readPart(groupId, upTo, { auto = false, host } = {}) {
  const reader = new Reader(groupId, upTo,
    auto ? { autoCommit: true, autoCommitIntervalMs: 50 } : { autoCommit: false }, host);
  const next = await reader.stopped(upTo);
  if (next.every((n) => n === END)) throw new Error('it has read everything');
  if (!auto) await reader.commit();
  await reader.close(auto);
  return { first: reader.first, next };
}

/**
 * A Consumer has begun where the one before ended.  A partition from which that
 * one had read `upTo` already, since partitions are read unevenly, need not have
 * shown anything when the others had as much.
 */
function begunAt(from, { first }, upTo = END) {
  const wanted = from.map((n, p) => (n < upTo || (n < END && first[p] !== null) ? n : null));
  t.equal(first, wanted, 'the first offsets of the next Consumer');
}

/** A new Consumer resumes and reads the rest. */
async function readRest(groupId, from) {
  const reader = new Reader(groupId, END, { autoCommit: false });
  await reader.stopped(END);
  await reader.close();
  begunAt(from, reader);
}

const coordinatorOf = (group) => withClient(undefined, async (client) =>
  (await promisify(client.sendGroupCoordinatorRequest.bind(client))(group)).coordinatorId);

/** A group that this node coordinates. */
async function groupAt(node, what) {
  for (let i = 0; i < 200; i++) {
    const group = t.unique(`${what}-${i}`);
    if (await coordinatorOf(group) === node) return group;
  }
  throw new Error(`no group of 200 is coordinated by node ${node}`);
}

async function topicNames() {
  return withClient(undefined, async (client) => {
    const [, { metadata }] = await promisify(client.loadMetadataForTopics.bind(client))([]);
    return Object.keys(metadata);
  });
}

t.suite(async () => {
  await t.check('a topic whose partitions are led by three nodes', async () => {
    await create(topic);
    await produce(kafka.Producer, topic, t.records(COUNT));
    const leaders = await withClient(undefined, async (client) =>
      (await metadataOf(client, topic)).map((p) => p.leader));
    t.equal(leaders.sort(), NODES, 'leaders');
  }, { vital: true });

  await t.check('the first Consumer of a cluster begins at 0 and resumes', async () => {
    const group = t.unique('first');
    const names = await topicNames();
    if (names.includes('__consumer_offsets')) throw new Error('there are offsets already');
    const part = await readPart(group, END / 2);
    begunAt([0, 0, 0], part);
    await readRest(group, part.next);
    return `resumed at ${part.next}`;
  });

  for (const node of NODES) {
    await t.check(`resumes after commit() in a group of node ${node}`, async () => {
      const group = await groupAt(node, 'explicit');
      const { next } = await readPart(group, END / 2);
      await readRest(group, next);
      return `resumed at ${next}`;
    });

    await t.check(`resumes after autoCommit in a group of node ${node}`, async () => {
      const group = await groupAt(node, 'auto');
      const { next } = await readPart(group, END / 2, { auto: true });
      await readRest(group, next);
      return `resumed at ${next}`;
    });
  }

  await t.check('newer clients see what it committed', async () => {
    const group = await groupAt(2, 'seen');
    const { next } = await readPart(group, END / 3);
    const stored = await withClient(undefined, (client) => {
      const offset = new kafka.Offset(client);
      return promisify(offset.fetchCommitsV1.bind(offset))(
        group, [0, 1, 2].map((partition) => ({ topic, partition })));
    });
    t.equal([0, 1, 2].map((p) => stored[topic][p]), next, 'committed');
  });

  for (const node of NODES) {
    await t.check(`resumes when node ${node}, its coordinator, was killed in between`, async () => {
      const group = await groupAt(node, 'killed');
      const { next } = await readPart(group, END / 3);
      await cluster('kill', node);
      let second;
      try {
        second = await readPart(group, 2 * END / 3, { host: without(node) });
      } finally {
        await cluster('start', node);
      }
      begunAt(next, second, 2 * END / 3);
      await t.until(() => withClient(t.bootstrap[node - 1], async (client) =>
        (await metadataOf(client, topic)).every((p) => p.isr.length === 3 && p.leader >= 0))
        .catch(() => false), 40, () => 'the node does not follow');
      await readRest(group, second.next);
      return `resumed at ${next} without it, at ${second.next} with it`;
    });
  }
});
