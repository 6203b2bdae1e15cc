'use strict';

// A service of users, as the Node.js tutorials on event sourcing have it: what
// happens to a user is an event in the topic `users`, keyed by the user's id.
//
//   POST /users {"id", "name"}    DELETE /users/ID    GET /users
//
// It answers when the event is acknowledged.  Its own state is what the events
// say, read again from the beginning whenever it starts.

const express = require('express');
const { connect, listen, replay } = require('./lib.js');

const topic = process.env.USERS;
const users = new Map();

function apply(event) {
  if (event.type === 'UserCreated') users.set(event.id, event.name);
  if (event.type === 'UserDeleted') users.delete(event.id);
}

async function main() {
  const kafka = connect('users');
  const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 });
  await producer.connect();
  const emit = (event) => producer.send({
    topic, acks: -1, messages: [{ key: event.id, value: JSON.stringify(event) }],
  });
  await replay(kafka, topic, apply);

  const app = express();
  app.use(express.json());
  app.get('/users', (request, response) => {
    response.json(Object.fromEntries(users));
  });
  app.post('/users', async (request, response) => {
    const { id, name } = request.body;
    await emit({ type: 'UserCreated', id, name });
    response.status(201).json({ id });
  });
  app.delete('/users/:id', async (request, response) => {
    if (!users.has(request.params.id)) return response.status(404).end();
    await emit({ type: 'UserDeleted', id: request.params.id });
    return response.status(204).end();
  });
  listen(app);
}

main();
