import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Arrays;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.JoinWindows;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.processor.TimestampExtractor;

/**
 * What Kafka Streams programs do, with exactly-once semantics v2: it counts
 * the words of the topic `lines` in a store and writes every new count to
 * `counts`, and it joins `orders` with `payments` of the same key that are at
 * most WINDOW_MS apart, into `paid`.  Its input brings its own time, in
 * front of a value: "MILLISECONDS TEXT".
 *
 *   java WordCount BOOTSTRAP APPLICATION SUFFIX STATE_DIRECTORY [GROUP_PROTOCOL]
 *
 * SUFFIX is at the end of each topic's name.  It prints its state as it
 * changes, runs until it is killed, and closes in good order on SIGTERM.
 */
public final class WordCount {
    private static final long WINDOW_MS = 5_000;

    /** Out of order records are never late: the outcome is a function of the input. */
    private static final Duration GRACE = Duration.ofDays(2);

    public static final class TimeOfValue implements TimestampExtractor {
        @Override
        public long extract(ConsumerRecord<Object, Object> record, long previous) {
            String value = (String) record.value();
            return Long.parseLong(value.substring(0, value.indexOf(' ')));
        }
    }

    private static Properties properties(String[] args) {
        Properties p = new Properties();
        p.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, args[0]);
        p.put(StreamsConfig.APPLICATION_ID_CONFIG, args[1]);
        p.put(StreamsConfig.STATE_DIR_CONFIG, args[3]);
        p.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        p.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, 3);
        p.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 100);
        // Every count is written, not only the last one of a commit.
        p.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 0);
        p.put(StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
        p.put(StreamsConfig.DEFAULT_VALUE_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
        p.put(StreamsConfig.DEFAULT_TIMESTAMP_EXTRACTOR_CLASS_CONFIG, TimeOfValue.class);
        if (args.length > 4) {
            p.put(StreamsConfig.GROUP_PROTOCOL_CONFIG, args[4]);
        } else {
            p.put(StreamsConfig.consumerPrefix(ConsumerConfig.SESSION_TIMEOUT_MS_CONFIG), 6_000);
            p.put(StreamsConfig.consumerPrefix(ConsumerConfig.HEARTBEAT_INTERVAL_MS_CONFIG), 500);
        }
        return p;
    }

    private static void topology(StreamsBuilder builder, String suffix) {
        KStream<String, String> lines = builder.stream("lines" + suffix);
        lines.flatMapValues(line -> Arrays.asList(line.substring(line.indexOf(' ') + 1).split(" ")))
            .groupBy((key, word) -> word)
            .count(Materialized.as("words"))
            .toStream()
            .mapValues(count -> Long.toString(count))
            .to("counts" + suffix, Produced.with(Serdes.String(), Serdes.String()));

        KStream<String, String> orders = builder.stream("orders" + suffix);
        KStream<String, String> payments = builder.stream("payments" + suffix);
        orders.join(payments, (order, payment) -> order + "|" + payment,
                JoinWindows.ofTimeDifferenceAndGrace(Duration.ofMillis(WINDOW_MS), GRACE))
            .to("paid" + suffix);
    }

    public static void main(String[] args) throws Exception {
        StreamsBuilder builder = new StreamsBuilder();
        topology(builder, args[2]);
        KafkaStreams streams = new KafkaStreams(builder.build(), properties(args));
        streams.setStateListener((now, before) -> System.out.println("state " + now));
        streams.setUncaughtExceptionHandler(error -> {
            System.out.println("error " + error);
            error.printStackTrace(System.out);
            return StreamThreadExceptionResponse.REPLACE_THREAD;
        });
        Runtime.getRuntime().addShutdownHook(
            new Thread(() -> System.out.println("closed " + streams.close(Duration.ofSeconds(30)))));
        streams.start();
    }
}
