"""A member of a group that uses kafka-python: TOPIC name=value … (group_member.py)."""

import sys

from group_member import Pending, leaving, say, say_assigned, say_committed, settings
from kafka import ConsumerRebalanceListener, KafkaConsumer, OffsetAndMetadata, TopicPartition
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from kafka.errors import KafkaError

ASSIGNORS = {"range": RangePartitionAssignor, "roundrobin": RoundRobinPartitionAssignor}

topic = sys.argv[1]
given = settings(sys.argv[2:])
assignors = [ASSIGNORS[given.pop("assignor", "range")]]
consumer = KafkaConsumer(
    enable_auto_commit=False,
    auto_offset_reset="earliest",
    partition_assignment_strategy=assignors,
    **given,
)
pending = Pending()


class Listener(ConsumerRebalanceListener):
    def on_partitions_revoked(self, revoked):
        say_assigned(topic, [])

    def on_partitions_assigned(self, assigned):
        say_assigned(topic, [each.partition for each in assigned])


def commit():
    ranges = pending.take()
    if not ranges:
        return
    try:
        consumer.commit(
            {
                TopicPartition(topic, partition): OffsetAndMetadata(end, None)
                for partition, (_, end) in ranges.items()
            }
        )
        say_committed(ranges)
    except KafkaError as error:
        say(error=type(error).__name__)


consumer.subscribe([topic], listener=Listener())
is_leaving = leaving()
while not is_leaving.is_set():
    for records in consumer.poll(timeout_ms=100).values():
        for record in records:
            pending.add(record.partition, record.offset, record.value)
    commit()
say_assigned(topic, [])
consumer.close(autocommit=False)
