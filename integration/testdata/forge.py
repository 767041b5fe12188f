"""Writes the next revision of an epoch object as anybody can who holds a key of it.

    forge.py MASTER_KEY EPOCH STATE     (files; the new object goes to stdout)

It shares no code with sigilfs. The MAC is right, and there is no signature."""
import base64, hmac, json, sys
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


def kdf(secret, salt, info):
    return HKDF(SHA256(), 32, salt, info).derive(secret)


master = base64.b64decode(open(sys.argv[1]).read())
payload = json.loads(open(sys.argv[2], "rb").readline())
raw = base64.b32decode(payload["id"].upper() + "======")
wrap = next(w for w in payload["wraps"] if w["type"] == "aes")
blob, key_id = base64.b64decode(wrap["blob"]), wrap["key"].encode()
aad = b"sigil/v1/wrap" + raw + len(key_id).to_bytes(2, "big") + key_id
key = AESGCM(kdf(master, raw, b"sigil/v1/wrap")).decrypt(blob[:12], blob[12:], aad)
payload["revision"] += 1
payload["state"] = sys.argv[3]
line = json.dumps(payload, separators=(",", ":")).encode()
mac = hmac.new(kdf(key, raw, b"sigil/v1/epoch"), line, "sha256").hexdigest()
sys.stdout.buffer.write(line + b"\n" + mac.encode() + b"\n")
