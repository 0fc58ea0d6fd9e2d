"""Enrolment, envelopes and messages of the link between device and server, protocol version 1.

Follows `docs/wire-protocol.md`, whose names it uses.
"""

import hashlib
import hmac
import os
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESCCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

import cbor

UPLINK_ALGORITHM, UPLINK_TAG = 10, 8
REPLY_ALGORITHM, REPLY_TAG = 30, 16
ALGORITHM, KID, PARTIAL_IV = 1, 4, 6

# Sections of an uplink and of a reply.
BATCHES, CLOCK, STREAMS, STATUS, DROPPED = 1, 2, 3, 4, 5
ACKS, TIME, WANTED, REFUSED, CHECK_IN, HELD = 1, 2, 3, 4, 5, 9

CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


class Refused(Exception):
    """The other side's message is not genuine."""


# --- Enrolment ---------------------------------------------------------------------------------


def claim_code(text):
    """Splits a claim code, as operators write it, into the claim's id and its secret."""
    symbols = text.strip().upper().replace("-", "").translate(str.maketrans("OIL", "011"))
    if len(symbols) != 20 or any(symbol not in CROCKFORD for symbol in symbols):
        raise ValueError("a claim code has 20 symbols")
    return symbols[:5], symbols[5:].encode()


@dataclass
class Grant:
    """What enrolment grants to a device."""

    key: bytes
    device: int
    generation: int
    first_epoch: int
    first_stream: int
    time_ms: int


class Enrolment:
    """A device's half of an enrolment. A device keeps `private` until it has stored the grant."""

    def __init__(self, code, private=None):
        self.claim_id, self.secret = claim_code(code)
        self.private = private or os.urandom(32)
        self._private = X25519PrivateKey.from_private_bytes(self.private)
        self.public = _public(self._private)

    def request(self):
        tag = _hmac(self.secret, _requested(self.claim_id, self.public))
        return cbor.encode([1, self.claim_id, self.public, tag])

    def finish(self, answer):
        version, *grant, server, tag = cbor.decode(answer)
        if version != 1:
            raise Refused("another version")
        transcript = _transcript(self.claim_id, self.public, server, grant)
        shared = self._private.exchange(X25519PublicKey.from_public_bytes(server))
        key, answer_key = _enrolled(self.secret, shared, transcript)
        if not hmac.compare_digest(tag, _hmac(answer_key, transcript)):
            raise Refused("the answer was not made by who holds the code")
        return Grant(key, *grant)


def answer(code, request, grant, private=None):
    """The server's half: the device's key, and the answer to a request that proves the code.

    `grant` is device, generation, first epoch, first stream and time.
    """
    claim_id, secret = claim_code(code)
    version, its_id, device_public, tag = cbor.decode(request)
    if (version, its_id) != (1, claim_id):
        raise Refused("another version or claim")
    if not hmac.compare_digest(tag, _hmac(secret, _requested(claim_id, device_public))):
        raise Refused("the request was not made by who holds the code")
    private = X25519PrivateKey.from_private_bytes(private or os.urandom(32))
    public = _public(private)
    transcript = _transcript(claim_id, device_public, public, grant)
    shared = private.exchange(X25519PublicKey.from_public_bytes(device_public))
    key, answer_key = _enrolled(secret, shared, transcript)
    return key, cbor.encode([1, *grant, public, _hmac(answer_key, transcript)])


def _public(private):
    return private.public_key().public_bytes(
        serialization.Encoding.Raw, serialization.PublicFormat.Raw
    )


def _requested(claim_id, device_public):
    return b"ecowatt enrol 1 request" + claim_id.encode() + device_public


def _transcript(claim_id, device_public, server_public, grant):
    device, generation, first_epoch, first_stream, time_ms = grant
    return hashlib.sha256(
        claim_id.encode()
        + device_public
        + server_public
        + device.to_bytes(4, "big")
        + generation.to_bytes(1 if generation <= 255 else 2, "big")
        + first_epoch.to_bytes(4, "big")
        + first_stream.to_bytes(2, "big")
        + time_ms.to_bytes(8, "big", signed=True)
    ).digest()


def _enrolled(secret, shared, transcript):
    key = _hkdf(shared, secret, b"ecowatt enrol 1 device key" + transcript, 32)
    return key, _hkdf(shared, secret, b"ecowatt enrol 1 answer" + transcript, 32)


# --- Envelope ----------------------------------------------------------------------------------


class Link:
    """Seals uplinks and opens replies under a device's key, and the other way round."""

    def __init__(self, key, device, generation):
        wide = generation > 255
        self.kid = (
            device.to_bytes(4, "big") + generation.to_bytes(2, "big")
            if wide
            else _shortest(device) + bytes([generation])
        )
        self._up = self._direction(key, b"up")
        self._down = self._direction(key, b"down")

    def _direction(self, key, name):
        info = b"ecowatt link 1 " + name + b"\0" + self.kid
        expanded = _hkdf(key, None, info, 29)
        return expanded[:16], expanded[16:]

    def seal_uplink(self, counter, message):
        partial = _shortest(counter)
        protected = cbor.encode({ALGORITHM: UPLINK_ALGORITHM})
        cipher, nonce = _cipher(self._up, partial, UPLINK_TAG)
        sealed = cipher.encrypt(nonce, message, _additional(protected, b""))
        return cbor.encode([protected, {KID: self.kid, PARTIAL_IV: partial}, sealed])

    def open_uplink(self, envelope):
        """Returns the counter and the message of an uplink, as the server reads them."""
        protected, unprotected, sealed = cbor.decode(envelope)
        if protected != cbor.encode({ALGORITHM: UPLINK_ALGORITHM}):
            raise Refused("another algorithm")
        if set(unprotected) != {KID, PARTIAL_IV} or unprotected[KID] != self.kid:
            raise Refused("another key")
        partial = unprotected[PARTIAL_IV]
        counter = int.from_bytes(partial, "big")
        if _shortest(counter) != partial:
            raise Refused("a counter that could be shorter")
        cipher, nonce = _cipher(self._up, partial, UPLINK_TAG)
        return counter, _decrypt(cipher, nonce, sealed, _additional(protected, b""))

    def seal_reply(self, counter, message, nonce):
        protected = cbor.encode({ALGORITHM: REPLY_ALGORITHM})
        cipher, full = _cipher(self._down, nonce, REPLY_TAG)
        sealed = cipher.encrypt(full, message, _additional(protected, self._request(counter)))
        return cbor.encode([protected, {PARTIAL_IV: nonce}, sealed])

    def open_reply(self, counter, envelope):
        """Returns the message of the reply to the uplink that was sealed under `counter`."""
        protected, unprotected, sealed = cbor.decode(envelope)
        if protected != cbor.encode({ALGORITHM: REPLY_ALGORITHM}):
            raise Refused("another algorithm")
        if set(unprotected) != {PARTIAL_IV} or len(unprotected[PARTIAL_IV]) != 12:
            raise Refused("a reply has a nonce of 12 bytes and nothing else")
        cipher, nonce = _cipher(self._down, unprotected[PARTIAL_IV], REPLY_TAG)
        return _decrypt(cipher, nonce, sealed, _additional(protected, self._request(counter)))

    def _request(self, counter):
        return cbor.encode(self.kid) + cbor.encode(_shortest(counter))


def _cipher(keys, partial_iv, tag):
    key, context_iv = keys
    padded = partial_iv.rjust(13, b"\0")
    return AESCCM(key, tag_length=tag), bytes(a ^ b for a, b in zip(context_iv, padded))


def _decrypt(cipher, nonce, sealed, additional):
    try:
        return cipher.decrypt(nonce, sealed, additional)
    except InvalidTag as error:
        raise Refused("the message does not open") from error


def _additional(protected, external):
    return cbor.encode(["Encrypt0", protected, external])


def _shortest(number):
    return number.to_bytes(max(1, (number.bit_length() + 7) // 8), "big")


def _hmac(key, said):
    return hmac.digest(key, said, "sha256")


def _hkdf(secret, salt, info, length):
    return HKDF(algorithm=hashes.SHA256(), length=length, salt=salt, info=info).derive(secret)
