'use strict';

// A history as tests/sim/load/history_lines.h wants it, and the records of which
// it speaks.
//
// Everything that is learnt becomes a line at once, in the order in which this
// process learns of it: its order is all that the judge knows of time.

const fs = require('fs');

const FLUSH_MS = 200;
const FLUSH_LINES = 2000;
const FILLER = 'The quick brown fox jumps over the lazy dog and runs away. '.repeat(3);

class History {
  constructor(path) {
    this.file = fs.openSync(path, 'w');
    this.waiting = [];
    this.ended = false;
    this.sessions = 0;
    this.commits = 0;
    this.questions = 0;
    this.readers = 0;
    this.given = []; // by partition: all offsets before it were given to members
    this.promised = []; // by partition: it reaches at least so far in the end
    this.timer = setInterval(() => this.flush(), FLUSH_MS);
  }

  line(...words) {
    if (this.ended) return; // whoever is late
    this.waiting.push(words.join(' '));
    if (this.waiting.length >= FLUSH_LINES) this.flush();
  }

  note(...words) {
    this.line('note', words.join(' ').replace(/\s+/g, ' ').slice(0, 300));
  }

  flush() {
    if (!this.waiting.length) return;
    fs.writeSync(this.file, `${this.waiting.join('\n')}\n`);
    this.waiting = [];
  }

  /** Says that it is whole. */
  end() {
    this.line('end');
    this.ended = true;
  }

  close() {
    clearInterval(this.timer);
    this.flush();
    fs.closeSync(this.file);
  }

  // ---- what is numbered ----

  session(producer) {
    this.line('session', this.sessions, producer);
    return this.sessions++;
  }

  commit(group, generation, member, partition, offset) {
    this.line('commit', this.commits, group, generation, member, 0, partition, offset);
    return this.commits++;
  }

  ask() {
    this.line('ask', this.questions);
    return this.questions++;
  }

  acked(producer, number, partition, offset, durable) {
    this.line('acked', 0, producer, number, offset);
    if (durable) this.promise(partition, offset + 1);
  }

  promise(partition, end) {
    this.promised[partition] = Math.max(this.promised[partition] || 0, end);
  }

  // ---- reading ----

  /** Records that one fetch gave, from the offset that it asked for. */
  batch(reader, partition, from) {
    this.line('seek', reader, 0, partition, from);
  }

  read(reader, partition, message) {
    const { producer, number, sound } = parse(message);
    const { partitionLeaderEpoch = -1 } = message.batchContext || {};
    this.line('read', reader, 0, partition, message.offset, partitionLeaderEpoch,
      message.timestamp, producer, number, sound ? 1 : 0);
  }

  delivered(group, partition, offset) {
    this.line('delivered', group, 0, partition, offset);
    this.given[partition] = Math.max(this.given[partition] || 0, Number(offset) + 1);
    this.promise(partition, Number(offset) + 1);
  }
}

/** Record `number` of a producer is always the same bytes. */
function record(producer, number) {
  const name = `${producer}-${number}`;
  return { key: `key-${name}`, value: `${name} ${FILLER.slice(0, (number * 7) % 160)}` };
}

function parse({ key, value }) {
  const text = value === null ? '' : value.toString();
  const found = /^(\d{1,9})-(\d{1,12}) /.exec(text);
  if (!found || key === null) return { producer: -1, number: -1, sound: false };
  const [producer, number] = [Number(found[1]), Number(found[2])];
  const sent = record(producer, number);
  return { producer, number, sound: text === sent.value && key.toString() === sent.key };
}

module.exports = { History, record, parse };
