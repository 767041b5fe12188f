package integration

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestSQLiteWithRollbackJournal(t *testing.T) {
	d := newDisk(t)
	db := filepath.Join(d.Dir(), "data.db")
	sqlite := newTool(t, d.Dir(), "sqlite3")
	sql := func(script string) string {
		t.Helper()
		return strings.TrimSpace(sqlite.run("sqlite3", "-bail", db, script))
	}
	const fill = `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 2000) INSERT INTO t SELECT i, hex(randomblob(100)) FROM n`
	if got := sql(`PRAGMA journal_mode=DELETE; CREATE TABLE t (i INTEGER PRIMARY KEY, s TEXT); BEGIN; ` + fill + `; COMMIT; SELECT count(*) FROM t`); got != "delete\n2000" {
		t.Fatalf("after the first transaction: %q", got)
	}
	if got := sql(`BEGIN; DELETE FROM t WHERE i % 2; ROLLBACK; SELECT count(*) FROM t`); got != "2000" {
		t.Errorf("after a rollback: %q", got)
	}
	if got := sql(`BEGIN; DELETE FROM t WHERE i % 2; COMMIT; PRAGMA integrity_check; SELECT count(*) FROM t`); got != "ok\n1000" {
		t.Errorf("after a delete: %q", got)
	}
	d.Remount(t)
	if got := sql(`PRAGMA integrity_check; SELECT count(*) FROM t; VACUUM; PRAGMA integrity_check`); got != "ok\n1000\nok" {
		t.Errorf("after a remount: %q", got)
	}
}

func TestFioVerifiesRandomWrites(t *testing.T) {
	for _, engine := range []string{"psync", "mmap"} {
		t.Run(engine, func(t *testing.T) {
			d := newDisk(t)
			fio := newTool(t, t.TempDir(), "fio")
			job := []string{
				"fio", "--name=verify", "--directory=" + d.Dir(), "--rw=randwrite", "--ioengine=" + engine,
				"--size=24m", "--bsrange=4k-128k", "--randseed=7", "--verify=crc32c", "--verify_fatal=1", "--fsync_on_close=1",
			}
			if engine == "mmap" {
				job = append(job, "--bs=4k") // a page at a time, or the verify pattern crosses maps
			}
			fio.run(append(job, "--do_verify=1")...)
			d.Remount(t)
			fio.run(append(job, "--verify_only=1")...)
		})
	}
}
