"""kafka-python behind a pipe, as line_server.py says it.

Runs with Debian's own interpreter (/usr/bin/python3), which sees the package python3-kafka.
"""

import time

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, NewTopic
from line_server import decode, encode, kept, serve


@kept
def producer_of(bootstrap, compression, config):
    return KafkaProducer(
        bootstrap_servers=bootstrap,
        compression_type=None if compression == "none" else compression,
        acks="all",
        linger_ms=5,
        **config,
    )


@kept
def consumer_of(bootstrap, config):
    return KafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False, **config)


@kept
def admin_of(bootstrap):
    return KafkaAdminClient(bootstrap_servers=bootstrap)


def produce(request):
    producer = producer_of(request["bootstrap"], request["compression"], request.get("config", {}))
    futures = [
        producer.send(
            request["topic"],
            key=decode(record["key"]),
            value=decode(record["value"]),
            headers=[(header["key"], decode(header["value"])) for header in record["headers"]],
            partition=record.get("partition"),
            timestamp_ms=record.get("timestamp"),
        )
        for record in request["records"]
    ]
    producer.flush(timeout=30)
    sent = [future.get(timeout=30) for future in futures]
    return [
        {"partition": each.partition, "offset": each.offset, "timestamp": each.timestamp}
        for each in sent
    ]


def consume(request):
    consumer = consumer_of(request["bootstrap"], request.get("config", {}))
    partition = TopicPartition(request["topic"], request["partition"])
    deadline = time.monotonic() + request["timeoutMs"] / 1000
    records = []
    consumer.assign([partition])
    consumer.seek(partition, request["fromOffset"])
    while len(records) < request["count"]:
        if time.monotonic() > deadline:
            raise TimeoutError(f"got {len(records)} of {request['count']} records")
        for batch in consumer.poll(timeout_ms=500).values():
            records.extend(batch)
    return [describe(record) for record in records[: request["count"]]]


def describe(record):
    return {
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": record.timestamp,
        "key": encode(record.key),
        "value": encode(record.value),
        "headers": [{"key": key, "value": encode(value)} for key, value in record.headers],
    }


def create_topic(request):
    topic = NewTopic(
        request["topic"], request["partitions"], 1, topic_configs=request.get("configs", {})
    )
    admin_of(request["bootstrap"]).create_topics([topic])


def delete_topic(request):
    admin_of(request["bootstrap"]).delete_topics([request["topic"]])


def list_topics(request):
    return sorted(admin_of(request["bootstrap"]).list_topics())


def list_offset(request):
    """The offset at "earliest", "latest" or a timestamp; -1 when no record is that late."""
    partition = TopicPartition(request["topic"], request["partition"])
    consumer = consumer_of(request["bootstrap"], {})
    if request["at"] == "earliest":
        return consumer.beginning_offsets([partition])[partition]
    if request["at"] == "latest":
        return consumer.end_offsets([partition])[partition]
    found = consumer.offsets_for_times({partition: request["at"]})[partition]
    return -1 if found is None else found.offset


def alter_configs(request):
    resource = ConfigResource(ConfigResourceType.TOPIC, request["topic"], request["configs"])
    answer = admin_of(request["bootstrap"]).alter_configs([resource])
    return [error_code for error_code, *_ in answer.resources]


def describe_configs(request):
    resource = ConfigResource(ConfigResourceType.TOPIC, request["topic"])
    answers = admin_of(request["bootstrap"]).describe_configs([resource])
    return {entry[0]: entry[1] for answer in answers for entry in answer.resources[0][4]}


serve(
    {
        "produce": produce,
        "consume": consume,
        "createTopic": create_topic,
        "deleteTopic": delete_topic,
        "listTopics": list_topics,
        "listOffset": list_offset,
        "alterConfigs": alter_configs,
        "describeConfigs": describe_configs,
    }
)
