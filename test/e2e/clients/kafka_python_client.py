"""kafka-python behind a pipe: one JSON request on standard input, one JSON answer on standard output.

Bytes travel as base64. An answer is {"ok": result} or {"error": class name, "message": text}. Runs
with Debian's own interpreter (/usr/bin/python3), which sees the package python3-kafka.
"""

import base64
import json
import sys
import time

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, NewTopic


def decode(text):
    return None if text is None else base64.b64decode(text)


def encode(data):
    return None if data is None else base64.b64encode(data).decode()


def produce(request):
    compression = request["compression"]
    producer = KafkaProducer(
        bootstrap_servers=request["bootstrap"],
        compression_type=None if compression == "none" else compression,
        acks="all",
        linger_ms=5,
        **request.get("config", {}),
    )
    try:
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
    finally:
        producer.close(timeout=5)
    return [
        {"partition": each.partition, "offset": each.offset, "timestamp": each.timestamp}
        for each in sent
    ]


def consume(request):
    consumer = KafkaConsumer(
        bootstrap_servers=request["bootstrap"],
        enable_auto_commit=False,
        **request.get("config", {}),
    )
    partition = TopicPartition(request["topic"], request["partition"])
    deadline = time.monotonic() + request["timeoutMs"] / 1000
    records = []
    try:
        consumer.assign([partition])
        consumer.seek(partition, request["fromOffset"])
        while len(records) < request["count"]:
            if time.monotonic() > deadline:
                raise TimeoutError(f"got {len(records)} of {request['count']} records")
            for batch in consumer.poll(timeout_ms=500).values():
                records.extend(batch)
    finally:
        consumer.close(autocommit=False)
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


def with_admin(request, action):
    admin = KafkaAdminClient(bootstrap_servers=request["bootstrap"])
    try:
        return action(admin)
    finally:
        admin.close()


def create_topic(request):
    topic = NewTopic(
        request["topic"], request["partitions"], 1, topic_configs=request.get("configs", {})
    )
    with_admin(request, lambda admin: admin.create_topics([topic]))


def delete_topic(request):
    with_admin(request, lambda admin: admin.delete_topics([request["topic"]]))


def list_topics(request):
    return sorted(with_admin(request, lambda admin: admin.list_topics()))


def list_offset(request):
    """The offset at "earliest", "latest" or a timestamp; -1 when no record is that late."""
    partition = TopicPartition(request["topic"], request["partition"])
    consumer = KafkaConsumer(bootstrap_servers=request["bootstrap"])
    try:
        if request["at"] == "earliest":
            return consumer.beginning_offsets([partition])[partition]
        if request["at"] == "latest":
            return consumer.end_offsets([partition])[partition]
        found = consumer.offsets_for_times({partition: request["at"]})[partition]
        return -1 if found is None else found.offset
    finally:
        consumer.close(autocommit=False)


def alter_configs(request):
    resource = ConfigResource(ConfigResourceType.TOPIC, request["topic"], request["configs"])
    answer = with_admin(request, lambda admin: admin.alter_configs([resource]))
    return [error_code for error_code, *_ in answer.resources]


def describe_configs(request):
    resource = ConfigResource(ConfigResourceType.TOPIC, request["topic"])
    answers = with_admin(request, lambda admin: admin.describe_configs([resource]))
    return {entry[0]: entry[1] for answer in answers for entry in answer.resources[0][4]}


OPERATIONS = {
    "produce": produce,
    "consume": consume,
    "createTopic": create_topic,
    "deleteTopic": delete_topic,
    "listTopics": list_topics,
    "listOffset": list_offset,
    "alterConfigs": alter_configs,
    "describeConfigs": describe_configs,
}


def main():
    request = json.load(sys.stdin)
    try:
        answer = {"ok": OPERATIONS[request["operation"]](request)}
    except Exception as error:  # Whatever the client raises is an answer for the test to judge.
        answer = {"error": type(error).__name__, "message": str(error)}
    json.dump(answer, sys.stdout)


main()
