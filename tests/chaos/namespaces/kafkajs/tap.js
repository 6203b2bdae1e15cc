'use strict';

// Notes what kafkajs and the coordinator say to each other about a group.
//
// kafkajs shows its users neither the generation that they are in nor the
// offsets at which they resume, so the methods that send these requests are
// wrapped.  What is sent stays as it was, but for the metadata of commits: it
// is the commit's number in the history, by which it is known again.

const { AssignerProtocol } = require('kafkajs');
const Broker = require('kafkajs/src/broker');
const Runner = require('kafkajs/src/consumer/runner');

// The answers after which a commit certainly was not taken.
const REFUSALS = ['UNKNOWN_MEMBER_ID', 'ILLEGAL_GENERATION', 'REBALANCE_IN_PROGRESS'];
const LAST_GENERATION = 2147483647;

/**
 * A consumer that stops while one of its fetchers does not asks that one for
 * records for ever, and answers without having waited, so that nothing else of
 * the process gets its turn again.  It waits a little.
 */
function calmRunners() {
  const { fetch } = Runner.prototype;
  Runner.prototype.fetch = async function calm(node) {
    if (!this.running) await new Promise((resolve) => setTimeout(resolve, 100));
    return fetch.call(this, node);
  };
}

/** Wraps a method of brokers for requests of one group. */
function wrap(name, group, around) {
  const send = Broker.prototype[name];
  Broker.prototype[name] = function tapped(request) {
    if (request.groupId !== group) return send.call(this, request);
    return around(this.connectionPool.clientId, request, () => send.call(this, request));
  };
}

function owned(assignment, topic) {
  if (!assignment.length) return [];
  const decoded = AssignerProtocol.MemberAssignment.decode(assignment);
  return (decoded && decoded.assignment[topic]) || [];
}

function tap({ history, group, topic, counts }) {
  const generations = new Map(); // by client id
  const leavers = new Set(); // client ids that go without a word
  calmRunners();

  wrap('syncGroup', group, async (client, { generationId, memberId }, send) => {
    const answer = await send();
    const partitions = owned(answer.memberAssignment, topic);
    for (const p of partitions.length ? partitions : [-1]) {
      history.line('assigned', group, generationId, memberId, 0, p);
    }
    generations.set(client, generationId);
    counts.joins++;
    return answer;
  });

  wrap('offsetCommit', group, async (client, request, send) => {
    const commits = [];
    for (const { partitions } of request.topics) {
      for (const p of partitions) {
        const commit = history.commit(group, request.groupGenerationId,
          request.memberId || 'nobody', p.partition, p.offset);
        p.metadata = String(commit);
        commits.push(commit);
      }
    }
    const all = (outcome) => commits.forEach((c) => history.line('committed', c, outcome));
    try {
      const answer = await send();
      all('acked');
      return answer;
    } catch (error) {
      all(REFUSALS.includes(error.type) ? 'refused' : 'unknown');
      throw error;
    }
  });

  wrap('offsetFetch', group, async (client, _, send) => {
    const question = history.ask();
    const generation = generations.get(client);
    const answer = await send();
    for (const { partitions } of answer.responses) {
      for (const { partition, offset, metadata } of partitions) {
        // What nobody has committed gets a number that no commit has.
        const commit = offset === '-1' ? -1
          : /^\d{1,9}$/.test(metadata) ? metadata : LAST_GENERATION;
        history.line('offset', question, group,
          generation === undefined ? LAST_GENERATION : generation, 0, partition, commit, offset);
      }
    }
    return answer;
  });

  wrap('leaveGroup', group, async (client, _, send) => {
    if (leavers.has(client)) throw new Error('this member just vanishes');
    return send();
  });

  return { vanish: (client) => leavers.add(client) };
}

module.exports = { tap };
