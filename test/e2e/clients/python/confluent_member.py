"""A member of a group that uses confluent-kafka: TOPIC name=value … (group_member.py)."""

import sys

from confluent_kafka import Consumer, KafkaException, TopicPartition
from group_member import Pending, leaving, say, say_assigned, say_committed, settings

READ_AT_ONCE = 100

topic = sys.argv[1]
consumer = Consumer(
    {"enable.auto.commit": False, "auto.offset.reset": "earliest", **settings(sys.argv[2:])}
)
pending = Pending()
owned = set()


def commit():
    ranges = pending.take()
    if not ranges:
        return
    offsets = [TopicPartition(topic, partition, end) for partition, (_, end) in ranges.items()]
    try:
        answers = consumer.commit(offsets=offsets, asynchronous=False)
        for answer in answers:
            if answer.error is not None:
                raise KafkaException(answer.error)
        say_committed(ranges)
    except KafkaException as error:
        say(error=error.args[0].name())


def on_assign(_, partitions):
    owned.update(each.partition for each in partitions)
    say_assigned(topic, owned)


def on_revoke(_, partitions):
    commit()
    give_up(partitions)


def on_lost(_, partitions):
    pending.take()
    give_up(partitions)


def give_up(partitions):
    owned.difference_update(each.partition for each in partitions)
    say_assigned(topic, owned)


consumer.subscribe([topic], on_assign=on_assign, on_revoke=on_revoke, on_lost=on_lost)
is_leaving = leaving()
while not is_leaving.is_set():
    wait_s = 0.1
    for _ in range(READ_AT_ONCE):
        message = consumer.poll(wait_s)
        if message is None:
            break
        if message.error() is not None:
            say(error=message.error().name())
        else:
            pending.add(message.partition(), message.offset(), message.value())
        wait_s = 0
    commit()
say_assigned(topic, [])
consumer.close()
