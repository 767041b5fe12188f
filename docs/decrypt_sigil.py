#!/usr/bin/env python3
r"""Decrypts one sigil v1 object (docs/FORMAT.md) without sigilfs. Everything is verified before the first byte is written.
    aws s3api get-object --bucket B --key K body > head.json
    aws s3api get-object --bucket B --key PREFIX/.sigil/epochs/ID epoch
    decrypt_sigil.py --key K --meta head.json --epoch epoch --aes-key main.key body > plain
ID is the last word of the metadata `sigil`; main.key is 32 bytes, raw, hex or base64; --stat prints attributes, not content.
With an age key, or with a recovery file, instead:
    head -n1 epoch | jq -r '.wraps[]|select(.type=="age").blob' | base64 -d | age -d -i id.txt > ek
    decrypt_sigil.py ... --epoch epoch --epoch-key ek body > plain    (or --recovery epochs.jsonl, for both)
Where names are encrypted, K is the key as stored. With PREFIX/.sigil/volume, and the epoch that this object names,
    aws s3api list-objects-v2 --bucket B --prefix PREFIX/ --query 'Contents[].[Key]' --output text > keys
    decrypt_sigil.py --names volume --root PREFIX/ --epoch epoch --aes-key main.key < keys    (--encode: the other way)
prints lines of the key as stored, TAB, and the key in the clear, in which \n is a line break and \\ a backslash.
Needs the Python package `cryptography`, and for files that are compressed `zstandard`."""
import argparse, base64, hashlib, hmac, json, os, re, struct, sys
from cryptography.hazmat.primitives.ciphers import aead
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
CHUNK, FRAME, SEGMENT, TRAILER, STORED = 65536, 1 << 18, 8 << 20, 296, 1 << 23
STAT = {2: "generation", 3: "version", 6: "uid", 7: "gid", 8: "rdev", 9: "mtime", 10: "ctime", 14: "nlink", 15: "file_id", 17: "inode"}
def B(n): return lambda v: type(v) is bytes and len(v) == n
def U(bits, low=0): return lambda v: type(v) is int and low <= v < 1 << bits
def X(v): return isinstance(v, dict) and v and all(type(x) is str and type(y) is bytes for x, y in v.items())
LATE = {3: U(64), 5: U(16), 6: U(32), 7: U(32), 9: U(63, -1 << 63), 10: U(63, -1 << 63)}
NEED = {**LATE, 1: B(32), 2: B(16), 4: B(32), 15: U(64), 16: B(16)}
MAY = {8: U(64, 1), 11: X, 12: lambda v: v is True, 13: U(64), 14: U(64, 2), 17: lambda v: B(16)(v) and any(v)}
def kdf(secret, salt, info, size=32): return HKDF(SHA256(), size, salt, info).derive(secret)
def mac(key, data): return hmac.digest(key, data, "sha256")
def check(ok, why):
    if not ok: raise ValueError(why)
def b64(text, decode=base64.b64decode, encode=base64.b64encode):
    check(encode(raw := decode(text)).decode() == text, "base64, or an id, is not canonical"); return raw
def b32(id): return b64(id.swapcase() + "======", base64.b32decode, base64.b32encode)  # ids are in lower case
def cbor(b, i=0, deep=1):  # one item of deterministic CBOR (RFC 8949, 4.2.1) at i: the value and where it ends
    major, n, i = b[i] >> 5, b[i] & 31, i + 1
    check(n < 28 and major < (4 if deep > 32 else 6) or 19 < n < 23 and major == 7, "CBOR item that is not allowed, or nested too deep")
    if major == 7: return {20: False, 21: True, 22: None}[n], i
    if n > 23: w = 1 << n - 24; n, i = int.from_bytes(b[i:i + w], "big"), i + w; check(n >= max(24, 1 << 4 * w), "CBOR number is long")
    if major < 2: return (n if major == 0 else -1 - n), i
    if major < 4: return (b[i:i + n] if major == 2 else b[i:i + n].decode()), i + n
    out, last = [], b""
    for k in range(n * (major - 3)):
        start, (item, i) = i, cbor(b, i, deep + 1); out.append(item)
        check(major == 4 or k % 2 or type(item) in (int, str) and last < (last := b[start:i]), "CBOR map is not sorted, or oddly named")
    return (out if major == 4 else dict(zip(out[::2], out[1::2]))), i
def fields(m, need, may):
    check(isinstance(m, dict) and all(type(k) is int and (k in need or k in may or k >= 64) for k in m), "unknown critical field")
    for k, ok in {**may, **need}.items(): check(ok(m[k]) if k in m else k in may, f"field {k} is missing or not as it must be")
    check(m[5] >> 12 in (1, 2, 4, 6, 8, 10, 12), "mode has no file type"); return m
def epoch_key(a, id):
    if a.recovery: found = [(e["object"].encode(), b64(e["key"])) for e in map(json.loads, open(a.recovery)) if e.get("id") == id]
    else: found = [[open(name, "rb").read() for name in (a.epoch, a.epoch_key or a.aes_key)]]
    check(found, "recovery file lacks epoch " + id); stored, key = found[0]; payload, tag = stored.split(b"\n")[:2]
    check((e := json.loads(payload))["version"] == 1 and e["id"] == id and e["state"] != "closed", f"not epoch {id}, or a closed one")
    if len(key) != 32 and a.aes_key: key = bytes.fromhex(key.decode()) if len(key.strip()) == 64 else b64(key.decode().strip())
    check(len(keys := [key]) and len(key) == 32, "key is not of 32 bytes")
    if a.aes_key:
        name = "aes:" + kdf(key, None, b"sigil/v1/key-id").hex()[:32]
        gcm, aad = aead.AESGCM(kdf(key, b32(id), b"sigil/v1/wrap")), b"sigil/v1/wrap" + b32(id) + struct.pack(">H", len(name))
        keys = [gcm.decrypt(w[:12], w[12:], aad + name.encode()) for w in (b64(w["blob"]) for w in e["wraps"] if w["key"] == name)]
    good = [k for k in keys if hmac.compare_digest(mac(kdf(k, b32(id), b"sigil/v1/epoch"), payload).hex().encode(), tag)]
    check(good, "wrong key: no wrap of the epoch opens under it"); return good[0]
def unseal(epoch, seal, label, aad):
    check(hmac.compare_digest((keys := kdf(epoch, seal[:16], label, 64))[32:], seal[16:48]), "wrong key: the seal commits to another")
    return aead.AESGCM(keys[:32]).decrypt(bytes(12), seal[48:], aad)
def record(a):
    meta = json.load(open(a.meta)); meta = {k.lower(): v for k, v in meta.get("Metadata", meta).items()}
    check("sigil" in meta and "sigil-seal" in meta, "not encrypted: no metadata `sigil` and `sigil-seal`")
    check(re.fullmatch("1 [01] [a-z2-7]{26}", head := meta["sigil"]), f"object of another version or layout: {head!r}")
    rec, end = cbor(plain := unseal(epoch_key(a, head[4:]), b64(meta["sigil-seal"]), b"sigil/v1/seal", head.encode()))
    check(end == len(plain) and fields(rec, NEED, MAY), "bytes after the record")
    check(rec[4] == hashlib.sha256(os.fsencode(a.key)).digest(), "object was moved: it is sealed for another name")
    good = a.key.endswith("/") == (rec[5] >> 12 == 4) and (head[2] == "0" or rec[5] >> 12 == 8 and 17 not in rec)
    check(good, "file type does not fit the key (directories, no other, end in /), or is never compressed"); return rec, int(head[2])
def body(a, rec, layout):  # verifies the tail, or that there is none; gives n, salts, frames' lengths, and the attributes that stand
    f, size, lens = open(a.body, "rb"), os.path.getsize(a.body), None
    if rec[5] >> 12 == 4: check(size == 0 and 12 not in rec and not rec.get(13), "directory with a body"); return f, 0, [], [], rec
    f.seek(max(0, size - 40)); tailed = size > SEGMENT + 2048 or layout == 1
    n = int.from_bytes(f.read(8), "big") if tailed else size - 16 * -(-size // (CHUNK + 16))
    sealed = size - (TRAILER + 16 * (S := -(-n // SEGMENT)) + 3 * layout * -(-n // FRAME) if tailed else 0)
    good = sealed >= 0 if layout else sealed == n + 16 * max(1, -(-n // CHUNK)) and (n > SEGMENT) == tailed
    fits = rec.get(13, n) == n and (tailed or 12 not in rec) and (n == 0 or rec[5] >> 12 in (8, 10) and 17 not in rec)
    check(n >= 0 and good and fits, "the body's length is no file's, or does not fit the record")
    if not tailed: return f, n, [rec[2]], None, rec
    f.seek(sealed); tail, key = f.read(), kdf(rec[1], rec[2], b"sigil/v1/table")
    check(hmac.compare_digest(mac(key, b"sigil/v1/table-mac" + bytes([layout]) + rec[2] + tail[:-32]), tail[-32:]), "tail does not authenticate")
    if layout:
        lens = [int.from_bytes(tail[i:i + 3], "big") for i in range(16 * S, len(tail) - TRAILER, 3)]
        good = all(x == STORED + 16 + min(FRAME, n - i * FRAME) if x & STORED else 17 <= x <= FRAME + 16 for i, x in enumerate(lens))
        check(good and sum(x % STORED for x in lens) == sealed, "the frames' lengths cannot be")
    if 12 in rec:
        late, aad = tail[-TRAILER:-40], b"sigil/v1/late" + bytes([layout]) + struct.pack(">Q", n)
        m, end = cbor(plain := aead.AESGCM(kdf(rec[1], rec[2], b"sigil/v1/late")).decrypt(late[:12], late[12:], aad))
        good = fields(m, LATE, {}).keys() == LATE.keys() and not any(plain[end:]) and m[5] >> 12 == rec[5] >> 12
        check(good, "late block is not as it must be"); rec = {**rec, **m}
    return f, n, [tail[i:i + 16] for i in range(0, 16 * S, 16)], lens, rec
def unpack(packed, n):  # decompresses a frame, which must give n bytes, whatever its header says, and takes memory for no more
    import zstandard as z
    check(z.frame_content_size(packed) in (n, -1) and z.get_frame_parameters(packed).window_size <= 8 << 20, "zstd: asks for too much")
    check(len(out := z.ZstdDecompressor().decompress(packed, n, allow_extra_data=False)) == n, "zstd: too short"); return out
def plaintext(f, n, salts, lens, rec):
    f.seek(0); unit, count = (CHUNK, max(1, -(-n // CHUNK))) if lens is None else (FRAME, len(lens))
    for c in range(count):
        s, i = divmod(c, SEGMENT // unit)
        if i == 0: gcm = aead.AESGCM(kdf(rec[1], salts[s], b"sigil/v1/segment" + struct.pack(">Q", s)))
        size, final = min(unit, n - c * unit), lens is None and n <= SEGMENT and c == count - 1
        sealed = f.read((length := STORED + size + 16 if lens is None else lens[c]) % STORED)
        out = gcm.decrypt(struct.pack(">B3xQ", final, i), sealed, None)
        yield out if length & STORED else unpack(out, size)
def content(a):
    f, n, salts, lens, rec = body(a, *record(a))
    for _ in plaintext(f, n, salts, lens, rec): pass
    if not a.stat: return plaintext(f, n, salts, lens, rec)
    shown = {STAT[k]: v.hex() if type(v) is bytes else v for k, v in rec.items() if k in STAT}
    shown["xattrs"] = {k: base64.b64encode(v).decode() for k, v in rec.get(11, {}).items()}
    return [json.dumps({**shown, "mode": f"{rec[5]:o}", "size": n}).encode() + b"\n"]
def name_cipher(a):
    v = dict(pairs := json.loads(text := open(a.names, "rb").read(), object_pairs_hook=list))
    good = text.find(b"\n") == len(text) - 1 and sorted(k for k, _ in pairs) == ["epoch", "id", "names", "version"] and v["version"] == 1
    check(good and len(seal := b64(v["names"])) == 128, "volume object says that names are not encrypted, or is not of this version")
    siv = aead.AESSIV(unseal(epoch_key(a, v["epoch"]), seal, b"sigil/v1/volume", b"sigil/v1/volume" + b32(v["id"])))
    check(siv.encrypt(b"x", [b""]) != siv.encrypt(b"x", None), "this OpenSSL has CVE-2023-2975: names need 3.0.10 or later"); return siv
def names(a, siv):  # a line for each key of stdin; what is decoded must be just what encoding it gives
    form, bad = re.escape(os.fsencode(a.root)) + (rb"(.*?)(/?)" if a.encode else rb"(.*?)(/|\.instruction|)"), []
    for line in (line.removesuffix(b"\n") for line in sys.stdin.buffer):
        try:
            path, end = re.fullmatch(form, line, re.S).groups(); stored, clear = [], []
            if a.encode: path = re.sub(rb"\\([n\\])", lambda m: m[1].replace(b"n", b"\n"), path)
            for part in path.split(b"/") if path or end else ():
                dir, own = [b"/".join(stored)], b".sigil" in (*stored, part)  # what is the volume's own is not encrypted
                name = part if a.encode or own else siv.decrypt(base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4)), dir)
                code = part if own else base64.urlsafe_b64encode(siv.encrypt(name, dir)).rstrip(b"=")
                check(own or re.fullmatch(rb"(?!(\.|\.\.|\.sigil)\Z)[^/\0]{1,255}", name) and (a.encode or code == part), "no name")
                stored.append(code); clear.append(name.replace(b"\\", rb"\\").replace(b"\n", rb"\n"))
            yield b"\t".join(os.fsencode(a.root) + b"/".join(parts) + end for parts in (stored, clear)) + b"\n"
        except Exception: bad.append(repr(line)[2:-1])
    check(not bad, "not of this volume: " + ", ".join(bad))
def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in "--key --meta --epoch --aes-key --epoch-key --recovery --names --root -o".split(): p.add_argument(name, default="")
    for name in "--stat", "--encode": p.add_argument(name, action="store_true")
    p.add_argument("body", nargs="?"); a = p.parse_args(); what = a.names or a.key and a.meta and a.body
    what and (a.recovery or a.epoch) and (a.aes_key, a.epoch_key, a.recovery).count("") == 2 or p.error("what is to be opened, by which key?")
    try:
        out = names(a, name_cipher(a)) if a.names else content(a)
        check(not a.o or not os.path.exists(a.o) or not os.path.samefile(a.o, a.names or a.body), "-o is the body itself, or the volume object")
        with (open(a.o, "wb") if a.o else sys.stdout.buffer) as file: file.writelines(out)
    except Exception as e: sys.exit(f"decrypt_sigil: {str(e) or 'does not authenticate: damaged, tampered with, or the wrong key'}")
if __name__ == "__main__": main()
