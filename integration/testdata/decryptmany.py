#!/usr/bin/env python3
"""Decrypts objects by docs/decrypt_sigil.py, many in one process.

    decryptmany.py DIRECTORY-OF-decrypt_sigil.py < jobs > sums

A job is a line of JSON: key, and the files meta, epoch, epoch_key and body. For
each there is a line of the SHA-256 of its plaintext, or of why there is none."""
import argparse, hashlib, json, sys
sys.path.insert(0, sys.argv[1])
import decrypt_sigil
for line in sys.stdin:
    a = argparse.Namespace(**json.loads(line), aes_key=None, recovery=None, stat=False)
    try:
        h = hashlib.sha256()
        for piece in decrypt_sigil.content(a): h.update(piece)
        print(h.hexdigest())
    except Exception as e:
        print(repr(e).replace("\n", " "))
