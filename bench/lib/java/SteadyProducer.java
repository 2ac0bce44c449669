import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import java.util.stream.Collectors;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Kafka's Java producer with its default options, which sends an event to each partition of a topic
 * in turn until its standard input ends. A line there is answered with what has reached the callback
 * since the last one: {"acknowledged": N, "slowestMs": N, "errors": {class: N}}. Once the input has
 * ended, what is under way is waited for, and the last answer tells of it.
 *
 * Arguments: BOOTSTRAP TOPIC PARTITIONS EVENTS_PER_SECOND
 */
public final class SteadyProducer {
  private static final int EVENT_BYTES = 100;
  /** Longer than the client's own delivery timeout: nothing is left open. */
  private static final Duration CLOSE_TIMEOUT = Duration.ofMinutes(3);

  private static long acknowledged;
  private static long slowestNanos;
  private static final Map<String, Long> errors = new TreeMap<>();
  private static volatile boolean stopped;

  private SteadyProducer() {}

  public static void main(String[] arguments) throws IOException, InterruptedException {
    Properties properties = new Properties();
    properties.put("bootstrap.servers", arguments[0]);
    String topic = arguments[1];
    int partitions = Integer.parseInt(arguments[2]);
    long pauseNanos = 1_000_000_000L / Long.parseLong(arguments[3]);
    KafkaProducer<byte[], byte[]> producer =
        new KafkaProducer<>(properties, new ByteArraySerializer(), new ByteArraySerializer());
    Thread sender = new Thread(() -> send(producer, topic, partitions, pauseNanos));
    sender.start();
    BufferedReader lines =
        new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    while (lines.readLine() != null) {
      answer();
    }
    stopped = true;
    sender.join();
    producer.close(CLOSE_TIMEOUT);
    answer();
  }

  private static void send(
      KafkaProducer<byte[], byte[]> producer, String topic, int partitions, long pauseNanos) {
    byte[] value = new byte[EVENT_BYTES];
    long dueNanos = System.nanoTime();
    for (int n = 0; !stopped; n++) {
      long sentNanos = System.nanoTime();
      try {
        producer.send(
            new ProducerRecord<>(topic, n % partitions, null, value),
            (metadata, error) -> ended(error, System.nanoTime() - sentNanos));
      } catch (RuntimeException error) {
        ended(error, System.nanoTime() - sentNanos);
      }
      dueNanos += pauseNanos;
      long waitNanos = dueNanos - System.nanoTime();
      if (waitNanos > 0) {
        try {
          Thread.sleep(waitNanos / 1_000_000, (int) (waitNanos % 1_000_000));
        } catch (InterruptedException end) {
          return;
        }
      }
    }
  }

  private static synchronized void ended(Exception error, long nanos) {
    if (error == null) {
      acknowledged++;
    } else {
      errors.merge(error.getClass().getSimpleName(), 1L, Long::sum);
    }
    slowestNanos = Math.max(slowestNanos, nanos);
  }

  private static synchronized void answer() {
    String all =
        errors.entrySet().stream()
            .map(entry -> '"' + entry.getKey() + "\": " + entry.getValue())
            .collect(Collectors.joining(", "));
    System.out.printf(
        "{\"acknowledged\": %d, \"slowestMs\": %d, \"errors\": {%s}}%n",
        acknowledged, slowestNanos / 1_000_000, all);
    acknowledged = 0;
    slowestNanos = 0;
    errors.clear();
  }
}
