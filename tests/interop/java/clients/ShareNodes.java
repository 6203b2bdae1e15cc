import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.Callable;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.TopicPartitionInfo;
import org.apache.kafka.common.Uuid;

/**
 * Nodes are killed and started again while members of a share group read: the
 * leader of the partition, the share coordinator, which keeps its state, and the
 * coordinator of the group.
 */
final class ShareNodes {
    private static final int MEMBERS = 3;
    private static final int PROGRESS = 300;
    private static final int ROUNDS =
        Integer.parseInt(System.getenv().getOrDefault("LONG", "1"));
    private static final String[] TOPICS = {"__share_group_state", "__consumer_offsets"};

    private final String name;
    private final Uuid id;

    private ShareNodes(String name) throws Exception {
        this.name = name;
        this.id = ShareWorld.describe(name).topicId();
    }

    // ---- who is who ----

    private static int leader(String topic, String key) throws Exception {
        List<TopicPartitionInfo> all = ShareWorld.describe(topic).partitions();
        int partition = key == null ? 0 : (key.hashCode() & Integer.MAX_VALUE) % all.size();
        Node node = all.get(partition).leader();
        return node == null ? -1 : node.id();
    }

    private int partitionLeader() throws Exception {
        return leader(name, null);
    }

    private int shareCoordinator() throws Exception {
        return leader(TOPICS[0], name + ":" + id + ":0");
    }

    private int groupCoordinator() throws Exception {
        return leader(TOPICS[1], name);
    }

    // ---- nodes ----

    private static void node(String word, int node) throws Exception {
        Process process = new ProcessBuilder(System.getenv("LEAT_TOP") + "/scripts/cluster", word,
            Integer.toString(node), "--dir", System.getenv("CLUSTER"))
            .redirectErrorStream(true).redirectOutput(ProcessBuilder.Redirect.DISCARD).start();
        Checks.equal(process.waitFor(), 0, "scripts/cluster " + word);
    }

    private void awaitInSync() throws Exception {
        Checks.until(() -> {
            for (String topic : new String[] {name, TOPICS[0], TOPICS[1]}) {
                if (!ShareWorld.inSync(topic)) {
                    return false;
                }
            }
            return true;
        }, 60, "the replicas are not in sync");
    }

    // ---- records ----

    /** Writes until it is stopped, a thousand a second, not far ahead of the members. */
    private static final class Writer extends Thread {
        private final String topic;
        private final ShareMember.Ledger ledger;
        private volatile boolean stop;
        volatile int written;

        Writer(String topic, ShareMember.Ledger ledger) {
            this.topic = topic;
            this.ledger = ledger;
            start();
        }

        @Override
        public void run() {
            try (KafkaProducer<String, String> producer = ShareWorld.producer()) {
                while (!stop) {
                    Thread.sleep(20);
                    if (written - ledger.accepted.size() > 2 * PROGRESS) {
                        continue;
                    }
                    ShareWorld.send(producer, topic, written, written + 20);
                    written += 20;
                }
            } catch (Exception one) {
                ledger.error.compareAndSet(null, one);
            }
        }

        void end() throws InterruptedException {
            stop = true;
            join();
        }
    }

    private static void progress(ShareMember.Ledger ledger, String when) throws Exception {
        int goal = ledger.accepted.size() + PROGRESS;
        Checks.until(() -> {
            ledger.rethrow();
            return ledger.accepted.size() >= goal;
        }, 60, "no " + PROGRESS + " records were accepted " + when);
    }

    private void kill(String role, Callable<Integer> who, ShareMember.Ledger ledger)
            throws Exception {
        awaitInSync();
        int node = who.call();
        node("kill", node);
        try {
            progress(ledger, "without the " + role);
        } finally {
            node("start", node);
        }
        progress(ledger, "with the " + role + " back");
    }

    private void killAll(ShareMember.Ledger ledger) throws Exception {
        kill("partition's leader", this::partitionLeader, ledger);
        kill("share coordinator", this::shareCoordinator, ledger);
        kill("group's coordinator", this::groupCoordinator, ledger);
    }

    private static Set<Integer> lacking(ShareMember.Ledger ledger, int written) {
        Set<Integer> all = new TreeSet<>(ShareWorld.range(0, written));
        all.removeAll(ledger.accepted.keySet());
        all.removeAll(ledger.unsure);
        return all;
    }

    /** Accepts what is left, if a commit that was not answered was not carried out. */
    private void takeRest(ShareMember.Ledger ledger, int written) throws Exception {
        ShareWorld.produce(name, written, written + 1);
        ShareMember last = new ShareMember(name, ledger);
        try {
            Checks.until(() -> ledger.error.get() != null
                || ledger.accepted.containsKey(written), 60, "the last record did not come");
        } finally {
            last.close();
        }
        ledger.rethrow();
    }

    static String killed() throws Exception {
        ShareNodes nodes = new ShareNodes(ShareWorld.filled("nodes", 0,
            "share.delivery.count.limit=10"));
        ShareMember.Ledger ledger = new ShareMember.Ledger(7);
        List<ShareMember> members = new ArrayList<>();
        Writer writer = new Writer(nodes.name, ledger);
        try {
            for (int i = 0; i < MEMBERS; i++) {
                members.add(new ShareMember(nodes.name, ledger, "max.poll.records", "50"));
            }
            progress(ledger, "at first");
            for (int round = 0; round < ROUNDS; round++) {
                nodes.killAll(ledger);
            }
            writer.end();
            Checks.until(() -> ledger.error.get() != null
                || lacking(ledger, writer.written).isEmpty(), 60, "not all records were accepted");
        } finally {
            writer.end();
            for (ShareMember member : members) {
                member.close();
            }
        }
        ledger.rethrow();
        nodes.takeRest(ledger, writer.written);
        ShareWorld.done(nodes.name, writer.written + 1);
        return writer.written + " records, " + ledger.deliveries + " deliveries, "
            + ledger.released.size() + " released, " + ledger.failedCommits
            + " decisions whose commit failed";
    }
}
