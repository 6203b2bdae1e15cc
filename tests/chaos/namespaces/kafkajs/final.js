'use strict';

// The end: everything comes to rest, and the whole topic is read once more.

const REST_S = 60; // a question has an answer, whatever it is
const STALE_S = 30; // nobody has an old view any more
const GROUP_S = 60; // the group has read everything
const READ_S = 60;

/**
 * Offsets from and to which each partition reaches.  A leader that was replaced
 * and has not heard of it may still say an end of old, so it is asked again while
 * there was more; in the end the judge decides.
 */
async function extent(run, admin) {
  const late = Date.now() + STALE_S * 1000;
  for (;;) {
    try {
      const found = await run.bounded(admin.fetchTopicOffsets(run.topic), 10, 'asking for ends');
      const ends = found.map(({ partition, low, high }) => (
        { partition, low: Number(low), high: Number(high) }));
      if (Date.now() > late || ends.every(({ partition, high }) => (
        high >= (run.history.promised[partition] || 0)))) return ends;
      run.history.note('an end of old');
    } catch (error) {
      run.history.note('no ends yet:', error.message);
    }
    await run.pause(500);
  }
}

function behind(ends, done) {
  return ends.filter(({ partition, low, high }) => high > low && (done[partition] || 0) < high)
    .map(({ partition, high }) => `partition ${partition} at ${done[partition] || 0} of ${high}`)
    .join(', ');
}

async function readAll(run, ends) {
  const done = [];
  const consumer = run.kafka('final').consumer({
    groupId: `${run.topic}-final`, maxWaitTimeInMs: 200, sessionTimeout: 10000,
    allowAutoTopicCreation: false,
    retry: { initialRetryTime: 100, maxRetryTime: 1000, retries: 20 },
  });
  const reader = run.history.readers++;
  await run.bounded(consumer.connect(), 20, 'connecting the last reader');
  await consumer.subscribe({ topic: run.topic, fromBeginning: true });
  await consumer.run({
    autoCommit: false,
    eachBatch: async ({ batch }) => {
      run.history.batch(reader, batch.partition, batch.fetchedOffset);
      for (const message of batch.messages) {
        if (Number(message.offset) >= ends[batch.partition].high) break;
        run.history.read(reader, batch.partition, message);
        done[batch.partition] = Number(message.offset) + 1;
      }
    },
  });
  await run.until(() => !behind(ends, done), READ_S,
    () => `the last reader is behind: ${behind(ends, done)}`);
  await run.bounded(consumer.disconnect(), 15, 'leaving').catch(() => {});
}

async function finish(run, lanes, members) {
  const { history } = run;
  await run.bounded(Promise.all(lanes), REST_S, 'sends have an answer');
  const admin = run.kafka('last-words').admin();
  await run.until(() => admin.connect().then(() => true, () => false), REST_S,
    () => 'no admin client');
  const ends = (await run.bounded(extent(run, admin), REST_S, 'asking for ends'))
    .sort((a, b) => a.partition - b.partition);
  await run.until(() => !behind(ends, history.given), GROUP_S,
    () => `the group is behind: ${behind(ends, history.given)}`);
  run.over = true;
  await run.bounded(Promise.all(members), 60, 'members leave');
  await run.until(() => admin.fetchOffsets({ groupId: run.group, topics: [run.topic] })
    .then(() => true, () => false), REST_S, () => 'nobody says what was committed');
  history.line('final-start');
  await readAll(run, ends);
  for (const { partition, low, high } of ends) history.line('final', 0, partition, low, high);
  history.end();
}

module.exports = { finish };
