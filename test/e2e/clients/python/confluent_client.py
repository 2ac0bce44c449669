"""confluent-kafka (librdkafka) behind a pipe, as line_server.py says it.

Runs with Debian's own interpreter (/usr/bin/python3), which sees python3-confluent-kafka.
"""

import time

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from line_server import decode, encode, kept, serve

WAIT_S = 30


@kept
def producer_of(bootstrap, compression, config):
    settings = {"acks": "all", "enable.idempotence": True, "compression.type": compression}
    return Producer({"bootstrap.servers": bootstrap, **settings, **config})


@kept
def consumer_of(bootstrap, config):
    settings = {"group.id": "unused", "enable.auto.commit": False, "fetch.wait.max.ms": 50}
    return Consumer({"bootstrap.servers": bootstrap, **settings, **config})


@kept
def admin_of(bootstrap):
    return AdminClient({"bootstrap.servers": bootstrap})


def produce(request):
    producer = producer_of(request["bootstrap"], request["compression"], request.get("config", {}))
    sent = [None] * len(request["records"])
    for index, record in enumerate(request["records"]):

        def on_delivery(error, message, index=index):
            if error is None:
                sent[index] = {"partition": message.partition(), "offset": message.offset()}
            else:
                sent[index] = KafkaException(error)

        place = {name: record[name] for name in ("partition", "timestamp") if name in record}
        producer.produce(
            request["topic"],
            key=decode(record["key"]),
            value=decode(record["value"]),
            headers=[(header["key"], decode(header["value"])) for header in record["headers"]],
            on_delivery=on_delivery,
            **place,
        )
        producer.poll(0)
    if producer.flush(WAIT_S) > 0:
        raise TimeoutError("not everything was acknowledged")
    for each in sent:
        if isinstance(each, Exception):
            raise each
    return sent


def consume(request):
    consumer = consumer_of(request["bootstrap"], request.get("config", {}))
    deadline = time.monotonic() + request["timeoutMs"] / 1000
    records = []
    consumer.assign(
        [TopicPartition(request["topic"], request["partition"], request["fromOffset"])]
    )
    try:
        while len(records) < request["count"]:
            if time.monotonic() > deadline:
                raise TimeoutError(f"got {len(records)} of {request['count']} records")
            for message in consumer.consume(request["count"] - len(records), timeout=0.1):
                if message.error() is not None:
                    raise KafkaException(message.error())
                records.append(describe(message))
    finally:
        consumer.unassign()
    return records


def describe(message):
    return {
        "partition": message.partition(),
        "offset": message.offset(),
        "timestamp": message.timestamp()[1],
        "key": encode(message.key()),
        "value": encode(message.value()),
        "headers": [
            {"key": key, "value": encode(value)} for key, value in message.headers() or []
        ],
    }


def create_topic(request):
    topic = NewTopic(request["topic"], request["partitions"], 1, config=request.get("configs", {}))
    for done in admin_of(request["bootstrap"]).create_topics([topic]).values():
        done.result(WAIT_S)


def delete_topic(request):
    for done in admin_of(request["bootstrap"]).delete_topics([request["topic"]]).values():
        done.result(WAIT_S)


def list_topics(request):
    return sorted(admin_of(request["bootstrap"]).list_topics(timeout=WAIT_S).topics)


serve(
    {
        "produce": produce,
        "consume": consume,
        "createTopic": create_topic,
        "deleteTopic": delete_topic,
        "listTopics": list_topics,
    }
)
