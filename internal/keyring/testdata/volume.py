"""Makes vectors-volume.json, by the format alone and with nothing of sigilfs. Vectors are never made anew for a version that has them."""
import base64, hashlib, json, pathlib
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

here = pathlib.Path(__file__).parent
random = lambda what, n: hashlib.sha512(what.encode()).digest()[:n]
text = lambda id: base64.b32encode(id).decode().lower().rstrip("=")
b64 = lambda raw: base64.b64encode(raw).decode()

# The epochs of objcrypt/sigil/testdata, and one that is nowhere else; the keys of vectors-names.json there.
EPOCHS = json.loads((here / "../../../objcrypt/sigil/testdata/vectors.json").read_text())["epochs"]
FIRST, SECOND = sorted(EPOCHS)[1], sorted(EPOCHS)[0]
OTHER = text(random("epoch", 16))
EPOCHS = {**EPOCHS, OTHER: random("epoch key", 32).hex()}
NAMES = {which: hashlib.sha512(b"name key " + which.encode()).digest() for which in ("first", "second")}
ID = random("volume", 16)

def sealed(epoch, names, salt, id=ID, info=b"sigil/v1/volume", aad=b"sigil/v1/volume"):
    key = HKDF(SHA256(), 64, salt, info).derive(bytes.fromhex(EPOCHS[epoch]))
    return salt + key[32:] + AESGCM(key[:32]).encrypt(bytes(12), names, aad + id)

def line(**members): return json.dumps({"version": 1, "id": text(ID), **members}, separators=(",", ":")) + "\n"

volumes = []
def volume(what, object, id=ID, epoch=None, names=None):
    v = {"what": what, "object": object, "id": text(id)}
    if names: v |= {"epoch": epoch, "name_key": names.hex(), "fingerprint": hashlib.sha256(names).hexdigest()}
    volumes.append(v)

blob = sealed(FIRST, NAMES["first"], random("salt", 16))
good = line(epoch=FIRST, names=b64(blob))
volume("names in the clear", line())
volume("names encrypted", good, epoch=FIRST, names=NAMES["first"])
volume("sealed anew under another epoch", line(epoch=SECOND, names=b64(sealed(SECOND, NAMES["first"], random("salt 2", 16)))), epoch=SECOND, names=NAMES["first"])
volume("sealed anew under the same epoch", line(epoch=FIRST, names=b64(sealed(FIRST, NAMES["first"], random("salt 3", 16)))), epoch=FIRST, names=NAMES["first"])
other = random("volume 2", 16)
volume("another volume", line(id=text(other), epoch=OTHER, names=b64(sealed(OTHER, NAMES["second"], random("salt 4", 16), other))), other, OTHER, NAMES["second"])
m = json.loads(good)
volume("members in another order, with spaces", json.dumps({k: m[k] for k in ("names", "epoch", "id", "version")}) + "\n", epoch=FIRST, names=NAMES["first"])
volume("escapes", good.replace('"id"', '"\\u0069d"'), epoch=FIRST, names=NAMES["first"])

tampered = []
def bad(what, object, error, epoch=FIRST): tampered.append({"what": what, "object": object, "epoch_key": EPOCHS[epoch], "error": error})
def flipped(at, bit=1):
    b = bytearray(blob); b[at] ^= bit
    return line(epoch=FIRST, names=b64(bytes(b)))
for at in 0, 15, 16, 47: bad(f"byte {at} flipped", flipped(at), "ErrWrongKey")
for at in 48, 80, 111, 112, 127: bad(f"byte {at} flipped", flipped(at, 0x80), "ErrCorrupt")
def with_(**members): return line(**{"epoch": FIRST, "names": b64(blob), **members})
bad("the key of another epoch", good, "ErrWrongKey", SECOND)
bad("another id", with_(id=text(other)), "ErrCorrupt")
bad("the name key of another volume", with_(names=b64(sealed(FIRST, NAMES["first"], random("salt", 16), other))), "ErrCorrupt")
bad("sealed with the label of records", with_(names=b64(sealed(FIRST, NAMES["first"], random("salt", 16), info=b"sigil/v1/seal"))), "ErrWrongKey")
bad("sealed with other additional data", with_(names=b64(sealed(FIRST, NAMES["first"], random("salt", 16), aad=b""))), "ErrCorrupt")
bad("the salt of one seal, the rest of another", with_(names=b64(random("salt 3", 16) + blob[16:])), "ErrWrongKey")
bad("name key of 32 bytes", with_(names=b64(sealed(FIRST, NAMES["first"][:32], random("salt", 16)))), "ErrCorrupt")
bad("name key of 65 bytes", with_(names=b64(sealed(FIRST, NAMES["first"] + b"\0", random("salt", 16)))), "ErrCorrupt")
bad("a byte behind the seal", with_(names=b64(blob + b"\0")), "ErrCorrupt")
bad("a byte less", with_(names=b64(blob[:-1])), "ErrCorrupt")
bad("names empty", with_(names=""), "ErrCorrupt")
bad("names without padding", with_(names=b64(blob).rstrip("=")), "ErrCorrupt")
assert b64(blob).endswith("=") and len(blob) % 3 == 2
alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
bad("names with spare bits", with_(names=b64(blob)[:-2] + alphabet[alphabet.index(b64(blob)[-2]) + 1] + "="), "ErrCorrupt")
bad("names in the alphabet of URLs", with_(names=base64.urlsafe_b64encode(blob).decode()), "ErrCorrupt")
assert "-" in with_(names=base64.urlsafe_b64encode(blob).decode()) or "_" in with_(names=base64.urlsafe_b64encode(blob).decode())
bad("names with a line break", with_(names=b64(blob)[:76] + "\n" + b64(blob)[76:]), "ErrCorrupt")
bad("names null", with_(names=None), "ErrCorrupt")
bad("names without epoch", line(names=b64(blob)), "ErrCorrupt")
bad("epoch without names", line(epoch=FIRST), "ErrCorrupt")
bad("epoch empty", with_(epoch=""), "ErrCorrupt")
bad("epoch of zeros", with_(epoch="a" * 26), "ErrCorrupt")
bad("epoch in upper case", with_(epoch=FIRST.upper()), "ErrCorrupt")
letters = "abcdefghijklmnopqrstuvwxyz234567"
for spare in 1, 3: bad(f"id with spare bits {spare}", with_(id=text(ID)[:-1] + letters[letters.index(text(ID)[-1]) + spare]), "ErrCorrupt")
bad("id in upper case", with_(id=text(ID).upper()), "ErrCorrupt")
bad("id of 25 characters", with_(id=text(ID)[:-1]), "ErrCorrupt")
bad("id missing", good.replace(f'"id":"{text(ID)}",', ""), "ErrCorrupt")
bad("id twice", good.replace('"id"', f'"id":"{text(ID)}","id"'), "ErrCorrupt")
bad("version 2", with_(version=2), "ErrVersion")
bad("version 0", with_(version=0), "ErrVersion")
bad("version a text", with_(version="1"), "ErrCorrupt")
bad("version missing", good.replace('"version":1,', ""), "ErrCorrupt")
bad("a member more", with_(more=1), "ErrVersion")
bad("a member in another case", good.replace('"names"', '"Names"'), "ErrVersion")
bad("version 2 with a member more, and without id", json.dumps({"version": 2, "more": 1}) + "\n", "ErrVersion")
bad("no line break at the end", good[:-1], "ErrCorrupt")
bad("two line breaks", good + "\n", "ErrCorrupt")
bad("two lines", good + good, "ErrCorrupt")
bad("over two lines", good.replace(",", ",\n", 1), "ErrCorrupt")
bad("two objects", good[:-1] + good, "ErrCorrupt")
bad("an array", "[" + good[:-1] + "]\n", "ErrCorrupt")
bad("empty", "", "ErrCorrupt")

out = {"epochs": EPOCHS, "volumes": volumes, "tampered": tampered}
(here / "vectors-volume.json").write_text(json.dumps(out, indent=1) + "\n")
print(len(volumes), "volume objects,", len(tampered), "tampered")
