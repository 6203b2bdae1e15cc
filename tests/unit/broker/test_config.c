/* server.properties as people write them, and every contradiction that must
 * end a start, with the sentence it ends with. */
#include "broker/config.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static struct server_config config;

static void clear(void) { server_config_free(&config); }

TestSuite(config, .fini = clear);

/* The file of the first of three nodes, as in Kafka's KRaft tutorials. */
static const char tutorial[] =
    "process.roles=broker,controller\n"
    "node.id=1\n"
    "controller.quorum.voters=1@localhost:19092,2@localhost:19093,"
    "3@localhost:19094\n"
    "listeners=PLAINTEXT://:9092,CONTROLLER://:19092\n"
    "inter.broker.listener.name=PLAINTEXT\n"
    "advertised.listeners=PLAINTEXT://localhost:9092\n"
    "controller.listener.names=CONTROLLER\n"
    "listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,"
    "SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL\n"
    "num.network.threads=3\n"
    "num.io.threads=8\n"
    "socket.send.buffer.bytes=102400\n"
    "log.dirs=/tmp/server1/kraft-combined-logs\n"
    "num.partitions=1\n"
    "offsets.topic.replication.factor=1\n"
    "log.retention.hours=168\n"
    "log.segment.bytes=1073741824\n";

static enum err load_with(const char *file, const char *const *environment,
                          const char *const *overrides, size_t overrides_len,
                          char **why)
{
    struct server_config_sources s = {
        .file_name = "server.properties",
        .file = slice_str(file),
        .environment = environment,
        .overrides = overrides,
        .overrides_len = overrides_len,
        .host_name = "node1.example",
        .processors = 6,
    };

    return server_config_load(&s, &config, why);
}

static void load(const char *file)
{
    char *why = NULL;

    cr_assert_eq(load_with(file, NULL, NULL, 0, &why), ERR_NONE, "%s", why);
}

/* A small valid file with lines put after it; later lines win. */
static void refuses(const char *lines, const char *sentence)
{
    char *file = xasprintf("process.roles=broker,controller\n"
                           "node.id=1\n"
                           "controller.quorum.voters=1@h:9093\n"
                           "controller.listener.names=CONTROLLER\n"
                           "listeners=PLAINTEXT://:9092,CONTROLLER://:9093\n"
                           "%s",
                           lines);
    char *why = NULL;

    cr_assert_eq(load_with(file, NULL, NULL, 0, &why), ERR_INVALID_CONFIG,
                 "%s was accepted", lines);
    cr_assert_str_eq(why, sentence);
    free(why);
    free(file);
}

static void accepts(const char *lines)
{
    char *file = xasprintf("process.roles=broker,controller\n"
                           "node.id=1\n"
                           "controller.quorum.voters=1@h:9093\n"
                           "controller.listener.names=CONTROLLER\n"
                           "listeners=PLAINTEXT://:9092,CONTROLLER://:9093\n"
                           "%s",
                           lines);
    load(file);
    free(file);
}

/* ---- files that work ----------------------------------------------------- */

Test(config, the_tutorial_file)
{
    load(tutorial);
    cr_assert(config.is_broker && config.is_controller);
    cr_assert_eq(config.node_id, 1);
    cr_assert_eq(config.voters_len, 3);
    cr_assert_eq(config.voters[2].id, 3);
    cr_assert_str_eq(config.voters[2].host, "localhost");
    cr_assert_eq(config.voters[2].port, 19094);
    cr_assert_eq(config.listeners_len, 2);
    cr_assert_str_eq(config.listeners[0].name, "PLAINTEXT");
    cr_assert_str_eq(config.listeners[0].host, "");
    cr_assert_eq(config.listeners[0].port, 9092);
    cr_assert_not(config.listeners[0].is_controller);
    cr_assert(config.listeners[1].is_controller);
    cr_assert_str_eq(config.inter_broker_listener, "PLAINTEXT");
    cr_assert_str_eq(config.controller_listener, "CONTROLLER");
    cr_assert_str_eq(server_config_advertised(&config, "PLAINTEXT")->host,
                     "localhost");
    cr_assert_eq(config.log_dirs_len, 1);
    cr_assert_str_eq(config.log_dirs[0], "/tmp/server1/kraft-combined-logs");
    cr_assert_str_eq(config.metadata_log_dir, config.log_dirs[0]);
    cr_assert_eq(config.num_network_threads, 3);
    cr_assert_eq(config.socket_send_buffer_bytes, 102400);
    cr_assert_eq(config.offsets_topic_replication_factor, 1);
    cr_assert_eq(config.warnings_len, 0);
}

Test(config, defaults_are_kafkas)
{
    accepts("");
    cr_assert_eq(config.num_network_threads, 6, "one shard per processor");
    cr_assert_eq(config.num_partitions, 1);
    cr_assert_eq(config.default_replication_factor, 1);
    cr_assert_eq(config.replica_lag_time_max_ms, 30000);
    cr_assert_eq(config.socket_request_max_bytes, 104857600);
    cr_assert_eq(config.group_initial_rebalance_delay_ms, 3000);
    cr_assert_eq(config.offsets_topic_num_partitions, 50);
    cr_assert_eq(config.broker_session_timeout_ms, 9000);
    cr_assert(config.auto_create_topics_enable);
    cr_assert_not(config.unclean_leader_election_enable);
    cr_assert_eq(config.durability, DURABILITY_REPLICATED);
    cr_assert_str_eq(config.log_dirs[0], "/tmp/kafka-logs");
    cr_assert_str_eq(config.rack, "");
    cr_assert_null(config.cluster_id);
}

Test(config, an_empty_advertised_host_is_this_host)
{
    accepts("");
    cr_assert_str_eq(server_config_advertised(&config, "PLAINTEXT")->host,
                     "node1.example");
}

/* Where brokers are found is said of no controller's listener, wherever those
 * stand. */
Test(config, the_first_listener_for_clients)
{
    accepts("listeners=CONTROLLER://:9093,PLAINTEXT://:9092,INNER://:9094\n"
            "advertised.listeners=\n"
            "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,"
            "INNER:PLAINTEXT,CONTROLLER:PLAINTEXT\n");
    cr_assert_str_eq(config.advertised[0].name, "CONTROLLER");
    cr_assert_str_eq(server_config_first_advertised(&config)->name,
                     "PLAINTEXT");
}

Test(config, a_broker_alone)
{
    load("process.roles=broker\nnode.id=4\n"
         "controller.quorum.bootstrap.servers=a:1,[::1]:2\n"
         "controller.listener.names=CONTROLLER\n");
    cr_assert(config.is_broker && !config.is_controller);
    cr_assert_eq(config.bootstrap_len, 2);
    cr_assert_str_eq(config.bootstrap[1].host, "::1");
    cr_assert_eq(config.bootstrap[1].port, 2);
    cr_assert_eq(config.listeners[0].port, 9092);
}

Test(config, a_controller_alone)
{
    load("process.roles=controller\nnode.id=4\n"
         "controller.quorum.voters=4@c:9093\n"
         "listeners=CONTROLLER://0.0.0.0:9093\n"
         "controller.listener.names=CONTROLLER\n");
    cr_assert(!config.is_broker && config.is_controller);
    cr_assert_str_eq(config.inter_broker_listener, "");
    cr_assert_str_eq(server_config_advertised(&config, "CONTROLLER")->host,
                     "node1.example");
    cr_assert_null(server_config_first_advertised(&config));
}

Test(config, a_controller_alone_may_be_told_how_brokers_know_each_other)
{
    load("process.roles=controller\nnode.id=4\n"
         "controller.quorum.voters=4@c:9093\n"
         "listeners=CONTROLLER://0.0.0.0:9093\n"
         "controller.listener.names=CONTROLLER\n"
         "inter.broker.listener.name=internal\n");
    cr_assert_str_eq(config.inter_broker_listener, "INTERNAL");
}

Test(config, broker_id_is_an_old_name_of_node_id)
{
    load("process.roles=broker\nbroker.id=7\n"
         "controller.quorum.voters=1@h:9093\n"
         "controller.listener.names=CONTROLLER\n");
    cr_assert_eq(config.node_id, 7);
}

Test(config, several_listeners_and_names_of_ones_own)
{
    accepts("listeners=internal://10.0.0.1:9092,EXTERNAL://[2001:db8::1]:9094,"
            "CONTROLLER://:9093\n"
            "listener.security.protocol.map=INTERNAL:PLAINTEXT,"
            "EXTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT\n"
            "inter.broker.listener.name=INTERNAL\n"
            "advertised.listeners=INTERNAL://k1:9092,EXTERNAL://pub:19094\n");
    cr_assert_str_eq(config.inter_broker_listener, "INTERNAL");
    cr_assert_str_eq(config.listeners[1].host, "2001:db8::1");
    cr_assert_eq(server_config_advertised(&config, "EXTERNAL")->port, 19094);
}

Test(config, the_only_listener_is_the_one_between_brokers)
{
    accepts("listeners=CLIENTS://:9092,CONTROLLER://:9093\n"
            "listener.security.protocol.map="
            "CLIENTS:PLAINTEXT,CONTROLLER:PLAINTEXT\n");
    cr_assert_str_eq(config.inter_broker_listener, "CLIENTS");
}

Test(config, ipv4_and_ipv6_may_share_a_port)
{
    accepts("listeners=PLAINTEXT://127.0.0.1:9092,PLAINTEXT://[::1]:9092,"
            "CONTROLLER://:9093\n");
    cr_assert_eq(config.listeners_len, 3);
}

/* ---- sources ------------------------------------------------------------- */

Test(config, overrides_beat_environment_beats_file)
{
    const char *environment[] = {"KAFKA_NODE_ID=1",
                                 "KAFKA_NUM_PARTITIONS=5",
                                 "KAFKA_LOG_RETENTION_HOURS=1",
                                 "KAFKA_HEAP_OPTS=-Xmx1G",
                                 "KAFKA_OPTS=x",
                                 "CLUSTER_ID=5L6g3nShT-eMCtK--X86sw",
                                 "PATH=/bin",
                                 NULL};
    const char *overrides[] = {"num.partitions=9"};
    char *why = NULL;

    cr_assert_eq(load_with(tutorial, environment, overrides, 1, &why), ERR_NONE,
                 "%s", why);
    cr_assert_eq(config.num_partitions, 9);
    struct config_layer layer = server_config_layer(&config);
    cr_assert(
        slice_eq_str(layer.get(layer.set, SLICE("log.retention.hours")), "1"));
    cr_assert_str_eq(config.cluster_id, "5L6g3nShT-eMCtK--X86sw");
    cr_assert_eq(config.warnings_len, 0);
}

Test(config, a_container_needs_no_file)
{
    const char *environment[] = {
        "KAFKA_CFG_NODE_ID=3",
        "KAFKA_PROCESS_ROLES=broker,controller",
        "KAFKA_LISTENERS=PLAINTEXT://:9092,CONTROLLER://:9093",
        "KAFKA_CONTROLLER_LISTENER_NAMES=CONTROLLER",
        "KAFKA_CONTROLLER_QUORUM_VOTERS=3@k:9093",
        "KAFKA_KRAFT_CLUSTER_ID=abc",
        NULL};
    char *why = NULL;

    cr_assert_eq(load_with(NULL, environment, NULL, 0, &why), ERR_NONE, "%s",
                 why);
    cr_assert_eq(config.node_id, 3);
    cr_assert_str_eq(config.cluster_id, "abc");
}

Test(config, names_of_variables)
{
    struct buf key = BUF_INIT;

    cr_assert(server_config_env_key(SLICE("KAFKA_LOG_DIRS"), &key));
    cr_assert(slice_eq_str(buf_slice(&key), "log.dirs"));
    cr_assert(server_config_env_key(
        SLICE("KAFKA_LISTENER_NAME_MY__LISTENER___X_SSL_KEYSTORE_LOCATION"),
        &key));
    cr_assert(slice_eq_str(
        buf_slice(&key), "listener.name.my_listener-x.ssl.keystore.location"));
    cr_assert_not(server_config_env_key(SLICE("KAFKA_HOME"), &key));
    cr_assert_not(server_config_env_key(SLICE("KAFKA_"), &key));
    cr_assert_not(server_config_env_key(SLICE("NODE_ID"), &key));
    buf_free(&key);
}

Test(config, unknown_and_old_keys_warn_once)
{
    accepts("my.key=1\nmy.key=2\nzookeeper.connect=localhost:2181\n");
    cr_assert_eq(config.warnings_len, 2);
    cr_assert_str_eq(config.warnings[0],
                     "server.properties:6: my.key is not a key we know; it is "
                     "ignored (see docs/configuration.md)");
    cr_assert_str_eq(config.warnings[1],
                     "server.properties:8: zookeeper.connect has no effect any "
                     "more: the controllers replace ZooKeeper");
}

Test(config, keys_without_effect_say_so_unless_they_are_the_default)
{
    accepts("log.preallocate=false\n");
    cr_assert_eq(config.warnings_len, 0);
}

Test(config, keys_without_effect_say_so)
{
    accepts("log.preallocate=true\n");
    cr_assert_eq(config.warnings_len, 1);
    cr_assert_str_eq(config.warnings[0],
                     "server.properties:6: log.preallocate=true has no effect: "
                     "files grow as they are appended to");
}

Test(config, changing_a_field_later)
{
    accepts("num.partitions=4\n");
    cr_assert(server_config_set(&config, SLICE("num.partitions"), SLICE("8")));
    cr_assert_eq(config.num_partitions, 8);
    cr_assert_not(
        server_config_set(&config, SLICE("num.partitions"), SLICE("0")));
    cr_assert_not(server_config_set(&config, SLICE("node.id"), SLICE("3")));
    cr_assert_eq(config.num_partitions, 8);
    cr_assert(server_config_set(&config, SLICE("num.partitions"), SLICE_NULL));
    cr_assert_eq(config.num_partitions, 4);
}

/* ---- values that are wrong by themselves --------------------------------- */

Test(config, a_bad_value_names_its_line)
{
    refuses("num.partitions=many\n",
            "server.properties:6: Invalid value many for configuration "
            "num.partitions: Not a number of type INT");
    refuses("\n\nlog.cleanup.policy=archive\n",
            "server.properties:8: Invalid value archive for configuration "
            "log.cleanup.policy: String must be one of: compact, delete");
    refuses("compression.type=rar\n",
            "server.properties:6: Invalid value rar for configuration "
            "compression.type: String must be one of: uncompressed, zstd, "
            "lz4, snappy, gzip, producer");
    refuses("process.roles=broker,zookeeper\n",
            "server.properties:6: Invalid value zookeeper for configuration "
            "process.roles: String must be one of: broker, controller");
}

Test(config, a_bad_override_or_variable_says_so)
{
    const char *bad_override[] = {"num.partitions"};
    const char *bad_value[] = {"num.partitions=0"};
    const char *environment[] = {"KAFKA_NUM_PARTITIONS=-3", NULL};
    char *why = NULL;

    cr_assert_eq(load_with(tutorial, NULL, bad_override, 1, &why),
                 ERR_INVALID_CONFIG);
    cr_assert_str_eq(why, "--override num.partitions: an override is written "
                          "key=value");
    free(why);
    cr_assert_eq(load_with(tutorial, NULL, bad_value, 1, &why),
                 ERR_INVALID_CONFIG);
    cr_assert_str_eq(why, "--override: Invalid value 0 for configuration "
                          "num.partitions: Value must be at least 1");
    free(why);
    cr_assert_eq(load_with(tutorial, environment, NULL, 0, &why),
                 ERR_INVALID_CONFIG);
    cr_assert_str_eq(why, "environment variable KAFKA_NUM_PARTITIONS: Invalid "
                          "value -3 for configuration num.partitions: Value "
                          "must be at least 1");
    free(why);
}

Test(config, what_cannot_be_honoured_is_refused)
{
    refuses("authorizer.class.name=org.apache.kafka.metadata.authorizer."
            "StandardAuthorizer\n",
            "server.properties:6: authorizer.class.name=org.apache.kafka."
            "metadata.authorizer.StandardAuthorizer cannot be honoured: access "
            "control is not in this release, and a node that ignored it would "
            "be open to everyone. Remove the key");
}

/* ---- contradictions ------------------------------------------------------ */

Test(config, a_node_needs_roles_and_a_number)
{
    char *why = NULL;

    cr_assert_eq(load_with("zookeeper.connect=z:2181\nbroker.id=1\n", NULL,
                           NULL, 0, &why),
                 ERR_INVALID_CONFIG);
    cr_assert_str_eq(
        why, "process.roles is not given, and zookeeper.connect does not "
             "replace it: the cluster keeps its metadata itself. Say what the "
             "node is, with process.roles=broker,controller (or one of the "
             "two), node.id, controller.quorum.voters=ID@HOST:PORT,... and "
             "controller.listener.names");
    free(why);
    cr_assert_eq(load_with("process.roles=broker\n", NULL, NULL, 0, &why),
                 ERR_INVALID_CONFIG);
    cr_assert_str_eq(why, "node.id is not given: every node needs a number of "
                          "its own, 0 or more, such as node.id=1");
    free(why);
    refuses("broker.id=2\n", "node.id=1 and broker.id=2 differ: they are two "
                             "names of one number, so remove broker.id");
    refuses("node.id=-1\n",
            "server.properties:6: Invalid value -1 for configuration node.id: "
            "Value must be at least 0");
}

Test(config, voters_must_fit_the_roles)
{
    refuses("process.roles=broker\nlisteners=PLAINTEXT://:9092\n",
            "controller.quorum.voters=1@h:9093 names this node: "
            "process.roles=broker makes node.id=1 no controller, so add "
            "controller to the roles or change node.id");
    refuses("controller.quorum.voters=\n",
            "process.roles=broker,controller needs to know the controllers: "
            "give controller.quorum.voters=ID@HOST:PORT,... (or "
            "controller.quorum.bootstrap.servers=HOST:PORT,...)");
    refuses("controller.quorum.voters=1@h:9093,1@i:9093\n",
            "controller.quorum.voters=1@h:9093,1@i:9093: voter 1 is there "
            "twice; name each once");
    refuses("controller.quorum.voters=1@0.0.0.0:9093\n",
            "controller.quorum.voters=1@0.0.0.0:9093: other nodes cannot "
            "connect to 0.0.0.0; give the address of voter 1");
    const char *bad[] = {"h:9093",  "x@h:9093",  "1@h",      "1@h:0",
                         "1@:9093", "1@h:70000", "1@[::1:2", "-1@h:9093"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char *lines = xasprintf("controller.quorum.voters=%s\n", bad[i]);
        char *want = xasprintf("controller.quorum.voters=%s: \"%s\" is not of "
                               "the form id@host:port",
                               bad[i], bad[i]);
        refuses(lines, want);
        free(lines);
        free(want);
    }
    refuses("controller.quorum.bootstrap.servers=h\n",
            "controller.quorum.bootstrap.servers=h: \"h\" is not of the form "
            "host:port");
}

Test(config, listeners_of_controllers)
{
    refuses("controller.listener.names=\n",
            "controller.listener.names is not given: name the listener of the "
            "controllers, such as CONTROLLER");
    refuses("listeners=PLAINTEXT://:9092\n",
            "controller.listener.names=CONTROLLER: CONTROLLER is no name in "
            "listeners=PLAINTEXT://:9092; add CONTROLLER://:9093 there");
    refuses("process.roles=broker\ncontroller.quorum.voters=2@h:9093\n",
            "controller.listener.names=CONTROLLER: with process.roles=broker "
            "the node is no controller, so remove CONTROLLER from "
            "listeners=PLAINTEXT://:9092,CONTROLLER://:9093");
    refuses("process.roles=controller\n",
            "listeners=PLAINTEXT://:9092,CONTROLLER://:9093: with "
            "process.roles=controller only the listeners in "
            "controller.listener.names=CONTROLLER may be there; remove "
            "PLAINTEXT");
    refuses("listeners=CONTROLLER://:9093\n",
            "listeners=CONTROLLER://:9093: a broker needs a listener for "
            "clients besides those in controller.listener.names=CONTROLLER; "
            "add PLAINTEXT://:9092");
}

Test(config, advertised_addresses)
{
    refuses("advertised.listeners=PLAINTEXT://0.0.0.0:9092\n",
            "advertised.listeners=PLAINTEXT://0.0.0.0:9092: clients cannot "
            "connect to 0.0.0.0; set advertised.listeners=PLAINTEXT://"
            "HOST:9092 with a host name or address that they reach");
    refuses("listeners=PLAINTEXT://0.0.0.0:9092,CONTROLLER://:9093\n",
            "listeners=PLAINTEXT://0.0.0.0:9092,CONTROLLER://:9093: clients "
            "cannot connect to 0.0.0.0; set advertised.listeners=PLAINTEXT://"
            "HOST:9092 with a host name or address that they reach");
    refuses("advertised.listeners=EXTERNAL://h:1\n",
            "advertised.listeners=EXTERNAL://h:1: EXTERNAL is no name in "
            "listeners=PLAINTEXT://:9092,CONTROLLER://:9093; advertise only "
            "what is listened on");
    refuses("advertised.listeners=h:9092\n",
            "advertised.listeners=h:9092: \"h:9092\" is not of the form "
            "NAME://host:port");
}

Test(config, listeners_must_differ)
{
    refuses("listeners=PLAINTEXT://:9093,CONTROLLER://:9093\n",
            "listeners=PLAINTEXT://:9093,CONTROLLER://:9093: port 9093 is used "
            "twice; give each listener a port of its own");
    refuses("listeners=PLAINTEXT://:9092,PLAINTEXT://:9094,CONTROLLER://:9093"
            "\n",
            "listeners=PLAINTEXT://:9092,PLAINTEXT://:9094,CONTROLLER://:9093: "
            "the name PLAINTEXT is used twice; give each listener a name of "
            "its own");
    refuses("listeners=PLAINTEXT://:99999\n",
            "listeners=PLAINTEXT://:99999: \"PLAINTEXT://:99999\" is not of "
            "the form NAME://host:port");
    refuses("listeners=\n", "listeners is empty: give at least one, such as "
                            "PLAINTEXT://:9092");
}

Test(config, the_listener_between_brokers)
{
    refuses("inter.broker.listener.name=PLAINTEXT\n"
            "security.inter.broker.protocol=PLAINTEXT\n",
            "inter.broker.listener.name=PLAINTEXT and "
            "security.inter.broker.protocol=PLAINTEXT say the same thing "
            "twice: remove the second");
    refuses("inter.broker.listener.name=OTHER\n",
            "inter.broker.listener.name=OTHER is no advertised listener: set "
            "it to one, such as PLAINTEXT");
    refuses("inter.broker.listener.name=CONTROLLER\n",
            "inter.broker.listener.name=CONTROLLER is a listener of the "
            "controllers: brokers talk to each other on another one");
}

Test(config, protocols_of_listeners)
{
    refuses("listeners=MINE://:9092,CONTROLLER://:9093\n",
            "listener.security.protocol.map is not given, and listener MINE is "
            "not named after its protocol: give a map with every listener in "
            "it, such as MINE:PLAINTEXT");
    refuses("listener.security.protocol.map=PLAINTEXT:PLAINTEXT\n",
            "listener.security.protocol.map=PLAINTEXT:PLAINTEXT does not say "
            "which protocol listener CONTROLLER speaks: add "
            "CONTROLLER:PLAINTEXT");
    refuses("listeners=SSL://:9092,CONTROLLER://:9093\n",
            "listeners=SSL://:9092,CONTROLLER://:9093: listener SSL asks for "
            "SSL, and this release speaks PLAINTEXT only; remove the listener "
            "or give it PLAINTEXT");
    refuses("listener.security.protocol.map=PLAINTEXT\n",
            "listener.security.protocol.map=PLAINTEXT: \"PLAINTEXT\" is not of "
            "the form NAME:PROTOCOL");
}

Test(config, times_that_must_fit_together)
{
    refuses("replica.fetch.wait.max.ms=40000\n",
            "replica.fetch.wait.max.ms=40000 is above "
            "replica.lag.time.max.ms=30000: an idle follower would leave the "
            "in-sync replicas again and again. Lower the first or raise the "
            "second");
    refuses("replica.fetch.wait.max.ms=2000\nreplica.socket.timeout.ms=1000\n",
            "replica.fetch.wait.max.ms=2000 is above "
            "replica.socket.timeout.ms=1000: an idle follower would take its "
            "leader for dead. Lower the first or raise the second");
    refuses("broker.heartbeat.interval.ms=5000\n",
            "broker.heartbeat.interval.ms=5000 does not go with "
            "broker.session.timeout.ms=9000: the interval must be 1 or more "
            "and at most half the timeout, or one lost heartbeat would fence "
            "the broker");
    refuses("group.min.session.timeout.ms=9000000\n",
            "group.min.session.timeout.ms=9000000 is above "
            "group.max.session.timeout.ms=1800000: no member could ask for a "
            "timeout in between. Lower the first or raise the second");
    refuses("group.consumer.session.timeout.ms=90000\n",
            "group.consumer.session.timeout.ms=90000 is above "
            "group.consumer.max.session.timeout.ms=60000: it is the upper "
            "bound. Lower the first or raise the second");
    refuses("group.consumer.min.heartbeat.interval.ms=6000\n",
            "group.consumer.min.heartbeat.interval.ms=6000 is above "
            "group.consumer.heartbeat.interval.ms=5000: it is the lower "
            "bound. Lower the first or raise the second");
    refuses("group.consumer.assignors=uniform,nearest\n",
            "group.consumer.assignors=uniform,nearest: there is no assignor "
            "nearest; take uniform or range");
    refuses("group.coordinator.rebalance.protocols=consumer\n",
            "group.coordinator.rebalance.protocols=consumer: the classic "
            "protocol cannot be left out; add classic");
    refuses("log.retention.ms=0\n",
            "log.retention.ms=0 would delete every record at once: set it to 1 "
            "or more, or to -1 to keep records forever");
    refuses("log.retention.hours=0\n",
            "log.retention.hours=0 would delete every record at once: set it "
            "to 1 or more, or to -1 to keep records forever");
    refuses("log.roll.ms=0\n", "log.roll.ms=0: a segment lives at least a "
                               "millisecond; set it to 1 or more");
    refuses("log.roll.jitter.ms=-1\n",
            "log.roll.jitter.ms=-1 is below 0: set it to 0 or more");
    refuses("default.replication.factor=0\n",
            "default.replication.factor=0: set it to 1 or more");
    accepts("log.retention.ms=-1\nlog.retention.hours=1\n");
}

Test(config, limits_on_connections)
{
    refuses("max.connections.per.ip=0\n",
            "max.connections.per.ip=0 lets nobody in: raise it, or name the "
            "addresses that may connect in max.connections.per.ip.overrides");
    refuses("queued.max.request.bytes=1000\n",
            "queued.max.request.bytes=1000 is below "
            "socket.request.max.bytes=104857600, so the longest request would "
            "never fit: raise the first or lower the second");
    refuses("max.connections.per.ip.overrides=10.0.0.1\n",
            "max.connections.per.ip.overrides=10.0.0.1: \"10.0.0.1\" is not of "
            "the form address:count");
    accepts("max.connections.per.ip=0\n"
            "max.connections.per.ip.overrides=10.0.0.1:5,::1:7\n");
    cr_assert_eq(config.connection_overrides_len, 2);
    cr_assert_str_eq(config.connection_overrides[1].host, "::1");
    cr_assert_eq(config.connection_overrides[1].id, 7);
}

Test(config, nobody_could_connect)
{
    refuses("max.connections=0\n",
            "max.connections=0 lets nobody in: raise it (it spares the "
            "listener between brokers only if there is another one)");
    refuses("max.connection.creation.rate=0\n",
            "max.connection.creation.rate=0 lets nobody in: set it to 1 or "
            "more");
}

Test(config, nobody_could_connect_to_one_listener)
{
    refuses("listener.name.clients.max.connections=0\n",
            "listener.name.clients.max.connections=0 lets nobody in: set it to "
            "1 or more");
    refuses("listener.name.plaintext.max.connection.creation.rate=0\n",
            "listener.name.plaintext.max.connection.creation.rate=0 lets "
            "nobody in: set it to 1 or more");
    accepts("listener.name.plaintext.max.connections=1\n");
}

Test(config, the_system_sizes_buffers_unless_told)
{
    accepts("");
    cr_assert_eq(config.socket_send_buffer_bytes, 0);
    cr_assert_eq(config.socket_receive_buffer_bytes, 0);
    cr_assert_eq(config.replica_socket_receive_buffer_bytes, 0);
    cr_assert_eq(config.socket_listen_backlog, 0);
    server_config_free(&config);
    accepts("socket.send.buffer.bytes=102400\n"
            "socket.receive.buffer.bytes=-1\n"
            "replica.socket.receive.buffer.bytes=65536\n"
            "socket.listen.backlog.size=50\n");
    cr_assert_eq(config.socket_send_buffer_bytes, 102400);
    cr_assert_eq(config.socket_receive_buffer_bytes, 0);
    cr_assert_eq(config.replica_socket_receive_buffer_bytes, 65536);
    cr_assert_eq(config.socket_listen_backlog, 50);
}

Test(config, log_directories)
{
    refuses("log.dirs=/a,/b/,/a/\n",
            "log.dirs=/a,/b/,/a/: /a is given twice; name each directory once");
    refuses("log.dirs=/a,,/b\n", "log.dirs=/a,,/b: give at least one "
                                 "directory, and none empty");
    refuses("log.dirs=\n",
            "log.dirs=: give at least one directory, and none empty");
    accepts("log.dir=/x\nmetadata.log.dir=/m\n");
    cr_assert_str_eq(config.log_dirs[0], "/x");
    cr_assert_str_eq(config.metadata_log_dir, "/m");
}
