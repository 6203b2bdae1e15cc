import static java.util.concurrent.ConcurrentHashMap.newKeySet;

import java.time.LocalTime;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Queue;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.kafka.clients.consumer.AcknowledgeType;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaShareConsumer;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicIdPartition;

/**
 * A member of a share group in a thread of its own, and the ledger that members
 * share.  A member accepts records, but releases some when they come first, and
 * commits each batch.
 */
final class ShareMember extends Thread {
    /** What members know of the records of a topic. */
    static final class Ledger {
        /** Records of every so many are released when they come first; 0 for none. */
        final int releaseEach;
        /** Accepted, and when it was known that the commit had succeeded. */
        final Map<Integer, Long> accepted = new ConcurrentHashMap<>();
        /** Accepted, and nobody knows whether that is on disk. */
        final Set<Integer> unsure = newKeySet();
        /** How often those were delivered whose release succeeded. */
        final Map<Integer, Integer> released = new ConcurrentHashMap<>();
        final AtomicInteger deliveries = new AtomicInteger();
        final AtomicInteger failedCommits = new AtomicInteger();
        final AtomicReference<Throwable> error = new AtomicReference<>();
        /** What happened to each record, for who has to find out why. */
        private final Map<Integer, Queue<String>> history = new ConcurrentHashMap<>();

        Ledger(int releaseEach) {
            this.releaseEach = releaseEach;
        }

        void rethrow() {
            if (error.get() != null) {
                throw new AssertionError("a member ended: " + error.get(), error.get());
            }
        }

        private void tell(ConsumerRecord<String, String> record, String what) {
            history.computeIfAbsent(ShareWorld.number(record), n -> new ConcurrentLinkedQueue<>())
                .add(LocalTime.now() + " " + Thread.currentThread().getName() + " " + what
                    + " delivery " + record.deliveryCount().get());
        }

        private AssertionError wrong(ConsumerRecord<String, String> record, String what) {
            return new AssertionError(record.key() + " " + what + ": "
                + history.get(ShareWorld.number(record)));
        }

        /** What to do with a record that is shown. */
        private AcknowledgeType decide(ConsumerRecord<String, String> record) {
            int number = ShareWorld.number(record);
            int count = record.deliveryCount().get();
            tell(record, "gets");
            deliveries.incrementAndGet();
            Integer before = released.get(number);
            if (before != null && count <= before) {
                throw wrong(record, "is not counted after a release");
            }
            return releaseEach > 0 && number % releaseEach == 0 && count == 1
                ? AcknowledgeType.RELEASE : AcknowledgeType.ACCEPT;
        }

        /**
         * The commit has ended of what was said of a record, which a poll showed
         * that began at this time.  The client fetches ahead at times, so what it
         * shows may be somebody else's by then; but that it cannot commit.
         */
        private void note(ConsumerRecord<String, String> record, AcknowledgeType type,
                boolean success, long polled) {
            int number = ShareWorld.number(record);
            tell(record, (success ? "commits " : "does not know of its ") + type + " of");
            if (!success) {
                failedCommits.incrementAndGet();
                if (type == AcknowledgeType.ACCEPT) {
                    unsure.add(number);
                }
                return;
            }
            Long done = accepted.get(number);
            if (done != null && done - polled < 0) {
                throw wrong(record, "was accepted and came again");
            }
            if (type == AcknowledgeType.ACCEPT) {
                accepted.putIfAbsent(number, System.nanoTime());
            } else {
                released.put(number, (int) record.deliveryCount().get());
            }
        }
    }

    /** Those that this member accepted. */
    final Set<Integer> mine = newKeySet();
    private final KafkaShareConsumer<String, String> consumer;
    private final Ledger ledger;
    private volatile boolean leave;

    ShareMember(String name, Ledger ledger, String... pairs) {
        this.consumer = ShareWorld.explicit(name, pairs);
        this.ledger = ledger;
        start();
    }

    @Override
    public void run() {
        try (KafkaShareConsumer<String, String> c = consumer) {
            while (!leave) {
                long polled = System.nanoTime();
                List<ConsumerRecord<String, String>> records = ShareWorld.poll(c);
                if (!records.isEmpty()) {
                    handle(records, polled);
                }
            }
        } catch (RuntimeException | AssertionError one) {
            one.printStackTrace();
            ledger.error.compareAndSet(null, one);
        }
    }

    private void handle(List<ConsumerRecord<String, String>> records, long polled) {
        AcknowledgeType[] types = new AcknowledgeType[records.size()];
        for (int i = 0; i < types.length; i++) {
            types[i] = ledger.decide(records.get(i));
            consumer.acknowledge(records.get(i), types[i]);
        }
        Map<TopicIdPartition, Optional<KafkaException>> results = consumer.commitSync();
        for (int i = 0; i < types.length; i++) {
            boolean success = succeeded(results, records.get(i));
            ledger.note(records.get(i), types[i], success, polled);
            if (success && types[i] == AcknowledgeType.ACCEPT) {
                mine.add(ShareWorld.number(records.get(i)));
            }
        }
    }

    private static boolean succeeded(Map<TopicIdPartition, Optional<KafkaException>> results,
            ConsumerRecord<String, String> record) {
        return results.entrySet().stream().anyMatch(one ->
            one.getKey().topic().equals(record.topic())
                && one.getKey().partition() == record.partition() && one.getValue().isEmpty());
    }

    void close() throws InterruptedException {
        leave = true;
        join();
    }
}
