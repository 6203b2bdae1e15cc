'use strict';

// What every Node.js suite shares.
//
// A suite is a list of checks run one after the other.  A check is a name, that
// says what it proves, and a function that throws when it isn't so.  It prints
// one line, `ok NAME: DETAIL` or `FAILED NAME: WHY`, that tests/interop/run
// counts.
//
// Record number i of a suite is always the same bytes and always goes to
// partition i mod 3, so a reader knows what it must see next in each partition
// and notices a lost, repeated, reordered or altered record at once.

const PARTITIONS = 3;
const REPLICAS = 3;
const RECORDS = 10000;

const bootstrap = (process.env.BOOTSTRAP || '127.0.0.1:9092').split(',');
const run = process.env.RUN || String(Date.now());
const client = require('path').basename(process.argv[1], '.js');

let failed = 0;

/** A topic or group name that no other suite or run uses. */
function unique(what) {
  return `${client}-${what}-${run}`;
}

function record(i) {
  return {
    i,
    partition: i % PARTITIONS,
    key: `key-${i}`,
    value: `value-${i}-${'x'.repeat(i % 100)}`,
    headers: { number: String(i), client },
  };
}

function records(count, from = 0) {
  return Array.from({ length: count }, (_, k) => record(from + k));
}

/** Text of a Buffer, a string or null. */
function text(bytes) {
  return bytes === null || bytes === undefined ? bytes : bytes.toString();
}

/**
 * Follows what a reader receives.  `next[p]` is the record that partition p must
 * give next; a ledger for a reader that resumes starts from another's `next`.
 * With `repeats` a client may show again what it has shown before, unaltered.
 */
class Ledger {
  constructor({ next, headers = true, repeats = false } = {}) {
    this.next = next ? [...next] : Array.from({ length: PARTITIONS }, (_, p) => p);
    this.headers = headers;
    this.repeats = repeats ? 0 : null;
    this.count = 0;
    this.error = null;
  }

  /** Takes one record; the first wrong one is kept in `error`. */
  add(partition, key, value, headers) {
    if (this.error) return;
    const got = { key: text(key), value: text(value), headers };
    const want = record(this.next[partition]);
    if (this.same(got, want)) {
      this.next[partition] += PARTITIONS;
      this.count++;
    } else if (this.repeats !== null && this.isRepeat(got, partition)) {
      this.repeats++;
    } else {
      this.error = new Error(
        `partition ${partition}: expected ${want.key}, got key ${got.key} ` +
          `value ${String(got.value).slice(0, 40)} ` +
          `number ${headers ? text(headers.number) : 'none'}`,
      );
    }
  }

  same(got, want) {
    return got.key === want.key && got.value === want.value &&
      (!this.headers || (got.headers &&
        text(got.headers.number) === want.headers.number &&
        text(got.headers.client) === want.headers.client));
  }

  isRepeat(got, partition) {
    const i = Number(String(got.key).slice('key-'.length));
    return i < this.next[partition] && i % PARTITIONS === partition &&
      this.same(got, record(i));
  }

  /** Waits until `total` records came, each in its place, then a little more
   *  for one too many. */
  async complete(total, seconds = 60) {
    await until(() => this.error || this.count >= total, seconds, () =>
      `${this.count} of ${total} records came`,
    );
    await sleep(200);
    if (this.error) throw this.error;
    if (this.count !== total) throw new Error(`${this.count} records, not ${total}`);
    const again = this.repeats ? `, ${this.repeats} shown again` : '';
    return `${total} records, complete and in order${again}`;
  }
}

/** Counts records by key, for readers that may see one twice in a rebalance. */
class Tally {
  constructor() {
    this.seen = new Map();
  }

  add(member, key) {
    if (!this.seen.has(text(key))) this.seen.set(text(key), new Set());
    this.seen.get(text(key)).add(member);
  }

  by(member) {
    return [...this.seen.values()].filter((members) => members.has(member)).length;
  }

  has(list) {
    return list.every((r) => this.seen.has(r.key));
  }
}

function sleep(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Waits for a condition; `why()` tells what was missing when time is up. */
async function until(condition, seconds, why = () => 'the condition did not come true') {
  const end = Date.now() + seconds * 1000;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`${why()} after ${seconds} s`);
    await sleep(20);
  }
}

/** True when the two are equal as JSON. */
function same(a, b) {
  return JSON.stringify(a) === JSON.stringify(b);
}

/** Throws with a sentence unless the two are equal as JSON. */
function equal(got, want, what) {
  const [g, w] = [got, want].map((x) =>
    JSON.stringify(x, (_, v) => (typeof v === 'bigint' ? Number(v) : v)));
  if (g !== w) throw new Error(`${what}: ${g}, not ${w}`);
}

/** True when the members' lists of partitions are disjoint, non-empty and
 *  together the whole topic. */
function shared(...assignments) {
  const all = assignments.flat().sort();
  return assignments.every((a) => a.length > 0) &&
    JSON.stringify(all) === JSON.stringify(records(PARTITIONS).map((r) => r.partition));
}

/** Runs one check; a suite stops at a failed one that the rest depends on. */
async function check(name, work, { seconds = 90, vital = false } = {}) {
  let timer;
  try {
    const limit = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error(`no end after ${seconds} s`)), seconds * 1000);
    });
    const detail = await Promise.race([work(), limit]);
    console.log(`ok ${name}${detail ? `: ${detail}` : ''}`);
  } catch (error) {
    failed++;
    const why = (error && (error.message || JSON.stringify(error))) || String(error);
    console.log(`FAILED ${name}: ${why.replace(/\s+/g, ' ')}`);
    if (process.env.VERBOSE) console.error(error);
    if (vital) process.exit(1);
  } finally {
    clearTimeout(timer);
  }
}

/** Runs a suite and ends the process, whatever a client still holds open. */
function suite(work) {
  const lost = (error) => {
    console.log(`FAILED suite: ${String((error && error.stack) || error).replace(/\s+/g, ' ')}`);
    process.exit(1);
  };
  process.on('unhandledRejection', lost);
  process.on('uncaughtException', lost);
  work().then(() => process.exit(failed ? 1 : 0), lost);
}

module.exports = {
  PARTITIONS, REPLICAS, RECORDS, bootstrap, client,
  unique, record, records, text, Ledger, Tally,
  sleep, until, same, equal, shared, check, suite,
};
