#!/usr/bin/env python3
"""A server for one device: enrols it, prints the samples that it sends, and acknowledges them.

    server.py CLAIM-CODE

Prints its port, and then a line of JSON for each sample, as `ecowatt agent` writes them with
`sample_log`: epoch, source, time in Unix milliseconds, words, marks. It keeps nothing.
"""

import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import batch
import cbor
import layout
import link

DEVICE, GENERATION, FIRST_EPOCH, FIRST_STREAM = 1, 1, 1, 1


class Server:
    def __init__(self, code):
        self.code = code
        self.link = None
        self.streams = {}
        self.received = set()

    def enrol(self, request):
        key, answer = link.answer(
            self.code, request, (DEVICE, GENERATION, FIRST_EPOCH, FIRST_STREAM, now_ms())
        )
        self.link = link.Link(key, DEVICE, GENERATION)
        return answer

    def reply(self, envelope):
        counter, sealed = self.link.open_uplink(envelope)
        message = cbor.decode(sealed)
        for number, source, encoded, *_ in message.get(link.STREAMS, []):
            self.streams[number] = source, layout.decode(encoded).columns()
        reply, wanted = {link.TIME: now_ms()}, set()
        for epoch, sequence, stream, encoded, *rest in message.get(link.BATCHES, []):
            if stream not in self.streams:
                wanted.add(stream)
            elif (epoch, sequence) not in self.received:
                self.received.add((epoch, sequence))
                self.print(epoch, stream, batch.decode(encoded), rest)
        # One range per batch is the least that the protocol allows.
        acks = [
            [epoch, sequence, sequence]
            for epoch, sequence, *_ in message.get(link.BATCHES, [])
            if (epoch, sequence) in self.received
        ]
        if acks:
            reply[link.ACKS] = acks
        if wanted:
            reply[link.WANTED] = sorted(wanted)
        return self.link.seal_reply(counter, cbor.encode(reply), os.urandom(12))

    def print(self, epoch, stream, table, rest):
        source, columns = self.streams[stream]
        start = rest[0][0] if table.since_boot else 0
        for time_ms, words, marks in zip(table.times, table.words, table.marks):
            if len(words) != columns:
                raise batch.Malformed("a batch has the columns of its layout")
            print(json.dumps([epoch, source, start + time_ms, words, marks]), flush=True)


def now_ms():
    return time.time_ns() // 1_000_000


def main():
    (code,) = sys.argv[1:]
    server = Server(code)

    class Requests(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            answer = server.enrol(body) if self.path == "/link/enrol" else server.reply(body)
            self.send_response(200)
            self.send_header("content-type", "application/cose")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_):
            pass

    http = HTTPServer(("127.0.0.1", 0), Requests)
    print(http.server_port, flush=True)
    http.serve_forever()


if __name__ == "__main__":
    main()
