'use strict';

// What the services share.  Each is a process of its own; it says on which port
// it listens when it is ready.

const { Kafka, logLevel } = require('kafkajs');

function connect(clientId) {
  return new Kafka({
    clientId, brokers: process.env.BOOTSTRAP.split(','), logLevel: logLevel.NOTHING,
    retry: { initialRetryTime: 50, retries: 20 },
  });
}

function listen(app) {
  const server = app.listen(0, '127.0.0.1', () => {
    console.log(`listening ${server.address().port}`);
  });
}

let readers = 0;

/** A consumer of a topic that is in no group with others. */
async function reader(kafka, topic) {
  const consumer = kafka.consumer({
    groupId: `${topic}-reader-${process.pid}-${readers++}`, maxWaitTimeInMs: 200,
  });
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  return consumer;
}

/** Applies all events of a topic up to its end, then goes on as they come. */
async function replay(kafka, topic, apply) {
  const admin = kafka.admin();
  await admin.connect();
  const ends = await admin.fetchTopicOffsets(topic);
  await admin.disconnect();
  const left = new Map(ends.filter((e) => Number(e.high) > Number(e.low))
    .map((e) => [e.partition, Number(e.high)]));
  const consumer = await reader(kafka, topic);
  await new Promise((resolve, reject) => {
    if (left.size === 0) resolve();
    consumer.run({
      eachMessage: async ({ partition, message }) => {
        apply(JSON.parse(message.value));
        if (Number(message.offset) + 1 >= left.get(partition)) left.delete(partition);
        if (left.size === 0) resolve();
      },
    }).catch(reject);
  });
}

/** Records with a time in [from, to), found by the brokers' index of times. */
async function readBetween(kafka, topic, from, to, each) {
  const admin = kafka.admin();
  await admin.connect();
  const begins = await admin.fetchTopicOffsetsByTimestamp(topic, from);
  const ends = await admin.fetchTopicOffsets(topic);
  await admin.disconnect();
  const left = new Map(ends.map((e) => [e.partition, Number(e.high)]));
  for (const { partition, offset } of begins) {
    // kafkajs has already put the end where nothing is that new.
    if (Number(offset) >= left.get(partition)) left.delete(partition);
  }
  if (left.size === 0) return;
  const consumer = await reader(kafka, topic);
  await new Promise((resolve, reject) => {
    consumer.run({
      eachBatch: async ({ batch, resolveOffset }) => {
        for (const message of batch.messages) {
          const time = Number(message.timestamp);
          if (left.has(batch.partition) && time >= from && time < to) each(message);
          resolveOffset(message.offset);
        }
        if (Number(batch.lastOffset()) + 1 >= left.get(batch.partition)) {
          left.delete(batch.partition);
        }
        if (left.size === 0) resolve();
      },
    }).catch(reject);
    for (const { partition, offset } of begins) consumer.seek({ topic, partition, offset });
  });
  await consumer.disconnect();
}

module.exports = { connect, listen, replay, readBetween };
