"""Makes vectors-names.json, by the format alone and with nothing of sigilfs. Vectors are never made anew for a version that has them."""
import base64, hashlib, json, pathlib, random
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

here = pathlib.Path(__file__).parent
KEYS = {which: hashlib.sha512(b"name key " + which.encode()).digest() for which in ("first", "second")}
b64 = lambda raw: base64.b64encode(raw).decode()
url = lambda raw: base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
raw = lambda text: base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
siv = lambda which, dir, name: AESSIV(KEYS[which]).encrypt(name, [dir.encode()])

# RFC 5297, A.1; and OpenSSL before 3.0.10 leaves an empty string out of what is authenticated (CVE-2023-2975).
rfc = AESSIV(bytes.fromhex("fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff"))
text, ad = bytes.fromhex("112233445566778899aabbccddee"), bytes.fromhex("101112131415161718191a1b1c1d1e1f2021222324252627")
assert rfc.encrypt(text, [ad]).hex() == "85632d07c6e8f37f950acd320a2ecc9340c02b9690c4dc04daef7f6afe5c"
assert siv("first", "", b"x") != AESSIV(KEYS["first"]).encrypt(b"x", None)

def stored(which, path):
    done = []
    for name in path: done.append(url(siv(which, "/".join(done), name)))
    return "/".join(done)

long = [bytes(random.Random(7).choices([b for b in range(1, 256) if b != 47], k=n)) for n in (175, 176, 255)]
PATHS = [
    [b"a"], [b"b"], [b"a", b"a"], [b"a", b"a", b"a"], [b"b", b"a"], [b"photos", b"2026", "Grüße.jpg".encode()],
    [b"..."], [b".hidden"], [b"-"], [b"\\"], [b" "], [b"a\nb"], [b"\t"], [b".sigil2"], [b"notes.txt.instruction"],
    ["日本語".encode()], ["é".encode()], ["e\u0301".encode()], [b"\xff"], [b"\xc3"], [b"caf\xe9", b"\x80\x81\xfe"], [bytes(range(1, 47)) + bytes(range(48, 256))],
    [b"x" * 15], [b"x" * 16], [b"x" * 17], [b"x" * 31], [b"x" * 32], [b"x" * 33], *([n] for n in long), [b"x" * 255],
    [b"d%d" % i for i in range(20)], [b"y" * 60] * 4,
]
paths = [{"key": which, "names": [b64(n) for n in p], "stored": stored(which, p)} for which in KEYS for p in PATHS]

tampered = []
def bad(what, component, dir="", key="first"): tampered.append({"what": what, "key": key, "dir": dir, "component": component})
a, b, name = (url(siv("first", "", n)) for n in (b"a", b"b", b"report.pdf"))
inside = url(siv("first", a, b"report.pdf"))
for bit in range(0, 8 * len(raw(name)), 13):
    flip = bytearray(raw(name)); flip[bit // 8] ^= 1 << bit % 8
    bad(f"bit {bit} flipped", url(bytes(flip)))
bad("of a directory, at the root", inside)
bad("of the root, in a directory", name, dir=a)
bad("of one directory, in another", inside, dir=b)
bad("of a directory, in one that ends in a slash", inside, dir=a + "/")
bad("of a directory, in one that begins with a slash", inside, dir="/" + a)
bad("of a directory, in one deeper", inside, dir=a + "/" + a)
bad("of a directory that is named in the clear", url(siv("first", "a", b"report.pdf")), dir=a)
bad("without associated data", url(AESSIV(KEYS["first"]).encrypt(b"report.pdf", None)))
bad("of the two strings of a path", url(AESSIV(KEYS["first"]).encrypt(b"report.pdf", [a.encode(), b.encode()])), dir=a + "/" + b)
bad("under another key", name, key="second")
assert len(raw(name)) % 3 == 2 and len(raw(a)) % 3 == 2
bad("padded", name + "=")
alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
for spare in 1, 2, 3: bad(f"spare bits {spare}", name[:-1] + alphabet[alphabet.index(name[-1]) + spare])
four = url(siv("first", "", b"xxx"))  # 19 bytes: four spare bits
for spare in 1, 15: bad(f"four spare bits, {spare}", four[:-1] + alphabet[alphabet.index(four[-1]) + spare])
std = next(c for c in (base64.b64encode(siv("first", "", b"%d" % i)).rstrip(b"=").decode() for i in range(99)) if "+" in c and "/" not in c)
bad("in the standard alphabet", std)
bad("with a line break", name[:8] + "\n" + name[8:])
bad("with a carriage return behind", name + "\r")
bad("with a space", name[:8] + " " + name[8:])
bad("with a dot", name + ".instruction")
bad("a character more", name + "A"); bad("a character less", name[:-1]); bad("four characters less", name[:-4])
bad("empty", ""); bad("the IV alone", name[:22]); bad("in the clear", "report.pdf"); bad("in the clear, and long", "x" * 23)
bad("a dot", "."); bad("two dots", ".."); bad("the volume's own", ".sigil")
bad("zeros", url(bytes(20)))
noname = {"a dot": b".", "two dots": b"..", "the volume's own": b".sigil", "a slash": b"a/b", "a slash alone": b"/", "NUL": b"a\0b", "256 bytes": b"x" * 256}
for what, n in noname.items(): bad(what + ", encrypted by who has the key", url(siv("first", "", n)))

(here / "vectors-names.json").write_text(json.dumps({"keys": {w: k.hex() for w, k in KEYS.items()}, "paths": paths, "tampered": tampered}, indent=1) + "\n")
print(len(paths), "paths,", len(tampered), "tampered")
