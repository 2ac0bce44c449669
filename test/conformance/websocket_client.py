"""A client of millrace.v1, written from src/wire/websocket/README.md with the standard library only.

    websocket_client.py HOST PORT produce TOPIC PARTITION   records as JSON lines from stdin
    websocket_client.py HOST PORT consume TOPIC PARTITION OFFSET COUNT
    websocket_client.py HOST PORT topics                    their names, one a line

A record is {"key", "value", "headers", "timestamp"}, bytes as base64 or null. `produce` builds one
uncompressed batch, creates the topic where the broker allows it, and prints the answer; `consume` prints records until COUNT have come. It reads
gzip and uncompressed batches.
"""

import base64
import gzip
import hashlib
import json
import os
import socket
import struct
import sys

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
COST = 512


# --- MessagePack, plain types only ---


def pack(value):
    if value is None:
        return b"\xc0"
    if value is True or value is False:
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        if 0 <= value <= 0x7F:
            return bytes([value])
        if value >= 0:
            return b"\xcf" + struct.pack(">Q", value)
        return b"\xd3" + struct.pack(">q", value)
    if isinstance(value, float):
        return b"\xcb" + struct.pack(">d", value)
    if isinstance(value, str):
        data = value.encode()
        return b"\xdb" + struct.pack(">I", len(data)) + data
    if isinstance(value, (bytes, bytearray)):
        return b"\xc6" + struct.pack(">I", len(value)) + bytes(value)
    if isinstance(value, (list, tuple)):
        return b"\xdd" + struct.pack(">I", len(value)) + b"".join(map(pack, value))
    if isinstance(value, dict):
        pairs = b"".join(pack(k) + pack(v) for k, v in value.items())
        return b"\xdf" + struct.pack(">I", len(value)) + pairs
    raise TypeError(type(value))


class Unpacker:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        piece = self.data[self.at : self.at + count]
        if len(piece) < count:
            raise ValueError("it ends within a value")
        self.at += count
        return piece

    def number(self, form):
        return struct.unpack(">" + form, self.take(struct.calcsize(form)))[0]

    def value(self):
        kind = self.take(1)[0]
        if kind <= 0x7F:
            return kind
        if kind >= 0xE0:
            return kind - 0x100
        if kind <= 0x8F:
            return self.map(kind & 0x0F)
        if kind <= 0x9F:
            return self.array(kind & 0x0F)
        if kind <= 0xBF:
            return self.take(kind & 0x1F).decode()
        simple = {0xC0: None, 0xC2: False, 0xC3: True}
        if kind in simple:
            return simple[kind]
        numbers = "fdBHIQbhiq"
        if 0xCA <= kind <= 0xD3:
            number = self.number(numbers[kind - 0xCA])
            # Whole numbers may come as floats: offsets above 2^32 do.
            return int(number) if number == int(number) else number
        sizes = {0: "B", 1: "H", 2: "I"}
        if 0xC4 <= kind <= 0xC6:
            return self.take(self.number(sizes[kind - 0xC4]))
        if 0xD9 <= kind <= 0xDB:
            return self.take(self.number(sizes[kind - 0xD9])).decode()
        if kind in (0xDC, 0xDD):
            return self.array(self.number("H" if kind == 0xDC else "I"))
        if kind in (0xDE, 0xDF):
            return self.map(self.number("H" if kind == 0xDE else "I"))
        raise ValueError(f"type {kind:#x} is not plain MessagePack")

    def array(self, count):
        return [self.value() for _ in range(count)]

    def map(self, count):
        return {self.value(): self.value() for _ in range(count)}


# --- WebSocket, RFC 6455 ---


class WebSocket:
    def __init__(self, host, port):
        self.socket = socket.create_connection((host, port), timeout=60)
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [
            "GET /ws HTTP/1.1",
            f"Host: {host}:{port}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {key}",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Protocol: millrace.v1",
        ]
        self.socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        self.buffer = b""
        while b"\r\n\r\n" not in self.buffer:
            self.more()
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        expected = base64.b64encode(hashlib.sha1((key + GUID).encode()).digest())
        if b" 101 " not in head.split(b"\r\n")[0] or expected not in head:
            raise ConnectionError(head.decode())

    def more(self):
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionError("the server closed the connection")
        self.buffer += data

    def take(self, count):
        while len(self.buffer) < count:
            self.more()
        piece, self.buffer = self.buffer[:count], self.buffer[count:]
        return piece

    def frame(self, opcode, payload):
        mask = os.urandom(4)
        length = len(payload)
        if length < 126:
            size = bytes([0x80 | length])
        elif length < 65536:
            size = b"\xfe" + struct.pack(">H", length)
        else:
            size = b"\xff" + struct.pack(">Q", length)
        stretched = (mask * (length // 4 + 1))[:length]
        number = int.from_bytes(payload, "big") ^ int.from_bytes(stretched, "big")
        masked = number.to_bytes(length, "big")
        self.socket.sendall(bytes([0x80 | opcode]) + size + mask + masked)

    def message(self):
        whole = b""
        while True:
            first, second = self.take(2)
            length = second & 0x7F
            if length == 126:
                length = struct.unpack(">H", self.take(2))[0]
            elif length == 127:
                length = struct.unpack(">Q", self.take(8))[0]
            payload = self.take(length)
            opcode = first & 0x0F
            if opcode == 9:
                self.frame(10, payload)
            elif opcode == 8:
                raise ConnectionError(f"closed: {payload[2:].decode()}")
            elif opcode in (0, 2):
                whole += payload
                if first & 0x80:
                    return whole


# --- Record batches, magic 2 ---


def crc32c(data, table=[]):
    if not table:
        for byte in range(256):
            crc = byte
            for _ in range(8):
                crc = (crc >> 1) ^ 0x82F63B78 if crc & 1 else crc >> 1
            table.append(crc)
    crc = 0xFFFFFFFF
    for byte in data:
        crc = (crc >> 8) ^ table[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def varint(value):
    value = (value << 1) ^ (value >> 63)
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def sized(data):
    return varint(-1) if data is None else varint(len(data)) + data


def build_batch(records):
    base = records[0]["timestamp"]
    body = b""
    for index, record in enumerate(records):
        content = b"\0" + varint(record["timestamp"] - base) + varint(index)
        content += sized(record["key"]) + sized(record["value"]) + varint(len(record["headers"]))
        for name, value in record["headers"]:
            content += sized(name.encode()) + sized(value)
        body += varint(len(content)) + content
    latest = max(record["timestamp"] for record in records)
    count = len(records)
    rest = struct.pack(">hiqqqhii", 0, count - 1, base, latest, -1, -1, -1, count) + body
    tail = struct.pack(">ibI", -1, 2, crc32c(rest)) + rest
    return struct.pack(">qi", 0, len(tail)) + tail


class Records:
    def __init__(self, data):
        self.data, self.at = data, 0

    def varint(self):
        value = shift = 0
        while True:
            byte = self.data[self.at]
            self.at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return (value >> 1) ^ -(value & 1)

    def sized(self):
        length = self.varint()
        if length < 0:
            return None
        self.at += length
        return self.data[self.at - length : self.at]


def read_batches(data):
    at = 0
    while at < len(data):
        base_offset, length = struct.unpack_from(">qi", data, at)
        crc, attributes, _, base_time = struct.unpack_from(">Ihiq", data, at + 17)
        end = at + 12 + length
        if crc32c(data[at + 21 : end]) != crc:
            raise ValueError("the CRC of a batch does not match")
        count = struct.unpack_from(">i", data, at + 57)[0]
        body = data[at + 61 : end]
        codec = attributes & 7
        if codec == 1:
            body = gzip.decompress(body)
        elif codec != 0:
            raise ValueError(f"codec {codec} is not in the standard library")
        records = Records(body)
        for _ in range(count):
            records.varint()
            records.at += 1
            timestamp = base_time + records.varint()
            offset = base_offset + records.varint()
            key, value = records.sized(), records.sized()
            headers = [(records.sized().decode(), records.sized()) for _ in range(records.varint())]
            yield offset, timestamp, key, value, headers
        at = end


# --- millrace.v1 ---


class Client:
    def __init__(self, host, port):
        self.socket = WebSocket(host, port)
        self.hello, _ = self.receive()
        assert self.hello["type"] == "hello" and self.hello["versions"][0] <= 1
        self.credits = self.hello["credits"]
        self.next_id = 0

    def send(self, envelope, payload=b""):
        packed = pack(envelope)
        self.socket.frame(2, struct.pack(">I", len(packed)) + packed + payload)

    def receive(self):
        data = self.socket.message()
        length = struct.unpack_from(">I", data)[0]
        return Unpacker(data[4 : 4 + length]).value(), data[4 + length :]

    def ask(self, envelope, payload=b""):
        self.next_id += 1
        self.send({**envelope, "id": self.next_id}, payload)
        while True:
            answer, rest = self.receive()
            if answer["type"] == "credits":
                self.credits += answer["bytes"]
            elif answer["type"] == "error":
                raise RuntimeError(f"{answer['name']}: {answer['message']}")
            elif answer.get("id") == self.next_id:
                return answer, rest

    def metadata(self, topics, create=False):
        return self.ask({"type": "metadata", "topics": topics, "create": create})[0]["topics"]

    def produce(self, topic, partition, batch):
        cost = 4 + 200 + len(topic) + len(batch) + COST
        if cost > self.credits:
            self.send({"type": "requestCredits", "bytes": cost})
        while cost > self.credits:
            message, _ = self.receive()
            if message["type"] == "credits":
                self.credits += message["bytes"]
        named = [[topic, partition, len(batch)]]
        answer, _ = self.ask({"type": "produce", "acks": -1, "partitions": named}, batch)
        return answer["partitions"][0]

    def subscribe(self, topic, partition, offset, credits):
        where = {"topic": topic, "partition": partition, "offset": offset}
        request = {"type": "subscribe", "subscription": 1, "credits": credits, **where}
        return self.ask(request)[0]

    def pushes(self):
        while True:
            message, payload = self.receive()
            if message["type"] == "batches":
                yield message, payload
                self.send({"type": "flow", "subscription": 1, "credits": len(payload)})
            elif message["type"] == "ended":
                raise RuntimeError(f"{message['name']}: {message['message']}")


def decoded(text):
    return None if text is None else base64.b64decode(text)


def encoded(data):
    return None if data is None else base64.b64encode(data).decode()


def main():
    host, port, command = sys.argv[1:4]
    client = Client(host, int(port))
    if command == "topics":
        print("\n".join(sorted(topic["name"] for topic in client.metadata(None))))
        return
    topic, partition = sys.argv[4:6]
    if command == "produce":
        records = []
        for line in sys.stdin:
            record = json.loads(line)
            record["key"] = decoded(record["key"])
            record["value"] = decoded(record["value"])
            record["headers"] = [(name, decoded(value)) for name, value in record["headers"]]
            records.append(record)
        client.metadata([topic], create=True)
        code, offset, _, _, message = client.produce(topic, int(partition), build_batch(records))
        print(json.dumps({"errorCode": code, "baseOffset": offset, "message": message}))
        return
    from_offset, count = int(sys.argv[6]), int(sys.argv[7])
    begun = client.subscribe(topic, int(partition), from_offset, 65536)
    wanted = begun["offset"]
    for _, payload in client.pushes():
        for offset, timestamp, key, value, headers in read_batches(payload):
            if offset < wanted:
                continue
            record = {"offset": offset, "timestamp": timestamp, "key": encoded(key)}
            record["value"] = encoded(value)
            record["headers"] = [[name, encoded(content)] for name, content in headers]
            print(json.dumps(record), flush=True)
            wanted, count = offset + 1, count - 1
            if count == 0:
                return


main()
