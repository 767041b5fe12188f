#!/usr/bin/env python3
"""Decrypts objects by docs/decrypt_sigil.py, many in one process.

    decryptmany.py DIRECTORY-OF-decrypt_sigil.py < jobs > sums

A job is a line of JSON: key, and the files meta, epoch, epoch_key and body. For
each there is a line of the SHA-256 of its plaintext, or of why there is none."""
import argparse, hashlib, json, sys
sys.path.insert(0, sys.argv[1])
import decrypt_sigil
for line in sys.stdin:
    a = argparse.Namespace(**json.loads(line), aes_key=None, recovery=None)
    try:
        f, n, salts, rec = decrypt_sigil.body(a, decrypt_sigil.record(a, *decrypt_sigil.epoch_key(a)))
        h = hashlib.sha256()
        for piece in decrypt_sigil.plaintext(f, n, salts, rec[1]): h.update(piece)
        print(h.hexdigest())
    except Exception as e:
        print(repr(e).replace("\n", " "))
