/* Broker keys: listeners, connections, threads, and their bounds.
 * Sorted by key. */
#include "controller/config_table.h"

const struct config_def config_table_network[] = {
    {"advertised.listeners", CONFIG_LIST, NULL, ANY, CONFIG_READ_ONLY,
     CONFIG_USED, "Addresses told to clients; `listeners` if not given.", NULL},
    {"background.threads", CONFIG_INT, "10", AT_LEAST(1), CONFIG_CLUSTER_WIDE,
     CONFIG_NO_EFFECT, "Threads for background tasks.",
     "background work runs on helper threads"},
    {"connection.failed.authentication.delay.ms", CONFIG_INT, "100",
     AT_LEAST(0), CONFIG_READ_ONLY, CONFIG_NO_EFFECT,
     "Delay of the answer to a failed authentication.",
     "clients are not authenticated in this release"},
    {"connections.max.idle.ms", CONFIG_LONG, "600000", ANY, CONFIG_READ_ONLY,
     CONFIG_USED,
     "A connection on which nothing moves for this long, and that waits for no "
     "answer, is closed; below 0: never.",
     NULL},
    {"connections.max.reauth.ms", CONFIG_LONG, "0", ANY, CONFIG_READ_ONLY,
     CONFIG_NO_EFFECT, "Age at which a client must authenticate again.",
     "clients are not authenticated in this release"},
    {"early.start.listeners", CONFIG_LIST, NULL, ANY, CONFIG_READ_ONLY,
     CONFIG_NO_EFFECT, "Listeners that accept before the broker is ready.",
     "controller listeners always do; on the others connections wait in the "
     "backlog for 5 s and are closed after that"},
    {"inter.broker.listener.name", CONFIG_STRING, NULL, ANY, CONFIG_READ_ONLY,
     CONFIG_USED,
     "Listener on which brokers talk to each other. A controller that is no "
     "broker asks there whether a broker still runs.",
     NULL},
    {"listener.security.protocol.map", CONFIG_STRING,
     "SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_"
     "PLAINTEXT",
     ANY, CONFIG_READ_ONLY, CONFIG_USED,
     "Security protocol of each listener name, as `NAME:PROTOCOL,...`. Unlike "
     "in Kafka it needs a restart.",
     NULL},
    {"listeners", CONFIG_LIST, "PLAINTEXT://:9092", ANY, CONFIG_READ_ONLY,
     CONFIG_USED,
     "Where to listen, as `NAME://host:port,...`; an empty host is every "
     "interface. Unlike in Kafka it needs a restart.",
     NULL},
    {"max.connection.creation.rate", CONFIG_INT, "2147483647", AT_LEAST(0),
     CONFIG_CLUSTER_WIDE, CONFIG_USED,
     "Most new connections per second; more wait to be accepted, but not those "
     "on the listener between brokers if there is another one. "
     "`listener.name.NAME.max.connection.creation.rate` holds for one listener "
     "besides, whichever it is.",
     NULL},
    {"max.connections", CONFIG_INT, "2147483647", AT_LEAST(0),
     CONFIG_CLUSTER_WIDE, CONFIG_USED,
     "Most connections of clients and brokers; more wait to be accepted, but "
     "not those on the listener between brokers if there is another one: they "
     "take the place of the connection least recently used. "
     "`listener.name.NAME.max.connections` holds for one listener besides, "
     "whichever it is; NAME in lower case.",
     NULL},
    {"max.connections.per.ip", CONFIG_INT, "2147483647", AT_LEAST(0),
     CONFIG_CLUSTER_WIDE, CONFIG_USED,
     "Most connections from one address; more are closed.", NULL},
    {"max.connections.per.ip.overrides", CONFIG_STRING, "", ANY,
     CONFIG_CLUSTER_WIDE, CONFIG_USED,
     "Exceptions to `max.connections.per.ip`, as `address:count,...`; a name "
     "is looked up once, when it is set or at the start.",
     NULL},
    {"num.io.threads", CONFIG_INT, "8", AT_LEAST(1), CONFIG_CLUSTER_WIDE,
     CONFIG_NO_EFFECT, "Threads that execute requests.",
     "requests run on the shards, blocking disk work on helper threads"},
    {"num.network.threads", CONFIG_INT, "3", AT_LEAST(1), CONFIG_READ_ONLY,
     CONFIG_USED,
     "Number of shards, each one thread with its own connections and "
     "partitions. Not given: one per processor core. Unlike in Kafka it needs "
     "a restart.",
     NULL},
    {"queued.max.request.bytes", CONFIG_LONG, "-1", ANY, CONFIG_READ_ONLY,
     CONFIG_USED,
     "Memory that requests may hold, as received and decoded, until they are "
     "answered (Produce: until they are appended or wait for a transaction's coordinator; "
     "Fetch: until they wait) before the server stops reading from sockets; each shard has its equal share; -1: "
     "`socket.request.max.bytes` per shard. A request that arrives for more "
     "than 30 s while others wait for room costs its connection.",
     NULL},
    {"queued.max.requests", CONFIG_INT, "500", AT_LEAST(1), CONFIG_READ_ONLY,
     CONFIG_NO_EFFECT, "Requests waiting before network threads stop reading.",
     "the bound is in bytes: `queued.max.request.bytes`"},
    {"request.timeout.ms", CONFIG_INT, "30000", ANY, CONFIG_READ_ONLY,
     CONFIG_USED,
     "How long the node waits for the answer to a request of its own.", NULL},
    {"security.inter.broker.protocol", CONFIG_STRING, "PLAINTEXT",
     ONE_OF("PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL"), CONFIG_READ_ONLY,
     CONFIG_USED,
     "Picks the listener between brokers by its security protocol; excludes "
     "`inter.broker.listener.name`.",
     NULL},
    {"socket.connection.setup.timeout.max.ms", CONFIG_LONG, "30000", ANY,
     CONFIG_READ_ONLY, CONFIG_NO_EFFECT,
     "Longest timeout when connecting to another node.",
     "connecting is bounded by the timeout of the request it is for"},
    {"socket.connection.setup.timeout.ms", CONFIG_LONG, "10000", ANY,
     CONFIG_READ_ONLY, CONFIG_NO_EFFECT,
     "First timeout when connecting to another node.",
     "connecting is bounded by the timeout of the request it is for"},
    {"socket.listen.backlog.size", CONFIG_INT, "50", AT_LEAST(1),
     CONFIG_READ_ONLY, CONFIG_USED,
     "Connections waiting to be accepted, per shard. Not given: as many as the "
     "system allows.",
     NULL},
    {"socket.receive.buffer.bytes", CONFIG_INT, "102400", ANY, CONFIG_READ_ONLY,
     CONFIG_USED,
     "Receive buffer of a connection. -1 or not given: the system sizes it "
     "while data flows, which is faster.",
     NULL},
    {"socket.request.max.bytes", CONFIG_INT, "104857600", AT_LEAST(1),
     CONFIG_READ_ONLY, CONFIG_USED,
     "Longest request that is accepted; a longer one closes the connection.",
     NULL},
    {"socket.send.buffer.bytes", CONFIG_INT, "102400", ANY, CONFIG_READ_ONLY,
     CONFIG_USED,
     "Send buffer of a connection. -1 or not given: the system sizes it while "
     "data flows, which is faster.",
     NULL},
};
const size_t config_table_network_len = CONFIG_TABLE_LEN(config_table_network);
