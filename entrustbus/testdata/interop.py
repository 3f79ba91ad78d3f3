"""The other side of TestPythonInterop: packs requests, reads results. Needs python3-msgpack and nothing else."""

import base64
import datetime
import json
import sys

import msgpack


def pack(csr_pem, csr_der):
    def show(subject, **fields):
        print(json.dumps({"kind": subject, "body": base64.b64encode(msgpack.packb(fields, datetime=True)).decode()}))

    now = datetime.datetime(2026, 3, 1, 12, 0, 0, 5000, tzinfo=datetime.timezone.utc)
    show("issue", id="py-1", csr_pem=csr_pem)
    show(
        "issue", v=1, kind="issue", id="py-2", csr_der=csr_der, common_name="shop.example.net",
        sans=["shop.example.net", "ip:192.0.2.7"], subject_dn="CN=shop.example.net,O=Söhne", profile_id="tls-server", ca_id="ca-1",
        validity_seconds=90 * 86400, poll_max_wait_seconds=2**20, labels={"team": "Käse", "made": "2026"}, unknown_key=now,
    )
    show("revoke", id="py-3", serial="12:34:AB:CD", reason="KeyCompromise", comment="laptop lost")
    show("revoke", id="py-4", serial_decimal=str(0x1234ABCD))
    show("track", id="py-5", tracking_id="t-1", poll_max_wait_seconds=200)
    show("cancel", id="py-6", order="py-2")


def unpack():
    def plain(value):
        if isinstance(value, msgpack.Timestamp):
            return {"seconds": value.seconds, "nanoseconds": value.nanoseconds}
        if isinstance(value, dict):
            return {key: plain(v) for key, v in value.items()}
        if isinstance(value, list):
            return [plain(v) for v in value]
        if isinstance(value, (bool, int, str)):
            return value
        raise TypeError(f"a result holds a {type(value).__name__}")

    for line in sys.stdin:
        print(json.dumps(plain(msgpack.unpackb(base64.b64decode(line), strict_map_key=True))))


if sys.argv[1] == "pack":
    pack(open(sys.argv[2], encoding="ascii").read(), base64.b64decode(sys.argv[3]))
else:
    unpack()
