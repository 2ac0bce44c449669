"""A process of librdkafka (confluent-kafka): idempotent producers, or a consumer without a group.

Told what to do as client-spec.ts says, writes the history that history.ts describes. Producers send
without waiting, so that many batches are in flight. One that fails for good is made anew, under
another name.
"""

import json
import os
import random
import sys
import threading
import time

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

SPEC = json.loads(sys.argv[1])
RNG = random.Random(SPEC["seed"])
FILLER = "x" * 64
TICK_S = 0.01
FLUSH_S = 90
BROKEN_S = 2
PLACES = [(topic["name"], index) for topic in SPEC["topics"] for index in range(topic["partitions"])]
COMMON = {
    "bootstrap.servers": ",".join(SPEC["bootstrap"]),
    "client.id": SPEC["name"],
    "socket.timeout.ms": 3000,
    "socket.connection.setup.timeout.ms": 1000,
    "reconnect.backoff.ms": 20,
    "reconnect.backoff.max.ms": 500,
    "topic.metadata.refresh.interval.ms": 2000,
    "log_level": 0,
}
STOPPING = threading.Event()
DONE = 0
HISTORY = os.open(
    os.path.join(SPEC["directory"], SPEC["name"] + ".history.ndjson"),
    os.O_WRONLY | os.O_CREAT | os.O_APPEND,
    0o644,
)


def now_ms():
    return int(time.time() * 1000)


def append(*lines):
    """One append for all of them."""
    text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
    if text:
        os.write(HISTORY, text.encode("ascii"))


class Sender:
    """One producer, and those that take its place."""

    def __init__(self, index):
        self.index = index
        self.generation = -1
        self.renew()

    def renew(self):
        self.generation += 1
        self.name = f"{SPEC['name']}.{self.index}.{self.generation}"
        self.sequence = 0
        self.is_broken = False
        self.settled = {}
        self.failed = {}
        settings = {
            "acks": "all",
            "enable.idempotence": True,
            "linger.ms": 5,
            "request.timeout.ms": 3000,
            "retry.backoff.ms": 50,
            # Never: a message that times out makes librdkafka send what else is in flight again,
            # under a new epoch, whether it has been written or not.
            "message.timeout.ms": 0,
            "error_cb": self.on_error,
        }
        self.producer = Producer({**COMMON, **settings})

    def on_error(self, error):
        if error.code() == KafkaError._FATAL or error.fatal():
            print(f"{now_ms()} {self.name}: fatal: {error}", file=sys.stderr, flush=True)
            self.is_broken = True

    def send(self, count):
        topic, partition = RNG.choice(PLACES)
        place = f"{topic}-{partition}"
        first = self.sequence
        self.sequence += count
        of = {"producer": self.name, "partition": place}
        append({"type": "invoke", "at": now_ms(), **of, "first": first, "count": count})
        refused = []
        for sequence in range(first, first + count):

            def on_delivery(error, message, sequence=sequence):
                if error is None:
                    # Of a repetition that is too old it is not told the offset.
                    offset = message.offset()
                    event = [sequence, -1 if offset is None else offset]
                    self.settled.setdefault(place, []).append(event)
                else:
                    self.failed.setdefault((place, error.name()), []).append(sequence)

            value = f"{self.name}/{sequence} {FILLER}"
            try:
                self.producer.produce(topic, value, partition=partition, on_delivery=on_delivery)
            except Exception as error:  # Its queue is full, or it has failed: it was not taken.
                refused.append(sequence)
                reason = f"{type(error).__name__}: {error}"
        if refused:
            append({"type": "fail", "at": now_ms(), **of, "sequences": refused, "error": reason})

    def poll(self):
        global DONE
        try:
            self.producer.poll(0)
        except KafkaException as error:  # It has failed for good.
            print(f"{now_ms()} {self.name}: {error}", file=sys.stderr, flush=True)
            self.is_broken = True
        at = now_ms()
        settled, failed = self.settled, self.failed
        self.settled, self.failed = {}, {}
        lines = []
        for place, events in settled.items():
            DONE += len(events)
            of = {"producer": self.name, "partition": place}
            lines.append({"type": "ok", "at": at, **of, "events": events})
        for (place, error), sequences in failed.items():
            of = {"producer": self.name, "partition": place}
            lines.append({"type": "unknown", "at": at, **of, "sequences": sequences, "error": error})
        append(*lines)

    def finish(self, seconds):
        """Until all is settled; a broken one tells what it has not sent in a moment."""
        deadline = time.monotonic() + seconds
        while len(self.producer) > 0 and time.monotonic() < deadline:
            self.poll()
            time.sleep(TICK_S)
        self.poll()


def produce():
    senders = [Sender(index) for index in range(SPEC["producers"])]
    batch_mean = (1 + SPEC["batchMax"]) / 2
    chance = SPEC["eventsPerSecond"] * TICK_S / batch_mean / len(senders)
    while not STOPPING.is_set():
        for sender in senders:
            # A queue that grows while nobody leads would hide what happens now.
            if RNG.random() < chance and len(sender.producer) < 5000:
                sender.send(RNG.randint(1, SPEC["batchMax"]))
            sender.poll()
            if sender.is_broken:
                sender.finish(BROKEN_S)
                sender.renew()
        time.sleep(TICK_S)
    for sender in senders:
        sender.finish(FLUSH_S)


def parse(value):
    producer, sequence = value.split(b" ", 1)[0].decode("ascii").rsplit("/", 1)
    return producer, int(sequence)


def consume():
    global DONE
    settings = {
        "group.id": "unused",
        "enable.auto.commit": False,
        "auto.offset.reset": "error",
        "fetch.wait.max.ms": 200,
        "fetch.error.backoff.ms": 50,
    }
    position = {place: 0 for place in PLACES}
    generation = 0

    def begin():
        # A new one each time: to assign anew may end librdkafka 2.0.2 with an assertion of its own.
        consumer = Consumer({**COMMON, **settings})
        consumer.assign([TopicPartition(*place, offset) for place, offset in position.items()])
        return consumer

    consumer = begin()
    while not STOPPING.is_set():
        seen = {}
        is_lost = False
        for message in consumer.consume(500, 0.1):
            error = message.error()
            if error is not None:
                print(f"{now_ms()} {SPEC['name']}: {error}", file=sys.stderr, flush=True)
                is_lost = is_lost or error.code() == KafkaError._AUTO_OFFSET_RESET
                continue
            place = (message.topic(), message.partition())
            seen.setdefault(place, []).append([message.offset(), *parse(message.value())])
            position[place] = message.offset() + 1
        lines = []
        for (topic, partition), events in seen.items():
            DONE += len(events)
            of = {"reader": f"{SPEC['name']}.{generation}", "partition": f"{topic}-{partition}"}
            lines.append({"type": "read", "at": now_ms(), **of, "events": events})
        append(*lines)
        if is_lost:
            consumer.close()
            generation += 1
            consumer = begin()
    consumer.close()


def report():
    while True:
        time.sleep(1)
        print(json.dumps({"done": DONE}), flush=True)


def wait_for_the_end():
    sys.stdin.read()
    STOPPING.set()


for target in (report, wait_for_the_end):
    threading.Thread(target=target, daemon=True).start()
if SPEC["role"] == "producer":
    produce()
else:
    consume()
print(json.dumps({"done": DONE}), flush=True)
os._exit(0)
