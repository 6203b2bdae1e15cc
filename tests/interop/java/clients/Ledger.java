import java.nio.charset.StandardCharsets;
import org.apache.kafka.clients.consumer.ConsumerRecord;

/** Follows what a reader receives; the first wrong record ends the check. */
final class Ledger {
    /** The number that each partition must show next. */
    final int[] next = new int[Checks.PARTITIONS];

    int count;

    Ledger() {
        for (int p = 0; p < next.length; p++) {
            next[p] = p;
        }
    }

    void add(ConsumerRecord<String, String> record) {
        int i = next[record.partition()];
        Checks.equal(record.key(), Checks.key(i), "key in partition " + record.partition());
        Checks.equal(record.value(), Checks.value(i), "value of " + record.key());
        String number =
            new String(record.headers().lastHeader("number").value(), StandardCharsets.UTF_8);
        Checks.equal(number, Integer.toString(i), "header of " + record.key());
        next[record.partition()] += Checks.PARTITIONS;
        count++;
    }
}
