package integration

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sigilfs/sigilfs/integration/server"
)

// Another server, another reading of the protocol: the same work, and nothing
// in its directory is readable.
func TestWorkOnVersity(t *testing.T) {
	onMount(t)
	t.Chdir(".") // the server changes the directory of the process
	srv := server.T(t, server.Versity)
	m := newMount(t, mountOptions{Server: srv})
	src := sourceTree(t)
	writeFile(t, filepath.Join(src, "secret"), secrets["content"])
	must(t, os.Chtimes(src, time.Time{}, time.Unix(1500000000, 5))) // rsync takes times of one second for the same
	work := newTool(t, m.Dir(), "rsync", "RESTIC_PASSWORD=only for this test", "RESTIC_REPOSITORY="+m.Path("repo"))
	work.run("rsync", "-a", src+"/", m.Path("copy")+"/")
	work.run("sqlite3", "-bail", m.Path("data.db"), "CREATE TABLE t (i); BEGIN; INSERT INTO t VALUES (1), (2); COMMIT")
	work.run("restic", "init")
	work.run("restic", "backup", src)
	must(t, os.Mkdir(m.Path("moved"), 0o755))
	must(t, os.Rename(m.Path("copy"), m.Path("moved/tree")))
	m.Remount(t)
	sameTree(t, src, m.Path("moved/tree"))
	if out := work.run("rsync", "-a", "--modify-window=-1", "--itemize-changes", src+"/", m.Path("moved/tree")+"/"); out != "" {
		t.Errorf("rsync sent again:\n%s", out)
	}
	if out := work.run("sqlite3", m.Path("data.db"), "PRAGMA integrity_check; SELECT sum(i) FROM t"); out != "ok\n3\n" {
		t.Errorf("sqlite: %q", out)
	}
	work.run("restic", "check", "--read-data")
	if found := filesWith(t, srv.Dir, secrets["content"]); len(found) != 0 {
		t.Errorf("readable: %v", found)
	}
}
