import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Future;
import org.apache.kafka.clients.admin.AdminClient;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.KafkaFuture;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.ApiException;
import org.apache.kafka.common.errors.GroupIdNotFoundException;
import org.apache.kafka.common.errors.ProducerFencedException;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;

/**
 * Apache Kafka's Java client: administration, producer, group, transactions.
 * The same source is compiled with each version of the client, from 2.1 on, so
 * it only uses what all have; what was renamed is called by `Checks.any`.
 */
public final class Client {
    private static final String TOPIC = unique("records");
    private static final String COOPERATIVE =
        "org.apache.kafka.clients.consumer.CooperativeStickyAssignor";

    private Client() {}

    private static String unique(String what) {
        return "java-" + System.getenv("VERSION") + "-" + what + "-" + Checks.RUN;
    }

    private static Properties properties(String... pairs) {
        Properties p = new Properties();
        p.put("bootstrap.servers", Checks.BOOTSTRAP);
        for (int i = 0; i < pairs.length; i += 2) {
            p.put(pairs[i], pairs[i + 1]);
        }
        return p;
    }

    private static KafkaProducer<String, String> producer(String... pairs) {
        Properties p = properties(pairs);
        p.put("key.serializer", "org.apache.kafka.common.serialization.StringSerializer");
        p.put("value.serializer", "org.apache.kafka.common.serialization.StringSerializer");
        p.put("enable.idempotence", "true");
        p.put("linger.ms", "5");
        return new KafkaProducer<>(p);
    }

    private static KafkaConsumer<String, String> consumer(String group, String... pairs) {
        Properties p = properties(pairs);
        p.put("group.id", group);
        p.put("auto.offset.reset", "earliest");
        p.put("enable.auto.commit", "false");
        p.put("heartbeat.interval.ms", "200");
        p.put("key.deserializer", "org.apache.kafka.common.serialization.StringDeserializer");
        p.put("value.deserializer", "org.apache.kafka.common.serialization.StringDeserializer");
        return new KafkaConsumer<>(p);
    }

    private static ProducerRecord<String, String> record(String topic, int i) {
        ProducerRecord<String, String> record = new ProducerRecord<>(
            topic, i % Checks.PARTITIONS, Checks.key(i), Checks.value(i));
        record.headers().add("number", Integer.toString(i).getBytes(StandardCharsets.UTF_8));
        return record;
    }

    private static void send(
            KafkaProducer<String, String> producer, String topic, int from, int to)
            throws Exception {
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        for (int i = from; i < to; i++) {
            sent.add(producer.send(record(topic, i)));
        }
        producer.flush();
        for (Future<RecordMetadata> one : sent) {
            one.get();
        }
    }

    private static void produce(String topic, int from, int to, String... pairs) throws Exception {
        try (KafkaProducer<String, String> producer = producer(pairs)) {
            send(producer, topic, from, to);
        }
    }

    private static ConsumerRecords<String, String> poll(KafkaConsumer<String, String> consumer) {
        return consumer.poll(Duration.ofMillis(100));
    }

    /** Reads until a ledger has `count` records, and commits. */
    private static void read(
            KafkaConsumer<String, String> consumer, Ledger ledger, int count) throws Exception {
        Checks.until(() -> {
            poll(consumer).forEach(ledger::add);
            return ledger.count >= count;
        }, 60, "not " + count + " records came");
        consumer.commitSync();
    }

    // ---- administration ----

    private static void create(AdminClient admin, String topic) throws Exception {
        admin.createTopics(Collections.singleton(
            new NewTopic(topic, Checks.PARTITIONS, Checks.REPLICAS))).all().get();
    }

    @SuppressWarnings("unchecked")
    private static TopicDescription describe(AdminClient admin, String topic) throws Exception {
        Object future = Checks.any(admin.describeTopics(Collections.singleton(topic)),
            new String[] {"allTopicNames", "all"});
        return ((KafkaFuture<Map<String, TopicDescription>>) future).get().get(topic);
    }

    private static String createAndDescribe(AdminClient admin) throws Exception {
        create(admin, TOPIC);
        Checks.until(() -> admin.listTopics().names().get().contains(TOPIC), 20, "not listed");
        Checks.equal(describe(admin, TOPIC).partitions().size(), Checks.PARTITIONS, "partitions");
        Checks.equal(admin.describeCluster().nodes().get().size(), 3, "nodes");
        Checks.refused(() -> {
            create(admin, TOPIC);
            return null;
        }, TopicExistsException.class);
        return null;
    }

    private static String alterAndDelete(AdminClient admin) throws Exception {
        String topic = unique("grows");
        create(admin, topic);
        admin.createPartitions(Collections.singletonMap(topic, NewPartitions.increaseTo(5)))
            .all().get();
        Checks.until(() -> describe(admin, topic).partitions().size() == 5, 20,
            "it has not 5 partitions");
        admin.deleteTopics(Collections.singleton(topic)).all().get();
        Checks.until(() -> !admin.listTopics().names().get().contains(topic), 20, "still listed");
        Checks.refused(() -> describe(admin, topic), UnknownTopicOrPartitionException.class);
        return null;
    }

    /** alterConfigs() in old clients, incrementalAlterConfigs() in new ones. */
    private static void setRetention(AdminClient admin, String value) throws Exception {
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, TOPIC);
        ConfigEntry entry = new ConfigEntry("retention.ms", value);
        Object argument;
        try {
            Class<?> op = Class.forName("org.apache.kafka.clients.admin.AlterConfigOp");
            Class<?> type = Class.forName(op.getName() + "$OpType");
            Object set = type.getMethod("valueOf", String.class).invoke(null, "SET");
            argument = Collections.singleton(
                op.getConstructor(ConfigEntry.class, type).newInstance(entry, set));
        } catch (ClassNotFoundException old) {
            argument = new Config(Collections.singleton(entry));
        }
        Object result = Checks.any(admin, argument instanceof Config
            ? new String[] {"alterConfigs"} : new String[] {"incrementalAlterConfigs"},
            Collections.singletonMap(resource, argument));
        ((KafkaFuture<?>) Checks.any(result, new String[] {"all"})).get();
    }

    private static String configs(AdminClient admin) throws Exception {
        setRetention(admin, "86400000");
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, TOPIC);
        Checks.until(() -> {
            Config config =
                admin.describeConfigs(Collections.singleton(resource)).all().get().get(resource);
            return config.get("retention.ms").value().equals("86400000")
                && config.get("cleanup.policy").value().equals("delete");
        }, 20, "the value did not change");
        return null;
    }

    // ---- producer and group ----

    private static String compressions(AdminClient admin) throws Exception {
        String topic = unique("compressed");
        create(admin, topic);
        String[] codecs = {"none", "gzip", "snappy", "lz4", "zstd"};
        for (int n = 0; n < codecs.length; n++) {
            produce(topic, n * 600, n * 600 + 600, "compression.type", codecs[n]);
        }
        try (KafkaConsumer<String, String> reader = consumer(unique("compressed"))) {
            reader.subscribe(Collections.singleton(topic));
            read(reader, new Ledger(), codecs.length * 600);
        }
        return null;
    }

    private static String resume() throws Exception {
        Ledger ledger = new Ledger();
        int before;
        try (KafkaConsumer<String, String> reader =
                consumer(unique("resume"), "max.poll.records", "500")) {
            reader.subscribe(Collections.singleton(TOPIC));
            read(reader, ledger, 4_000);
            before = ledger.count;
        }
        try (KafkaConsumer<String, String> reader = consumer(unique("resume"))) {
            reader.subscribe(Collections.singleton(TOPIC));
            read(reader, ledger, Checks.RECORDS);
        }
        Checks.equal(ledger.count, Checks.RECORDS, "records");
        return before + " then " + (ledger.count - before) + " records";
    }

    private static String seek() throws Exception {
        try (KafkaConsumer<String, String> reader = consumer(unique("seek"))) {
            List<TopicPartition> all = new ArrayList<>();
            for (int p = 0; p < Checks.PARTITIONS; p++) {
                all.add(new TopicPartition(TOPIC, p));
            }
            long total = 0;
            for (long end : reader.endOffsets(all).values()) {
                total += end;
            }
            Checks.equal(total, (long) Checks.RECORDS, "end offsets");
            TopicPartition one = all.get(1);
            reader.assign(Collections.singleton(one));
            reader.seek(one, 100);
            List<ConsumerRecord<String, String>> got = new ArrayList<>();
            Checks.until(() -> {
                poll(reader).forEach(got::add);
                return !got.isEmpty();
            }, 30, "nothing came");
            Checks.equal(got.get(0).key(), Checks.key(301), "key at offset 100 of partition 1");
            long at = reader.offsetsForTimes(Collections.singletonMap(one, 0L)).get(one).offset();
            Checks.equal(at, 0L, "offset for time 0");
        }
        return null;
    }

    private static final class Member extends Thread {
        final Set<String> seen = ConcurrentHashMap.newKeySet();
        final KafkaConsumer<String, String> consumer;
        volatile int partitions;
        volatile boolean leave;
        volatile Exception error;

        Member(String group, String topic, String... pairs) {
            consumer = consumer(group, pairs);
            consumer.subscribe(Collections.singleton(topic));
            start();
        }

        @Override
        public void run() {
            try (KafkaConsumer<String, String> c = consumer) {
                while (!leave) {
                    poll(c).forEach(record -> seen.add(record.key()));
                    partitions = c.assignment().size();
                    c.commitAsync();
                }
            } catch (RuntimeException one) {
                error = one;
            }
        }

        void close() throws InterruptedException {
            leave = true;
            join();
        }
    }

    private static int seen(Member... members) {
        Set<String> all = new HashSet<>();
        for (Member member : members) {
            if (member.error != null) {
                throw new AssertionError("a member ended: " + member.error);
            }
            all.addAll(member.seen);
        }
        return all.size();
    }

    private static String rebalance(AdminClient admin, String what, String... pairs)
            throws Exception {
        String topic = unique(what);
        create(admin, topic);
        Member a = new Member(topic, topic, pairs);
        Member b = null;
        try {
            Checks.until(() -> a.partitions == 3, 40, "the first has not all");
            Member second = new Member(topic, topic, pairs);
            b = second;
            Checks.until(() -> a.partitions + second.partitions == 3
                && a.partitions > 0 && second.partitions > 0, 40, "they do not share");
            ConsumerGroupDescription group = admin.describeConsumerGroups(
                Collections.singleton(topic)).all().get().get(topic);
            Checks.equal(group.members().size(), 2, "members");
            produce(topic, 0, 300);
            Checks.until(() -> seen(a, second) == 300, 30, "not 300 records came");
            second.close();
            Checks.until(() -> a.partitions == 3, 40, "the first has not all");
            produce(topic, 300, 600);
            Checks.until(() -> seen(a, second) == 600, 30, "not 600 records came");
            return a.seen.size() + " and " + second.seen.size() + " records";
        } finally {
            a.close();
            if (b != null) {
                b.close();
            }
        }
    }

    // ---- transactions ----

    /**
     * The keys that a reader sees up to a topic's end, when there are as many. A
     * commit is answered before its markers are written, so the end may be late.
     */
    private static List<String> keys(String topic, String isolation, int count)
            throws Exception {
        List<String> keys = new ArrayList<>();
        try (KafkaConsumer<String, String> reader =
                consumer(unique("keys"), "isolation.level", isolation)) {
            List<TopicPartition> all = new ArrayList<>();
            for (int p = 0; p < Checks.PARTITIONS; p++) {
                all.add(new TopicPartition(topic, p));
            }
            reader.assign(all);
            reader.seekToBeginning(all);
            Checks.until(() -> {
                poll(reader).forEach(record -> keys.add(record.key()));
                Map<TopicPartition, Long> ends = reader.endOffsets(all);
                return keys.size() >= count
                    && all.stream().allMatch(p -> reader.position(p) >= ends.get(p));
            }, 30, "the end with " + count + " records was not reached");
        }
        return keys;
    }

    private static String commitAndAbort(AdminClient admin) throws Exception {
        String topic = unique("transactions");
        create(admin, topic);
        try (KafkaProducer<String, String> producer =
                producer("transactional.id", unique("ids"))) {
            producer.initTransactions();
            producer.beginTransaction();
            send(producer, topic, 0, 300);
            producer.commitTransaction();
            producer.beginTransaction();
            send(producer, topic, 300, 600);
            producer.abortTransaction();
            producer.beginTransaction();
            send(producer, topic, 600, 900);
            Checks.equal(keys(topic, "read_committed", 300).size(), 300, "while one is open");
            producer.commitTransaction();
        }
        Set<String> want = new HashSet<>();
        for (int i = 0; i < 900; i++) {
            if (i < 300 || i >= 600) {
                want.add(Checks.key(i));
            }
        }
        List<String> committed = keys(topic, "read_committed", 600);
        Checks.equal(committed.size(), 600, "committed records");
        Checks.equal(new HashSet<>(committed), want, "committed records");
        Checks.equal(keys(topic, "read_uncommitted", 900).size(), 900, "all records");
        return "600 committed records of 900";
    }

    private static String fence(AdminClient admin) throws Exception {
        String topic = unique("fenced");
        create(admin, topic);
        String id = unique("fenced");
        try (KafkaProducer<String, String> old = producer("transactional.id", id);
                KafkaProducer<String, String> young = producer("transactional.id", id)) {
            old.initTransactions();
            old.beginTransaction();
            send(old, topic, 0, 30);
            young.initTransactions();
            // Newer clients take a refused record for a reason to abort at first.
            Checks.refused(() -> {
                send(old, topic, 30, 60);
                return null;
            }, ApiException.class);
            Checks.refused(() -> {
                old.abortTransaction();
                return null;
            }, ProducerFencedException.class);
            young.beginTransaction();
            send(young, topic, 60, 90);
            young.commitTransaction();
        }
        Checks.equal(keys(topic, "read_committed", 30).size(), 30, "committed records");
        return null;
    }

    private static void sendOffsets(KafkaProducer<String, String> producer,
            Map<TopicPartition, OffsetAndMetadata> offsets,
            KafkaConsumer<String, String> consumer, String group) throws Exception {
        Object who = group;
        try {
            who = KafkaConsumer.class.getMethod("groupMetadata").invoke(consumer);
        } catch (NoSuchMethodException old) {
            // Clients before 2.5 know the group's name only.
        }
        Checks.any(producer, new String[] {"sendOffsetsToTransaction"}, offsets, who);
    }

    /**
     * Copies until the copy has `count` records, each poll in a transaction, and
     * then aborts one more, if there is any.
     */
    private static int copy(String from, String to, String group, int done, int count)
            throws Exception {
        try (KafkaConsumer<String, String> reader = consumer(group, "isolation.level",
                    "read_committed", "max.poll.records", "100");
                KafkaProducer<String, String> producer =
                    producer("transactional.id", unique("copier"))) {
            producer.initTransactions();
            reader.subscribe(Collections.singleton(from));
            long end = System.nanoTime() + 60_000_000_000L;
            while (done < Checks.RECORDS) {
                if (System.nanoTime() > end) {
                    throw new AssertionError("only " + done + " records in time");
                }
                ConsumerRecords<String, String> records = poll(reader);
                if (records.isEmpty()) {
                    continue;
                }
                producer.beginTransaction();
                Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
                for (ConsumerRecord<String, String> record : records) {
                    producer.send(new ProducerRecord<>(
                        to, record.partition(), record.key(), record.value()));
                    offsets.put(new TopicPartition(from, record.partition()),
                        new OffsetAndMetadata(record.offset() + 1));
                }
                sendOffsets(producer, offsets, reader, group);
                if (done >= count) {
                    producer.abortTransaction();
                    return done;
                }
                producer.commitTransaction();
                done += records.count();
            }
        }
        return done;
    }

    private static String transform(AdminClient admin) throws Exception {
        String topic = unique("copy");
        create(admin, topic);
        String group = unique("copiers");
        int first = copy(TOPIC, topic, group, 0, Checks.RECORDS / 2);
        // What the aborted transaction read is read again.
        copy(TOPIC, topic, group, first, Checks.RECORDS);
        List<String> keys = keys(topic, "read_committed", Checks.RECORDS);
        Checks.equal(keys.size(), Checks.RECORDS, "copied records");
        Checks.equal(new HashSet<>(keys).size(), Checks.RECORDS, "different records");
        return first + " then " + (Checks.RECORDS - first) + " records";
    }

    // ---- administration of what was made above ----

    @SuppressWarnings("removal") // in the newest
    private static String groups(AdminClient admin) throws Exception {
        String group = unique("resume");
        Checks.until(() -> admin.listConsumerGroups().all().get().stream()
            .anyMatch(one -> one.groupId().equals(group)), 20, "the group is not listed");
        Map<TopicPartition, OffsetAndMetadata> offsets =
            admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
        long total = offsets.values().stream().mapToLong(OffsetAndMetadata::offset).sum();
        Checks.equal(total, (long) Checks.RECORDS, "committed offsets");
        admin.deleteConsumerGroups(Collections.singleton(group)).all().get();
        Checks.refused(() -> admin.deleteConsumerGroups(Collections.singleton(group)).all().get(),
            GroupIdNotFoundException.class);
        return null;
    }

    private static String deleteRecords(AdminClient admin) throws Exception {
        TopicPartition partition = new TopicPartition(TOPIC, 0);
        long low = admin.deleteRecords(Collections.singletonMap(
            partition, RecordsToDelete.beforeOffset(100))).lowWatermarks().get(partition).get()
            .lowWatermark();
        Checks.equal(low, 100L, "first offset");
        try (KafkaConsumer<String, String> reader = consumer(unique("deleted"))) {
            Checks.equal(reader.beginningOffsets(Collections.singleton(partition)).get(partition),
                100L, "first offset");
        }
        return null;
    }

    public static void main(String[] args) {
        try (AdminClient admin = AdminClient.create(properties())) {
            Checks.check("a topic is created, described and refused a second time",
                () -> createAndDescribe(admin));
            Checks.check("partitions are added, a topic is deleted", () -> alterAndDelete(admin));
            Checks.check("a configuration is changed", () -> configs(admin));
            Checks.check("an idempotent producer writes 10,000 records", () -> {
                produce(TOPIC, 0, Checks.RECORDS);
                return null;
            });
            Checks.check("all compressions come back in order", () -> compressions(admin));
            Checks.check("a group resumes from committed offsets, complete and in order",
                Client::resume);
            Checks.check("seeks, finds ends and offsets for times", Client::seek);
            Checks.check("a group rebalances when a second member joins and leaves",
                () -> rebalance(admin, "rebalance"));
            if (cooperates()) {
                Checks.check("a group rebalances cooperatively",
                    () -> rebalance(admin, "cooperative", "partition.assignment.strategy",
                        COOPERATIVE));
            }
            Checks.check("transactions are committed and aborted", () -> commitAndAbort(admin));
            Checks.check("an older producer of the same transactional id is fenced",
                () -> fence(admin));
            Checks.check("consumes, transforms, produces exactly once", () -> transform(admin));
            Checks.check("groups are listed, their offsets told, one is deleted",
                () -> groups(admin));
            Checks.check("records are deleted", () -> deleteRecords(admin));
        }
        System.exit(Checks.failed ? 1 : 0);
    }

    private static boolean cooperates() {
        try {
            Class.forName(COOPERATIVE);
            return true;
        } catch (ClassNotFoundException old) {
            return false;
        }
    }
}
