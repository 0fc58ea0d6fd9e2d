#!/usr/bin/env python3
"""A device: redeems a claim code, sends the batches of a plan, and prints the server's replies.

    device.py http://HOST:PORT CLAIM-CODE < plan.json

The plan is a JSON object:

    layout    the fields of `layout.Layout`
    status    the items of `status`, as the page orders them
    batches   {"times", "words", "marks", "since_boot", "start"} each; the last three can be absent
    dropped   the items of `dropped`, without the epoch

All batches are of one stream, of source 0. A real device also needs memory: identity, epoch, counters
and batches must survive a power cut, and a message without a reply is sent again under another counter.
"""

import json
import sys
import time
import urllib.request

import batch
import cbor
import layout
import link

PATIENCE_S = 30


def post(url, message):
    request = urllib.request.Request(url, message, {"content-type": "application/cose"})
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
        return answer.read()


class Device:
    def __init__(self, server, code):
        self.server = server
        enrolment = link.Enrolment(code)
        self.grant = enrolment.finish(post(server + "/link/enrol", enrolment.request()))
        self.link = link.Link(self.grant.key, self.grant.device, self.grant.generation)
        self.epoch, self.stream, self.counter = self.grant.first_epoch, self.grant.first_stream, 0
        self.started = time.monotonic()

    def send(self, message):
        """Sends a message and returns the reply. It is sent twice, as if doubled on the way."""
        self.counter += 1
        envelope = self.link.seal_uplink(self.counter, cbor.encode(message))
        replies = [post(self.server + "/link", envelope) for _ in range(2)]
        first, again = (cbor.decode(self.link.open_reply(self.counter, r)) for r in replies)
        if first.get(link.ACKS) != again.get(link.ACKS):
            raise link.Refused(f"a message that came again got {again} instead of {first}")
        return first

    def clock(self):
        return [self.epoch, int(1000 * (time.monotonic() - self.started)), None]

    def batch(self, sequence, plan, width):
        marks = plan.get("marks") or [[batch.READ] * width for _ in plan["times"]]
        table = batch.Batch(plan["times"], plan["words"], marks, plan.get("since_boot", False))
        items = [self.epoch, sequence, self.stream, batch.encode(table)]
        if table.since_boot:
            items.append(plan["start"])
        return items


def read_layout(plan):
    plan = dict(plan)
    plan["reads"] = [layout.Read(**read) for read in plan["reads"]]
    plan["points"] = [layout.Point(**point) for point in plan["points"]]
    return layout.Layout(**plan)


def main():
    server, code = sys.argv[1:]
    plan = json.load(sys.stdin)
    columns = read_layout(plan["layout"])
    device = Device(server, code)
    # The first message of an epoch carries no batches: its reply brings the time.
    replies = [
        device.send(
            {
                link.CLOCK: device.clock(),
                link.STREAMS: [[device.stream, 0, layout.encode(columns)]],
                link.STATUS: plan["status"],
            }
        )
    ]
    width = columns.columns()
    message = {
        link.BATCHES: [
            device.batch(sequence, table, width) for sequence, table in enumerate(plan["batches"], 1)
        ],
        link.DROPPED: [[device.epoch, *lost] for lost in plan["dropped"]],
    }
    replies.append(device.send(message))
    # The same batches under a new counter, as after a lost reply.
    replies.append(device.send(message))
    json.dump({"device": device.grant.device, "epoch": device.epoch, "replies": replies}, sys.stdout)


if __name__ == "__main__":
    main()
