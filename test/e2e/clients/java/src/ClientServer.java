import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import org.apache.kafka.clients.consumer.CloseOptions;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Kafka's Java client behind a pipe: one JSON request a line on standard input, one JSON answer a
 * line on standard output, in order. A process is reused, since a virtual machine takes a second to
 * start; the Kafka client itself is made anew for each request. Bytes travel as base64. An answer is
 * {"ok": result} or {"error": class name, "message": text}.
 */
public final class ClientServer {
  static final ObjectMapper JSON = new ObjectMapper();
  private static final Duration CLOSE_TIMEOUT = Duration.ofSeconds(5);

  private ClientServer() {}

  public static void main(String[] arguments) throws IOException {
    PrintStream answers = new PrintStream(System.out, false, StandardCharsets.UTF_8);
    System.setOut(System.err); // Nothing but answers on standard output.
    BufferedReader requests =
        new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line = requests.readLine(); line != null; line = requests.readLine()) {
      ObjectNode answer = JSON.createObjectNode();
      try {
        answer.set("ok", handle(JSON.readTree(line)));
      } catch (Throwable error) {
        Throwable root = error;
        if (error instanceof ExecutionException && error.getCause() != null) {
          root = error.getCause();
        }
        answer.put("error", root.getClass().getSimpleName());
        answer.put("message", String.valueOf(root.getMessage()));
      }
      answers.println(JSON.writeValueAsString(answer));
      answers.flush();
    }
  }

  private static JsonNode handle(JsonNode request) throws Exception {
    String operation = request.get("operation").asText();
    switch (operation) {
      case "produce":
        return produce(request);
      case "consume":
        return consume(request);
      default:
        return AdminOperations.handle(operation, request, properties(request));
    }
  }

  /** The client's defaults, except what the request's "config" names. */
  private static Properties properties(JsonNode request) {
    Properties properties = new Properties();
    properties.put("bootstrap.servers", request.get("bootstrap").asText());
    if (request.has("config")) {
      request.get("config").properties().forEach(
          (Map.Entry<String, JsonNode> entry) ->
              properties.put(entry.getKey(), entry.getValue().asText()));
    }
    return properties;
  }

  /** Sends records in order; answers each one's partition, offset and timestamp. */
  private static JsonNode produce(JsonNode request) throws Exception {
    Properties properties = properties(request);
    properties.putIfAbsent("compression.type", request.get("compression").asText());
    String topic = request.get("topic").asText();
    ArrayNode answer = JSON.createArrayNode();
    KafkaProducer<byte[], byte[]> producer =
        new KafkaProducer<>(properties, new ByteArraySerializer(), new ByteArraySerializer());
    try {
      List<Future<RecordMetadata>> pending = new ArrayList<>();
      for (JsonNode record : request.get("records")) pending.add(send(producer, topic, record));
      producer.flush();
      for (Future<RecordMetadata> future : pending) {
        RecordMetadata metadata = future.get();
        ObjectNode sent = answer.addObject();
        sent.put("partition", metadata.partition());
        sent.put("offset", metadata.offset());
        sent.put("timestamp", metadata.timestamp());
      }
    } finally {
      producer.close(CLOSE_TIMEOUT);
    }
    return answer;
  }

  private static Future<RecordMetadata> send(
      KafkaProducer<byte[], byte[]> producer, String topic, JsonNode record) throws IOException {
    List<Header> headers = new ArrayList<>();
    for (JsonNode header : record.get("headers")) {
      headers.add(new RecordHeader(header.get("key").asText(), bytes(header.get("value"))));
    }
    Integer partition = record.hasNonNull("partition") ? record.get("partition").asInt() : null;
    Long timestamp = record.hasNonNull("timestamp") ? record.get("timestamp").asLong() : null;
    return producer.send(
        new ProducerRecord<>(
            topic, partition, timestamp, bytes(record.get("key")), bytes(record.get("value")),
            headers));
  }

  /** Reads `count` records of a partition from an offset on, or fails after `timeoutMs`. */
  private static JsonNode consume(JsonNode request) {
    Properties properties = properties(request);
    properties.putIfAbsent("enable.auto.commit", "false");
    // Closing waits for the fetch that is under way.
    properties.putIfAbsent("fetch.max.wait.ms", "50");
    int count = request.get("count").asInt();
    long deadline = System.nanoTime() + request.get("timeoutMs").asLong() * 1_000_000L;
    TopicPartition partition =
        new TopicPartition(request.get("topic").asText(), request.get("partition").asInt());
    ArrayNode answer = JSON.createArrayNode();
    KafkaConsumer<byte[], byte[]> consumer =
        new KafkaConsumer<>(properties, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    try {
      consumer.assign(List.of(partition));
      consumer.seek(partition, request.get("fromOffset").asLong());
      while (answer.size() < count) {
        if (System.nanoTime() > deadline) {
          throw new IllegalStateException("got " + answer.size() + " of " + count + " records");
        }
        for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(500))) {
          if (answer.size() < count) answer.add(describe(record));
        }
      }
    } finally {
      consumer.close(CloseOptions.timeout(CLOSE_TIMEOUT));
    }
    return answer;
  }

  private static ObjectNode describe(ConsumerRecord<byte[], byte[]> record) {
    ObjectNode out = JSON.createObjectNode();
    out.put("partition", record.partition());
    out.put("offset", record.offset());
    out.put("timestamp", record.timestamp());
    out.put("key", record.key());
    out.put("value", record.value());
    ArrayNode headers = out.putArray("headers");
    for (Header header : record.headers()) {
      headers.addObject().put("key", header.key()).put("value", header.value());
    }
    return out;
  }

  private static byte[] bytes(JsonNode node) throws IOException {
    return node == null || node.isNull() ? null : node.binaryValue();
  }
}
