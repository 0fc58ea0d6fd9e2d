#!/usr/bin/env python3
"""Writes and reads the messages of `testdata/link/vectors.json` and compares both with the file.

    vectors.py vectors.json
"""

import json
import sys

import batch
import cbor
import layout
import link

as_bytes = bytes.fromhex


def same(what, got, expected):
    if got != expected:
        sys.exit(f"{what}: {got!r} instead of {expected!r}")


def check_envelope(v):
    ours = link.Link(as_bytes(v["key"]), v["device"], v["generation"])
    uplink, reply = as_bytes(v["uplink"]), as_bytes(v["reply"])
    plain, reply_plain = as_bytes(v["uplink_plain"]), as_bytes(v["reply_plain"])
    same("uplink", ours.seal_uplink(v["counter"], plain), uplink)
    same("opened uplink", ours.open_uplink(uplink), (v["counter"], plain))
    sealed = ours.seal_reply(v["counter"], reply_plain, as_bytes(v["reply_nonce"]))
    same("reply", sealed, reply)
    same("opened reply", ours.open_reply(v["counter"], reply), reply_plain)
    for place in range(len(uplink)):
        forged = bytearray(uplink)
        forged[place] ^= 1
        try:
            ours.open_uplink(bytes(forged))
        except (link.Refused, cbor.Malformed, TypeError, ValueError):
            continue
        sys.exit(f"an uplink with another byte {place} opens")


def check_enrolment(v):
    device = link.Enrolment(v["claim_code"], as_bytes(v["device_private"]))
    same("request", device.request(), as_bytes(v["request"]))
    key, answer = link.answer(
        v["claim_code"], as_bytes(v["request"]), v["grant"], as_bytes(v["server_private"])
    )
    same("answer", answer, as_bytes(v["answer"]))
    same("key", key, as_bytes(v["key"]))
    same("grant", device.finish(answer), link.Grant(key, *v["grant"]))


def check_layout(v):
    encoded = as_bytes(v["bytes"])
    same(f"layout {v['name']}", layout.encode(layout.decode(encoded)), encoded)
    same(f"columns of {v['name']}", layout.decode(encoded).columns(), v["columns"])


def check_batch(v):
    table = batch.Batch(v["times"], v["words"], v["marks"], v["since_boot"])
    encoded = as_bytes(v["bytes"])
    same(f"batch {v['name']}", batch.encode(table).hex(), v["bytes"])
    same(f"decoded batch {v['name']}", batch.decode(encoded), table)


def main():
    (path,) = sys.argv[1:]
    with open(path) as file:
        vectors = json.load(file)
    check_envelope(vectors["envelope"])
    check_enrolment(vectors["enrolment"])
    for vector in vectors["layouts"]:
        check_layout(vector)
    for vector in vectors["batches"]:
        check_batch(vector)
    print(f"{len(vectors['layouts'])} layouts and {len(vectors['batches'])} batches agree")


if __name__ == "__main__":
    main()
