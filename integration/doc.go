// Package integration tests the built sigilfs binary as its users meet it: a
// real mount in the kernel, real S3 servers over TLS, real backup tools, and a
// second client of the bucket that plays the attacker. It sees nothing of the
// binary's insides.
//
// SIGILFS_BIN names the binary (else it is built). SIGILFS_TEST_DIR runs the
// tests that need no bucket in that plain directory instead of on a mount: it
// tells a broken test from a broken filesystem. SIGILFS_LATENCY=15ms puts the
// server of every mount that far away.
package integration
