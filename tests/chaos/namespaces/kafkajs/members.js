'use strict';

// Members of a group, which read from the start, commit what they have
// processed as kafkajs does it by itself, and come and go: some say good-bye,
// others vanish and are missed when their session has timed out.  A consumer
// that kafkajs gives up is replaced.

class Member {
  constructor(run, slot) {
    Object.assign(this, { run, slot, incarnation: 0 });
  }

  async start() {
    const { run } = this;
    while (!run.over) {
      try {
        await this.live();
      } catch (error) {
        run.history.note('member', this.slot, 'fails:', error.message);
        await run.pause(500);
      }
    }
  }

  async live() {
    const { run } = this;
    const client = `member-${this.slot}-${++this.incarnation}`;
    const consumer = run.kafka(client).consumer({
      groupId: run.group,
      sessionTimeout: 6000,
      heartbeatInterval: 500,
      rebalanceTimeout: 6000,
      maxWaitTimeInMs: 500,
      allowAutoTopicCreation: false,
      retry: { initialRetryTime: 100, maxRetryTime: 1000, retries: 10 },
    });
    const died = new Promise((resolve) => {
      consumer.on(consumer.events.CRASH, ({ payload }) => {
        run.counts.crashes++;
        run.history.note(client, 'crashes:', payload.error.message);
        if (!payload.restart) resolve();
      });
    });
    try {
      await run.bounded(consumer.connect(), 20, 'connecting a consumer');
      await consumer.subscribe({ topic: run.topic, fromBeginning: true });
      const reader = run.history.readers++;
      await run.bounded(consumer.run({
        autoCommitInterval: 500,
        eachBatchAutoResolve: false,
        eachBatch: (payload) => this.take(reader, payload),
      }), 60, 'joining');
      await Promise.race([died, this.life()]);
    } finally {
      if (!run.stopping && run.random(0, 1)) run.tap.vanish(client);
      run.counts.members++;
      await run.bounded(consumer.disconnect(), 15, 'leaving').catch(() => {});
    }
  }

  /** Members stay when the end has come: somebody has to read the rest. */
  async life() {
    const { run } = this;
    const end = Date.now() + run.random(4000, 16000);
    while (!run.over && (run.stopping || Date.now() < end)) await run.pause(200);
  }

  async take(reader, { batch, resolveOffset, commitOffsetsIfNecessary, heartbeat, isRunning,
    isStale }) {
    const { history, group } = this.run;
    history.batch(reader, batch.partition, batch.fetchedOffset);
    for (const message of batch.messages) {
      if (!isRunning() || isStale()) break;
      history.read(reader, batch.partition, message);
      history.delivered(group, batch.partition, message.offset);
      resolveOffset(message.offset);
    }
    await commitOffsetsIfNecessary();
    await heartbeat();
  }
}

module.exports = { Member };
