#!/usr/bin/env python3
"""Decrypts one sigil v1 object (docs/FORMAT.md) without sigilfs. Everything is verified before the first byte is written.
    aws s3api get-object --bucket B --key K body > head.json
    aws s3api get-object --bucket B --key PREFIX/.sigil/epochs/ID epoch
    decrypt_sigil.py --key K --meta head.json --epoch epoch --aes-key main.key body > plain
ID is the last word of the metadata `sigil`. With an age key, or with a recovery file, instead:
    head -n1 epoch | jq -r '.wraps[]|select(.type=="age").blob' | base64 -d | age -d -i id.txt > ek
    decrypt_sigil.py ... --epoch epoch --epoch-key ek body > plain    (or --recovery epochs.jsonl, for both)
Needs the Python package `cryptography`, and for files that are compressed `zstandard`."""
import argparse, base64, hashlib, hmac, json, os, re, struct, sys
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
CHUNK, FRAME, SEGMENT, TRAILER, STORED = 65536, 1 << 18, 8 << 20, 296, 1 << 23
NAMES = {2: "generation", 3: "version", 6: "uid", 7: "gid", 8: "rdev", 9: "mtime", 10: "ctime", 14: "nlink", 15: "file_id", 17: "inode"}
def B(n): return lambda v: type(v) is bytes and len(v) == n
def U(bits, low=0): return lambda v: type(v) is int and low <= v < 1 << bits
def I(v): return type(v) is int and -1 << 63 <= v < 1 << 63
def X(v): return isinstance(v, dict) and v and all(type(x) is str and type(y) is bytes for x, y in v.items())
LATE = {3: U(64), 5: U(16), 6: U(32), 7: U(32), 9: I, 10: I}
NEED = {**LATE, 1: B(32), 2: B(16), 4: B(32), 15: U(64), 16: B(16)}
MAY = {8: U(64, 1), 11: X, 12: lambda v: v is True, 13: U(64), 14: U(64, 2), 17: lambda v: B(16)(v) and any(v)}
def kdf(secret, salt, info, size=32): return HKDF(SHA256(), size, salt, info).derive(secret)
def check(ok, why):
    if not ok: raise ValueError(why)
def b64(text):
    check(base64.b64encode(raw := base64.b64decode(text)).decode() == text, "base64 is not canonical"); return raw
def cbor(b, i=0, deep=1):
    """One item of deterministic CBOR (RFC 8949, 4.2.1) at i: the value and where it ends."""
    major, n, i = b[i] >> 5, b[i] & 31, i + 1
    check(n < 28 and major < 6 or 19 < n < 23 and major == 7, "CBOR item that is not allowed")
    if major == 7: return {20: False, 21: True, 22: None}[n], i
    if n > 23:
        size = 1 << n - 24
        n, i = int.from_bytes(b[i:i + size], "big"), i + size
        check(n >= (24 if size == 1 else 1 << 4 * size), "CBOR number is not in its shortest form")
    if major < 2: return (n if major == 0 else -1 - n), i
    if major < 4: return (b[i:i + n] if major == 2 else b[i:i + n].decode()), i + n
    check(deep <= 32, "CBOR is nested too deep")
    out, last = [], b""
    for k in range(n * (major - 3)):
        start, (item, i) = i, cbor(b, i, deep + 1)
        check(major == 4 or k % 2 or type(item) in (int, str) and last < (last := b[start:i]), "CBOR map is not sorted, or oddly named")
        out.append(item)
    return (out if major == 4 else dict(zip(out[::2], out[1::2]))), i
def fields(m, need, may):
    check(isinstance(m, dict) and all(type(k) is int for k in m), "not a map with integer keys")
    check(all(k in need or k in may or k >= 64 for k in m), "unknown critical field")
    for k, ok in {**may, **need}.items(): check(ok(m[k]) if k in m else k in may, f"field {k} is missing or not as it must be")
    check(m[5] >> 12 in (1, 2, 4, 6, 8, 10, 12), "mode has no file type")
    return m
def epoch_key(a):
    if a.recovery:
        id = json.load(open(a.meta))["Metadata"]["sigil"][4:]
        check(found := [e for e in map(json.loads, open(a.recovery)) if e.get("id") == id], "recovery file lacks epoch " + id)
        stored, raw = found[0]["object"].encode(), b64(found[0]["key"])
    else: stored, raw = (open(name, "rb").read() for name in (a.epoch, a.epoch_key or a.aes_key))
    payload, mac = stored.split(b"\n")[:2]
    check((e := json.loads(payload))["version"] == 1 and e["state"] != "closed", "epoch of another version, or closed")
    id = base64.b32decode(e["id"].upper() + "======")
    if len(raw) != 32 and a.aes_key: raw = bytes.fromhex(raw.decode()) if len(raw.strip()) == 64 else b64(raw.decode().strip())
    check(len(keys := [raw]) and len(raw) == 32, "key is not of 32 bytes")
    if a.aes_key:
        name = "aes:" + kdf(raw, None, b"sigil/v1/key-id").hex()[:32]
        wraps, aad = [b64(w["blob"]) for w in e["wraps"] if w["key"] == name], struct.pack(">H", len(name)) + name.encode()
        keys = [AESGCM(kdf(raw, id, b"sigil/v1/wrap")).decrypt(w[:12], w[12:], b"sigil/v1/wrap" + id + aad) for w in wraps]
    good = [k for k in keys if hmac.compare_digest(hmac.digest(kdf(k, id, b"sigil/v1/epoch"), payload, "sha256").hex().encode(), mac)]
    check(good, "wrong key: no wrap of the epoch opens under it"); return e["id"], good[0]
def record(a, id, ek):
    meta = json.load(open(a.meta))
    meta = {k.lower(): v for k, v in meta.get("Metadata", meta).items()}
    check("sigil" in meta and "sigil-seal" in meta, "not encrypted: no metadata `sigil` and `sigil-seal`")
    head, seal = meta["sigil"], b64(meta["sigil-seal"])
    check(re.fullmatch("1 [01] " + re.escape(id), head), f"object of another version, layout or epoch: {head!r}")
    check(hmac.compare_digest((keys := kdf(ek, seal[:16], b"sigil/v1/seal", 64))[32:], seal[16:48]), "wrong key: the seal commits to another")
    rec, end = cbor(plain := AESGCM(keys[:32]).decrypt(bytes(12), seal[48:], head.encode()))
    check(end == len(plain) and fields(rec, NEED, MAY), "bytes after the record")
    check(rec[4] == hashlib.sha256(os.fsencode(a.key)).digest(), "object was moved: it is sealed for another name")
    check(a.key.endswith("/") == (rec[5] >> 12 == 4), "file type does not fit the key: directories, and nothing else, end in /")
    check(head[2] == "0" or rec[5] >> 12 == 8 and 17 not in rec, "a kind of file that is never compressed"); return rec, int(head[2])
def body(a, rec, layout):
    """Verifies the tail, or that there is none; gives n, the salts, the frames' lengths, and the attributes that stand."""
    f, lens, tailed = open(a.body, "rb"), None, (size := os.path.getsize(a.body)) > SEGMENT + 2048 or layout == 1
    check(rec[5] >> 12 != 4 or size == 0 and 12 not in rec and not rec.get(13), "directory with a body")
    if rec[5] >> 12 == 4: return f, 0, [], [], rec
    if layout:
        f.seek(max(0, size - 40)); n = int.from_bytes(f.read(8), "big")
        S, good = -(-n // SEGMENT), (sealed := size - TRAILER - 16 * -(-n // SEGMENT) - 3 * -(-n // FRAME)) >= 0
    else:
        S = -(-(size - TRAILER) // (SEGMENT + 2064)) if tailed else 1
        n = (sealed := size - (TRAILER + 16 * S if tailed else 0)) - 16 * -(-sealed // (CHUNK + 16))
        good = n + 16 * max(1, -(-n // CHUNK)) == sealed and (n > SEGMENT) == tailed and -(-n // SEGMENT) in (S, 0)
    check(size >= 16 and n >= 0 and good, "no file has a body of this length")
    fits = rec.get(13, n) == n and (tailed or 12 not in rec) and (n == 0 or rec[5] >> 12 in (8, 10) and 17 not in rec)
    check(fits, "the record does not fit the body's length")
    if not tailed: return f, n, [rec[2]], None, rec
    f.seek(sealed); tail = f.read()
    mac = hmac.digest(kdf(rec[1], rec[2], b"sigil/v1/table"), b"sigil/v1/table-mac" + bytes([layout]) + rec[2] + tail[:-32], "sha256")
    check(hmac.compare_digest(mac, tail[-32:]) and tail[-40:-32] == struct.pack(">Q", n), "tail does not authenticate")
    if layout:
        lens = [int.from_bytes(tail[i:i + 3], "big") for i in range(16 * S, len(tail) - TRAILER, 3)]
        good = all(x == STORED + 16 + min(FRAME, n - i * FRAME) if x & STORED else 17 <= x <= FRAME + 16 for i, x in enumerate(lens))
        check(good and sum(x % STORED for x in lens) == sealed, "the frames' lengths cannot be")
    if 12 in rec:
        late, aad = tail[-TRAILER:-40], b"sigil/v1/late" + bytes([layout]) + struct.pack(">Q", n)
        m, end = cbor(plain := AESGCM(kdf(rec[1], rec[2], b"sigil/v1/late")).decrypt(late[:12], late[12:], aad))
        check(fields(m, LATE, {}).keys() == LATE.keys() and not any(plain[end:]), "late block is not as it must be")
        check(m[5] >> 12 == rec[5] >> 12, "late block is of another file type"); rec = {**rec, **m}
    return f, n, [tail[i:i + 16] for i in range(0, 16 * S, 16)], lens, rec
def unpack(packed, n):
    """Decompresses a frame, which must give n bytes, whatever its header says, and takes memory for no more."""
    try:
        import zstandard as z
        check(z.frame_content_size(packed) in (n, -1) and z.get_frame_parameters(packed).window_size <= 8 << 20, "zstd: asks for too much")
        check(len(out := z.ZstdDecompressor().decompress(packed, n, allow_extra_data=False)) == n, "zstd: too short"); return out
    except ImportError: raise ValueError("the file is compressed: that needs the Python package `zstandard`") from None
    except z.ZstdError as e: raise ValueError(f"zstd: {e}") from None
def plaintext(f, n, salts, lens, dek):
    f.seek(0); unit, count = (CHUNK, max(1, -(-n // CHUNK))) if lens is None else (FRAME, len(lens))
    for c in range(count):
        s, i = divmod(c, SEGMENT // unit)
        if i == 0: gcm = AESGCM(kdf(dek, salts[s], b"sigil/v1/segment" + struct.pack(">Q", s)))
        size, final = min(unit, n - c * unit), lens is None and n <= SEGMENT and c == count - 1
        sealed = STORED + size + 16 if lens is None else lens[c]
        out = gcm.decrypt(struct.pack(">B3xQ", final, i), f.read(sealed % STORED), None)
        yield out if sealed & STORED else unpack(out, size)
def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, text in (("--key", "full key of the object"), ("--meta", "head-object's JSON"), ("--epoch", "epoch object")):
        p.add_argument(name, required=name != "--epoch", help=text)
    one = p.add_mutually_exclusive_group(required=True)
    for name, text in (("--aes-key", "master key: 32 bytes raw, hex or base64"), ("--epoch-key", "epoch key, 32 bytes raw"),
                       ("--recovery", "epochs of a recovery file")): one.add_argument(name, help=text)
    p.add_argument("--stat", action="store_true", help="print the attributes as JSON, not the content")
    p.add_argument("-o", dest="out", help="write there, not to stdout"); p.add_argument("body"); a = p.parse_args()
    a.recovery or a.epoch or p.error("--epoch is missing")
    try:
        f, n, salts, lens, rec = body(a, *record(a, *epoch_key(a)))
        for _ in plaintext(f, n, salts, lens, rec[1]): pass
        if a.stat:
            out = {NAMES[k]: v.hex() if type(v) is bytes else v for k, v in rec.items() if k in NAMES}
            xattrs = {k: base64.b64encode(v).decode() for k, v in rec.get(11, {}).items()}
            return print(json.dumps({**out, "xattrs": xattrs, "mode": f"{rec[5]:o}", "size": n}), flush=True)
        check(not a.out or not os.path.exists(a.out) or not os.path.samefile(a.out, a.body), "-o names the body itself")
        with (open(a.out, "wb") if a.out else sys.stdout.buffer) as out: out.writelines(plaintext(f, n, salts, lens, rec[1]))
    except InvalidTag: sys.exit("decrypt_sigil: does not authenticate: damaged, tampered with, or the wrong key")
    except (ValueError, LookupError, OSError, TypeError, AttributeError) as e: sys.exit(f"decrypt_sigil: {e}")
if __name__ == "__main__": main()
