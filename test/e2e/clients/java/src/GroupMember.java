import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Collection;
import java.util.List;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.SubscriptionPattern;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;

/**
 * A member of a consumer group in a process of its own, so that it can be killed: arguments are
 * "topic" or "regex", what to subscribe to, and settings of the client as name=value. It says in
 * lines of JSON what it is assigned, reads and commits (as python/group_member.py describes it),
 * commits after each poll, and leaves when standard input ends.
 */
public final class GroupMember {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static PrintStream answers;
  private static volatile boolean isLeaving = false;

  private GroupMember() {}

  public static void main(String[] arguments) throws IOException {
    answers = new PrintStream(System.out, false, StandardCharsets.UTF_8);
    System.setOut(System.err); // Nothing but lines of JSON on standard output.
    Properties properties = new Properties();
    properties.put("enable.auto.commit", "false");
    properties.put("auto.offset.reset", "earliest");
    for (int i = 2; i < arguments.length; i++) {
      String[] pair = arguments[i].split("=", 2);
      properties.put(pair[0], pair[1]);
    }
    Thread input = new Thread(GroupMember::awaitEnd);
    input.setDaemon(true);
    input.start();
    StringDeserializer strings = new StringDeserializer();
    try (KafkaConsumer<String, String> consumer =
        new KafkaConsumer<>(properties, strings, strings)) {
      ConsumerRebalanceListener listener = new Listener(consumer);
      if (arguments[0].equals("topic")) consumer.subscribe(List.of(arguments[1]), listener);
      else consumer.subscribe(new SubscriptionPattern(arguments[1]), listener);
      while (!isLeaving) poll(consumer);
    }
  }

  private static void awaitEnd() {
    try {
      while (System.in.read() >= 0) continue;
    } catch (IOException error) {
      // It is the end as well.
    }
    isLeaving = true;
  }

  private static void poll(KafkaConsumer<String, String> consumer) {
    ConsumerRecords<String, String> records;
    try {
      records = consumer.poll(Duration.ofMillis(100));
    } catch (KafkaException error) {
      // Its session is over, perhaps: it joins again by itself.
      say(JSON.createObjectNode().put("error", error.getClass().getSimpleName()));
      return;
    }
    for (ConsumerRecord<String, String> record : records) {
      ObjectNode line = JSON.createObjectNode().put("value", record.value());
      say(line.put("partition", record.partition()).put("offset", record.offset()));
    }
    if (records.isEmpty()) return;
    try {
      consumer.commitSync(Duration.ofSeconds(5));
      sayCommitted(records);
    } catch (KafkaException error) {
      // A rebalance came between, or the broker is away: somebody reads these again.
      say(JSON.createObjectNode().put("error", error.getClass().getSimpleName()));
    }
  }

  private static void sayCommitted(ConsumerRecords<String, String> records) {
    ObjectNode line = JSON.createObjectNode();
    ArrayNode committed = line.putArray("committed");
    for (TopicPartition partition : records.partitions()) {
      List<ConsumerRecord<String, String>> read = records.records(partition);
      ArrayNode range = committed.addArray().add(partition.partition());
      range.add(read.get(0).offset()).add(read.get(read.size() - 1).offset() + 1);
    }
    say(line);
  }

  private static synchronized void say(ObjectNode line) {
    answers.println(line);
    answers.flush();
  }

  private record Listener(KafkaConsumer<String, String> consumer)
      implements ConsumerRebalanceListener {
    @Override
    public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
      sayAssigned(List.of());
    }

    @Override
    public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
      sayAssigned(partitions);
    }

    private void sayAssigned(Collection<TopicPartition> except) {
      ObjectNode line = JSON.createObjectNode().put("at", System.nanoTime() / 1000);
      ArrayNode assigned = line.putArray("assigned");
      for (TopicPartition partition : consumer.assignment()) {
        if (!except.contains(partition)) assigned.add(partition.toString());
      }
      say(line);
    }
  }
}
