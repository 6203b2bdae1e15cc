'use strict';

// kafkajs on a cluster that is being harmed: an idempotent producer, one with
// acks=all, one with acks=1, and a group of two members, on a topic that is
// there.  What they are shown becomes a history for tests/sim/load/judge.
//
// usage: node main.js BOOTSTRAP TOPIC PARTITIONS HISTORY SEED
//
// Goes on until SIGTERM or the end of standard input, then comes to rest and
// reads everything.  Prints its own counts as JSON.  Exit status: 0, or 3 if it
// did not come to rest; then it says why on standard error.

const { Kafka, logLevel } = require('kafkajs');
const { finish } = require('./final.js');
const { History } = require('./history.js');
const { Member } = require('./members.js');
const { tap } = require('./tap.js');
const { IdempotentWriter, PlainWriter } = require('./writers.js');

const MEMBERS = 2;

class Run {
  constructor([bootstrap, topic, partitions, path, seed]) {
    this.brokers = bootstrap.split(',');
    this.topic = topic;
    this.group = `${topic}-group`;
    this.partitions = Array.from({ length: Number(partitions) }, (_, p) => p);
    this.state = Number(seed) >>> 0 || 1;
    this.history = new History(path);
    this.stopping = false; // nothing new is sent, members stay
    this.over = false; // members leave
    this.counts = { producers: 0, failed: 0, members: 0, joins: 0, crashes: 0, rejections: 0 };
    this.tap = tap(this);
    this.history.line('topic', 0, topic);
  }

  /** A client of its own: kafkajs shares committed offsets within one. */
  kafka(clientId) {
    return new Kafka({
      clientId,
      brokers: this.brokers,
      connectionTimeout: 1500,
      requestTimeout: 3000,
      retry: { initialRetryTime: 100, maxRetryTime: 1000, retries: 30 },
      logLevel: logLevel.ERROR,
      logCreator: () => ({ namespace, log }) => {
        console.error(new Date().toISOString(), clientId, namespace, log.message);
      },
    });
  }

  /** From least to most, both inclusive; xorshift of the seed. */
  random(least, most) {
    this.state ^= this.state << 13;
    this.state ^= this.state >>> 17;
    this.state ^= this.state << 5;
    return least + (this.state >>> 0) % (most - least + 1);
  }

  pause(ms) {
    return new Promise((resolve) => setTimeout(resolve, ms));
  }

  bounded(promise, seconds, what) {
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error(`${what}: not within ${seconds} s`)),
        seconds * 1000);
    });
    return Promise.race([promise, late]).finally(() => clearTimeout(timer));
  }

  async until(condition, seconds, why) {
    const end = Date.now() + seconds * 1000;
    while (!(await this.bounded(Promise.resolve(condition()), seconds, 'asking'))) {
      if (Date.now() > end) throw new Error(`${why()} after ${seconds} s`);
      await this.pause(100);
    }
  }

  /** Nobody waits for this client any more. */
  forget(client) {
    this.bounded(client.disconnect(), 20, 'disconnecting').catch(() => {});
  }
}

async function main() {
  const run = new Run(process.argv.slice(2));
  const stop = () => { run.stopping = true; };
  process.on('SIGTERM', stop);
  process.stdin.on('end', stop).on('error', stop).resume();
  // A client that fails where nobody looks goes on, or is noticed by its silence.
  process.on('unhandledRejection', (error) => {
    run.counts.rejections++;
    console.error('unhandled rejection:', error);
  });

  const writers = [new IdempotentWriter(run, 0), new PlainWriter(run, 1, -1),
    new PlainWriter(run, 2, 1)];
  const members = Array.from({ length: MEMBERS }, (_, i) => new Member(run, i).start());
  const lanes = writers.flatMap((writer) => writer.start());
  while (!run.stopping) await run.pause(100);
  let status = 0;
  try {
    await finish(run, lanes, members);
  } catch (error) {
    console.error('STUCK:', error.message);
    status = 3;
  }
  run.history.close();
  console.log(JSON.stringify(run.counts));
  process.exit(status);
}

main().catch((error) => {
  console.error(error);
  process.exit(2);
});
