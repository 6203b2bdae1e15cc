import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.Future;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ListShareGroupOffsetsSpec;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaShareConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicIdPartition;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;

/** Topics, records and share groups, for checks of what members of such groups see. */
final class ShareWorld {
    static final Admin ADMIN = Admin.create(properties());

    private ShareWorld() {}

    static String unique(String what) {
        return "share-" + what + "-" + Checks.RUN;
    }

    static Properties properties(String... pairs) {
        Properties p = new Properties();
        p.put("bootstrap.servers", Checks.BOOTSTRAP);
        p.put("reconnect.backoff.max.ms", "200");
        for (int i = 0; i < pairs.length; i += 2) {
            p.put(pairs[i], pairs[i + 1]);
        }
        return p;
    }

    // ---- topics and records ----

    static void create(String topic, int partitions) throws Exception {
        ADMIN.createTopics(Collections.singleton(
            new NewTopic(topic, partitions, Checks.REPLICAS))).all().get();
    }

    static TopicDescription describe(String topic) throws Exception {
        return ADMIN.describeTopics(Collections.singleton(topic)).allTopicNames().get().get(topic);
    }

    static boolean inSync(String topic) throws Exception {
        return describe(topic).partitions().stream().allMatch(
            p -> p.leader() != null && !p.leader().isEmpty()
                && p.isr().size() == Checks.REPLICAS);
    }

    static KafkaProducer<String, String> producer(String... pairs) {
        Properties p = properties(pairs);
        p.put("key.serializer", "org.apache.kafka.common.serialization.StringSerializer");
        p.put("value.serializer", "org.apache.kafka.common.serialization.StringSerializer");
        p.put("linger.ms", "5");
        return new KafkaProducer<>(p);
    }

    /** Record number i, in partition 0. */
    static ProducerRecord<String, String> record(String topic, int i, Long timestamp) {
        return new ProducerRecord<>(topic, 0, timestamp, Checks.key(i), Checks.value(i));
    }

    static void send(KafkaProducer<String, String> producer, String topic, int from, int to)
            throws Exception {
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        for (int i = from; i < to; i++) {
            sent.add(producer.send(record(topic, i, null)));
        }
        producer.flush();
        for (Future<RecordMetadata> one : sent) {
            one.get();
        }
    }

    static void produce(String topic, int from, int to) throws Exception {
        try (KafkaProducer<String, String> producer = producer()) {
            send(producer, topic, from, to);
        }
    }

    // ---- groups ----

    /** A group's settings, "name=value" each. */
    static void configure(String group, String... settings) throws Exception {
        List<AlterConfigOp> ops = new ArrayList<>();
        for (String setting : settings) {
            String[] pair = setting.split("=", 2);
            ops.add(new AlterConfigOp(
                new ConfigEntry(pair[0], pair[1]), AlterConfigOp.OpType.SET));
        }
        Map<ConfigResource, Collection<AlterConfigOp>> all = new HashMap<>();
        all.put(new ConfigResource(ConfigResource.Type.GROUP, group), ops);
        ADMIN.incrementalAlterConfigs(all).all().get();
    }

    /**
     * A topic with one partition and `count` records, and a group of the same
     * name that reads it from the beginning.
     */
    static String filled(String what, int count, String... settings) throws Exception {
        String name = unique(what);
        create(name, 1);
        configure(name, "share.auto.offset.reset=earliest");
        configure(name, settings);
        produce(name, 0, count);
        return name;
    }

    /** A member of the group that has its topic's name. */
    static KafkaShareConsumer<String, String> consumer(String name, String... pairs) {
        Properties p = properties("share.acquire.mode", "record_limit");
        p.put("group.id", name);
        p.put("key.deserializer", "org.apache.kafka.common.serialization.StringDeserializer");
        p.put("value.deserializer", "org.apache.kafka.common.serialization.StringDeserializer");
        p.putAll(properties(pairs));
        KafkaShareConsumer<String, String> consumer = new KafkaShareConsumer<>(p);
        consumer.subscribe(Collections.singleton(name));
        return consumer;
    }

    /** One that says of each record what becomes of it. */
    static KafkaShareConsumer<String, String> explicit(String name, String... pairs) {
        String[] all = Arrays.copyOf(pairs, pairs.length + 2);
        all[pairs.length] = "share.acknowledgement.mode";
        all[pairs.length + 1] = "explicit";
        return consumer(name, all);
    }

    static List<ConsumerRecord<String, String>> poll(KafkaShareConsumer<String, String> consumer) {
        List<ConsumerRecord<String, String>> records = new ArrayList<>();
        consumer.poll(Duration.ofMillis(100)).forEach(records::add);
        return records;
    }

    /** What the next poll with any records has. */
    static List<ConsumerRecord<String, String>> batch(
            KafkaShareConsumer<String, String> consumer) throws Exception {
        List<ConsumerRecord<String, String>> records = new ArrayList<>();
        Checks.until(() -> {
            records.addAll(poll(consumer));
            return !records.isEmpty();
        }, 30, "no record came");
        return records;
    }

    /** The next batch has just these records, delivered so often. */
    static List<ConsumerRecord<String, String>> expect(
            KafkaShareConsumer<String, String> consumer, int from, int to, int deliveries)
            throws Exception {
        List<ConsumerRecord<String, String>> records = batch(consumer);
        Checks.equal(numbers(records), range(from, to), "records");
        for (ConsumerRecord<String, String> record : records) {
            Checks.equal(record.deliveryCount().get(), (short) deliveries,
                "deliveries of " + record.key());
        }
        return records;
    }

    static int number(ConsumerRecord<String, String> record) {
        int i = Integer.parseInt(record.key().substring("key-".length()));
        Checks.equal(record.value(), Checks.value(i), "value of " + record.key());
        return i;
    }

    static List<Integer> numbers(List<ConsumerRecord<String, String>> records) {
        return records.stream().map(ShareWorld::number).collect(Collectors.toList());
    }

    static List<Integer> range(int from, int to) {
        return IntStream.range(from, to).boxed().collect(Collectors.toList());
    }

    /** What was acknowledged is on disk. */
    static void commit(KafkaShareConsumer<String, String> consumer) {
        for (Map.Entry<TopicIdPartition, Optional<KafkaException>> one :
                consumer.commitSync().entrySet()) {
            one.getValue().ifPresent(error -> {
                throw new AssertionError("commit of " + one.getKey() + ": " + error);
            });
        }
    }

    static long start(String name, int partition) throws Exception {
        TopicPartition asked = new TopicPartition(name, partition);
        return Optional.ofNullable(ADMIN.listShareGroupOffsets(Collections.singletonMap(
                name, new ListShareGroupOffsetsSpec().topicPartitions(Set.of(asked))))
            .partitionsToOffsetInfo(name).get().get(asked)).map(info -> info.startOffset())
            .orElse(-1L);
    }

    /**
     * Nothing before this offset comes any more: the next member gets just the
     * record that is written now, `offset`, and its acknowledgement is the only
     * thing that the coordinator knows beyond the start.  (A start that has moved
     * is written with the next change of states.)
     */
    static void done(String name, int offset) throws Exception {
        produce(name, offset, offset + 1);
        try (KafkaShareConsumer<String, String> last = explicit(name)) {
            expect(last, offset, offset + 1, 1).forEach(last::acknowledge);
            commit(last);
        }
        Checks.equal(start(name, 0), (long) offset, "start of the group");
    }
}
