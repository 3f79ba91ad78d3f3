"""Writes python-*.msgpack with the library's own choices. Needs python3-msgpack. Run it in this folder."""

import base64
import datetime

import msgpack

pem = open("../../request.pem", encoding="ascii").read()
der = base64.b64decode("".join(pem.strip().splitlines()[1:-1]))
request = {"id": "a", "validity_seconds": 7776000}
now = datetime.datetime(2026, 3, 1, 12, 0, 0, 5000, tzinfo=datetime.timezone.utc)

for name, fields, options in [
    ("pem", {"csr_pem": pem}, {}),
    ("der", {"csr_der": der}, {}),
    ("raw-der", {"csr_der": der}, {"use_bin_type": False}),  # the default before 1.0
    ("raw-pem", {"csr_pem": pem}, {"use_bin_type": False}),
    ("none", {"csr_pem": pem, "sans": None, "ca_id": None, "labels": {"team": None}, "strict": None}, {}),
    ("single-float", {"csr_pem": pem, "weight": 0.5}, {"use_single_float": True}),
    ("datetime", {"csr_pem": pem, "asked_at": now}, {"datetime": True}),
    ("ext", {"csr_pem": pem, "note": msgpack.ExtType(42, b"abc")}, {}),
    ("int-key", {"csr_pem": pem, 7: "x"}, {}),
    ("bytes-keys", {b"csr_pem": pem.encode()}, {}),
]:
    with open(f"python-{name}.msgpack", "wb") as f:
        f.write(msgpack.packb({**request, **fields}, **options))
