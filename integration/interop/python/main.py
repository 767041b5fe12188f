"""Puts and gets objects with AWS's S3 Encryption Client for Python.

A JSON command a line on stdin, a JSON answer a line on stdout: what a command
holds stands in command_test.go; an answer is {"error": text, "broken": whether
it is the network's error rather than the client's refusal}, or {} when all
went well.
"""

import json
import os
import sys

import boto3
from botocore.exceptions import HTTPClientError
from s3_encryption import S3EncryptionClient, S3EncryptionClientConfig
from s3_encryption.instruction_file_config import InstructionFileConfig
from s3_encryption.materials.kms_keyring import KmsKeyring
from s3_encryption.materials.materials import AlgorithmSuite, CommitmentPolicy

COMMITTING = AlgorithmSuite.ALG_AES_256_GCM_HKDF_SHA512_COMMIT_KEY
PLAIN = AlgorithmSuite.ALG_AES_256_GCM_IV12_TAG16_NO_KDF


def suite_and_policy(command):
    """The client's policy speaks of writing too, and must agree with the suite."""
    if command["policy"] == "require":
        return COMMITTING, CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT
    if command["commit"]:
        return COMMITTING, CommitmentPolicy.REQUIRE_ENCRYPT_ALLOW_DECRYPT
    return PLAIN, CommitmentPolicy.FORBID_ENCRYPT_ALLOW_DECRYPT


def aws(service):
    """Endpoint, CA and credentials are the environment's."""
    return boto3.client(service, region_name=os.environ["AWS_REGION"])


def client(command):
    """A client of its own for each command: it hooks into the one it wraps."""
    suite, policy = suite_and_policy(command)
    return S3EncryptionClient(
        aws("s3"),
        S3EncryptionClientConfig(
            keyring=KmsKeyring(aws("kms"), command["secret"]),
            encryption_algorithm=suite,
            commitment_policy=policy,
            instruction_file_config=InstructionFileConfig(disable_get_object=not command["instruction"]),
        ),
    )


def run(command):
    s3, bucket, key, file = client(command), os.environ["INTEROP_BUCKET"], command["key"], command["file"]
    context = {"EncryptionContext": command["context"]}
    if command["op"] == "get":
        body = s3.get_object(Bucket=bucket, Key=key, **context)["Body"].read()
        with open(file, "wb") as f:
            f.write(body)
    elif command["part"]:
        s3.upload_file(file, bucket, key, multipart_threshold=1, multipart_chunksize=command["part"], **context)
    else:
        with open(file, "rb") as f:
            s3.put_object(Bucket=bucket, Key=key, Body=f.read(), **context)


def broken(error):
    while error:
        if isinstance(error, HTTPClientError):
            return True
        error = error.__cause__ or error.__context__
    return False


def main():
    for line in sys.stdin:
        answer = {}
        try:
            run(json.loads(line))
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}", "broken": broken(error)}
        print(json.dumps(answer), flush=True)


main()
