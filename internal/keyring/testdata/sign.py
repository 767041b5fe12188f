"""Makes epoch-v1-signed of epoch-v1, by the format alone and with nothing of sigilfs."""
import base64, hashlib, pathlib
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

here = pathlib.Path(__file__).parent
key = Ed25519PrivateKey.from_private_bytes(bytes(range(0x20, 0x40)))
lines = (here / "epoch-v1").read_bytes()
signature = key.sign(b"sigil/v1/epoch-sig" + hashlib.sha256(lines).digest())
(here / "epoch-v1-signed").write_bytes(lines + base64.b64encode(signature) + b"\n")
print("ed25519:" + base64.b64encode(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode())
