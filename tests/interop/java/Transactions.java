// Transactions of Apache Kafka's own producer:
//
//     java -cp 'jars/*' Transactions.java BOOTSTRAP TOPIC ID GROUP COUNT
//
// COUNT transactions of five records each, in turn over the partitions, and of
// the group's offset for partition 0 of TOPIC; every fifth one is aborted.  An
// attempt that the producer says may only be aborted is made again.  Prints a
// line "committed N" or "aborted N" for each, and how many attempts it took.
import java.util.HashMap;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerGroupMetadata;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.ProducerFencedException;
import org.apache.kafka.common.errors.TimeoutException;

public class Transactions {
    static final int RECORDS = 5;

    static void attempt(KafkaProducer<String, String> producer, String topic,
                        ConsumerGroupMetadata metadata, int n,
                        boolean commit) {
        producer.beginTransaction();
        for (int i = 0; i < RECORDS; i++)
            producer.send(new ProducerRecord<>(
                topic, (commit ? "kept-" : "gone-") + n + "-" + i,
                Integer.toString(n)));
        Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
        offsets.put(new TopicPartition(topic, 0),
                    new OffsetAndMetadata(commit ? n : 1000000 + n));
        producer.sendOffsetsToTransaction(offsets, metadata);
        producer.flush(); // an abort would drop what was not sent yet
        if (commit)
            ended(producer::commitTransaction);
        else
            ended(producer::abortTransaction);
    }

    static ConsumerGroupMetadata groupOf(String bootstrap, String group) {
        Properties p = new Properties();
        String bytes = "org.apache.kafka.common.serialization."
                       + "ByteArrayDeserializer";
        p.put("bootstrap.servers", bootstrap);
        p.put("group.id", group);
        p.put("key.deserializer", bytes);
        p.put("value.deserializer", bytes);
        try (KafkaConsumer<byte[], byte[]> c = new KafkaConsumer<>(p)) {
            return c.groupMetadata();
        }
    }

    // An end whose answer is late is asked for again.
    static void ended(Runnable end) {
        while (true)
            try {
                end.run();
                return;
            } catch (TimeoutException e) {
                System.out.println("late");
            }
    }

    public static void main(String[] args) {
        Properties p = new Properties();
        p.put("bootstrap.servers", args[0]);
        p.put("transactional.id", args[2]);
        p.put("transaction.timeout.ms", "60000");
        p.put("linger.ms", "0");
        p.put("key.serializer",
              "org.apache.kafka.common.serialization.StringSerializer");
        p.put("value.serializer",
              "org.apache.kafka.common.serialization.StringSerializer");
        KafkaProducer<String, String> producer = new KafkaProducer<>(p);
        producer.initTransactions();
        // Without a member, so nothing of a generation is checked.
        ConsumerGroupMetadata metadata = groupOf(args[0], args[3]);
        int attempts = 0;
        for (int n = 0; n < Integer.parseInt(args[4]); n++) {
            boolean commit = n % 5 != 4;
            while (true) {
                attempts++;
                try {
                    attempt(producer, args[1], metadata, n, commit);
                    break;
                } catch (ProducerFencedException e) {
                    throw e;
                } catch (KafkaException e) {
                    System.out.println("again " + n + ": " + e);
                    ended(producer::abortTransaction);
                }
            }
            System.out.println((commit ? "committed " : "aborted ") + n);
        }
        System.out.println("attempts " + attempts);
        producer.close();
    }
}
