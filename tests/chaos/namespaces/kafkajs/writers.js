'use strict';

// Producers of three kinds.
//
// The idempotent one keeps a promise only if its user helps: kafkajs gives a
// failed batch's sequence numbers to whatever is sent to that partition next, so
// no two sends to a partition may be under way at once, and after a send that it
// has given up (it tries again for ever, but not after every error) the producer
// must be replaced.  So each partition is a lane of its own, in which one send
// follows the other.
//
// The others send to all partitions at once and may write a record twice.
// kafkajs may resolve such a send without an answer for some partition, when
// that has moved to a broker which had answered already; these records are
// unknown.

const { record } = require('./history.js');

const BROKER_MS = 2500; // a little less than requestTimeout

class Writer {
  constructor(run, id, acks) {
    Object.assign(this, { run, id, acks, number: 0 });
  }

  /** The next records, as many as are asked for, to a partition. */
  records(partition, count, { session = -1, sequence = -1 } = {}) {
    const timestamp = Date.now();
    return Array.from({ length: count }, (_, i) => {
      const number = this.number++;
      this.run.history.line('sent', 0, this.id, number, partition, this.acks,
        session, session < 0 ? -1 : sequence + i, timestamp);
      return { ...record(this.id, number), partition, timestamp: String(timestamp), number };
    });
  }

  /** Sends and notes what became of it; false if that is not known of all. */
  async send(producer, messages) {
    try {
      const answers = await producer.send({
        topic: this.run.topic,
        acks: this.acks,
        timeout: BROKER_MS,
        messages: messages.map(({ key, value, partition, timestamp }) => (
          { key, value, partition, timestamp })),
      });
      return this.answered(messages, answers);
    } catch (error) {
      for (const m of messages) this.unknown(m, error.message);
      this.run.counts.failed++;
      return false;
    }
  }

  answered(messages, answers) {
    const next = new Map(answers.filter((a) => a.topicName === this.run.topic)
      .map((a) => [a.partition, Number(a.baseOffset)]));
    let known = true;
    for (const m of messages) {
      const offset = next.get(m.partition);
      if (offset === undefined) {
        this.unknown(m, 'no answer');
        known = false;
      } else {
        this.run.history.acked(this.id, m.number, m.partition, offset, this.acks === -1);
        if (offset >= 0) next.set(m.partition, offset + 1);
      }
    }
    return known;
  }

  unknown(message, why) {
    this.run.history.line('unknown', 0, this.id, message.number,
      why.replace(/\s+/g, ' ').slice(0, 100) || 'unknown');
  }
}

class IdempotentWriter extends Writer {
  constructor(run, id) {
    super(run, id, -1);
    this.producer = null; // being made, or made
  }

  start() {
    return this.run.partitions.map((p) => this.lane(p));
  }

  async lane(partition) {
    const { run } = this;
    let mine = null;
    let session, sequence;
    while (!run.stopping) {
      const current = await this.current();
      if (!current) break;
      if (current !== mine) {
        this.release(mine);
        mine = current;
        mine.lanes++;
        session = run.history.session(this.id);
        sequence = 0;
      }
      const count = run.random(1, 5);
      const messages = this.records(partition, count, { session, sequence });
      sequence += count;
      if (!await this.send(mine, messages)) this.retire(mine);
      await run.pause(run.random(30, 150));
    }
    this.release(mine);
  }

  /** The producer that new sends use; null when it is time to end. */
  async current() {
    while (!this.run.stopping) {
      if (!this.producer) this.producer = this.make();
      const made = this.producer;
      try {
        return await made;
      } catch (error) {
        if (this.producer === made) this.producer = null;
        this.run.history.note('no producer:', error.message);
        await this.run.pause(500);
      }
    }
    return null;
  }

  async make() {
    const producer = this.run.kafka('idempotent').producer({
      idempotent: true,
      allowAutoTopicCreation: false,
      retry: { retries: Number.MAX_SAFE_INTEGER }, // or kafkajs warns
    });
    await this.run.bounded(producer.connect(), 20, 'connecting a producer')
      .catch((error) => { this.run.forget(producer); throw error; });
    this.run.counts.producers++;
    return { send: (request) => producer.send(request), producer, lanes: 0, retired: false };
  }

  retire(made) {
    if (made.retired) return;
    made.retired = true;
    this.producer = null;
  }

  release(made) {
    if (made && --made.lanes === 0 && made.retired) this.run.forget(made.producer);
  }
}

class PlainWriter extends Writer {
  start() {
    return [this.loop()];
  }

  async loop() {
    const { run } = this;
    const producer = run.kafka(`acks${this.acks}`).producer({ allowAutoTopicCreation: false });
    let connected = false;
    while (!run.stopping) {
      try {
        if (!connected) await run.bounded(producer.connect(), 20, 'connecting a producer');
        connected = true;
      } catch (error) {
        run.history.note('no producer:', error.message);
        await run.pause(500);
        continue;
      }
      const messages = run.partitions.flatMap((p) => this.records(p, run.random(1, 3)));
      await this.send(producer, messages);
      await run.pause(run.random(200, 500));
    }
  }
}

module.exports = { IdempotentWriter, PlainWriter };
