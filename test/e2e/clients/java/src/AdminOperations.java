import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.TreeSet;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.DescribeClusterResult;
import org.apache.kafka.clients.admin.ListOffsetsResult.ListOffsetsResultInfo;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.TopicPartitionInfo;
import org.apache.kafka.common.config.ConfigResource;

/** The requests of {@link ClientServer} that Kafka's admin client carries out. */
final class AdminOperations {
  private AdminOperations() {}

  static JsonNode handle(String operation, JsonNode request, Properties properties)
      throws Exception {
    try (Admin admin = Admin.create(properties)) {
      switch (operation) {
        case "createTopic":
          return createTopic(admin, request);
        case "deleteTopic":
          admin.deleteTopics(List.of(topic(request))).all().get();
          return ok();
        case "listTopics":
          return ClientServer.JSON.valueToTree(new TreeSet<>(admin.listTopics().names().get()));
        case "describeTopic":
          return describeTopic(admin, topic(request));
        case "createPartitions":
          NewPartitions total = NewPartitions.increaseTo(request.get("total").asInt());
          admin.createPartitions(Map.of(topic(request), total)).all().get();
          return ok();
        case "describeConfigs":
          return describeConfigs(admin, request);
        case "describeCluster":
          return describeCluster(admin);
        case "deleteRecords":
          return deleteRecords(admin, request);
        case "listOffset":
          return listOffset(admin, request);
        default:
          throw new IllegalArgumentException("unknown operation " + operation);
      }
    }
  }

  private static JsonNode createTopic(Admin admin, JsonNode request) throws Exception {
    NewTopic topic =
        new NewTopic(
            topic(request), Optional.of(request.get("partitions").asInt()), Optional.empty());
    Map<String, String> configs = new HashMap<>();
    request.get("configs").properties()
        .forEach(entry -> configs.put(entry.getKey(), entry.getValue().asText()));
    admin.createTopics(List.of(topic.configs(configs))).all().get();
    return ok();
  }

  private static JsonNode describeTopic(Admin admin, String topic) throws Exception {
    TopicDescription description =
        admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic);
    ObjectNode out = ClientServer.JSON.createObjectNode();
    out.put("name", description.name());
    out.put("topicId", description.topicId().toString());
    out.put("internal", description.isInternal());
    ArrayNode partitions = out.putArray("partitions");
    for (TopicPartitionInfo info : description.partitions()) {
      ObjectNode partition = partitions.addObject();
      partition.put("partition", info.partition());
      partition.put("leader", info.leader() == null ? -1 : info.leader().id());
      ArrayNode replicas = partition.putArray("replicas");
      for (Node node : info.replicas()) replicas.add(node.id());
      ArrayNode inSync = partition.putArray("inSyncReplicas");
      for (Node node : info.isr()) inSync.add(node.id());
    }
    return out;
  }

  private static JsonNode describeConfigs(Admin admin, JsonNode request) throws Exception {
    ConfigResource.Type type =
        request.get("type").asText().equals("broker")
            ? ConfigResource.Type.BROKER
            : ConfigResource.Type.TOPIC;
    ConfigResource resource = new ConfigResource(type, request.get("name").asText());
    Config config = admin.describeConfigs(List.of(resource)).all().get().get(resource);
    ObjectNode out = ClientServer.JSON.createObjectNode();
    for (ConfigEntry entry : config.entries()) {
      ObjectNode value = out.putObject(entry.name());
      value.put("value", entry.value());
      value.put("source", entry.source().name());
      value.put("type", entry.type().name());
      value.put("isReadOnly", entry.isReadOnly());
    }
    return out;
  }

  private static JsonNode describeCluster(Admin admin) throws Exception {
    DescribeClusterResult cluster = admin.describeCluster();
    ObjectNode out = ClientServer.JSON.createObjectNode();
    out.put("clusterId", cluster.clusterId().get());
    out.put("controller", cluster.controller().get().id());
    ArrayNode nodes = out.putArray("nodes");
    for (Node node : cluster.nodes().get()) {
      nodes.addObject().put("id", node.id()).put("host", node.host()).put("port", node.port());
    }
    return out;
  }

  private static JsonNode deleteRecords(Admin admin, JsonNode request) throws Exception {
    TopicPartition partition = partition(request);
    RecordsToDelete before = RecordsToDelete.beforeOffset(request.get("beforeOffset").asLong());
    long low =
        admin.deleteRecords(Map.of(partition, before)).lowWatermarks().get(partition).get()
            .lowWatermark();
    return ClientServer.JSON.getNodeFactory().numberNode(low);
  }

  private static JsonNode listOffset(Admin admin, JsonNode request) throws Exception {
    TopicPartition partition = partition(request);
    JsonNode at = request.get("at");
    OffsetSpec spec;
    if (at.isNumber()) spec = OffsetSpec.forTimestamp(at.asLong());
    else if (at.asText().equals("earliest")) spec = OffsetSpec.earliest();
    else if (at.asText().equals("latest")) spec = OffsetSpec.latest();
    else if (at.asText().equals("maxTimestamp")) spec = OffsetSpec.maxTimestamp();
    else throw new IllegalArgumentException("unknown offset " + at);
    ListOffsetsResultInfo info =
        admin.listOffsets(Map.of(partition, spec)).partitionResult(partition).get();
    ObjectNode out = ClientServer.JSON.createObjectNode();
    out.put("offset", info.offset());
    out.put("timestamp", info.timestamp());
    return out;
  }

  private static String topic(JsonNode request) {
    return request.get("topic").asText();
  }

  private static TopicPartition partition(JsonNode request) {
    return new TopicPartition(topic(request), request.get("partition").asInt());
  }

  private static JsonNode ok() {
    return ClientServer.JSON.nullNode();
  }
}
