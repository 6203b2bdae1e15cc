import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentSkipListSet;
import org.apache.kafka.clients.consumer.AcknowledgeType;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaShareConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.common.errors.InvalidRecordStateException;

/**
 * Apache Kafka's KafkaShareConsumer (KIP-932) on a cluster of its own: what
 * becomes of records that members acknowledge or do not, how members share a
 * partition, and what of that outlives members and nodes that are killed.
 */
public final class Share {
    private Share() {}

    // ---- acknowledgement ----

    private static String implicitly() throws Exception {
        String name = ShareWorld.filled("implicit", 300);
        Set<Long> acknowledged = new ConcurrentSkipListSet<>();
        List<Integer> got = new ArrayList<>();
        try (KafkaShareConsumer<String, String> a = ShareWorld.consumer(name)) {
            a.setAcknowledgementCommitCallback((offsets, error) -> {
                Checks.equal(error, null, "error of the callback");
                offsets.values().forEach(acknowledged::addAll);
            });
            Checks.until(() -> {
                got.addAll(ShareWorld.numbers(ShareWorld.poll(a)));
                return acknowledged.size() == 300;
            }, 30, "not all were acknowledged by a poll");
        }
        Checks.equal(got, ShareWorld.range(0, 300), "records");
        // Closed without a commit: they come again, those that were committed do not.
        ShareWorld.produce(name, 300, 320);
        try (KafkaShareConsumer<String, String> b =
                ShareWorld.consumer(name, "max.poll.records", "10")) {
            ShareWorld.expect(b, 300, 310, 1);
            ShareWorld.commit(b);
            ShareWorld.expect(b, 310, 320, 1);
        }
        try (KafkaShareConsumer<String, String> c = ShareWorld.consumer(name)) {
            ShareWorld.expect(c, 310, 320, 2);
            ShareWorld.commit(c);
        }
        ShareWorld.done(name, 320);
        return null;
    }

    private static String explicitly() throws Exception {
        String name = ShareWorld.filled("explicit", 12);
        try (KafkaShareConsumer<String, String> a = ShareWorld.explicit(name)) {
            for (ConsumerRecord<String, String> record : ShareWorld.expect(a, 0, 12, 1)) {
                int i = ShareWorld.number(record);
                a.acknowledge(record, i < 4 ? AcknowledgeType.ACCEPT
                    : i < 8 ? AcknowledgeType.RELEASE : AcknowledgeType.REJECT);
            }
            ShareWorld.commit(a);
        }
        // The first member may have fetched them once more before it left.
        try (KafkaShareConsumer<String, String> b = ShareWorld.explicit(name)) {
            List<ConsumerRecord<String, String>> records = ShareWorld.batch(b);
            Checks.equal(ShareWorld.numbers(records), ShareWorld.range(4, 8), "records");
            for (ConsumerRecord<String, String> record : records) {
                Checks.equal(record.deliveryCount().get() > 1, true, "counted again");
                b.acknowledge(record);
            }
            ShareWorld.commit(b);
        }
        ShareWorld.done(name, 12);
        return null;
    }

    private static String unacknowledged() throws Exception {
        String name = ShareWorld.filled("pending", 10);
        try (KafkaShareConsumer<String, String> a = ShareWorld.explicit(name)) {
            List<ConsumerRecord<String, String>> records = ShareWorld.expect(a, 0, 10, 1);
            Checks.refused(() -> ShareWorld.poll(a), IllegalStateException.class);
            // Out of order, and in two commits.
            records.subList(5, 10).forEach(a::acknowledge);
            ShareWorld.commit(a);
            records.subList(0, 4).forEach(a::acknowledge);
            ShareWorld.commit(a);
            Checks.equal(ShareWorld.start(name, 0), 0L, "start of the group");
        }
        try (KafkaShareConsumer<String, String> b = ShareWorld.explicit(name)) {
            ShareWorld.expect(b, 4, 5, 2).forEach(b::acknowledge);
            ShareWorld.commit(b);
        }
        ShareWorld.done(name, 10);
        return null;
    }

    private static String deliveryLimit() throws Exception {
        String name = ShareWorld.filled("limit", 5, "share.delivery.count.limit=3");
        try (KafkaShareConsumer<String, String> a = ShareWorld.explicit(name)) {
            for (int count = 1; count <= 3; count++) {
                for (ConsumerRecord<String, String> record :
                        ShareWorld.expect(a, count == 1 ? 0 : 2, count == 1 ? 5 : 3, count)) {
                    a.acknowledge(record, ShareWorld.number(record) == 2
                        ? AcknowledgeType.RELEASE : AcknowledgeType.ACCEPT);
                }
                ShareWorld.commit(a);
            }
        }
        ShareWorld.done(name, 5);
        return null;
    }

    // ---- locks ----

    private static String lockTimesOut() throws Exception {
        String name = ShareWorld.filled("locks", 20, "share.record.lock.duration.ms=1500");
        long before;
        try (KafkaShareConsumer<String, String> a = ShareWorld.explicit(name);
                KafkaShareConsumer<String, String> b = ShareWorld.explicit(name)) {
            List<ConsumerRecord<String, String>> stalled = ShareWorld.expect(a, 0, 20, 1);
            before = System.nanoTime();
            Checks.equal(a.acquisitionLockTimeoutMs(), Optional.of(1500), "time of locks");
            List<ConsumerRecord<String, String>> others = ShareWorld.expect(b, 0, 20, 2);
            before = System.nanoTime() - before;
            // The first is left, so that the others are not below the group's start.
            others.subList(1, 20).forEach(b::acknowledge);
            ShareWorld.commit(b);
            // The first member wakes up, and has nothing any more.
            stalled.forEach(a::acknowledge);
            for (Optional<?> result : a.commitSync().values()) {
                Checks.equal(result.map(Object::getClass),
                    Optional.of(InvalidRecordStateException.class), "late commit");
            }
        }
        try (KafkaShareConsumer<String, String> c = ShareWorld.explicit(name)) {
            ShareWorld.expect(c, 0, 1, 3).forEach(c::acknowledge);
            ShareWorld.commit(c);
        }
        ShareWorld.done(name, 20);
        return "after " + before / 1_000_000L + " ms";
    }

    private static String renewed() throws Exception {
        String name = ShareWorld.filled("renewed", 1, "share.record.lock.duration.ms=2000");
        try (KafkaShareConsumer<String, String> a = ShareWorld.explicit(name);
                KafkaShareConsumer<String, String> b = ShareWorld.explicit(name)) {
            List<ConsumerRecord<String, String>> record = ShareWorld.expect(a, 0, 1, 1);
            // Beyond three times the lock; what is shown is the same delivery.
            long end = System.nanoTime() + 6_500_000_000L;
            while (System.nanoTime() < end) {
                a.acknowledge(record.get(0), AcknowledgeType.RENEW);
                ShareWorld.commit(a);
                Checks.equal(ShareWorld.numbers(ShareWorld.poll(b)), List.of(), "what others get");
                record = ShareWorld.expect(a, 0, 1, 1);
            }
            a.acknowledge(record.get(0));
            ShareWorld.commit(a);
        }
        ShareWorld.done(name, 1);
        return null;
    }

    // ---- several members ----

    private static String shared(int count, String mode) throws Exception {
        String name = ShareWorld.filled("members" + count, 0);
        ShareMember.Ledger ledger = new ShareMember.Ledger(0);
        List<ShareMember> members = new ArrayList<>();
        int written = 0;
        try (KafkaProducer<String, String> producer = ShareWorld.producer()) {
            for (int i = 0; i < count; i++) {
                members.add(new ShareMember(
                    name, ledger, "max.poll.records", "20", "share.acquire.mode", mode));
            }
            long end = System.nanoTime() + 30_000_000_000L;
            while (written < 2_000 || members.stream().anyMatch(m -> m.mine.isEmpty())) {
                ledger.rethrow();
                if (System.nanoTime() > end) {
                    throw new AssertionError("a member gets nothing of " + written + " records");
                }
                if (written - ledger.accepted.size() > 500) {
                    Thread.sleep(5);
                    continue;
                }
                ShareWorld.send(producer, name, written, written + 100);
                written += 100;
            }
            int all = written;
            Checks.until(() -> ledger.error.get() != null || ledger.accepted.size() >= all, 60,
                "not all records were accepted");
        } finally {
            for (ShareMember member : members) {
                member.close();
            }
        }
        ledger.rethrow();
        ShareWorld.done(name, written);
        Checks.equal(
            ledger.accepted.keySet(), new HashSet<>(ShareWorld.range(0, written)), "records");
        Checks.equal(ledger.deliveries.get(), written, "deliveries");
        StringBuilder parts = new StringBuilder();
        for (ShareMember member : members) {
            parts.append(parts.length() > 0 ? " and " : "").append(member.mine.size());
        }
        return parts + " records";
    }

    /** Another process that takes records and does nothing with them. */
    private static void hold(String name) throws Exception {
        KafkaShareConsumer<String, String> consumer =
            ShareWorld.explicit(name, "max.poll.records", "50");
        ShareWorld.numbers(ShareWorld.batch(consumer)).forEach(System.out::println);
        System.out.println("held");
        Thread.sleep(Long.MAX_VALUE);
    }

    private static Set<Integer> heldBy(Process process) throws Exception {
        Set<Integer> numbers = new TreeSet<>();
        BufferedReader lines = new BufferedReader(new InputStreamReader(process.getInputStream()));
        for (String line = lines.readLine(); !"held".equals(line); line = lines.readLine()) {
            if (line == null) {
                throw new AssertionError("the other process ended");
            }
            numbers.add(Integer.valueOf(line));
        }
        return numbers;
    }

    private static String memberDies() throws Exception {
        String name = ShareWorld.filled("dies", 100);
        Process process = new ProcessBuilder(
            System.getProperty("java.home") + "/bin/java", "-Xmx64m", "-XX:TieredStopAtLevel=1",
            "-XX:+UseSerialGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp",
            System.getProperty("java.class.path"), "Share", "hold", name)
            .redirectError(ProcessBuilder.Redirect.INHERIT).start();
        Set<Integer> first = new TreeSet<>();
        Set<Integer> again = new TreeSet<>();
        int[] written = {100};
        long time;
        try (KafkaShareConsumer<String, String> a = ShareWorld.explicit(name);
                KafkaShareConsumer<String, String> b = ShareWorld.explicit(name)) {
            Set<Integer> held = heldBy(process);
            Checks.equal(held.size(), 50, "records that the other holds");
            // What it does not hold comes, and nothing else.  (It may have fetched
            // ahead, but not again and again.)
            Checks.until(() -> {
                ShareWorld.produce(name, written[0], ++written[0]);
                takeSome(a, first, again);
                takeSome(b, first, again);
                return first.contains(written[0] - 1);
            }, 30, "no other records came");
            Checks.equal(again, Collections.emptySet(), "records that came again");
            first.retainAll(held);
            Checks.equal(first, Collections.emptySet(), "records that another holds");
            process.destroyForcibly().waitFor();
            // Long before their locks time out.
            time = System.nanoTime();
            Checks.until(() -> {
                takeSome(a, first, again);
                takeSome(b, first, again);
                return again.containsAll(held);
            }, 20, "its records did not come");
            time = System.nanoTime() - time;
        } finally {
            process.destroyForcibly().waitFor();
        }
        ShareWorld.done(name, written[0]);
        return "after " + time / 1_000_000L + " ms";
    }

    /** Accepts what comes, for the first time or not. */
    private static void takeSome(KafkaShareConsumer<String, String> consumer, Set<Integer> first,
            Set<Integer> again) {
        for (ConsumerRecord<String, String> record : ShareWorld.poll(consumer)) {
            consumer.acknowledge(record);
            (record.deliveryCount().get() == 1 ? first : again).add(ShareWorld.number(record));
        }
        ShareWorld.commit(consumer);
    }

    // ---- where a group begins, and what it may see ----

    /** Thirty records, of which the last ten are younger than an hour. */
    private static void withAges(String topic) throws Exception {
        ShareWorld.create(topic, 1);
        try (KafkaProducer<String, String> producer = ShareWorld.producer()) {
            long now = System.currentTimeMillis();
            for (int i = 0; i < 30; i++) {
                long age = i < 20 ? 7_200_000L : 60_000L;
                producer.send(ShareWorld.record(topic, i, now - age)).get();
            }
        }
    }

    private static String reset() throws Exception {
        String name = ShareWorld.unique("reset");
        withAges(name);
        Checks.equal(first(name, name + "-early", "earliest"), 0, "first record of earliest");
        int latest = first(name, name + "-late", "latest");
        if (latest < 30) {
            throw new AssertionError("latest begins at " + latest);
        }
        return null;
    }

    private static String resetByDuration() throws Exception {
        String name = ShareWorld.unique("duration");
        withAges(name);
        Checks.equal(first(name, name + "-hour", "by_duration:PT1H"), 20, "first record of PT1H");
        Checks.equal(first(name, name + "-day", "by_duration:P1D"), 0, "first record of P1D");
        return null;
    }

    /** The record at which a group begins; new ones are written until there is one. */
    private static int first(String topic, String group, String where) throws Exception {
        ShareWorld.configure(group, "share.auto.offset.reset=" + where);
        List<Integer> got = new ArrayList<>();
        try (KafkaProducer<String, String> producer = ShareWorld.producer();
                KafkaShareConsumer<String, String> a =
                    ShareWorld.consumer(topic, "group.id", group)) {
            int[] next = {1_000};
            Checks.until(() -> {
                got.addAll(ShareWorld.numbers(ShareWorld.poll(a)));
                if (got.isEmpty() && where.equals("latest")) {
                    ShareWorld.send(producer, topic, next[0], ++next[0]);
                }
                return !got.isEmpty();
            }, 30, "nothing came");
        }
        return got.get(0);
    }

    private static String committedOnly() throws Exception {
        String name = ShareWorld.filled("committed", 10, "share.isolation.level=read_committed");
        String all = name + "-all";
        ShareWorld.configure(all, "share.auto.offset.reset=earliest",
            "share.isolation.level=read_uncommitted");
        try (KafkaProducer<String, String> producer =
                    ShareWorld.producer("transactional.id", name);
                KafkaShareConsumer<String, String> a = ShareWorld.explicit(name);
                KafkaShareConsumer<String, String> b =
                    ShareWorld.explicit(name, "group.id", all)) {
            producer.initTransactions();
            transaction(producer, name, 10, 20, true);
            transaction(producer, name, 20, 30, false);
            transaction(producer, name, 30, 40, true);
            transaction(producer, name, 40, 50, false);
            producer.beginTransaction();
            ShareWorld.send(producer, name, 50, 60);
            ShareWorld.produce(name, 60, 70);
            // All that is there, also that of the open transaction and behind it.
            Checks.equal(taken(b, 70), ShareWorld.range(0, 70), "read_uncommitted");
            List<Integer> want = ShareWorld.range(0, 20);
            want.addAll(ShareWorld.range(30, 40));
            Checks.equal(taken(a, 30), want, "read_committed");
            producer.abortTransaction();
            Checks.equal(taken(a, 10), ShareWorld.range(60, 70), "after the abort");
            transaction(producer, name, 70, 80, true);
            Checks.equal(taken(a, 10), ShareWorld.range(70, 80), "after the commit");
        }
        return null;
    }

    private static void transaction(KafkaProducer<String, String> producer, String topic,
            int from, int to, boolean commit) throws Exception {
        producer.beginTransaction();
        ShareWorld.send(producer, topic, from, to);
        if (commit) {
            producer.commitTransaction();
        } else {
            producer.abortTransaction();
        }
    }

    /** The next records, in order; they are accepted. */
    private static List<Integer> taken(KafkaShareConsumer<String, String> consumer, int count)
            throws Exception {
        List<Integer> got = new ArrayList<>();
        Checks.until(() -> {
            List<ConsumerRecord<String, String>> records = ShareWorld.poll(consumer);
            records.forEach(consumer::acknowledge);
            ShareWorld.commit(consumer);
            got.addAll(ShareWorld.numbers(records));
            return got.size() >= count;
        }, 30, "not " + count + " records came");
        return got;
    }

    public static void main(String[] args) throws Exception {
        if (args.length == 2 && args[0].equals("hold")) {
            hold(args[1]);
        }
        Checks.check("polls and commits accept, a close releases", Share::implicitly);
        Checks.check("accepted and rejected records do not come again, released ones do, to others",
            Share::explicitly);
        Checks.check("what was not acknowledged waits for its member, and is released with it",
            Share::unacknowledged);
        Checks.check("a record that was released to its limit is given up", Share::deliveryLimit);
        Checks.check("a member stalls, its locks time out, others get its records",
            Share::lockTimesOut);
        Checks.check("a member renews its lock", Share::renewed);
        Checks.check("two members share a partition, by batches",
            () -> shared(2, "batch_optimized"));
        Checks.check("three members share a partition, by records",
            () -> shared(3, "record_limit"));
        Checks.check("a member is killed, others get its records", Share::memberDies);
        Checks.check("groups begin at earliest, at latest", Share::reset);
        Checks.check("groups begin at a time ago", Share::resetByDuration);
        Checks.check("with read_committed only records of committed transactions come",
            Share::committedOnly);
        Checks.check("nodes are killed, no accepted record comes again, none is lost",
            ShareNodes::killed);
        ShareWorld.ADMIN.close();
        System.exit(Checks.failed ? 1 : 0);
    }
}
