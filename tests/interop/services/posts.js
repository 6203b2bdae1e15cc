'use strict';

// A service of posts.  It follows the events of users as a group and deletes
// the posts of a user who was deleted; posts are events, too.
//
//   POST /posts {"id", "user", "text"}    GET /posts

const express = require('express');
const { connect, listen, replay } = require('./lib.js');

const topic = process.env.POSTS;
const posts = new Map();

function apply(event) {
  if (event.type === 'PostCreated') posts.set(event.id, event);
  if (event.type === 'PostDeleted') posts.delete(event.id);
}

async function follow(kafka, emit) {
  const consumer = kafka.consumer({
    groupId: `${topic}-service`, sessionTimeout: 6000, heartbeatInterval: 300,
  });
  await consumer.connect();
  await consumer.subscribe({ topic: process.env.USERS, fromBeginning: true });
  await consumer.run({
    // The offset is committed afterwards, so a deletion is never half done.
    eachMessage: async ({ message }) => {
      const event = JSON.parse(message.value);
      if (event.type !== 'UserDeleted') return;
      for (const post of [...posts.values()].filter((p) => p.user === event.id)) {
        await emit({ type: 'PostDeleted', id: post.id, user: post.user });
      }
    },
  });
}

async function main() {
  const kafka = connect('posts');
  const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 });
  await producer.connect();
  const emit = (event) => producer.send({
    topic, acks: -1, messages: [{ key: event.user, value: JSON.stringify(event) }],
  });
  await replay(kafka, topic, apply);
  await follow(kafka, emit);

  const app = express();
  app.use(express.json());
  app.get('/posts', (request, response) => {
    response.json([...posts.values()]);
  });
  app.post('/posts', async (request, response) => {
    const { id, user, text } = request.body;
    await emit({ type: 'PostCreated', id, user, text });
    response.status(201).json({ id });
  });
  listen(app);
}

main();
