'use strict';

// What the suites of kafka-node share.

const { promisify } = require('util');
const kafka = require('kafka-node');
const t = require('./lib.js');

const kafkaHost = t.bootstrap.join(',');

// kafka-node reports to its logger what it also reports to its caller.
const quiet = () => {};
require('kafka-node/logging').setLoggerProvider(
  () => ({ debug: quiet, info: quiet, warn: quiet, error: quiet }));

/** A client whose metadata is loaded. */
function connect(host = kafkaHost) {
  const client = new kafka.KafkaClient({ kafkaHost: host, requestTimeout: 15000 });
  return new Promise((resolve, reject) => {
    client.once('ready', () => resolve(client));
    client.once('error', reject);
  });
}

async function metadataOf(client, name) {
  const [, { metadata }] = await promisify(client.loadMetadataForTopics.bind(client))([name]);
  return Object.values(metadata[name] || {});
}

/**
 * Creates a topic and waits until each broker knows it and each leader leads:
 * kafka-node gives up where newer clients try again.
 */
async function create(name) {
  const client = await connect();
  const result = await promisify(client.createTopics.bind(client))(
    [{ topic: name, partitions: t.PARTITIONS, replicationFactor: t.REPLICAS }]);
  if (result && result.length) throw new Error(JSON.stringify(result));
  for (const host of t.bootstrap) {
    const one = await connect(host);
    await t.until(async () => {
      const partitions = await metadataOf(one, name);
      return partitions.length === t.PARTITIONS &&
        partitions.every((p) => p.leader >= 0 && p.replicas.length === 3 && p.isr.length === 3);
    }, 20, () => `the replicas are not all in sync in the eyes of ${host}`);
    await promisify(one.close.bind(one))();
  }
  const offset = new kafka.Offset(client);
  const latest = promisify(offset.fetchLatestOffsets.bind(offset));
  await promisify(client.refreshMetadata.bind(client))([name]);
  await t.until(() => latest([name]).then(() => true, () => false), 20,
    () => 'a leader does not lead');
  await promisify(client.close.bind(client))();
}

/** Sends records with an explicit partition; attributes 1 is gzip. */
async function produce(Kind, name, list, { attributes = 0, requireAcks = -1 } = {}) {
  const client = await connect();
  const producer = new Kind(client, { requireAcks, ackTimeoutMs: 5000 });
  const send = promisify(producer.send.bind(producer));
  if (!producer.ready) await new Promise((resolve) => producer.once('ready', resolve));
  await promisify(client.refreshMetadata.bind(client))([name]);
  let answer;
  for (let i = 0; i < list.length; i += 500) {
    const part = list.slice(i, i + 500);
    answer = await send([0, 1, 2].map((partition) => ({
      topic: name, partition, attributes,
      messages: part.filter((r) => r.partition === partition)
        .map((r) => new kafka.KeyedMessage(r.key, r.value)),
    })).filter((p) => p.messages.length > 0));
  }
  await promisify(producer.close.bind(producer))();
  return answer;
}

module.exports = { kafkaHost, connect, metadataOf, create, produce };
