// Package interop proves that sigilfs and AWS's own S3 encryption clients read
// what the other writes and refuse what the other refuses. It has only tests:
// objects travel through MinIO, KMS keys live in moto, and each of AWS's
// clients runs in a process of its own, built from java/ and python/ with the
// versions that java/pom.xml and python/requirements.txt pin.
package interop
