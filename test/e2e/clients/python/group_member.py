"""What a member of a group says, in lines of JSON on standard output, whichever client it uses:

{"assigned": ["topic-0"], "at": microseconds}  all that it has from now on
{"value": "…", "partition": 0, "offset": 7}    a record that it has read
{"committed": [[0, 7, 8]]}                     acknowledged: partition, from, to (exclusive)
{"error": "…"}                                 what the client raised

Times are of the machine's monotonic clock: those of two processes compare.
"""

import json
import sys
import threading
import time


def say(**line):
    # One write for each line, also when two threads speak.
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def say_assigned(topic, partitions):
    names = [f"{topic}-{partition}" for partition in sorted(partitions)]
    say(assigned=names, at=time.monotonic_ns() // 1000)


def settings(arguments):
    """name=value; a value that is JSON is what JSON says."""
    found = {}
    for argument in arguments:
        name, value = argument.split("=", 1)
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


class Pending:
    """What is read and not committed yet: by partition the first offset and the one to commit."""

    def __init__(self):
        self.ranges = {}

    def add(self, partition, offset, value):
        say(value=value.decode(), partition=partition, offset=offset)
        start, _ = self.ranges.get(partition, (offset, None))
        self.ranges[partition] = (start, offset + 1)

    def take(self):
        ranges, self.ranges = self.ranges, {}
        return ranges


def say_committed(ranges):
    say(committed=[[partition, start, end] for partition, (start, end) in ranges.items()])


def leaving():
    """Set when standard input ends."""
    event = threading.Event()

    def wait():
        sys.stdin.read()
        event.set()

    threading.Thread(target=wait, daemon=True).start()
    return event
