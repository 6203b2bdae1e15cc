'use strict';

// A service of orders, each of which gets an invoice.  Invoices are made by a
// group that follows the orders; one that is killed makes the invoice of its
// last orders again.  Those of a time are replayed from the topic between two
// timestamps, each once.
//
//   POST /orders {"id", "amount"}    GET /invoices?from=MS&to=MS
//
// `from` is inclusive, `to` exclusive: the times of the orders.

const express = require('express');
const { connect, listen, readBetween } = require('./lib.js');

const orders = process.env.ORDERS;
const invoices = process.env.INVOICES;

async function makeInvoices(kafka, producer) {
  const consumer = kafka.consumer({
    groupId: `${orders}-invoices`, sessionTimeout: 6000, heartbeatInterval: 300,
  });
  await consumer.connect();
  await consumer.subscribe({ topic: orders, fromBeginning: true });
  await consumer.run({
    autoCommitThreshold: 20, // and after each batch
    eachMessage: async ({ message }) => {
      const { id, amount } = JSON.parse(message.value);
      await producer.send({
        topic: invoices,
        acks: -1,
        messages: [{
          key: id, timestamp: message.timestamp,
          value: JSON.stringify({ invoice: `invoice-${id}`, order: id, amount }),
        }],
      });
    },
  });
}

async function main() {
  const kafka = connect('orders');
  const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 });
  await producer.connect();
  await makeInvoices(kafka, producer);

  const app = express();
  app.use(express.json());
  app.post('/orders', async (request, response) => {
    const { id, amount, time } = request.body;
    await producer.send({
      topic: orders,
      acks: -1,
      messages: [{ key: id, value: JSON.stringify({ id, amount }), timestamp: String(time) }],
    });
    response.status(201).json({ id });
  });
  app.get('/invoices', async (request, response) => {
    const { from, to } = request.query;
    const found = new Map();
    let read = 0;
    await readBetween(kafka, invoices, Number(from), Number(to), (message) => {
      const invoice = JSON.parse(message.value);
      read++;
      found.set(invoice.invoice, invoice);
    });
    response.json({ read, invoices: [...found.values()] });
  });
  listen(app);
}

main();
